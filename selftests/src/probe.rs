// SPDX-License-Identifier: GPL-2.0-only
//! Packets that are sent to see what becomes of them.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto,
    setsockopt, socket, sockopt,
};
use protocol::reason;

use crate::{
    fail::{Verdict, failed},
    netns::Netns,
    topology::{Ip, Topology, dst_address, src_address},
};

/// Where probes go. bpf/common.h has the same number.
pub(crate) const PORT: u16 = 9004;

/// How long a packet that must arrive may take: it takes microseconds, and the
/// rest is for a machine that is busy with other things.
const ARRIVE: Duration = Duration::from_secs(2);

/// How long a packet that must not arrive is waited for. Delivery is over when
/// the sender's system call returns, unless the backlog is served by ksoftirqd.
const STAY_AWAY: Duration = Duration::from_millis(60);

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
    ns: &'static str,
}

impl Receiver {
    /// Opens one.
    pub(crate) fn new(ns: &Netns, ip: Ip) -> Result<Self> {
        let socket =
            ns.enter(|| UdpSocket::bind((any(ip), PORT)).context("binding a UDP socket"))?;
        Ok(Self {
            socket,
            ns: ns.name,
        })
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
        match self.next(ARRIVE)? {
            Some(got) if got == payload => Ok(()),
            Some(got) => Err(failed(
                reason::WRONG_VALUE,
                format!(
                    "{}: a probe of {} bytes arrived changed, with {} bytes",
                    self.ns,
                    payload.len(),
                    got.len()
                ),
            )),
            None => Err(failed(
                reason::NOT_DELIVERED,
                format!(
                    "{}: expected a probe of {} bytes, got none",
                    self.ns,
                    payload.len()
                ),
            )),
        }
    }

    /// Fails if any probe arrives.
    pub(crate) fn must_get_nothing(&self) -> Verdict {
        match self.next(STAY_AWAY)? {
            None => Ok(()),
            Some(got) => Err(failed(
                reason::WRONGLY_DELIVERED,
                format!(
                    "{}: expected no probe, got one of {} bytes",
                    self.ns,
                    got.len()
                ),
            )),
        }
    }
}

/// Sends a probe from ns_src to ns_dst.
pub(crate) fn send(t: &Topology, ip: Ip, payload: &[u8]) -> Result<()> {
    t.src.enter(|| {
        let socket = UdpSocket::bind((any(ip), 0))?;
        socket
            .send_to(payload, (dst_address(ip), PORT))
            .context("sending a probe")?;
        Ok(())
    })
}

/// A TCP connection from ns_src to ns_dst that carries data both ways.
pub(crate) fn tcp(t: &Topology, ip: Ip) -> Verdict {
    let listener = t
        .dst
        .enter(|| TcpListener::bind((any(ip), PORT)).context("listening"))?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = accept_within(&listener, ARRIVE)?;
        stream.set_read_timeout(Some(ARRIVE))?;
        let mut buffer = [0; 4096];
        stream.read_exact(&mut buffer)?;
        stream.write_all(&buffer)
    });
    let sent: Vec<u8> = (0..4096).map(|i| i as u8).collect();
    let got = t.src.enter(|| {
        let to = SocketAddr::new(dst_address(ip), PORT);
        let mut stream = TcpStream::connect_timeout(&to, ARRIVE).context("connecting")?;
        stream.set_read_timeout(Some(ARRIVE))?;
        stream.write_all(&sent).context("sending")?;
        let mut buffer = vec![0; sent.len()];
        stream.read_exact(&mut buffer).context("receiving")?;
        Ok(buffer)
    });
    let served = server
        .join()
        .map_err(|_| failed(reason::PANIC, "the server panicked"))?;
    match got {
        Ok(got) if got == sent => {
            served.map_err(|e| failed(reason::NOT_DELIVERED, format!("ns_dst: serving: {e}")))
        }
        Ok(_) => Err(failed(
            reason::WRONG_VALUE,
            "ns_src: other bytes came back than were sent",
        )),
        Err(e) => Err(failed(
            reason::NOT_DELIVERED,
            format!(
                "ns_src: TCP to {}: {e:#}; ns_dst: {served:?}",
                dst_address(ip)
            ),
        )),
    }
}

fn accept_within(
    listener: &TcpListener,
    wait: Duration,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let start = std::time::Instant::now();
    loop {
        match listener.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < wait => {
                thread::sleep(Duration::from_millis(2));
            }
            Ok((stream, from)) => {
                stream.set_nonblocking(false)?;
                return Ok((stream, from));
            }
            Err(e) => return Err(e),
        }
    }
}

