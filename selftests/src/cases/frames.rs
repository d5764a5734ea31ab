// SPDX-License-Identifier: GPL-2.0-only
//! Frames that are not one small packet for one machine.

use std::net::{IpAddr, Ipv4Addr};

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect, Seen},
    fail::{Stop, Verdict, becomes, failed, same},
    link::{self, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver, Tap},
    topology::{Ip, MAC_DST_FWD, MAC_SRC, MAC_SRC_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe in an unusual frame";
const VLAN: u16 = 7;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 5, 5);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "vlan_tag_survives",
            &["carry"],
            "Verify that a tagged frame is delivered to the container's VLAN device, and only there",
            vlan_tag,
        ),
        Case::feature(
            "vlan_tcp",
            &["carry"],
            "Verify that TCP goes both ways in tagged frames",
            vlan_tcp,
        ),
        Case::feature(
            "gso_super_packets",
            &["carry"],
            "Verify that TCP's super-packets are switched whole and that no byte is lost",
            gso,
        ),
        vlan_case("vlan_fields", Pair::Veth),
        vlan_case("vlan_fields_netkit", Pair::Netkit),
        Case::feature(
            "broadcast_is_delivered",
            &["carry"],
            "Verify that a broadcast packet is delivered in the container",
            || many(Ipv4Addr::BROADCAST).map(drop),
        ),
        Case::feature(
            "multicast_is_delivered",
            &["carry"],
            "Verify that a multicast packet is delivered to the group's members in the container",
            || many(GROUP).map(drop),
        ),
        type_case("broadcast", Ipv4Addr::BROADCAST),
        type_case("multicast", GROUP),
    ]
}

fn vlan_case(name: &str, pair: Pair) -> Case {
    Case::feature(
        name,
        &["carry"],
        format!(
            "Verify that programs behind a {pair:?} pair see a tagged frame's VLAN, priority and kind of tag, and its own protocol"
        ),
        move || vlan_fields(pair),
    )
    .over(pair)
}

fn type_case(what: &str, to: Ipv4Addr) -> Case {
    Case::feature(
        format!("{what}_type_is_cleared"),
        &["R6"],
        format!("Verify that a {what} packet is PACKET_HOST for programs in the container"),
        move || becomes_host(to),
    )
    .on(
        Some(Arm::Upstream),
        &["5.10"],
        Expect::Fail {
            reason: reason::WRONG_VALUE.into(),
        },
        "5.10 keeps the packet type",
    )
}

const TAGGED_SRC: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 7, 1));
const TAGGED_DST: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 7, 2));

/// Puts a VLAN device on both outer ends.
fn tagged(t: &Topology) -> anyhow::Result<()> {
    let end = |ns: &Netns, below, own, other, mac| {
        ns.enter(|| {
            let index = link::add_vlan("tagged", below, VLAN)?;
            link::add_address(index, own)?;
            link::add_route(index, other)?;
            link::add_neighbour(index, other, mac)
        })
    };
    end(&t.src, t.src_dev, TAGGED_SRC, TAGGED_DST, MAC_SRC_FWD)?;
    end(&t.dst, t.dst_dev, TAGGED_DST, TAGGED_SRC, MAC_DST_FWD)
}

fn vlan_tag() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    tagged(&t)?;
    let program = Redirect::to("peer", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let before = t.dst.enter(|| link::counters("tagged"))?;
    probe::send_to(&t.src, (TAGGED_DST, PORT).into(), PROBE)?;
    receiver.must_get(PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, and the VLAN of the last",
        (seen.count, seen.vlan_tci & 0xfff),
        (1, u32::from(VLAN)),
    )?;
    let after = t.dst.enter(|| link::counters("tagged"))?;
    same(
        reason::WRONG_COUNT,
        "ns_dst, tagged: packets received",
        after.rx.0 - before.rx.0,
        1,
    )
}

fn vlan_tcp() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    tagged(&t)?;
    super::connectivity::both_ways(&t, &|t| probe::tcp_to(t, TAGGED_DST))
}

fn gso() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let observer = Observer::with("observe_stream", &t.dst, t.dst_dev)?;
    super::connectivity::both_ways(&t, &|t| probe::bulk(t, 1 << 20))?;
    let stream = observer.stream();
    // Ethernet, IPv4, and TCP with timestamps; the rest of the MTU is payload.
    const HEADERS: u32 = 14 + 20 + 32;
    const SEGMENT: u32 = 1514 - HEADERS;
    let segments = stream.longest.saturating_sub(HEADERS).div_ceil(SEGMENT);
    if segments < 2 {
        return Err(failed(
            reason::WRONG_VALUE,
            format!("ns_dst, dst: expected a packet of several segments, got {stream:?}"),
        ));
    }
    same(
        reason::WRONG_VALUE,
        &format!(
            "ns_dst, dst: gso_size and gso_segs of a packet of {} bytes",
            stream.longest
        ),
        (stream.gso_size, stream.gso_segs),
        (SEGMENT, segments),
    )
}

/// What the container sees of a packet for many.
fn many(to: Ipv4Addr) -> Result<Seen, Stop> {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    if to.is_multicast() {
        t.dst.enter(|| receiver.join(to, dst_address(Ip::V4)))?;
    }
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send_to_many(&t.src, "src", to, PROBE)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)?;
    Ok(observer.seen())
}

/// As any packet that comes out of another namespace: R6 has the type cleared.
fn becomes_host(to: Ipv4Addr) -> Verdict {
    const PACKET_HOST: u32 = 0;
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: skb->pkt_type",
        many(to)?.pkt_type,
        PACKET_HOST,
    )
}

/// The tag is out of the frame when tc sees it, and everything in it beside it.
fn vlan_fields(pair: Pair) -> Verdict {
    const ETH_P_8021AD: u16 = 0x88a8;
    let t = Topology::new(pair)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    let wire = Tap::new(&t.src, t.src_dev)?;
    let packet = probe::udp_packet(PROBE);
    // Priority, eligible to be dropped, VLAN.
    for (sent, (protocol, tci)) in (1..).zip([
        (libc::ETH_P_8021Q as u16, 5 << 13 | 1 << 12 | VLAN),
        (ETH_P_8021AD, 3 << 13 | VLAN),
    ]) {
        let mut tagged = tci.to_be_bytes().to_vec();
        tagged.extend((libc::ETH_P_IP as u16).to_be_bytes());
        tagged.extend(&packet);
        wire.send(&probe::frame(MAC_SRC_FWD, MAC_SRC, protocol, &tagged))?;
        observer.must_see(sent)?;
        let seen = observer.seen();
        same(
            reason::WRONG_VALUE,
            "ns_dst, dst: skb->vlan_present, vlan_proto, vlan_tci, protocol",
            (
                seen.vlan_present,
                seen.vlan_proto,
                seen.vlan_tci,
                seen.protocol,
            ),
            (1, protocol.into(), tci.into(), libc::ETH_P_IP as u32),
        )?;
    }
    Ok(())
}
