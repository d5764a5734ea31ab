// SPDX-License-Identifier: GPL-2.0-only
//! Frames that are not one small packet for one machine.

use std::net::{IpAddr, Ipv4Addr};

use protocol::reason;

use super::Case;
use crate::{
    bpf::{Observer, Redirect},
    fail::{Verdict, becomes, failed, same},
    link::{self, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver},
    topology::{Ip, MAC_DST_FWD, MAC_SRC_FWD, Topology, dst_address},
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
        Case::feature(
            "broadcast_is_delivered",
            &["carry"],
            "Verify that a broadcast packet is delivered in the container",
            || many(Ipv4Addr::BROADCAST),
        ),
        Case::feature(
            "multicast_is_delivered",
            &["carry"],
            "Verify that a multicast packet is delivered to the group's members in the container",
            || many(GROUP),
        ),
    ]
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
    if stream.longest <= 1514 || stream.most_segments < 2 {
        return Err(failed(
            reason::WRONG_VALUE,
            format!(
                "ns_dst, dst: expected a packet longer than 1514 bytes with several segments, got {stream:?}"
            ),
        ));
    }
    Ok(())
}

fn many(to: Ipv4Addr) -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    if to.is_multicast() {
        t.dst.enter(|| receiver.join(to, dst_address(Ip::V4)))?;
    }
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send_to_many(&t.src, "src", to, PROBE)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)
}
