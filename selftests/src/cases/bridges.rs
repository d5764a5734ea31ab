// SPDX-License-Identifier: GPL-2.0-only
//! A loop that no single call of the receive function sees: a bridge has what its
//! ports get received anew, on itself, while it handles it.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Freed, Redirect},
    fail::{Verdict, becomes, same},
    link::{self, Mac, Pair},
    probe::{self, Tap},
    topology::Topology,
};

const PROBE: &[u8] = b"a probe that bridges send to and fro";
/// Of both bridges: what is for one is for the other.
const BRIDGE: Mac = [2, 0, 0, 0, 0, 42];
/// What the calls may nest, and the first that is not nested: XMIT_RECURSION_LIMIT
/// of include/linux/netdevice.h is the greatest depth at which one more is let in.
const CALLS: u64 = 8 + 2;
const UNBOUNDED: &str =
    "upstream does not bound the rounds: each is a call within the last, and the stack ends";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "loop_through_bridges_is_bounded",
            &["R10", "R14"],
            "Verify that packets that programs on two bridges redirect to each other's ports are dropped before the kernel's stack is used up, and how is seen",
            endless,
        )
        .on(
            Some(Arm::Upstream),
            &["6.1", "6.12", "7.3"],
            Expect::Crash {
                says: "stack guard page was hit".into(),
            },
            UNBOUNDED,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Crash {
                says: "double fault".into(),
            },
            UNBOUNDED,
        ),
    ]
}

/// br_fwd has a port whose peer is in ns_dst, br_dst one whose peer is in ns_fwd.
fn endless() -> Verdict {
    const FRAMES: u64 = 100;
    let t = Topology::quiet(Pair::Veth)?;
    let (there, other) = t.other_pair()?;
    let br_fwd = t.fwd.enter(|| {
        let bridge = link::add_bridge("br_fwd", BRIDGE)?;
        link::add_port(bridge, there)?;
        Ok(bridge)
    })?;
    let br_dst = t.dst.enter(|| {
        let bridge = link::add_bridge("br_dst", BRIDGE)?;
        link::add_port(bridge, t.dst_dev)?;
        Ok(bridge)
    })?;
    let programs = [
        Redirect::to("peer_probe", t.dst_fwd)?,
        Redirect::to("peer_probe", other)?,
    ];
    programs[0].at_ingress(&t.fwd, br_fwd)?;
    programs[1].at_ingress(&t.dst, br_dst)?;
    let runs = || programs.iter().map(|p| p.hits().1).sum::<u64>();
    let frame = probe::frame(
        BRIDGE,
        [2, 0, 0, 0, 0, 43],
        libc::ETH_P_IP as u16,
        &probe::udp_packet(PROBE),
    );
    let wire = Tap::new(&t.dst, other)?;
    let freed = Freed::count(libc::ETH_P_IP as u16)?;
    let counted = || t.fwd.enter(|| link::counters("other_fwd"));
    let before = counted()?;
    for sent in 1..=FRAMES {
        wire.send(&frame)?;
        becomes(
            reason::WRONG_COUNT,
            "runs of the programs on both bridges",
            runs,
            sent * CALLS,
        )?;
    }
    // None of them is left to go on later.
    same(
        reason::WRONG_COUNT,
        "runs of the programs on both bridges",
        runs(),
        FRAMES * CALLS,
    )?;
    if freed.has_reasons() {
        let looped = freed.by_reason().remove("TC_REDIRECT_LOOP");
        return same(
            reason::WRONG_VALUE,
            "packets dropped for TC_REDIRECT_LOOP",
            looped.unwrap_or(0),
            FRAMES,
        );
    }
    // An even number of switches ends where the first one began.
    same(
        reason::WRONG_COUNT,
        "ns_fwd, other_fwd: packets dropped",
        counted()?.rx_dropped - before.rx_dropped,
        FRAMES,
    )
}
