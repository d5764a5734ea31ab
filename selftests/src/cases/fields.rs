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
                let seen = marked(Pair::Veth, Ip::V4)?;
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
                let seen = marked(Pair::Veth, Ip::V4)?;
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
            || mtu(Pair::Veth, Ip::V4),
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
            || delivery_time(Pair::Veth),
        )
        .needs(|| super::is_at_least(5, 18), &["5.10"], NO_DELIVERY_TIME),
        Case::feature(
            "timestamp_survives",
            &["R7"],
            "Verify that skb->tstamp, which is a delivery time where it has no type, is the same on the container's side",
            || {
                let seen = marked(Pair::Veth, Ip::V4)?;
                same(
                    reason::WRONG_VALUE,
                    "ns_dst, dst: skb->tstamp",
                    seen.tstamp,
                    TIME,
                )
            },
        )
        .needs(
            || Ok(!super::is_at_least(5, 18)?),
            &["6.1", "6.12", "7.3"],
            "this kernel's skb->tstamp has a type (since 5.18), and reads as 0 without it",
        ),
        Case::feature(
            "delivery_time_survives_netkit",
            &["R7"],
            "Verify that a packet's delivery time, and what kind it is, are the same behind a netkit pair",
            || delivery_time(Pair::Netkit),
        )
        .needs_netkit(),
        Case::feature(
            "mark_survives_netkit_v6",
            &["R7"],
            "Verify that skb->mark of an IPv6 packet is the same behind a netkit pair",
            || {
                let seen = marked(Pair::Netkit, Ip::V6)?;
                same(
                    reason::WRONG_VALUE,
                    "ns_dst, dst: skb->mark",
                    seen.mark,
                    MARK,
                )
            },
        )
        .needs_netkit(),
        Case::feature(
            "peer_mtu_does_not_limit_netkit_v6",
            &["R1"],
            "Verify that an IPv6 packet larger than the MTU of a netkit peer is received",
            || mtu(Pair::Netkit, Ip::V6),
        )
        .needs_netkit(),
        plain_fields("plain_fields_veth", Pair::Veth),
        plain_fields("plain_fields_netkit", Pair::Netkit).needs_netkit(),
    ]
}

fn plain_fields(name: &str, pair: Pair) -> Case {
    Case::feature(
        name,
        &["carry"],
        format!(
            "Verify that nothing is made up for a plain packet behind a {pair:?} pair: packet type, VLAN tag, segments, queue, tunnel"
        ),
        move || plain(pair),
    )
}

/// What a packet has that neither the sender nor the program gave anything.
fn plain(pair: Pair) -> Verdict {
    const PACKET_HOST: u32 = 0;
    let seen = marked(pair, Ip::V4)?;
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: skb->pkt_type, vlan_present, vlan_tci, gso_size, gso_segs, probes with a queue, with a tunnel's dst",
        (
            seen.pkt_type,
            seen.vlan_present,
            seen.vlan_tci,
            seen.gso_size,
            seen.gso_segs,
            seen.queued,
            seen.tunnelled,
        ),
        (PACKET_HOST, 0, 0, 0, 0, 0, 0),
    )
}

const MARK: u32 = 0x5eed_0155;
const TIME: u64 = 0x0155_0155_0155;

fn marked(pair: Pair, ip: Ip) -> Result<crate::bpf::Seen, Stop> {
    let t = Topology::new(pair)?;
    let program = Redirect::load("peer_marked", |r| {
        r.target = t.dst_fwd;
        r.mark = MARK;
        r.tstamp = TIME;
    })?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, ip)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, ip, PROBE)?;
    receiver.must_get(PROBE)?;
    observer.must_see(1)?;
    Ok(observer.seen())
}

fn ifindex() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    observer.must_see(1)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, skb->ifindex and skb->ingress_ifindex",
        (seen.count, seen.ifindex, seen.ingress_ifindex),
        (1, t.dst_dev, t.dst_dev),
    )
}

fn mtu(pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::new(pair)?;
    t.dst.enter(|| link::set_mtu(t.dst_dev, 1280))?;
    let receiver = Receiver::new(&t.dst, ip)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let payload = [3; 1400];
    probe::send(&t, ip, &payload)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(&payload)
}

const NO_DELIVERY_TIME: &str = "this kernel has no bpf_skb_set_tstamp() (before 5.18)";

fn delivery_time(pair: Pair) -> Verdict {
    const MONOTONIC: u32 = 1;
    let t = Topology::new(pair)?;
    let program = Redirect::load("peer_stamped", |r| {
        r.target = t.dst_fwd;
        r.tstamp = TIME;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::with("observe_stamp", &t.dst, t.dst_dev)?;
    probe::send(&t, Ip::V4, PROBE)?;
    observer.must_see(1)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, skb->tstamp_type and skb->tstamp",
        (seen.count, seen.tstamp_type, seen.tstamp),
        (1, MONOTONIC, TIME),
    )
}
