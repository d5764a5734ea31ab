// SPDX-License-Identifier: GPL-2.0-only
//! The proof that the backlog is skipped: section 6 of the specification.

use protocol::{Arm, Expect, reason};

use super::{Case, WAYS};
use crate::{
    bpf::{Passed, Path, Redirect},
    fail::{Stop, Verdict, becomes},
    link::{self, Pair},
    probe::{self, Receiver, Tun},
    topology::{Ip, MAC_DST, MAC_SRC, Topology},
};

const PROBES: u64 = 50;
/// A length that nothing else on the machine has. IPv6 adds 20 bytes.
const PAYLOAD: [u8; 777] = [9; 777];
const L2_LENGTH: u32 = 14 + 28 + PAYLOAD.len() as u32;

/// What so many passes over the backlog, and so many rounds of reception, look
/// like for each packet.
const fn passes(backlog: u64, rounds: u64) -> Passed {
    Passed {
        netif_rx: backlog * PROBES,
        netif_receive_skb: rounds * PROBES,
        start_xmit: backlog * PROBES,
        backlog_work: backlog * PROBES,
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, ip, way) in WAYS {
        let what = format!("over {pair:?} and IP{ip:?}");
        let skipped = Case::feature(
            format!("backlog_is_skipped{way}"),
            &["C3"],
            format!(
                "Verify that from a NIC into a container no packet is put on the backlog or transmitted, and each is received once, {what}"
            ),
            move || nic("peer_probe", pair, ip, passes(0, 1)),
        );
        let used = Case::closure(
            format!("backlog_is_used_by_redirect{way}"),
            &["regression", "C3"],
            format!(
                "Verify that the counters show the backlog where it is used: from a NIC into a container by bpf_redirect(), {what}"
            ),
            move || nic("plain", pair, ip, passes(1, 2)),
        );
        let once = Case::feature(
            format!("backlog_is_skipped_between_containers{way}"),
            &["C3"],
            format!(
                "Verify that from container to container each packet is put on the backlog once, by the first pair, {what}"
            ),
            move || containers("peer_probe", pair, ip, passes(1, 1)),
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 keeps the packet type, and the container's IP stack drops what is not for the host's MAC",
        );
        let twice = Case::closure(
            format!("backlog_is_used_twice_between_containers{way}"),
            &["regression", "C3"],
            format!(
                "Verify that the counters show two passes over the backlog from container to container by bpf_redirect(), {what}"
            ),
            move || containers("plain", pair, ip, passes(2, 2)),
        );
        cases.extend([skipped, used, once, twice].map(|case| case.over(pair)));
    }
    cases
}

/// The NIC is a TAP device: it hands what arrives to the stack at once.
fn nic(program: &'static str, pair: Pair, ip: Ip, expected: Passed) -> Verdict {
    let t = Topology::new(pair)?;
    let (mut nic, index) = t.fwd.enter(|| {
        let nic = Tun::tap("nic")?;
        let index = link::index("nic")?;
        // The container's: frames are for both, whichever receives them.
        link::set_mac(index, MAC_DST)?;
        link::set_up(index, true)?;
        Ok((nic, index))
    })?;
    let frame = probe::udp_frame(ip, MAC_DST, MAC_SRC, &PAYLOAD);
    counted(&t, program, index, ip, expected, || nic.inject(&frame))
}

/// The NIC is a container's pair, which puts each packet on the backlog itself.
fn containers(program: &'static str, pair: Pair, ip: Ip, expected: Passed) -> Verdict {
    let t = Topology::new(pair)?;
    t.address_frames_to_the_end(ip)?;
    counted(&t, program, t.src_fwd, ip, expected, || {
        probe::send(&t, ip, &PAYLOAD)
    })
}

fn counted(
    t: &Topology,
    program: &'static str,
    from: u32,
    ip: Ip,
    expected: Passed,
    mut send: impl FnMut() -> anyhow::Result<()>,
) -> Result<(), Stop> {
    let receiver = Receiver::new(&t.dst, ip)?;
    let program = Redirect::to(program, t.dst_fwd)?;
    program.at_ingress(&t.fwd, from)?;
    let path = Path::count(L2_LENGTH + if ip == Ip::V6 { 20 } else { 0 })?;
    for _ in 0..PROBES {
        send()?;
        receiver.must_get(&PAYLOAD)?;
    }
    // A poll is traced when it is over, and so after it has delivered.
    becomes(
        reason::WRONG_COUNT,
        "tracepoints passed",
        || path.passed(),
        expected,
    )
}
