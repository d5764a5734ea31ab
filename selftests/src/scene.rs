// SPDX-License-Identifier: GPL-2.0-only
//! What the scene of a failure looks like: the counters of its namespaces, and
//! what the kernel said.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

use anyhow::{Context, Result};

use crate::{netns::Netns, tc};

/// What the kernel may have said of it: as many last lines.
const LINES: usize = 20;

/// Fields of /proc/net/snmp and netstat that tell where a packet went.
const FIELDS: [&str; 24] = [
    "Ip InHdrErrors",
    "Ip InDelivers",
    "Ip InDiscards",
    "Ip InAddrErrors",
    "Ip InNoRoutes",
    "Ip ForwDatagrams",
    "Icmp InErrors",
    "Icmp InCsumErrors",
    "Icmp InEchos",
    "Icmp InEchoReps",
    "Tcp AttemptFails",
    "Tcp InSegs",
    "Tcp InErrs",
    "Tcp InCsumErrors",
    "Tcp RetransSegs",
    "Tcp OutRsts",
    "Udp InDatagrams",
    "Udp NoPorts",
    "Udp InErrors",
    "Udp InCsumErrors",
    "TcpExt ListenDrops",
    "TcpExt TCPTimeouts",
    "TcpExt IPReversePathFilter",
    "IpExt InNoRoutes",
];

/// The same of /proc/net/snmp6, which has one name a line.
const FIELDS_6: [&str; 14] = [
    "Ip6InHdrErrors",
    "Ip6InDelivers",
    "Ip6InDiscards",
    "Ip6InAddrErrors",
    "Ip6InNoRoutes",
    "Ip6OutForwDatagrams",
    "Icmp6InErrors",
    "Icmp6InCsumErrors",
    "Icmp6InEchos",
    "Icmp6InEchoReplies",
    "Udp6InDatagrams",
    "Udp6NoPorts",
    "Udp6InErrors",
    "Udp6InCsumErrors",
];

/// One line for each namespace of the case that is still there: its devices that
/// have seen packets, what became of those in its IP stack and xfrm, and what
/// went by the programs at its devices.
pub(crate) fn counters() -> Vec<String> {
    Netns::alive()
        .iter()
        .map(|ns| {
            let seen = ns.enter(|| Ok(format!("{}{}{}", devices()?, stack()?, filters()?)));
            match seen {
                Ok(seen) if seen.is_empty() => format!("{}: no packets", ns.name),
                Ok(seen) => format!("{}:{seen}", ns.name),
                Err(e) => format!("{}: its counters cannot be read: {e:#}", ns.name),
            }
        })
        .collect()
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// As ` dst rx 3 (dropped 1) tx 0 (dropped 0);`, in packets.
fn devices() -> Result<String> {
    let text = read("/proc/thread-self/net/dev")?;
    Ok(text.lines().skip(2).filter_map(device).collect())
}

fn device(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(':')?;
    let fields: Vec<u64> = rest
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    let [rx, rx_dropped, tx, tx_dropped] = [1, 3, 9, 11].map(|i| fields.get(i).copied());
    let all = [rx?, rx_dropped?, tx?, tx_dropped?];
    all.iter().any(|n| *n > 0).then(|| {
        let [rx, rx_dropped, tx, tx_dropped] = all;
        format!(
            " {} rx {rx} (dropped {rx_dropped}) tx {tx} (dropped {tx_dropped});",
            name.trim()
        )
    })
}

/// Names of a namespace's devices, for a message: `src`, `dst, ipvl`.
pub(crate) fn names(ns: &Netns) -> String {
    let text = ns.enter(|| read("/proc/thread-self/net/dev"));
    let text = text.unwrap_or_default();
    let names = text.lines().skip(2).filter_map(|l| l.split_once(':'));
    let names: Vec<&str> = names.map(|n| n.0.trim()).filter(|n| *n != "lo").collect();
    names.join(", ")
}

/// As ` Udp NoPorts 1;`, what is 0 left out.
fn stack() -> Result<String> {
    let mut seen = fields(&read("/proc/thread-self/net/snmp")?);
    seen += &fields(&read("/proc/thread-self/net/netstat")?);
    // Without IPv6, or without xfrm, the kernel has no such file.
    let known = |name: &str| FIELDS_6.contains(&name);
    seen += &lines(
        &read("/proc/thread-self/net/snmp6").unwrap_or_default(),
        known,
    );
    seen += &lines(
        &read("/proc/thread-self/net/xfrm_stat").unwrap_or_default(),
        |_| true,
    );
    Ok(seen)
}

/// Lines that have a counter each: those that are not 0, and of interest.
fn lines(text: &str, known: impl Fn(&str) -> bool) -> String {
    let pair = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        let value = value.trim();
        (value != "0" && known(name)).then(|| format!(" {name} {value};"))
    };
    text.lines().filter_map(pair).collect()
}

