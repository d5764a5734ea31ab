// SPDX-License-Identifier: GPL-2.0-only
//! Programs of a netkit pair itself, which run where one of its devices
//! transmits: not at tc ingress, and nobody there can take a packet back.

use std::net::Ipv4Addr;

use anyhow::Result;
use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes},
    link::{self, Mac, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver, Sender},
    topology::{Ip, MAC_DST, MAC_DST_FWD, MAC_SRC, MAC_SRC_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that a netkit device transmits";
const LAST: &[u8] = b"the one behind it, which must arrive";
const STRANGER: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 9);
const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 16, 2, 100);

/// As many as cannot be overlooked in memory if each of them stays there.
const FRAMES: u64 = 30_000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "dropped_in_netkit_primary",
            &["carry", "R12"],
            "Verify that packets are dropped, and not lost, when a program on a netkit pair's primary device uses the helper",
            primary,
        )
        .needs_netkit(),
        Case::feature(
            "dropped_in_netkit_peer",
            &["carry", "R12"],
            "Verify that packets are dropped, and not lost, when a program on a netkit pair's peer uses the helper",
            peer,
        )
        .needs_netkit(),
    ]
}

/// What the host transmits to the container. The packet is the container's
/// already when the program runs, and from there the pair's other end is a
/// target that would do at tc ingress.
fn primary() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::quiet(Pair::Netkit)?;
    t.fwd
        .enter(|| link::add_address(t.dst_fwd, dst_address(Ip::V4)))?;
    let inside = Receiver::new(&t.dst, Ip::V4)?;
    let outside = Receiver::new(&t.fwd, Ip::V4)?;
    let send = sends(&t.fwd, t.dst_fwd, MAC_DST, MAC_DST_FWD)?;
    let program = Redirect::to("peer_netkit_primary", t.dst_dev)?;
    let link = program.at_netkit(&t.fwd, t.dst_fwd)?;
    send(PROBE, FRAMES)?;
    ran(&program, "ns_fwd, dst_fwd: probes seen when transmitted")?;
    // It arrives, but for the program, and at tc ingress it is switched.
    drop(link);
    send(LAST, 1)?;
    inside.must_get_only(LAST)?;
    Redirect::to("peer_probe", t.dst_dev)?.at_ingress(&t.dst, t.dst_dev)?;
    send(LAST, 1)?;
    outside.must_get_only(LAST)
}

/// What the container transmits. From the host, where the packet is when the
/// program runs, the other pair would do.
fn peer() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::quiet(Pair::Netkit)?;
    t.src
        .enter(|| link::add_address(t.src_dev, dst_address(Ip::V4)))?;
    let receiver = Receiver::new(&t.src, Ip::V4)?;
    let send = sends(&t.dst, t.dst_dev, MAC_SRC, MAC_SRC_FWD)?;
    let program = Redirect::to("peer_netkit_peer", t.src_fwd)?;
    let link = program.at_netkit(&t.fwd, t.dst_fwd)?;
    send(PROBE, FRAMES)?;
    ran(&program, "ns_dst, dst: probes seen when transmitted")?;
    // At tc ingress the same target is one where it is received.
    drop(link);
    Redirect::to("peer_probe", t.src_fwd)?.at_ingress(&t.fwd, t.dst_fwd)?;
    send(LAST, 1)?;
    receiver.must_get_only(LAST)
}

/// Sends probes by a device, not from an address that a receiver has itself: he
/// would not take them.
fn sends(ns: &Netns, index: u32, to: Mac, from: Mac) -> Result<impl Fn(&[u8], u64) -> Result<()>> {
    let sender = Sender::new(ns, index)?;
    Ok(move |payload: &[u8], count| {
        let packet = probe::udp_packet_between(STRANGER, CONTAINER, PORT, payload);
        let frame = probe::frame(to, from, libc::ETH_P_IP as u16, &packet);
        sender.send_each(&frame, count)
    })
}

fn ran(program: &Redirect, what: &str) -> Verdict {
    becomes(reason::WRONG_COUNT, what, || program.hits().1, FRAMES)
}
