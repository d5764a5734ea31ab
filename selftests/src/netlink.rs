// SPDX-License-Identifier: GPL-2.0-only
//! Requests over netlink, answered before anything else is done.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage as Route,
    nsid::{NsidAttribute, NsidMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Sends a request of rtnetlink and waits for the kernel's answer.
pub(crate) fn ask(message: Route, flags: u16) -> Result<()> {
    exchange(NETLINK_ROUTE, &encoded(message, NLM_F_ACK | flags))
}

/// Sends a request of rtnetlink for one object, and gives the kernel's answer.
pub(crate) fn get(message: Route) -> Result<Route> {
    answer(NETLINK_ROUTE, &encoded(message, 0))?
        .context("the kernel said yes to a question about an object, and no more")
}

fn encoded(message: Route, flags: u16) -> Vec<u8> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

fn connected(protocol: isize) -> Result<Socket> {
    let mut socket = Socket::new(protocol).context("opening a netlink socket")?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Has something done, and nothing told but that it was.
fn exchange(protocol: isize, request: &[u8]) -> Result<()> {
    match answer(protocol, request)? {
        None => Ok(()),
        Some(other) => bail!("the kernel answered {other:?}"),
    }
}

/// The object that the kernel answers with; none when it says that it is done.
fn answer(protocol: isize, request: &[u8]) -> Result<Option<Route>> {
    let socket = connected(protocol)?;
    // What the kernel says about an error, without the request in between.
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    socket
        .send(request, 0)
        .context("sending a netlink request")?;
    let (answer, _) = socket
        .recv_from_full()
        .context("waiting for the answer over netlink")?;
    // An answer that is an error looks alike in every protocol.
    match NetlinkMessage::<Route>::deserialize(&answer)
        .context("reading the answer over netlink")?
        .payload
    {
        NetlinkPayload::InnerMessage(object) => Ok(Some(object)),
        NetlinkPayload::Error(e) if e.code.is_none() => Ok(None),
        NetlinkPayload::Error(e) => {
            let why = reason(&answer).map_or(String::new(), |why| format!(" ({why})"));
            Err(e.to_io()).context(format!("the kernel refused{why}"))
        }
        other => bail!("the kernel answered {other:?}"),
    }
}

/// What the kernel says about an error in words: NLMSGERR_ATTR_MSG, the attribute
/// of type 1 after the header, the error and the header of the request.
fn reason(answer: &[u8]) -> Option<String> {
    const NLM_F_ACK_TLVS: u16 = 0x200;
    let short = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if short(6)? & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let mut at = HEADER + 4 + HEADER;
    loop {
        let (length, kind) = (usize::from(short(at)?), short(at + 2)?);
        if kind == 1 {
            let text = answer.get(at + 4..at + length)?;
            let text = String::from_utf8_lossy(text);
            return Some(text.trim_end_matches('\0').to_owned());
        }
        at += length.max(4).next_multiple_of(4);
    }
}

/// How many other namespaces this one has an id for. An id goes when nothing
/// refers to its namespace any more, which nothing else would show of a
/// namespace without a name.
pub(crate) fn namespaces() -> Result<usize> {
    let bytes = encoded(Route::GetNsId(NsidMessage::default()), NLM_F_DUMP);
    let socket = connected(NETLINK_ROUTE)?;
    socket
        .send(&bytes, 0)
        .context("asking for namespaces over netlink")?;
    let mut count = 0;
    loop {
        let (answer, _) = socket
            .recv_from_full()
            .context("waiting for namespaces over netlink")?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<Route>::deserialize(rest)
                .context("reading namespaces over netlink")?;
            match message.payload {
                NetlinkPayload::InnerMessage(_) => count += 1,
                NetlinkPayload::Done(_) => return Ok(count),
                other => bail!("the kernel answered {other:?}"),
            }
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Everything that the kernel has of a kind, for which there are no types: the C
/// struct and the attributes of each.
pub(crate) fn dump(kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut request = Raw::new(kind, NLM_F_DUMP, body);
    let length = request.bytes.len() as u32;
    request.bytes[..4].copy_from_slice(&length.to_ne_bytes());
    let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket
        .send(&request.bytes, 0)
        .context("asking for a list over netlink")?;
    let mut found = Vec::new();
    loop {
        let (answer, _) = socket
            .recv_from_full()
            .context("waiting for a list over netlink")?;
        if !messages(&answer, kind, &mut found)? {
            return Ok(found);
        }
    }
}

/// Takes the bodies of messages that answer to `kind`; gives whether more come.
fn messages(mut rest: &[u8], asked: u16, found: &mut Vec<Vec<u8>>) -> Result<bool> {
    const NLMSG_DONE: u16 = 3;
    while let (Some(head), Some(kind)) = (rest.first_chunk::<4>(), rest.get(4..6)) {
        let length = u32::from_ne_bytes(*head) as usize;
        let body = rest
            .get(HEADER..length)
            .context("the kernel's answer over netlink ends early")?;
        let kind = u16::from_ne_bytes([kind[0], kind[1]]);
        match kind {
            NLMSG_DONE => return Ok(false),
            // include/uapi/linux/rtnetlink.h: NEW, DEL, GET and SET of one kind.
            _ if kind / 4 == asked / 4 => found.push(body.to_vec()),
            other => bail!("the kernel answered with a message of type {other}"),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// The attributes of a message or of another one, by type.
pub(crate) fn attributes(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    const TYPE: u16 = 0x3fff;
    let mut found = Vec::new();
    while let Some(&[l0, l1, k0, k1]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = rest.get(4..length) else {
            break;
        };
        found.push((u16::from_ne_bytes([k0, k1]) & TYPE, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Has the current namespace give another one an id.
pub(crate) fn give_id(ns: BorrowedFd<'_>) -> Result<()> {
    let mut message = NsidMessage::default();
    message.attributes = vec![
        NsidAttribute::Fd(ns.as_raw_fd() as u32),
        NsidAttribute::Id(-1),
    ];
    ask(Route::NewNsId(message), 0).context("giving a namespace an id")
}

/// A request for which there are no types: a C struct and attributes.
#[derive(Debug)]
pub(crate) struct Raw {
    bytes: Vec<u8>,
}

const HEADER: usize = 16;

impl Raw {
    /// One that begins with `body`, the C struct of its kind.
    pub(crate) fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes.extend(body);
        let mut raw = Self { bytes };
        raw.pad();
        raw
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend((4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
        self
    }

    /// Adds an attribute that is text.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut value = value.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value)
    }

    /// Adds an attribute that holds others.
    pub(crate) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        const NLA_F_NESTED: u16 = 1 << 15;
        let start = self.bytes.len();
        self.bytes.extend([0, 0]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        let mut full = fill(self);
        let length = (full.bytes.len() - start) as u16;
        full.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        full
    }

    /// Sends it and waits for the kernel's answer.
    pub(crate) fn ask(mut self, protocol: isize) -> Result<()> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        exchange(protocol, &self.bytes)
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Raw;

    /// Verify that the kernel's words are found, and that half an answer has none.
    #[test]
    fn reasons() {
        let mut answer = vec![0; 36];
        answer[7] = 2;
        answer.extend([8, 0, 2, 0, 9, 9, 9, 9]);
        answer.extend([7, 0, 1, 0, b'n', b'o', 0]);
        assert_eq!(super::reason(&answer).as_deref(), Some("no"));
        assert_eq!(super::reason(&answer[..answer.len() - 1]), None);
        answer[7] = 0;
        assert_eq!(super::reason(&answer), None);
    }

    /// Verify that a list ends where the kernel says so, that messages and
    /// attributes are told apart, and that half of one is none.
    #[test]
    fn lists() {
        let message = |kind: u16, body: &[u8]| {
            let mut raw = Raw::new(kind, 0, body).bytes;
            let length = raw.len() as u32;
            raw[..4].copy_from_slice(&length.to_ne_bytes());
            raw
        };
        let one = Raw::new(0, 0, &[]).attribute(7, &[1, 2, 3]).text(1, "ab");
        let body = one.bytes[16..].to_vec();
        assert_eq!(
            super::attributes(&body),
            [(7, [1, 2, 3].as_slice()), (1, b"ab\0")]
        );
        assert!(super::attributes(&body[..6]).is_empty());
        let mut found = Vec::new();
        let mut read = |bytes: &[u8]| super::messages(bytes, 38, &mut found);
        assert!(read(&message(36, &body)).unwrap());
        assert!(!read(&[message(36, &body), message(3, &[0; 4])].concat()).unwrap());
        assert!(read(&message(2, &[0; 4])).is_err());
        assert!(read(&message(36, &body)[..20]).is_err());
        assert_eq!(found, [body.clone(), body]);
    }

    /// Verify that attributes are padded, and that the length of a nest is
    /// that of what it holds.
    #[test]
    fn nests() {
        let raw = Raw::new(1, 0, &[]).nest(2, |r| r.text(3, "ab"));
        assert_eq!(
            raw.bytes[16..],
            [12, 0, 2, 0x80, 7, 0, 3, 0, b'a', b'b', 0, 0]
        );
    }
}
