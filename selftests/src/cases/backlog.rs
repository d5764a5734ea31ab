// SPDX-License-Identifier: GPL-2.0-only
//! The proof that the backlog is skipped: section 6 of the specification.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Passed, Path, Redirect},
    fail::{Stop, Verdict, same},
    link::{self, Pair},
    probe::{self, Receiver, Tun},
    topology::{Ip, MAC_DST, MAC_SRC, Topology},
};

const PROBES: u64 = 50;
/// A length that nothing else on the machine has.
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
    vec![
        Case::feature(
            "backlog_is_skipped",
            &["C3"],
            "Verify that from a NIC into a container no packet is put on the backlog or transmitted, and each is received once",
            || nic("peer_probe", passes(0, 1)),
        ),
        Case::closure(
            "backlog_is_used_by_redirect",
            &["regression", "C3"],
            "Verify that the counters show the backlog where it is used: from a NIC into a container by bpf_redirect()",
            || nic("plain", passes(1, 2)),
        ),
        Case::feature(
            "backlog_is_skipped_between_containers",
            &["C3"],
            "Verify that from container to container each packet is put on the backlog once, by the first pair",
            || containers("peer_probe", passes(1, 1)),
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 keeps the packet type, and the container's IP stack drops what is not for the host's MAC",
        ),
        Case::closure(
            "backlog_is_used_twice_between_containers",
            &["regression", "C3"],
            "Verify that the counters show two passes over the backlog from container to container by bpf_redirect()",
            || containers("plain", passes(2, 2)),
        ),
    ]
}

/// The NIC is a TAP device: it hands what arrives to the stack at once.
fn nic(program: &'static str, expected: Passed) -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let (mut nic, index) = t.fwd.enter(|| {
        let nic = Tun::tap("nic")?;
        let index = link::index("nic")?;
        // The container's: frames are for both, whichever receives them.
        link::set_mac(index, MAC_DST)?;
        link::set_up(index, true)?;
        Ok((nic, index))
    })?;
    let frame = probe::frame(
        MAC_DST,
        MAC_SRC,
        libc::ETH_P_IP as u16,
        &probe::udp_packet(&PAYLOAD),
    );
    counted(&t, program, index, expected, || nic.inject(&frame))
}

/// The NIC is a container's pair, which puts each packet on the backlog itself.
fn containers(program: &'static str, expected: Passed) -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    t.address_frames_to_the_end(Ip::V4)?;
    counted(&t, program, t.src_fwd, expected, || {
        probe::send(&t, Ip::V4, &PAYLOAD)
    })
}

fn counted(
    t: &Topology,
    program: &'static str,
    from: u32,
    expected: Passed,
    mut send: impl FnMut() -> anyhow::Result<()>,
) -> Result<(), Stop> {
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to(program, t.dst_fwd)?;
    program.at_ingress(&t.fwd, from)?;
    let path = Path::count(L2_LENGTH)?;
    for _ in 0..PROBES {
        send()?;
        receiver.must_get(&PAYLOAD)?;
    }
    same(
        reason::WRONG_COUNT,
        "tracepoints passed",
        path.passed(),
        expected,
    )
}
