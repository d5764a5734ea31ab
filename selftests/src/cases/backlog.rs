// SPDX-License-Identifier: GPL-2.0-only
//! The proof that the backlog is skipped: section 6 of the specification.

use protocol::reason;

use super::Case;
use crate::{
    bpf::{Passed, Path, Redirect},
    fail::{Stop, Verdict, same},
    link::Pair,
    probe::{self, Receiver},
    topology::{Ip, Topology},
};

const PROBES: u64 = 50;
/// A length that nothing else on the machine has.
const PAYLOAD: [u8; 777] = [9; 777];
const L2_LENGTH: u32 = 14 + 28 + PAYLOAD.len() as u32;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "backlog_is_skipped",
            &["C3"],
            "Verify that a packet is put on the backlog once by redirect_peer, for the wire, where bpf_redirect() has it put there twice",
            skipped,
        ),
        Case::closure(
            "backlog_is_used_by_redirect",
            &["regression", "C3"],
            "Verify that the counters show the backlog where it is used: twice for each packet with bpf_redirect()",
            used,
        ),
    ]
}

/// The wire is a veth pair, which puts each packet on the backlog once itself.
fn skipped() -> Verdict {
    let passed = passed("peer_probe")?;
    same(
        reason::WRONG_COUNT,
        "tracepoints passed",
        passed,
        Passed {
            netif_rx: PROBES,
            netif_receive_skb: PROBES,
            queued: PROBES,
        },
    )
}

fn used() -> Verdict {
    let passed = passed("plain")?;
    same(
        reason::WRONG_COUNT,
        "tracepoints passed",
        passed,
        Passed {
            netif_rx: 2 * PROBES,
            netif_receive_skb: 2 * PROBES,
            queued: 2 * PROBES,
        },
    )
}

fn passed(program: &'static str) -> Result<Passed, Stop> {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to(program, t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let path = Path::count(L2_LENGTH)?;
    for _ in 0..PROBES {
        probe::send(&t, Ip::V4, &PAYLOAD)?;
        receiver.must_get(&PAYLOAD)?;
    }
    Ok(path.passed())
}
