// SPDX-License-Identifier: GPL-2.0-only
//! What packet sockets see.

use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, same},
    link::Pair,
    probe::{self, Frame, Receiver, Tap},
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology},
};

const PROBE: &[u8] = b"a probe that taps see";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, way) in [(Pair::Veth, ""), (Pair::Netkit, "_netkit")] {
        let told = Case::feature(
            format!("taps_see_where_it_arrived{way}"),
            &["carry"],
            format!(
                "Verify that packet sockets on both sides of a {pair:?} pair are told their own device, its EtherType and PACKET_HOST, and see the same bytes"
            ),
            move || fields(pair),
        );
        let seen = Case::feature(
            format!("taps_see_it_once_on_each_side{way}"),
            &["carry"],
            format!(
                "Verify that packet sockets see a frame once on the host's device, once on the container's, and not on the host end of a {pair:?} pair"
            ),
            move || once(pair),
        );
        cases.extend([told, seen].map(|case| case.over(pair)));
    }
    cases
}

fn fields(pair: Pair) -> Verdict {
    const PACKET_HOST: u8 = 0;
    let t = Topology::new(pair)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let taps = [Tap::new(&t.fwd, t.src_fwd)?, Tap::new(&t.dst, t.dst_dev)?];
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    let [host, container] = taps.each_ref().map(|t| t.next(PROBE));
    let bytes = host.as_ref().map(|f| f.bytes.clone()).unwrap_or_default();
    // As ns_src addressed it: the MAC header is nobody's to change on the way.
    same(
        reason::WRONG_VALUE,
        "ns_fwd, src_fwd: MAC header of the frame",
        bytes.get(..14).map(<[u8]>::to_vec),
        Some(probe::frame(
            MAC_SRC_FWD,
            MAC_SRC,
            libc::ETH_P_IP as u16,
            &[],
        )),
    )?;
    let expected = |index| {
        Some(Frame {
            index,
            kind: PACKET_HOST,
            protocol: libc::ETH_P_IP as u16,
            bytes: bytes.clone(),
        })
    };
    same(
        reason::WRONG_VALUE,
        "ns_fwd, src_fwd: the frame and how it came",
        host,
        expected(t.src_fwd),
    )?;
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: the frame and how it came",
        container,
        expected(t.dst_dev),
    )
}

fn once(pair: Pair) -> Verdict {
    let t = Topology::new(pair)?;
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
