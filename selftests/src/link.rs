// SPDX-License-Identifier: GPL-2.0-only
//! Devices, addresses, routes and neighbours of this thread's namespace, over
//! rtnetlink: spawning `ip` for each costs 60 ms under emulation.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Route,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        InfoData, InfoKind, InfoNetkit, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
        NetkitMode,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::os::fd::AsRawFd;

use crate::netns::Netns;

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// What a pair of devices is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// veth.
    Veth,
    /// netkit in L2 mode.
    Netkit,
}

/// One end of a pair, about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its address.
    pub(crate) mac: Mac,
    /// Receive and transmit queues.
    pub(crate) queues: u32,
}

/// Sends a request and waits for the kernel's answer.
fn ask(message: Route, flags: u16) -> Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket
        .send(&bytes, 0)
        .context("sending a netlink request")?;
    let (answer, _) = socket
        .recv_from_full()
        .context("waiting for the answer over netlink")?;
    match NetlinkMessage::<Route>::deserialize(&answer)
        .context("reading the answer over netlink")?
        .payload
    {
        NetlinkPayload::Error(e) if e.code.is_none() => Ok(()),
        NetlinkPayload::Error(e) => Err(e.to_io()).context("the kernel refused"),
        other => bail!("the kernel answered {other:?}"),
    }
}

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

fn attributes(end: &End<'_>) -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::Address(end.mac.to_vec()),
        LinkAttribute::NumRxQueues(end.queues),
        LinkAttribute::NumTxQueues(end.queues),
    ]
}

/// Makes a pair: `host` in this namespace, `peer` in `peer_ns`.
pub(crate) fn add_pair(kind: Pair, host: &End<'_>, peer: &End<'_>, peer_ns: &Netns) -> Result<()> {
    let mut other = LinkMessage::default();
    other.attributes = attributes(peer);
    other
        .attributes
        .push(LinkAttribute::NetNsFd(peer_ns.fd().as_raw_fd()));
    let mut message = LinkMessage::default();
    message.attributes = attributes(host);
    let info = match kind {
        Pair::Veth => vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ],
        Pair::Netkit => vec![
            LinkInfo::Kind(InfoKind::Netkit),
            LinkInfo::Data(InfoData::Netkit(vec![
                InfoNetkit::Mode(NetkitMode::L2),
                InfoNetkit::Peer(other),
            ])),
        ],
    };
    message.attributes.push(LinkAttribute::LinkInfo(info));
    ask(Route::NewLink(message), CREATE)
        .with_context(|| format!("making the {kind:?} pair {} and {}", host.name, peer.name))
}

/// Makes a dummy device.
pub(crate) fn add_dummy(name: &str) -> Result<u32> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
    ];
    ask(Route::NewLink(message), CREATE).with_context(|| format!("making {name}"))?;
    index(name)
}

fn change(index: u32, edit: impl FnOnce(&mut LinkMessage)) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    edit(&mut message);
    ask(Route::SetLink(message), 0).with_context(|| format!("changing device {index}"))
}

/// Takes a device up or down.
pub(crate) fn set_up(index: u32, up: bool) -> Result<()> {
    change(index, |m| {
        m.header.change_mask = LinkFlags::Up;
        m.header.flags = if up {
            LinkFlags::Up
        } else {
            LinkFlags::empty()
        };
    })
}

/// Sets a device's MTU.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Result<()> {
    change(index, |m| m.attributes.push(LinkAttribute::Mtu(mtu)))
}

/// Index of a device by name.
pub(crate) fn index(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("looking for device {name}"))
}

/// Gives a device an address of its own, without a route for its prefix.
pub(crate) fn add_address(index: u32, address: IpAddr) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = bits(address);
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        // An address must be usable at once.
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    ask(Route::NewAddress(message), CREATE).with_context(|| format!("adding {address}"))
}

/// Has packets for `to` go out of a device.
pub(crate) fn add_route(index: u32, to: IpAddr) -> Result<()> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to);
    message.header.destination_prefix_length = bits(to);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(to.into()),
        RouteAttribute::Oif(index),
    ];
    ask(Route::NewRoute(message), CREATE).with_context(|| format!("adding a route to {to}"))
}

/// Says where `to` is on a device's link, so that nothing has to ask.
pub(crate) fn add_neighbour(index: u32, to: IpAddr, mac: Mac) -> Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(to);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    let address = match to {
        IpAddr::V4(a) => NeighbourAddress::Inet(a),
        IpAddr::V6(a) => NeighbourAddress::Inet6(a),
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(address),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    ask(Route::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        .with_context(|| format!("adding the neighbour {to}"))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A device's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Packets and bytes received.
    pub(crate) rx: (u64, u64),
    /// Packets and bytes transmitted.
    pub(crate) tx: (u64, u64),
}

/// Counters of a device of this namespace, as `ip -s link` has them.
pub(crate) fn counters(name: &str) -> Result<Counters> {
    let path = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let line = text
        .lines()
        .find_map(|l| l.trim_start().strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("{path} has no {name}"))?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    let at = |i: usize| {
        fields
            .get(i)
            .copied()
            .with_context(|| format!("{path} has no field {i} for {name}"))
    };
    Ok(Counters {
        rx: (at(1)?, at(0)?),
        tx: (at(9)?, at(8)?),
    })
}