/// As ` src_fwd clsact saw 3 (dropped 1);`: the programs at a device count there.
fn filters() -> Result<String> {
    let seen = tc::qdiscs()?
        .into_iter()
        .filter(|q| q.packets + q.drops > 0);
    Ok(seen
        .map(|q| {
            let device = nix::net::if_::if_indextoname(q.index).map_or_else(
                |_| q.index.to_string(),
                |n| n.to_string_lossy().into_owned(),
            );
            format!(
                " {device} {} saw {} (dropped {});",
                q.kind, q.packets, q.drops
            )
        })
        .collect())
}

fn fields(text: &str) -> String {
    snmp(text)
        .filter(|(field, value)| *value != "0" && FIELDS.contains(&field.as_str()))
        .map(|(field, value)| format!(" {field} {value};"))
        .collect()
}

/// Every counter in /proc/net/snmp's text, as `Ip InDelivers`, and its value.
fn snmp(text: &str) -> impl Iterator<Item = (String, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs: Vec<(&str, &str)> = lines.chunks_exact(2).map(|p| (p[0], p[1])).collect();
    pairs.into_iter().flat_map(|(names, values)| {
        let protocol = names.split(':').next().unwrap_or_default();
        let names = names.split_whitespace().skip(1);
        let values = values.split_whitespace().skip(1);
        names
            .zip(values)
            .map(move |(name, value)| (format!("{protocol} {name}"), value))
    })
}

/// One counter of this namespace's IP stack, `Ip FragFails`.
pub(crate) fn counter(name: &str) -> Result<u64> {
    let text = read("/proc/thread-self/net/snmp")?;
    let (_, value) = snmp(&text)
        .find(|(field, _)| field == name)
        .with_context(|| format!("/proc/net/snmp has no {name}"))?;
    value
        .parse()
        .with_context(|| format!("reading {name}, which is {value}"))
}

/// The kernel log from a moment on.
#[derive(Debug)]
pub(crate) struct Kmsg(File);

impl Kmsg {
    /// From now on; `None` on a machine where the log may not be read.
    pub(crate) fn from_now() -> Option<Self> {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self(file))
    }

    /// The last lines since then that are not the harness's own.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut lines = self.all();
        lines.split_off(lines.len().saturating_sub(LINES))
    }

    /// All of them since then, or since this was asked last.
    pub(crate) fn all(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        // One record for each read: include/linux/printk.h has the longest.
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => break,
                Ok(length) => lines.extend(message(&record[..length])),
                // The kernel had more to say than its log holds: go on with what is left.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => break,
            }
        }
        lines
    }
}

/// The text of a record, `6,1234,5678,-;text`.
fn message(record: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(record);
    let (_, text) = text.split_once(';')?;
    let line = text.lines().next()?;
    (!line.starts_with(protocol::MARK_START) && !line.starts_with(protocol::MARK_END))
        .then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{FIELDS_6, device, fields, lines, message};

    /// Verify that a device's line becomes its packets, and that a device
    /// without any is left out.
    #[test]
    fn devices() {
        assert_eq!(
            device("   dst:  100  2 0 1 0 0 0 0  70 1 0 0 0 0 0 0").as_deref(),
            Some(" dst rx 2 (dropped 1) tx 1 (dropped 0);")
        );
        assert_eq!(device("lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"), None);
    }

    /// Verify that fields are found by protocol and name.
    #[test]
    fn counters_of_the_stack() {
        let text = "Ip: InDelivers InDiscards\nIp: 3 0\nUdp: InDatagrams NoPorts\nUdp: 0 2\n";
        assert_eq!(fields(text), " Ip InDelivers 3; Udp NoPorts 2;");
    }

    /// Verify that files with one counter a line are read, and what is 0 or of no
    /// interest is left out.
    #[test]
    fn counters_by_line() {
        let text = "Ip6InReceives  9\nIp6InDelivers \t 3\nUdp6NoPorts 0\n";
        assert_eq!(lines(text, |n| FIELDS_6.contains(&n)), " Ip6InDelivers 3;");
        let text = "XfrmInError             \t0\nXfrmInNoPols            \t2\n";
        assert_eq!(lines(text, |_| true), " XfrmInNoPols 2;");
    }

    /// Verify that a record's text is read, and the harness's own left out.
    #[test]
    fn records() {
        assert_eq!(message(b"6,1,2,-;text\n KEY=v\n").as_deref(), Some("text"));
        assert_eq!(
            message(format!("12,1,2,-;{}x\n", protocol::MARK_START).as_bytes()),
            None
        );
    }
}
