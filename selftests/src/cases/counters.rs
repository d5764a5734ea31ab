// SPDX-License-Identifier: GPL-2.0-only
//! What the devices count.

use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, same},
    link::{self, Pair},
    probe::{self, Receiver},
    topology::{Ip, Topology},
};

const PROBES: u64 = 25;
const PAYLOAD: [u8; 100] = [7; 100];
/// Ethernet, IPv4 and UDP headers.
const L2_LENGTH: u64 = 14 + 20 + 8 + PAYLOAD.len() as u64;

pub(super) fn cases() -> Vec<Case> {
    let why = "5.10 does not count what the peer receives";
    let old = |case: Case| {
        case.on(
            Some(protocol::Arm::Upstream),
            &["5.10"],
            protocol::Expect::Fail {
                reason: reason::WRONG_COUNT.into(),
            },
            why,
        )
    };
    vec![
        old(Case::feature("counts_rx_veth", &["R3"], "Verify that a veth peer counts each packet received once, with its L2 length, and the host end sends none", || {
            counts(Pair::Veth)
        })),
        Case::feature("counts_rx_netkit", &["R3"], "Verify that a netkit peer counts each packet received once, with its L2 length, and the host end sends none", || {
            counts(Pair::Netkit)
        })
        .needs_netkit(),
    ]
}

fn counts(pair: Pair) -> Verdict {
    let t = Topology::quiet(pair)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let peer = || t.dst.enter(|| link::counters("dst"));
    let host = || t.fwd.enter(|| link::counters("dst_fwd"));
    let (peer_before, host_before) = (peer()?, host()?);
    for _ in 0..PROBES {
        probe::send(&t, Ip::V4, &PAYLOAD)?;
        receiver.must_get(&PAYLOAD)?;
    }
    let (peer_after, host_after) = (peer()?, host()?);
    let grown = |a: (u64, u64), b: (u64, u64)| (b.0 - a.0, b.1 - a.1);
    same(
        reason::WRONG_COUNT,
        "ns_dst, dst: packets and bytes received",
        grown(peer_before.rx, peer_after.rx),
        (PROBES, PROBES * L2_LENGTH),
    )?;
    same(
        reason::WRONG_COUNT,
        "ns_fwd, dst_fwd: packets and bytes transmitted",
        grown(host_before.tx, host_after.tx),
        (0, 0),
    )
}
