// SPDX-License-Identifier: GPL-2.0-only
//! What packet sockets see.

use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, same},
    link::Pair,
    probe::{self, Receiver, Tap},
    topology::{Ip, Topology},
};

const PROBE: &[u8] = b"a probe that taps see";

pub(super) fn cases() -> Vec<Case> {
    vec![Case::feature(
        "taps_see_it_once_on_each_side",
        &["carry"],
        "Verify that packet sockets see a frame once on the host's device, once on the container's, and not on the host end",
        once,
    )]
}

fn once() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let taps = [
        Tap::new(&t.fwd, t.src_fwd)?,
        Tap::new(&t.fwd, t.dst_fwd)?,
        Tap::new(&t.dst, t.dst_dev)?,
    ];
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    same(
        reason::WRONG_COUNT,
        "frames seen on ns_fwd src_fwd, ns_fwd dst_fwd, ns_dst dst",
        taps.each_ref().map(|t| t.count(PROBE)),
        [1, 0, 1],
    )
}