/// Echo requests from `from` to `to`, which must all be answered.
pub(crate) fn ping(from: &Netns, to: IpAddr) -> Verdict {
    let (family, protocol, request, answer) = if to.is_ipv4() {
        (AddressFamily::Inet, SockProtocol::Icmp, 8, 0)
    } else {
        (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129)
    };
    let got = from.enter(|| {
        let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .context("opening a raw socket")?;
        setsockopt(
            &fd,
            sockopt::ReceiveTimeout,
            &nix::sys::time::TimeVal::new(2, 0),
        )?;
        for sequence in 0..3_u8 {
            let mut echo = [
                request, 0, 0, 0, 0x52, 0x50, 0, sequence, b'p', b'i', b'n', b'g',
            ];
            // The kernel fills in the checksum of ICMPv6, not that of ICMP.
            if to.is_ipv4() {
                let sum = checksum(&echo);
                echo[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            let address = SockaddrStorage::from(SocketAddr::new(to, 0));
            sendto(fd.as_raw_fd(), &echo, &address, MsgFlags::empty())
                .context("sending an echo request")?;
            if !answered(&fd, answer, sequence, to.is_ipv4())? {
                return Ok(Some(sequence));
            }
        }
        Ok(None)
    })?;
    match got {
        None => Ok(()),
        Some(sequence) => Err(failed(
            reason::NOT_DELIVERED,
            format!(
                "{}: echo request {sequence} to {to} was not answered",
                from.name
            ),
        )),
    }
}

fn answered(fd: &OwnedFd, kind: u8, sequence: u8, with_header: bool) -> Result<bool> {
    let mut buffer = [0; 256];
    // Other ICMP messages (neighbour discovery) come to a raw socket as well.
    for _ in 0..20 {
        match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                let start = if with_header {
                    usize::from(buffer[0] & 15) * 4
                } else {
                    0
                };
                let message = &buffer[start.min(length)..length];
                if message.len() >= 8
                    && message[0] == kind
                    && message[4..6] == [0x52, 0x50]
                    && message[7] == sequence
                {
                    return Ok(true);
                }
            }
            Err(nix::errno::Errno::EAGAIN) => return Ok(false),
            Err(e) => return Err(e).context("waiting for an echo"),
        }
    }
    Ok(false)
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|p| u32::from(p[0]) << 8 | u32::from(*p.get(1).unwrap_or(&0)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Both directions of an echo between ns_src and ns_dst.
pub(crate) fn ping_both(t: &Topology, ip: Ip) -> Verdict {
    ping(&t.src, dst_address(ip))?;
    ping(&t.dst, src_address(ip))
}

/// A TUN device: what is written to it arrives on the kernel's side without a
/// link-layer header.
#[derive(Debug)]
pub(crate) struct Tun {
    file: std::fs::File,
}

impl Tun {
    /// Makes one in this namespace.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("opening /dev/net/tun")?;
        // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        // SAFETY: the descriptor is open and the pointer is to a valid ifreq.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &request) };
        nix::errno::Errno::result(done).with_context(|| format!("making {name}"))?;
        Ok(Self { file })
    }

    /// Has a packet arrive on it.
    pub(crate) fn inject(&mut self, packet: &[u8]) -> Result<()> {
        self.file
            .write_all(packet)
            .context("writing to the TUN device")
    }
}

/// An IPv4 UDP packet from ns_src's address to ns_dst's, without checksum.
pub(crate) fn udp_packet(payload: &[u8]) -> Vec<u8> {
    let length = (28 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    for address in [src_address(Ip::V4), dst_address(Ip::V4)] {
        if let IpAddr::V4(a) = address {
            packet.extend(a.octets());
        }
    }
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    for word in [40_000, PORT, length - 20, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// A packet socket that counts the probes it sees on one device.
#[derive(Debug)]
pub(crate) struct Tap {
    fd: OwnedFd,
}

impl Tap {
    /// Opens one in a namespace, for every protocol.
    pub(crate) fn new(ns: &Netns, index: u32) -> Result<Self> {
        ns.enter(|| {
            let all = (libc::ETH_P_ALL as u16).to_be();
            // SAFETY: no pointers are passed.
            let fd = unsafe {
                libc::socket(
                    libc::AF_PACKET,
                    libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                    i32::from(all),
                )
            };
            let fd = nix::errno::Errno::result(fd).context("opening a packet socket")?;
            // SAFETY: the descriptor was just opened and nothing else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            // SAFETY: an all-zero sockaddr_ll is a valid value of this plain C struct.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = all;
            address.sll_ifindex = index as i32;
            let length = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: the pointer and the length are those of a valid sockaddr_ll.
            let done = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
            nix::errno::Errno::result(done).context("binding a packet socket")?;
            Ok(Self { fd })
        })
    }

    /// How many frames that end with `payload` it has seen since the last time.
    pub(crate) fn count(&self, payload: &[u8]) -> usize {
        let mut buffer = vec![0; 65_536];
        let mut seen = 0;
        while let Ok(length) = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            seen += usize::from(buffer[..length].ends_with(payload));
        }
        seen
    }
}
