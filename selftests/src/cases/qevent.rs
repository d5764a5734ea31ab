// SPDX-License-Identifier: GPL-2.0-only
//! The helper where a program runs that is neither at ingress nor at egress: an
//! event of a queue.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes},
    link::Pair,
    probe::{self, Receiver, Tap},
    topology::{Ip, MAC_DST, MAC_DST_FWD, Topology},
};

const PROBE: &[u8] = b"a probe that a queue drops early";
const LAST: &[u8] = b"the one behind them, which is switched";
const PROBES: u64 = 10;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::feature(
        "qevent_request_drops",
        &["R9", "R12"],
        "Verify that the helper, called for each packet that a RED queue drops early, has the packet dropped and does the kernel no harm",
        early_drop,
    )
    .on(
        Some(Arm::Upstream),
        &["5.10"],
        Expect::Fail {
            reason: reason::NOT_DELIVERED.into(),
        },
        "5.10 keeps the packet type, and the container's IP stack drops the last probe, which is for the container's MAC",
    )
    .dangerous("kernels from 6.11 on without the fix of July 2026 take a NULL pointer for one, and oops")]
}

/// The host sends to the container's device through a RED queue whose event
/// redirects: where no request can be recorded, and nobody would carry it out.
fn early_drop() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::quiet(Pair::Veth)?;
    t.address_frames_to_the_end(Ip::V4)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let out = Redirect::to("plain", t.dst_fwd)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    out.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    program.at_red_event(&t.fwd, t.dst_fwd)?;
    for _ in 0..PROBES {
        probe::send(&t, Ip::V4, PROBE)?;
    }
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, dst_fwd: probes that the queue's event saw",
        || program.hits().1,
        PROBES,
    )?;
    // From process context as well: nothing has set anything up there.
    Tap::new(&t.fwd, t.dst_fwd)?.send(&probe::frame(
        MAC_DST,
        MAC_DST_FWD,
        libc::ETH_P_IP as u16,
        &probe::udp_packet(PROBE),
    ))?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, dst_fwd: probes that the queue's event saw, with one of the host's own",
        || program.hits().1,
        PROBES + 1,
    )?;
    // The helper still works on this CPU where it should, and nothing but what
    // it switches has arrived.
    let peer = Redirect::to("peer_probe", t.dst_fwd)?;
    peer.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, LAST)?;
    receiver.must_get_only(LAST)
}
