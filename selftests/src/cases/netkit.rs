// SPDX-License-Identifier: GPL-2.0-only
//! Programs of a netkit pair itself, which run where one of its devices
//! transmits: not at tc ingress, and nobody there can take a packet back.

use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes},
    link::Pair,
    probe::{self, Receiver, Sender},
    topology::{Ip, MAC_DST, MAC_DST_FWD, MAC_SRC, MAC_SRC_FWD, Topology},
};

const PROBE: &[u8] = b"a probe that a netkit device transmits";

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
    let t = Topology::quiet(Pair::Netkit)?;
    let inside = Receiver::new(&t.dst, Ip::V4)?;
    let outside = Receiver::new(&t.fwd, Ip::V4)?;
    let frame = frame(MAC_DST, MAC_DST_FWD);
    let sender = Sender::new(&t.fwd, t.dst_fwd)?;
    // It would arrive, but for the program.
    sender.send_each(&frame, 1)?;
    inside.must_get(PROBE)?;
    let program = Redirect::to("peer_netkit_primary", t.dst_dev)?;
    let _link = program.at_netkit(&t.fwd, t.dst_fwd)?;
    sender.send_each(&frame, FRAMES)?;
    ran(&program, "ns_fwd, dst_fwd: probes seen when transmitted")?;
    inside.must_get_nothing()?;
    outside.must_get_nothing()
}

/// What the container transmits. From the host, where the packet is when the
/// program runs, the other pair would do.
fn peer() -> Verdict {
    let t = Topology::quiet(Pair::Netkit)?;
    let receiver = Receiver::new(&t.src, Ip::V4)?;
    let frame = frame(MAC_SRC, MAC_SRC_FWD);
    let sender = Sender::new(&t.dst, t.dst_dev)?;
    let program = Redirect::to("peer_netkit_peer", t.src_fwd)?;
    let _link = program.at_netkit(&t.fwd, t.dst_fwd)?;
    sender.send_each(&frame, FRAMES)?;
    ran(&program, "ns_dst, dst: probes seen when transmitted")?;
    receiver.must_get_nothing()
}

fn frame(to: crate::link::Mac, from: crate::link::Mac) -> Vec<u8> {
    probe::frame(to, from, libc::ETH_P_IP as u16, &probe::udp_packet(PROBE))
}

fn ran(program: &Redirect, what: &str) -> Verdict {
    becomes(reason::WRONG_COUNT, what, || program.hits().1, FRAMES)
}
