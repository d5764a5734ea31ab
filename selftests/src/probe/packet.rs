// SPDX-License-Identifier: GPL-2.0-only
//! Packets byte by byte, and packet sockets.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};

use super::PORT;
use crate::{
    fail::LONG,
    link::Mac,
    netns::Netns,
    topology::{Ip, dst_address, src_address},
};

/// An Ethernet frame.
pub(crate) fn frame(to: Mac, from: Mac, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from);
    frame.extend(protocol.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame with a probe from ns_src's address to ns_dst's.
pub(crate) fn udp_frame(ip: Ip, to: Mac, from: Mac, payload: &[u8]) -> Vec<u8> {
    match ip {
        Ip::V4 => frame(to, from, libc::ETH_P_IP as u16, &udp_packet(payload)),
        Ip::V6 => frame(to, from, libc::ETH_P_IPV6 as u16, &udp_packet_v6(payload)),
    }
}

/// The same packet as [`udp_packet`] over IPv6, which has no UDP without checksum.
fn udp_packet_v6(payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut addresses = Vec::new();
    for address in [src_address(Ip::V6), dst_address(Ip::V6)] {
        if let IpAddr::V6(a) = address {
            addresses.extend(a.octets());
        }
    }
    let mut udp = Vec::new();
    for word in [40_000, PORT, length, 0] {
        udp.extend(word.to_be_bytes());
    }
    udp.extend(payload);
    // The pseudo header: addresses, length and protocol.
    let mut summed = addresses.clone();
    summed.extend(u32::from(length).to_be_bytes());
    summed.extend([0, 0, 0, 17]);
    summed.extend(&udp);
    let sum = checksum(&summed);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([17, 64]);
    packet.extend(addresses);
    packet.extend(udp);
    packet
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

/// As [`udp_packet`], with addresses and port of one's own and a checksum.
pub(crate) fn udp_packet_between(
    from: Ipv4Addr,
    to: Ipv4Addr,
    port: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = udp_packet(payload);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    // The pseudo header: addresses, protocol and length.
    let mut summed = packet[12..20].to_vec();
    summed.extend([0, 17]);
    summed.extend(&packet[24..26]);
    summed.extend(&packet[20..]);
    let sum = checksum(&summed);
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The checksum of IPv4, ICMP and UDP.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|p| u32::from(p[0]) << 8 | u32::from(*p.get(1).unwrap_or(&0)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A frame as a packet socket gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The device that it arrived on.
    pub(crate) index: u32,
    /// PACKET_HOST, PACKET_OTHERHOST, ...
    pub(crate) kind: u8,
    /// Its EtherType.
    pub(crate) protocol: u16,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

/// A packet socket on one device.
#[derive(Debug)]
pub(crate) struct Tap {
    fd: OwnedFd,
}

impl Tap {
    /// Opens one in a namespace, for every protocol.
    pub(crate) fn new(ns: &Netns, index: u32) -> Result<Self> {
        Self::for_protocol(ns, index, libc::ETH_P_ALL as u16)
    }

    fn for_protocol(ns: &Netns, index: u32, protocol: u16) -> Result<Self> {
        ns.enter(|| {
            let all = protocol.to_be();
            // SAFETY: no pointers are passed.
            let fd = unsafe {
                libc::socket(
                    libc::AF_PACKET,
                    libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                    i32::from(all),
                )
            };
            let fd = Errno::result(fd).context("opening a packet socket")?;
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
            Errno::result(done).context("binding a packet socket")?;
            Ok(Self { fd })
        })
    }

    /// Has a frame leave by the device.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        nix::unistd::write(&self.fd, frame).context("sending a frame")?;
        Ok(())
    }

    /// The next frame that ends with `payload`, and how the socket says it came.
    pub(crate) fn next(&self, payload: &[u8]) -> Option<Frame> {
        let mut buffer = vec![0; 65_536];
        loop {
            // SAFETY: an all-zero sockaddr_ll is a valid value of this plain C struct.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: pointers and lengths are those of live buffers of this function.
            let got = unsafe {
                libc::recvfrom(
                    self.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            let bytes = buffer.get(..usize::try_from(got).ok()?)?;
            if bytes.ends_with(payload) {
                return Some(Frame {
                    index: from.sll_ifindex as u32,
                    kind: from.sll_pkttype,
                    protocol: u16::from_be(from.sll_protocol),
                    bytes: bytes.to_vec(),
                });
            }
        }
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

    /// How many it has seen by each call, for what is asked again and again until
    /// it is as expected.
    pub(crate) fn counter(&self, payload: &[u8]) -> impl Fn() -> usize {
        let seen = Cell::new(0);
        move || {
            seen.set(seen.get() + self.count(payload));
            seen.get()
        }
    }
}

/// A packet socket that sees nothing and sends many frames with each call.
#[derive(Debug)]
pub(crate) struct Sender(Tap);

/// Frames in one call.
const AT_ONCE: usize = 64;

impl Sender {
    /// Opens one on a device.
    pub(crate) fn new(ns: &Netns, index: u32) -> Result<Self> {
        Tap::for_protocol(ns, index, 0).map(Self)
    }

    /// Sends a frame up to so many times: one that is refused has those of the
    /// same call after it not sent.
    pub(crate) fn send(&self, frame: &[u8], count: u64) {
        for start in (0..count).step_by(AT_ONCE) {
            let _ = self.at_once(frame, count - start);
        }
    }

    /// Sends a frame so many times. Waits while the socket's buffer is full of
    /// packets that the kernel has left to ksoftirqd, on a machine that is so
    /// busy that it does not run. Fails where none is taken for as long as
    /// anything is waited for, and on any other error.
    pub(crate) fn send_each(&self, frame: &[u8], count: u64) -> Result<()> {
        let mut left = count;
        let mut progress = Instant::now();
        while left > 0 {
            match self.at_once(frame, left) {
                Ok(sent) => {
                    left -= sent;
                    progress = Instant::now();
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) if progress.elapsed() < LONG => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("sending frame {} of {count}", count - left + 1));
                }
            }
        }
        Ok(())
    }

    /// One call for as many of `count` as go into it; says how many were sent.
    fn at_once(&self, frame: &[u8], count: u64) -> nix::Result<u64> {
        let mut part = libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: an all-zero mmsghdr is a valid value of this plain C struct.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
        let mut messages = [message; AT_ONCE];
        let length = count.min(AT_ONCE as u64) as u32;
        // SAFETY: `messages` has at least `length` entries, each of which refers
        // to `part`, and that to `frame`; sending writes to neither.
        let sent =
            unsafe { libc::sendmmsg(self.0.fd.as_raw_fd(), messages.as_mut_ptr(), length, 0) };
        Errno::result(sent).map(|n| n as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::{checksum, udp_packet_v6};

    /// Verify that the sum of a UDP packet over IPv6, its pseudo header included,
    /// comes to all ones, and that its lengths are those of what follows.
    #[test]
    fn udp_over_ipv6() {
        let packet = udp_packet_v6(b"odd");
        let length = packet.len() as u16 - 40;
        assert_eq!(packet[4..6], length.to_be_bytes());
        assert_eq!(packet[44..46], length.to_be_bytes());
        let mut summed = packet[8..].to_vec();
        // In front, where the order of 16-bit words does not matter.
        summed.splice(0..0, [0, 17, 0, length as u8]);
        assert_eq!(checksum(&summed), 0);
    }
}
