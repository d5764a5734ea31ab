// SPDX-License-Identifier: GPL-2.0-only
//! Echo requests.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto,
    setsockopt, socket, sockopt,
};
use protocol::reason;

use super::packet::checksum;
use crate::{
    fail::{Verdict, failed},
    netns::Netns,
    scene,
    topology::{Ip, Topology, dst_address, src_address},
};

/// Both directions of an echo between ns_src and ns_dst.
pub(crate) fn ping_both(t: &Topology, ip: Ip) -> Verdict {
    ping(&t.src, dst_address(ip))?;
    ping(&t.dst, src_address(ip))
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
                "{}, {}: expected an answer to echo request {sequence} to {to}, got none",
                from.name,
                scene::names(from)
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
