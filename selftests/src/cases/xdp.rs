// SPDX-License-Identifier: GPL-2.0-only
//! XDP before a switch and after it.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect, Xdp},
    fail::{Verdict, becomes, same},
    link::{self, Pair},
    probe::{self, PORT, Receiver, Tap, Tun},
    topology::{Ip, MAC_DST, MAC_SRC, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that meets XDP";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "generic_xdp_on_the_peer",
            &["carry"],
            "Verify that generic XDP on the container's device sees a switched packet once",
            on_peer,
        ),
        Case::feature(
            "rx_queue_is_reset",
            &["R13"],
            "Verify that the receive queue of the first device is not carried over to the peer",
            queue_reset,
        )
        .on(
            Some(Arm::Upstream),
            &[],
            Expect::Fail {
                reason: reason::WRONG_VALUE.into(),
            },
            "the receive queue of the first device stays recorded",
        ),
        Case::feature(
            "generic_xdp_with_fewer_queues",
            &["R13"],
            "Verify that generic XDP on a peer with fewer queues than the first device does not warn",
            fewer_queues,
        )
        .on(
            Some(Arm::Upstream),
            &[],
            super::warning("received packet on queue"),
            "generic XDP warns about a receive queue that the peer does not have",
        ),
        Case::feature(
            "multiqueue_nic_with_generic_xdp",
            &["R13"],
            "Verify that what a NIC with eight queues received on its last is delivered through generic XDP on a peer with two",
            many_queues,
        )
        .on(
            Some(Arm::Upstream),
            &[],
            super::warning("received packet on queue"),
            "generic XDP warns about a receive queue that the peer does not have",
        ),
        Case::feature(
            "xdp_redirect_after_switch",
            &["R8"],
            "Verify that an XDP map redirect and a switch on one CPU do not take each other's requests",
            in_turn,
        ),
    ]
}

fn on_peer() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let xdp = Xdp::pass(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let before = xdp.hits().0;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_dst, dst: packets seen by XDP",
        || xdp.hits().0 - before,
        1,
    )
}

/// A queue that a NIC with many has, counted from 1 as skb->queue_mapping is.
const QUEUE: u32 = 7;

fn queue_reset() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let program = Redirect::load("peer_queued", |r| {
        r.target = t.dst_fwd;
        r.queue = QUEUE;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, and those with a receive queue recorded",
        (seen.count, seen.queued),
        (1, 0),
    )
}

fn fewer_queues() -> Verdict {
    // With one queue only, generic XDP does not look which it is.
    let t = Topology::with_queues(Pair::Veth, 2)?;
    let xdp = Xdp::pass(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::load("peer_queued", |r| {
        r.target = t.dst_fwd;
        r.queue = QUEUE;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let before = xdp.hits().0;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    let (hits, queue) = xdp.hits();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: packets seen by XDP, and the queue of the last",
        (hits - before, queue),
        (1, 0),
    )
}

/// The driver records the queue, not a program.
fn many_queues() -> Verdict {
    let t = Topology::with_queues(Pair::Veth, 2)?;
    let (mut queues, nic) = t.fwd.enter(|| {
        let queues = Tun::tap_with_queues("nic", 8)?;
        let index = link::index("nic")?;
        link::set_mac(index, MAC_DST)?;
        link::set_up(index, true)?;
        Ok((queues, index))
    })?;
    let xdp = Xdp::pass(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, nic)?;
    // The first shows that it works, the last one what it is about.
    for at in [0, 7] {
        let before = xdp.hits().0;
        queues[at].inject(&probe::frame(
            MAC_DST,
            MAC_SRC,
            libc::ETH_P_IP as u16,
            &probe::udp_packet(PROBE),
        ))?;
        receiver.must_get(PROBE)?;
        let (hits, queue) = xdp.hits();
        same(
            reason::WRONG_VALUE,
            &format!("ns_dst, dst: packets of queue {at} seen by XDP, and the queue of the last"),
            (hits - before, queue),
            (1, 0),
        )?;
    }
    Ok(())
}

fn in_turn() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let xdp = Xdp::redirect(t.dst_fwd, &t.fwd, t.src_fwd)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let tap = Tap::new(&t.dst, t.dst_dev)?;
    for round in 1..=5 {
        probe::send(&t, Ip::V4, PROBE)?;
        receiver.must_get(PROBE)?;
        same(
            reason::WRONG_COUNT,
            "ns_dst, dst: frames after a switch",
            tap.count(PROBE),
            1,
        )?;
        probe::send_to(&t.src, (dst_address(Ip::V4), PORT + 1).into(), PROBE)?;
        becomes(
            reason::WRONG_COUNT,
            "ns_fwd, src_fwd: packets redirected by XDP; ns_dst, dst: frames after it",
            || (xdp.hits().0, tap.count(PROBE)),
            (round, 1),
        )?;
    }
    Ok(())
}
