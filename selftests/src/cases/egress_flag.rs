// SPDX-License-Identifier: GPL-2.0-only
//! BPF_F_EGRESS, which bases from 7.3 on have: the peer transmits the packet.

use anyhow::Result;
use protocol::reason;

use super::{Case, returns};
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes, same},
    link::{self, Pair},
    netns::Netns,
    probe::{self, Receiver},
    topology::{Ip, MAC_DST_FWD, Topology, dst_address},
};

const BPF_F_EGRESS: u64 = 1 << 1;
const PROBE: &[u8] = b"a probe that the peer transmits";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "returns_redirect_for_egress_flag",
            &["helper"],
            "Verify that the helper takes BPF_F_EGRESS",
            || {
                returns::returns(
                    "loopback's index",
                    1,
                    BPF_F_EGRESS,
                    returns::TC_ACT_REDIRECT,
                )
            },
        )
        .needs_egress_flag(),
        Case::feature(
            "peer_transmits_veth",
            &["carry", "kernel:tc_redirect_peer_ing"],
            "Verify that with BPF_F_EGRESS a veth peer transmits the packet, and receives none",
            || transmits(Pair::Veth, Hook::Ingress),
        )
        .needs_egress_flag(),
        Case::feature(
            "peer_transmits_netkit",
            &["carry", "kernel:tc_redirect_peer_ing"],
            "Verify that with BPF_F_EGRESS a netkit peer transmits the packet, and receives none",
            || transmits(Pair::Netkit, Hook::Ingress),
        )
        .needs_egress_flag(),
        Case::feature(
            "peer_transmits_at_egress",
            &["carry"],
            "Verify that with BPF_F_EGRESS a program at tc egress has the peer transmit the packet: nobody has to take it back",
            || transmits(Pair::Veth, Hook::Egress),
        )
        .needs_egress_flag(),
        Case::feature(
            "peer_transmits_in_netkit_primary",
            &["carry"],
            "Verify that with BPF_F_EGRESS a netkit device's own program has the peer of another device transmit the packet",
            netkit_program,
        )
        .needs_egress_flag(),
    ]
}

/// Where on the host the program that asks for it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hook {
    Ingress,
    Egress,
}

/// What the container's device transmits comes back to the host's end.
fn transmits(pair: Pair, hook: Hook) -> Verdict {
    let t = Topology::quiet(pair)?;
    let to = dst_address(Ip::V4);
    t.src
        .enter(|| link::add_neighbour(t.src_dev, to, MAC_DST_FWD))?;
    t.fwd.enter(|| link::add_address(t.dst_fwd, to))?;
    let receiver = Receiver::new(&t.fwd, Ip::V4)?;
    let program = Redirect::load("peer_probe", |r| {
        r.target = t.dst_fwd;
        r.flags = BPF_F_EGRESS;
    })?;
    let way_out = Redirect::to("plain", t.dst_fwd)?;
    match hook {
        Hook::Ingress => {
            program.at_ingress(&t.fwd, t.src_fwd)?;
        }
        Hook::Egress => {
            way_out.at_ingress(&t.fwd, t.src_fwd)?;
            program.at_egress(&t.fwd, t.dst_fwd)?;
        }
    }
    let counters = |ns: &Netns, name| ns.enter(|| link::counters(name));
    let before = counters(&t.dst, "dst")?;
    let host_before = counters(&t.fwd, "dst_fwd")?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver
        .must_get(PROBE)
        .map_err(|e| e.with(format!("ns_fwd: program ran for {:?}", program.hits())))?;
    let after = counters(&t.dst, "dst")?;
    let host_after = counters(&t.fwd, "dst_fwd")?;
    same(
        reason::WRONG_COUNT,
        "packets that dst transmitted and received, and that dst_fwd received",
        (
            after.tx.0 - before.tx.0,
            after.rx.0 - before.rx.0,
            host_after.rx.0 - host_before.rx.0,
        ),
        (1, 0, 1),
    )
}

/// A netkit device runs its program with its peer as the packet's device: the
/// index is one of ns_dst, and the end that transmits is in ns_fwd.
fn netkit_program() -> Verdict {
    let t = Topology::quiet(Pair::Netkit)?;
    let (_, other) = t.other_pair()?;
    let out = Redirect::to("plain", t.dst_fwd)?;
    let program = Redirect::load("peer_netkit_primary", |r| {
        r.target = other;
        r.flags = BPF_F_EGRESS;
    })?;
    let _link = program.at_netkit(&t.fwd, t.dst_fwd)?;
    out.at_ingress(&t.fwd, t.src_fwd)?;
    let counters = |ns: &Netns, name| ns.enter(|| link::counters(name));
    let sent = || -> Result<(u64, u64)> {
        Ok((
            counters(&t.fwd, "other_fwd")?.tx.0,
            counters(&t.dst, "other")?.rx.0,
        ))
    };
    let before = sent()?;
    probe::send(&t, Ip::V4, PROBE)?;
    becomes(
        reason::WRONG_COUNT,
        "packets that other_fwd transmitted and its peer received",
        || {
            sent()
                .ok()
                .map(|after| (after.0 - before.0, after.1 - before.1))
        },
        Some((1, 1)),
    )
    .map_err(|e| {
        e.with(format!(
            "ns_fwd, dst_fwd: program ran for {:?}",
            program.hits()
        ))
    })
}
