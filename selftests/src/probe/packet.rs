// SPDX-License-Identifier: GPL-2.0-only
//! Packets byte by byte, and packet sockets.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::sys::socket::{MsgFlags, recv};

use super::PORT;
use crate::{
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

/// The checksum of IPv4, ICMP and UDP.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|p| u32::from(p[0]) << 8 | u32::from(*p.get(1).unwrap_or(&0)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A packet socket on one device.
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

    /// Has a frame leave by the device.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        nix::unistd::write(&self.fd, frame).context("sending a frame")?;
        Ok(())
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
