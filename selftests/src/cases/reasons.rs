// SPDX-License-Identifier: GPL-2.0-only
//! Why the kernel says that it dropped a packet.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use protocol::{Arm, Expect, reason};

use super::{Case, WAYS};
use crate::{
    bpf::{Freed, Redirect},
    fail::{Stop, Verdict, becomes, same},
    link::{self, Pair},
    probe::{self, Tap},
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology},
};

/// IEEE 802 local experimental: nothing else sends it.
const PROTOCOL: u16 = 0x88b5;
const FRAMES: u64 = 5;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, ip, way) in WAYS {
        // The protocol is one of its own, whatever IP there is.
        if ip == Ip::V4 {
            cases.extend(over(pair, way));
        }
    }
    cases.push(
        case(
            "netkit",
            "use in a netkit device's own program: TC_EGRESS",
            netkit,
        )
        .needs_netkit(),
    );
    cases.push(case("loop", "a loop: TC_REDIRECT_LOOP", endless).on(
        Some(Arm::Upstream),
        &[],
        Expect::Hang,
        "upstream does not bound the rounds: the CPU never comes back",
    ));
    cases
        .into_iter()
        .map(|case| {
            case.on(
                Some(Arm::Upstream),
                &[],
                Expect::Fail {
                    reason: reason::WRONG_VALUE.into(),
                },
                "upstream drops without a reason (NOT_SPECIFIED)",
            )
            .needs(
                super::has_drop_reasons,
                &["5.10"],
                "kernels before 5.17 have no drop reasons",
            )
        })
        .collect()
}

fn over(pair: Pair, way: &str) -> [Case; 5] {
    [
        case(
            &format!("bad_ifindex{way}"),
            "an index without a device: TC_INGRESS",
            move || drops(pair, "TC_INGRESS", |_| Ok(0x7fff_fff0)),
        ),
        case(
            &format!("unpaired_device{way}"),
            "a device that is not one of a pair: TC_INGRESS",
            move || {
                drops(pair, "TC_INGRESS", |t| {
                    // No dummy: it has a lock that 7.3 takes with netkit's while it
                    // clears a namespace away, in either order, which lockdep reports
                    // although rtnl is held.
                    t.fwd
                        .enter(|| link::add_bridge("bridge9", [2, 0, 0, 0, 0, 9]))
                })
            },
        ),
        case(
            &format!("peer_down{way}"),
            "a peer that is down: DEV_READY",
            move || {
                drops(pair, "DEV_READY", |t| {
                    t.dst.enter(|| link::set_up(t.dst_dev, false))?;
                    Ok(t.dst_fwd)
                })
            },
        ),
        case(
            &format!("same_netns{way}"),
            "a peer in the same namespace: TC_INGRESS",
            move || {
                drops(pair, "TC_INGRESS", |t| {
                    t.fwd
                        .enter(|| super::drops::pair_in_one_place(pair, &t.fwd))
                })
            },
        ),
        case(
            &format!("egress{way}"),
            "use at egress: TC_EGRESS",
            move || egress(pair),
        ),
    ]
    .map(|case| case.over(pair))
}

fn case(name: &str, what: &str, run: impl Fn() -> Verdict + Send + Sync + 'static) -> Case {
    Case::feature(
        format!("drop_reason_{name}"),
        &["R14"],
        format!(
            "Verify that each packet dropped for {what} is traced with that reason and no other"
        ),
        run,
    )
}

/// Counts the frames from now on. A kernel without drop reasons is skipped before.
fn freed() -> Result<Freed, Stop> {
    let freed = Freed::count(PROTOCOL)?;
    if !freed.has_reasons() {
        return Err(anyhow!(
            "this kernel's skb:kfree_skb has no drop reasons, although it is no older than 5.17"
        )
        .into());
    }
    Ok(freed)
}

fn drops(pair: Pair, wanted: &str, target: impl FnOnce(&Topology) -> Result<u32>) -> Verdict {
    let t = Topology::new(pair)?;
    let program = Redirect::to("peer", target(&t)?)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    counted(&t, wanted)
}

fn egress(pair: Pair) -> Verdict {
    let t = Topology::new(pair)?;
    let out = Redirect::to("plain", t.dst_fwd)?;
    let program = Redirect::to("peer", t.dst_fwd)?;
    out.at_ingress(&t.fwd, t.src_fwd)?;
    program.at_egress(&t.fwd, t.dst_fwd)?;
    counted(&t, "TC_EGRESS")
}

fn netkit() -> Verdict {
    let t = Topology::new(Pair::Netkit)?;
    let out = Redirect::to("plain", t.dst_fwd)?;
    let program = Redirect::to("peer_netkit_primary", t.dst_dev)?;
    out.at_ingress(&t.fwd, t.src_fwd)?;
    let _link = program.at_netkit(&t.fwd, t.dst_fwd)?;
    counted(&t, "TC_EGRESS")
}

fn endless() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let programs = [
        Redirect::to("peer", t.dst_fwd)?,
        Redirect::to("peer", t.dst_dev)?,
        Redirect::to("peer", t.dst_fwd)?,
    ];
    programs[0].at_ingress(&t.fwd, t.src_fwd)?;
    programs[1].at_ingress(&t.dst, t.dst_dev)?;
    programs[2].at_ingress(&t.fwd, t.dst_fwd)?;
    counted(&t, "TC_REDIRECT_LOOP")
}

/// Sends frames from ns_src, all of which are dropped for the reason `wanted`.
fn counted(t: &Topology, wanted: &str) -> Verdict {
    let freed = freed()?;
    let tap = Tap::new(&t.src, t.src_dev)?;
    let frame = probe::frame(MAC_SRC_FWD, MAC_SRC, PROTOCOL, &[0; 50]);
    for _ in 0..FRAMES {
        tap.send(&frame)?;
    }
    // What was not dropped yet has no wrong reason.
    becomes(
        reason::WRONG_COUNT,
        "frames dropped, for whatever reason",
        || freed.all(),
        FRAMES,
    )?;
    let expected = BTreeMap::from([(wanted.to_owned(), FRAMES)]);
    same(
        reason::WRONG_VALUE,
        "drop reasons",
        freed.by_reason(),
        expected,
    )
}
