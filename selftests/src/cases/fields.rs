// SPDX-License-Identifier: GPL-2.0-only
//! What the container sees of a packet, field by field.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect},
    fail::{Stop, Verdict, becomes, same},
    link::{self, Pair},
    probe::{self, Receiver},
    topology::{Ip, Topology},
};

const PROBE: &[u8] = b"a probe that is looked at";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "mark_survives",
            &["R7"],
            "Verify that skb->mark is the same on the container's side",
            || {
                let seen = marked()?;
                same(
                    reason::WRONG_VALUE,
                    "ns_dst, dst: skb->mark",
                    seen.mark,
                    MARK,
                )
            },
        ),
        Case::feature(
            "ifindex_is_the_peers",
            &["carry"],
            "Verify that programs see the container's device as the one that the packet arrived on",
            ifindex,
        ),
        Case::feature(
            "length_is_the_frames",
            &["carry"],
            "Verify that the frame on the container's side is as long as on the host's, header included",
            || {
                let seen = marked()?;
                same(
                    reason::WRONG_VALUE,
                    "ns_dst, dst: skb->len",
                    seen.len,
                    14 + 28 + PROBE.len() as u32,
                )
            },
        ),
        Case::feature(
            "peer_mtu_does_not_limit",
            &["R1"],
            "Verify that a packet larger than the peer's MTU is received",
            mtu,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 drops packets above the peer's MTU",
        ),
        Case::feature(
            "delivery_time_survives",
            &["R7"],
            "Verify that a packet's delivery time, and what kind it is, are the same on the container's side",
            delivery_time,
        )
        .needs(|| super::is_at_least(5, 18), &["5.10"], NO_DELIVERY_TIME),
    ]
}

const MARK: u32 = 0x5eed_0155;

fn marked() -> Result<crate::bpf::Seen, Stop> {
    let t = Topology::new(Pair::Veth)?;
    let program = Redirect::load("peer_marked", |r| {
        r.target = t.dst_fwd;
        r.mark = MARK;
    })?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_COUNT,
        "ns_dst, dst: probes seen at ingress",
        seen.count,
        1,
    )?;
    Ok(seen)
}

fn ifindex() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, skb->ifindex and skb->ingress_ifindex",
        (seen.count, seen.ifindex, seen.ingress_ifindex),
        (1, t.dst_dev, t.dst_dev),
    )
}

fn mtu() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    t.dst.enter(|| link::set_mtu(t.dst_dev, 1280))?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let payload = [3; 1400];
    probe::send(&t, Ip::V4, &payload)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(&payload)
}

const NO_DELIVERY_TIME: &str = "this kernel has no bpf_skb_set_tstamp() (before 5.18)";

fn delivery_time() -> Verdict {
    const TIME: u64 = 0x0155_0155_0155;
    const MONOTONIC: u32 = 1;
    let t = Topology::new(Pair::Veth)?;
    let program = Redirect::load("peer_stamped", |r| {
        r.target = t.dst_fwd;
        r.tstamp = TIME;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::with("observe_stamp", &t.dst, t.dst_dev)?;
    probe::send(&t, Ip::V4, PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, skb->tstamp_type and skb->tstamp",
        (seen.count, seen.tstamp_type, seen.tstamp),
        (1, MONOTONIC, TIME),
    )
}
