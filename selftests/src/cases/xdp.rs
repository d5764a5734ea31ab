// SPDX-License-Identifier: GPL-2.0-only
//! XDP before a switch and after it.

use protocol::{Arm, Expect, reason};

use super::{Case, WAYS};
use crate::{
    bpf::{Observer, Redirect, Xdp},
    fail::{Verdict, becomes, same},
    link::{self, Pair},
    probe::{self, PORT, Receiver, Tap, Tun},
    topology::{Ip, MAC_DST, MAC_SRC, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that meets XDP";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::feature(
            "generic_xdp_on_the_peer",
            &["carry"],
            "Verify that generic XDP on the container's device sees a switched packet once",
            on_peer,
        ),
        Case::feature(
            "xdp_redirect_after_switch",
            &["R8"],
            "Verify that an XDP map redirect takes over nothing of a request that a tc program left on its CPU, and a switch nothing of the XDP redirect",
            in_turn,
        ),
    ];
    for (pair, ip, way) in WAYS {
        let case = Case::feature(
            format!("rx_queue_is_reset{way}"),
            &["R13"],
            format!(
                "Verify that the receive queue of the first device is not carried over to the peer of a {pair:?} pair, over IP{ip:?}"
            ),
            move || queue_reset(pair, ip),
        );
        let stays = Expect::Fail {
            reason: reason::WRONG_VALUE.into(),
        };
        cases.push(
            case.on(
                Some(Arm::Upstream),
                &[],
                stays,
                "the receive queue of the first device stays recorded",
            )
            .over(pair),
        );
    }
    // Those with a warning on upstream are dear there: both differences at once.
    for (pair, ip, way) in [WAYS[0], WAYS[3]] {
        cases.extend(generic(pair, ip, way));
    }
    cases
}

/// Generic XDP in front of a peer that has fewer queues than the first device.
fn generic(pair: Pair, ip: Ip, way: &str) -> [Case; 2] {
    [
        Case::feature(
            format!("generic_xdp_with_fewer_queues{way}"),
            &["R13"],
            format!(
                "Verify that generic XDP on a {pair:?} peer with fewer queues than the first device does not warn, over IP{ip:?}"
            ),
            move || fewer_queues(pair, ip),
        ),
        Case::feature(
            format!("multiqueue_nic_with_generic_xdp{way}"),
            &["R13"],
            format!(
                "Verify that what a NIC with eight queues received on its last is delivered through generic XDP on a {pair:?} peer with two, over IP{ip:?}"
            ),
            move || many_queues(pair, ip),
        ),
    ]
    .map(|case| {
        let case = case.on(
            Some(Arm::Upstream),
            &[],
            super::warning("received packet on queue"),
            "generic XDP warns about a receive queue that the peer does not have",
        );
        if pair == Pair::Veth {
            return case;
        }
        case.needs(
            || Ok(!super::is_at_least(7, 0)?),
            &["7.3"],
            "netkit has one queue from 7.0 on, and generic XDP does not warn about the others of one",
        )
        .over(pair)
    })
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

fn queue_reset(pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::new(pair)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let program = Redirect::load("peer_queued", |r| {
        r.target = t.dst_fwd;
        r.queue = QUEUE;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, ip, PROBE)?;
    observer.must_see(1)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, and those with a receive queue recorded",
        (seen.count, seen.queued),
        (1, 0),
    )
}

fn fewer_queues(pair: Pair, ip: Ip) -> Verdict {
    // With one queue only, generic XDP does not look which it is.
    let t = Topology::with_queues(pair, 2)?;
    let xdp = Xdp::pass(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, ip)?;
    let program = Redirect::load("peer_queued", |r| {
        r.target = t.dst_fwd;
        r.queue = QUEUE;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let before = xdp.hits().0;
    probe::send(&t, ip, PROBE)?;
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
fn many_queues(pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::with_queues(pair, 2)?;
    let (mut queues, nic) = t.fwd.enter(|| {
        let queues = Tun::tap_with_queues("nic", 8)?;
        let index = link::index("nic")?;
        link::set_mac(index, MAC_DST)?;
        link::set_up(index, true)?;
        Ok((queues, index))
    })?;
    let xdp = Xdp::pass(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, ip)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, nic)?;
    // The first shows that it works, the last one what it is about.
    for at in [0, 7] {
        let before = xdp.hits().0;
        queues[at].inject(&probe::udp_frame(ip, MAC_DST, MAC_SRC, PROBE))?;
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

/// On one CPU: before 6.11 it is there that requests are kept.
fn in_turn() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::quiet(Pair::Veth)?;
    let switch = Redirect::to("peer_probe", t.dst_fwd)?;
    // Whose internal flags an XDP redirect could take for its own.
    let left_behind = [
        Redirect::to("peer_unused", t.dst_fwd)?,
        Redirect::to("neigh_nexthop_unused", t.dst_fwd)?,
    ];
    // A broadcast would go to both devices, and so back to ns_src as well.
    let xdp = Xdp::redirect([t.dst_fwd, t.src_fwd], &t.fwd, t.src_fwd)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let tap = Tap::new(&t.dst, t.dst_dev)?;
    let frames = tap.counter(PROBE);
    let came_back = || t.src.enter(|| Ok(link::counters("src")?.rx.0)).ok();
    for (round, request) in (1..).zip(left_behind.iter().cycle().take(4)) {
        switch.at_ingress(&t.fwd, t.src_fwd)?;
        probe::send(&t, Ip::V4, PROBE)?;
        receiver.must_get(PROBE)?;
        request.at_ingress(&t.fwd, t.src_fwd)?;
        let before = request.hits().1;
        probe::send(&t, Ip::V4, PROBE)?;
        becomes(
            reason::WRONG_COUNT,
            "ns_fwd, src_fwd: probes for which a request was left behind",
            || request.hits().1 - before,
            1,
        )?;
        probe::send_to(&t.src, (dst_address(Ip::V4), PORT + 1).into(), PROBE)?;
        becomes(
            reason::WRONG_COUNT,
            "packets redirected by XDP, frames that came to dst by it and by the switch, and those that came back to src",
            || (xdp.hits().0, frames(), came_back()),
            (round, 2 * round as usize, Some(0)),
        )?;
    }
    Ok(())
}
