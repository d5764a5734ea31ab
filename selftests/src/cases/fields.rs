// SPDX-License-Identifier: GPL-2.0-only
//! What the container sees of a packet, field by field.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect},
    fail::{Verdict, same},
    link::{self, Pair},
    probe::{self, Receiver, Tun},
    topology::{Ip, MAC_DST, Topology},
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
            "l3_source_is_delivered",
            &["R2", "kernel:tc_redirect_peer_l3"],
            "Verify that a packet of a TUN device, given a header by bpf_skb_change_head(), is delivered",
            l3,
        ),
        Case::feature(
            "rx_queue_is_reset",
            &["R13"],
            "Verify that the receive queue of the first device is not carried over to the peer",
            queue,
        )
        .on(
            Some(Arm::Upstream),
            &[],
            Expect::Fail {
                reason: reason::WRONG_VALUE.into(),
            },
            "the receive queue of the first device stays recorded",
        ),
    ]
}

const MARK: u32 = 0x5eed_0155;

fn marked() -> Result<crate::bpf::Seen, crate::fail::Stop> {
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
    same(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        program.hits().1,
        1,
    )?;
    receiver.must_get(&payload)
}

fn l3() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let (mut tun, index) = t.fwd.enter(|| {
        let tun = Tun::new("tun9")?;
        let index = link::index("tun9")?;
        link::set_up(index, true)?;
        Ok((tun, index))
    })?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::load("peer_from_l3", |r| {
        r.target = t.dst_fwd;
        r.l2_dst = MAC_DST;
    })?;
    program.at_ingress(&t.fwd, index)?;
    tun.inject(&probe::udp_packet(PROBE))?;
    receiver.must_get(PROBE)
}

fn queue() -> Verdict {
    // veth records the queue that a frame was sent on as the one it was received
    // on. The queue is chosen by flow: many flows, so that not all have the first.
    const FLOWS: u64 = 32;
    let t = Topology::with_queues(Pair::Veth, 4, 1)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    for _ in 0..FLOWS {
        probe::send(&t, Ip::V4, PROBE)?;
    }
    if program.queued() == 0 {
        let why = format!("src_fwd recorded no receive queue for any of {FLOWS} flows");
        return Err(crate::fail::failed(reason::SETUP, why));
    }
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, and those with a receive queue recorded",
        (seen.count, seen.queued),
        (FLOWS, 0),
    )
}
