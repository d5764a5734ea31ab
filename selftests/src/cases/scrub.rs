// SPDX-License-Identifier: GPL-2.0-only
//! What belongs to the host stays on the host.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::bail;
use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect},
    fail::{Verdict, becomes, same},
    link::{self, Pair},
    probe::{self, Receiver, Tap},
    tc::{self, Action, Match},
    topology::{Ip, MAC_SRC_FWD, Topology, dst_address, src_address},
    xfrm::{self, Tunnel},
};

const PROBE: &[u8] = b"a probe for the container";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature("otherhost_is_delivered", &["R6"], "Verify that a packet that the host took for another machine's is delivered in the container", || otherhost(Pair::Veth, Ip::V4)).on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail { reason: reason::NOT_DELIVERED.into() },
            "5.10 keeps the packet type, and the container's IP stack drops it",
        ),
        Case::feature(
            "otherhost_is_delivered_netkit_v6",
            &["R6"],
            "Verify that an IPv6 packet that the host took for another machine's is delivered behind a netkit pair",
            || otherhost(Pair::Netkit, Ip::V6),
        )
        .needs_netkit(),
        Case::feature(
            "foreign_mac_is_delivered",
            &["R6"],
            "Verify that a frame that a promiscuous NIC received for another MAC is delivered in the container",
            foreign_mac,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 keeps the packet type, and the container's IP stack drops it",
        ),
        Case::feature(
            "decrypted_packet_is_delivered",
            &["R5"],
            "Verify that what the host decrypted is delivered in a container that has no IPsec policy",
            decrypted,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 takes the secpath along, and the container's IP stack has no policy for it",
        ),
        Case::feature(
            "tunnel_dst_stays_behind",
            &["R5"],
            "Verify that what a tunnel of the host attached to a packet is not seen in the container",
            tunnelled,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::WRONG_VALUE.into(),
            },
            "5.10 takes the tunnel's dst along",
        ),
        Case::feature(
            "conntrack_entry_stays_behind",
            &["R5"],
            "Verify that the host's conntrack entry of a packet is not attached to it in the container",
            tracked,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 takes the conntrack entry along",
        ),
    ]
}

fn otherhost(pair: Pair, ip: Ip) -> Verdict {
    const PACKET_HOST: u32 = 0;
    let t = Topology::new(pair)?;
    let receiver = Receiver::new(&t.dst, ip)?;
    let program = Redirect::to("peer_otherhost", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    probe::send(&t, ip, PROBE)?;
    observer.must_see(1)?;
    receiver.must_get(PROBE)?;
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: skb->pkt_type",
        observer.seen().pkt_type,
        PACKET_HOST,
    )
}

fn foreign_mac() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let elsewhere = [2, 0, 0, 0, 0, 99];
    t.src
        .enter(|| link::add_neighbour(t.src_dev, dst_address(Ip::V4), elsewhere))?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)
}

/// ns_src sends through an ESP tunnel that ends on the host.
fn decrypted() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let host = Ipv4Addr::new(172, 16, 1, 1);
    let tunnel = Tunnel {
        from: v4(src_address(Ip::V4))?,
        to: host,
        inner_from: v4(src_address(Ip::V4))?,
        inner_to: v4(dst_address(Ip::V4))?,
    };
    t.src.enter(|| {
        link::add_route(t.src_dev, host.into())?;
        link::add_neighbour(t.src_dev, host.into(), MAC_SRC_FWD)?;
        xfrm::add_state(&tunnel)?;
        xfrm::add_policy_out(&tunnel)
    })?;
    t.fwd.enter(|| {
        link::add_address(t.src_fwd, host.into())?;
        link::add_route(t.src_fwd, src_address(Ip::V4))?;
        xfrm::add_state(&tunnel)
    })?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let wire = Tap::new(&t.src, t.src_dev)?;
    let in_the_clear = wire.counter(PROBE);
    probe::send(&t, Ip::V4, PROBE)?;
    // It left encrypted, and the host's program saw it decrypted.
    becomes(
        reason::SETUP,
        "ns_src, src: frames in the clear; ns_fwd, src_fwd: probes seen at ingress",
        || (in_the_clear(), program.hits().1),
        (0, 1),
    )?;
    receiver.must_get(PROBE)
}

fn v4(address: IpAddr) -> anyhow::Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => bail!("{address} is no IPv4 address"),
    }
}

fn tunnelled() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_tunnelled", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    probe::send(&t, Ip::V4, PROBE)?;
    // Counted after the host's program read the key back.
    becomes(
        reason::SETUP,
        "ns_fwd, src_fwd: probes given a tunnel key",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, and those with a tunnel key",
        (seen.count, seen.tunnelled),
        (1, 0),
    )
}

/// act_ct attaches an entry on the host; a filter on each side matches packets
/// that have one: the host's redirects them, the container's drops them.
fn tracked() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_action", t.dst_fwd)?;
    t.fwd.enter(|| {
        tc::add_clsact(t.src_fwd)?;
        tc::add_filter(t.src_fwd, 1, Match::All, Action::Track)
    })?;
    program.as_action_for(Match::Tracked, &t.fwd, t.src_fwd)?;
    t.dst.enter(|| {
        tc::add_clsact(t.dst_dev)?;
        tc::add_filter(t.dst_dev, 1, Match::Tracked, Action::Drop)
    })?;
    probe::send(&t, Ip::V4, PROBE)?;
    becomes(
        reason::SETUP,
        "ns_fwd, src_fwd: probes with a conntrack entry",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)
}
