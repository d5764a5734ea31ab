// SPDX-License-Identifier: GPL-2.0-only
//! Where a kernel has no drop reasons, a device counts what was dropped.

use anyhow::Result;
use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes},
    link::{self, Counters, Pair},
    probe::{self, Tap},
    topology::{MAC_SRC, MAC_SRC_FWD, Topology},
};

const PROTOCOL: u16 = 0x88b5;
const FRAMES: u64 = 5;
const HAS_REASONS: &str = "this kernel has drop reasons, and cases of their own for them";

pub(super) fn cases() -> Vec<Case> {
    [
        case("bad_ifindex", "an index without a device", || {
            dropped(|_| Ok(0x7fff_fff0))
        }),
        case(
            "unpaired_device",
            "a device that is not one of a pair",
            || {
                dropped(|t| {
                    t.fwd.enter(|| {
                        let dummy = link::add_dummy("dummy9")?;
                        link::set_up(dummy, true)?;
                        Ok(dummy)
                    })
                })
            },
        ),
        case("peer_down", "a peer that is down", || {
            dropped(|t| {
                t.dst.enter(|| link::set_up(t.dst_dev, false))?;
                Ok(t.dst_fwd)
            })
        }),
        case("same_netns", "a peer in the same namespace", || {
            dropped(|t| {
                t.fwd
                    .enter(|| super::drops::pair_in_one_place(Pair::Veth, &t.fwd))
            })
        }),
        case("egress", "use at egress", egress),
        case("loop", "a loop", endless).on(
            Some(Arm::Upstream),
            &[],
            Expect::Hang,
            "upstream does not bound the rounds: the CPU never comes back",
        ),
    ]
    .into_iter()
    .map(|case| {
        case.on(
            Some(Arm::Upstream),
            &[],
            Expect::Fail {
                reason: reason::WRONG_COUNT.into(),
            },
            "upstream counts such a packet nowhere",
        )
        .needs(
            || Ok(!super::has_drop_reasons()?),
            &["6.1", "6.12", "7.3"],
            HAS_REASONS,
        )
    })
    .collect()
}

fn case(name: &str, what: &str, run: fn() -> Verdict) -> Case {
    Case::feature(
        format!("drop_counter_{name}"),
        &["R14"],
        format!(
            "Verify that each packet dropped for {what} counts as dropped by the device whose program asked"
        ),
        run,
    )
}

fn dropped(target: impl FnOnce(&Topology) -> Result<u32>) -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let program = Redirect::to("peer", target(&t)?)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    counted(&t, "src_fwd", |c| c.rx_dropped)
}

/// At egress it is transmission that fails.
fn egress() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let out = Redirect::to("plain", t.dst_fwd)?;
    let program = Redirect::to("peer", t.dst_fwd)?;
    out.at_ingress(&t.fwd, t.src_fwd)?;
    program.at_egress(&t.fwd, t.dst_fwd)?;
    counted(&t, "dst_fwd", |c| c.tx_dropped)
}

/// An even number of switches ends at dst_fwd, whose program asks once too often.
fn endless() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let programs = [
        Redirect::to("peer", t.dst_fwd)?,
        Redirect::to("peer", t.dst_dev)?,
        Redirect::to("peer", t.dst_fwd)?,
    ];
    programs[0].at_ingress(&t.fwd, t.src_fwd)?;
    programs[1].at_ingress(&t.dst, t.dst_dev)?;
    programs[2].at_ingress(&t.fwd, t.dst_fwd)?;
    counted(&t, "dst_fwd", |c| c.rx_dropped)
}

/// Sends frames from ns_src, each of which a device of ns_fwd counts as dropped.
fn counted(t: &Topology, device: &str, counter: fn(&Counters) -> u64) -> Verdict {
    let tap = Tap::new(&t.src, t.src_dev)?;
    let frame = probe::frame(MAC_SRC_FWD, MAC_SRC, PROTOCOL, &[0; 50]);
    let before = t.fwd.enter(|| link::counters(device))?;
    for _ in 0..FRAMES {
        tap.send(&frame)?;
    }
    becomes(
        reason::WRONG_COUNT,
        &format!("ns_fwd, {device}: packets dropped"),
        || {
            t.fwd
                .enter(|| link::counters(device))
                .map_or(0, |now| counter(&now))
        },
        counter(&before) + FRAMES,
    )
}
