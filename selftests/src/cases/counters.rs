// SPDX-License-Identifier: GPL-2.0-only
//! What the devices count.

use anyhow::Result;
use protocol::{Arm, Expect, reason};

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

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, p) in [(Pair::Veth, "veth"), (Pair::Netkit, "netkit")] {
        for (ip, i) in [(Ip::V4, ""), (Ip::V6, "_v6")] {
            let case = Case::feature(
                format!("counts_rx_{p}{i}"),
                &["R3"],
                format!(
                    "Verify that a {p} peer counts each packet of IP{ip:?} received once, with its L2 length, and the host end neither sends nor receives any"
                ),
                move || counts(pair, ip),
            );
            cases.push(
                case.on(
                    Some(Arm::Upstream),
                    &["5.10"],
                    Expect::Fail {
                        reason: reason::WRONG_COUNT.into(),
                    },
                    "5.10 does not count what the peer receives",
                )
                .over(pair),
            );
        }
    }
    cases.push(Case::regression(
        "redirect_counts_veth",
        "Verify that what bpf_redirect() sends into a veth pair is counted once as transmitted and once as received",
        sent,
    ));
    cases
}

/// The way through the backlog: both ends have a part in it.
fn sent() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    t.address_frames_to_the_end(Ip::V4)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    Redirect::to("plain", t.dst_fwd)?.at_ingress(&t.fwd, t.src_fwd)?;
    let counters = || -> Result<_> {
        let peer = t.dst.enter(|| link::counters("dst"))?;
        let host = t.fwd.enter(|| link::counters("dst_fwd"))?;
        Ok([host.tx, host.rx, peer.rx, peer.tx])
    };
    let before = counters()?;
    for _ in 0..PROBES {
        probe::send(&t, Ip::V4, &PAYLOAD)?;
        receiver.must_get(&PAYLOAD)?;
    }
    let after = counters()?;
    let all = (PROBES, PROBES * l2_length(Ip::V4));
    for (what, at, expected) in [
        ("ns_fwd, dst_fwd: packets and bytes transmitted", 0, all),
        ("ns_fwd, dst_fwd: packets and bytes received", 1, (0, 0)),
        ("ns_dst, dst: packets and bytes received", 2, all),
        ("ns_dst, dst: packets and bytes transmitted", 3, (0, 0)),
    ] {
        let grown = |of: fn(&(u64, u64)) -> u64| of(&after[at]) - of(&before[at]);
        same(
            reason::WRONG_COUNT,
            what,
            (grown(|c| c.0), grown(|c| c.1)),
            expected,
        )?;
    }
    Ok(())
}

/// Ethernet, IP and UDP headers, and what is in them.
fn l2_length(ip: Ip) -> u64 {
    let header = match ip {
        Ip::V4 => 20,
        Ip::V6 => 40,
    };
    14 + header + 8 + PAYLOAD.len() as u64
}

fn counts(pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::quiet_host(pair, ip)?;
    let receiver = Receiver::new(&t.dst, ip)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let peer = || t.dst.enter(|| link::counters("dst"));
    let host = || t.fwd.enter(|| link::counters("dst_fwd"));
    let (peer_before, host_before) = (peer()?, host()?);
    for _ in 0..PROBES {
        probe::send(&t, ip, &PAYLOAD)?;
        receiver.must_get(&PAYLOAD)?;
    }
    let (peer_after, host_after) = (peer()?, host()?);
    let grown = |a: (u64, u64), b: (u64, u64)| (b.0 - a.0, b.1 - a.1);
    same(
        reason::WRONG_COUNT,
        "ns_dst, dst: packets and bytes received",
        grown(peer_before.rx, peer_after.rx),
        (PROBES, PROBES * l2_length(ip)),
    )?;
    same(
        reason::WRONG_COUNT,
        "ns_fwd, dst_fwd: packets and bytes transmitted",
        grown(host_before.tx, host_after.tx),
        (0, 0),
    )?;
    if ip == Ip::V6 {
        // The container may send messages of its own to its neighbours.
        return Ok(());
    }
    same(
        reason::WRONG_COUNT,
        "ns_fwd, dst_fwd: packets and bytes received",
        grown(host_before.rx, host_after.rx),
        (0, 0),
    )
}
