// SPDX-License-Identifier: GPL-2.0-only
//! Packets that are sent to see what becomes of them.

mod icmp;
mod packet;
mod tcp;
mod tun;

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{setsockopt, sockopt},
    unistd::Pid,
};
use protocol::reason;

use crate::{
    fail::{Verdict, failed},
    netns::Netns,
    scene,
    topology::{Ip, Topology, dst_address, src_address},
};

pub(crate) use self::{
    icmp::{ping, ping_both},
    packet::{Frame, Sender, Tap, checksum, frame, udp_frame, udp_packet, udp_packet_between},
    tcp::{Listener, bulk, connect, tcp, tcp_to},
    tun::{Tun, Wire},
};

/// Where probes go. bpf/common.h has the same number.
pub(crate) const PORT: u16 = 9004;

/// How long a packet that must arrive may take.
fn arrive() -> Duration {
    crate::fail::patience()
}

/// Keeps this thread, and with it what it sends through a pair, on one CPU: what
/// is sent later is received later.
pub(crate) fn stay_on_one_cpu() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("staying on CPU 0")
}

fn any(ip: Ip) -> IpAddr {
    match ip {
        Ip::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Ip::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A UDP socket that waits for probes in a namespace.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: UdpSocket,
    /// The namespace and its devices, for messages.
    place: String,
}

/// A namespace and its devices, for a message.
fn place(ns: &Netns) -> String {
    format!("{}, {}", ns.name, scene::names(ns))
}

impl Receiver {
    /// Opens one.
    pub(crate) fn new(ns: &Netns, ip: Ip) -> Result<Self> {
        let socket =
            ns.enter(|| UdpSocket::bind((any(ip), PORT)).context("binding a UDP socket"))?;
        Ok(Self {
            socket,
            place: place(ns),
        })
    }

    /// Receives what is for a group as well.
    pub(crate) fn join(&self, group: Ipv4Addr, on: IpAddr) -> Result<()> {
        let IpAddr::V4(on) = on else {
            bail!("{on} is no IPv4 address");
        };
        self.socket
            .join_multicast_v4(&group, &on)
            .with_context(|| format!("joining {group}"))
    }

    fn port(&self) -> Result<u16> {
        let address = self.socket.local_addr();
        Ok(address.context("asking for a socket's port")?.port())
    }

    /// The next probe's payload, or `None` when none comes within `wait`.
    fn next(&self, wait: Duration) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(wait))?;
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(e) => Err(e).context("receiving a probe"),
        }
    }

    /// Fails unless a probe with this payload arrives.
    pub(crate) fn must_get(&self, payload: &[u8]) -> Verdict {
        match self.next(arrive())? {
            Some(got) if got == payload => Ok(()),
            Some(got) => Err(failed(
                reason::WRONG_VALUE,
                format!(
                    "{}: a probe of {} bytes arrived changed, with {} bytes",
                    self.place,
                    payload.len(),
                    got.len()
                ),
            )),
            None => Err(failed(
                reason::NOT_DELIVERED,
                format!(
                    "{}: expected a probe of {} bytes, got none",
                    self.place,
                    payload.len()
                ),
            )),
        }
    }

    /// Fails if any probe has arrived, by the arrival of `last`, which was sent
    /// behind them from the same CPU ([`stay_on_one_cpu`]). Time would not do: the
    /// backlog may have been left to ksoftirqd.
    pub(crate) fn must_get_only(&self, last: &[u8]) -> Verdict {
        match self.next(arrive())? {
            Some(got) if got == last => Ok(()),
            Some(got) => Err(failed(
                reason::WRONGLY_DELIVERED,
                format!(
                    "{}: expected no probe but the last, got one of {} bytes before it: {:?}",
                    self.place,
                    got.len(),
                    String::from_utf8_lossy(&got)
                ),
            )),
            None => Err(failed(
                reason::NOT_DELIVERED,
                format!(
                    "{}: expected the probe that was sent last, got none",
                    self.place
                ),
            )),
        }
    }
}

/// Sends a probe from ns_src to ns_dst.
pub(crate) fn send(t: &Topology, ip: Ip, payload: &[u8]) -> Result<()> {
    send_to(&t.src, SocketAddr::new(dst_address(ip), PORT), payload)
}

/// Sends a datagram out of a namespace.
pub(crate) fn send_to(from: &Netns, to: SocketAddr, payload: &[u8]) -> Result<()> {
    from.enter(|| {
        let any = if to.is_ipv4() {
            any(Ip::V4)
        } else {
            any(Ip::V6)
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket
            .send_to(payload, to)
            .with_context(|| format!("sending a datagram to {to}"))?;
        Ok(())
    })
}

/// A probe from ns_src to ns_dst that is sent back.
pub(crate) fn echo(t: &Topology, ip: Ip) -> Verdict {
    const PROBE: &[u8] = b"a probe that comes back";
    let there = Receiver::new(&t.dst, ip)?;
    let socket = t.src.enter(|| {
        let socket = UdpSocket::bind((any(ip), 0)).context("binding a UDP socket")?;
        socket.connect((dst_address(ip), PORT))?;
        socket.send(PROBE).context("sending a probe")?;
        Ok(socket)
    })?;
    let back = Receiver {
        socket,
        place: place(&t.src),
    };
    there.must_get(PROBE)?;
    there
        .socket
        .send_to(PROBE, SocketAddr::new(src_address(ip), back.port()?))
        .context("sending a probe back")?;
    back.must_get(PROBE)
}

/// Sends a probe to everybody, or to a group, on the link of a device.
pub(crate) fn send_to_many(from: &Netns, device: &str, to: Ipv4Addr, payload: &[u8]) -> Result<()> {
    from.enter(|| {
        let socket = UdpSocket::bind((any(Ip::V4), 0))?;
        socket.set_broadcast(true)?;
        setsockopt(&socket, sockopt::BindToDevice, &device.into())?;
        socket
            .send_to(payload, (to, PORT))
            .with_context(|| format!("sending a probe to {to}"))?;
        Ok(())
    })
}
