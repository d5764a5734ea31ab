// SPDX-License-Identifier: GPL-2.0-only
//! Traffic goes both ways over redirect_peer, and only over it.

use protocol::reason;

use super::Case;
use crate::{
    bpf::{Hook, Redirect},
    fail::{Stop, Verdict, failed},
    link::Pair,
    probe,
    topology::{Ip, Topology},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, p) in [
        (Pair::Veth, "veth"),
        (Pair::Netkit, "netkit"),
        (Pair::NetkitL3, "netkit_l3"),
    ] {
        for (ip, i) in [(Ip::V4, "v4"), (Ip::V6, "v6")] {
            let proves: &[&str] = &["carry", "kernel:tc_redirect_peer"];
            let tcp = case(
                format!("peer_{p}_tcp_{i}"),
                proves,
                format!("TCP IP{i} over {p}"),
                move |t| probe::tcp(t, ip),
                pair,
            );
            let ping = case(
                format!("peer_{p}_ping_{i}"),
                proves,
                format!("ping IP{i} over {p}"),
                move |t| probe::ping_both(t, ip),
                pair,
            );
            cases.extend([tcp, ping]);
        }
    }
    cases
}

fn case(
    name: String,
    proves: &[&str],
    what: String,
    traffic: impl Fn(&Topology) -> Verdict + Send + Sync + 'static,
    pair: Pair,
) -> Case {
    Case::feature(
        name,
        proves,
        format!(
            "Verify that {what} goes both ways by redirect_peer, with forwarding off, and nothing leaves by the host ends"
        ),
        move || both_ways(&Topology::new(pair)?, &traffic),
    )
    .over(pair)
}

/// As [`both_ways_by`], with the programs where most cases have them.
pub(super) fn both_ways(t: &Topology, traffic: &impl Fn(&Topology) -> Verdict) -> Verdict {
    both_ways_by(Hook::Clsact, t, traffic)
}

/// Redirects all that arrives on either host end to the other side's container,
/// and drops what leaves by them.
pub(super) fn both_ways_by(
    hook: Hook,
    t: &Topology,
    traffic: &impl Fn(&Topology) -> Verdict,
) -> Verdict {
    // A program of another type.
    let program = if hook == Hook::Action {
        "peer_action"
    } else {
        "peer"
    };
    let to_dst = Redirect::to(program, t.dst_fwd)?;
    let to_src = Redirect::to(program, t.src_fwd)?;
    let checker = Redirect::load("checker", |_| {})?;
    let _kept = [
        to_dst.by(hook, &t.fwd, t.src_fwd)?,
        to_src.by(hook, &t.fwd, t.dst_fwd)?,
    ];
    checker.at_egress(&t.fwd, t.src_fwd)?;
    checker.at_egress(&t.fwd, t.dst_fwd)?;
    let seen = || {
        format!(
            "programs ran for: src_fwd {:?}, dst_fwd {:?}, egress {:?}",
            to_dst.hits(),
            to_src.hits(),
            checker.hits()
        )
    };
    traffic(t).map_err(|e: Stop| e.with(seen()))?;
    if to_dst.hits().0 == 0 || to_src.hits().0 == 0 {
        return Err(failed(
            reason::WRONG_COUNT,
            format!("traffic went another way: {}", seen()),
        ));
    }
    Ok(())
}
