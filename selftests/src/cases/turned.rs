// SPDX-License-Identifier: GPL-2.0-only
//! What the host itself sent, turned round to arrive on the NIC with everything
//! that its own stack left on it, and then redirected into the container.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result};
use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes, same},
    ipvs, link,
    link::Pair,
    netns,
    probe::{self, PORT, Receiver},
    scene, tc,
    topology::{Ip, MAC_DST, Topology},
};

const PROBE: &[u8] = b"a probe that the host sends";
const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 16, 2, 100);
/// The host's own, and a service of the host's.
const HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 1, 1);
const SERVICE: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 9);
/// Somebody behind the container.
const FAR: Ipv4Addr = Ipv4Addr::new(172, 16, 3, 100);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "ipvs_of_the_container_sees_the_packet",
            &["R5"],
            "Verify that IPVS of the container handles a packet that IPVS of the host has handled",
            balanced_twice,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 takes the host's mark of IPVS along, and the container's IPVS leaves the packet alone",
        ),
        Case::feature(
            "ignored_df_stays_behind",
            &["R5"],
            "Verify that the container does not fragment a packet with DF although the host's sender would have let it be",
            df_is_kept,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::WRONG_COUNT.into(),
            },
            "5.10 takes ignore_df along, and the container fragments a packet with DF",
        ),
    ]
}

/// Has what the host sends to `to` arrive on src_fwd.
fn turned_round(t: &Topology, to: &[Ipv4Addr]) -> Result<()> {
    t.fwd.enter(|| {
        let out = link::add_dummy("out")?;
        link::set_up(out, true)?;
        link::add_address(out, HOST.into())?;
        for &to in to {
            link::add_route(out, to.into())?;
            link::add_neighbour(out, to.into(), MAC_DST)?;
        }
        tc::turn_round(out, t.src_fwd)
    })
}

/// The host's IPVS sends what is for its service to a port of the container,
/// whose IPVS sends it on to the port where it is waited for.
fn balanced_twice() -> Verdict {
    const BETWEEN: u16 = PORT + 1;
    let t = Topology::quiet(Pair::Veth)?;
    turned_round(&t, &[SERVICE, CONTAINER])?;
    let between = SocketAddrV4::new(CONTAINER, BETWEEN);
    t.fwd
        .enter(|| ipvs::add_service(SocketAddrV4::new(SERVICE, PORT), between))?;
    t.dst
        .enter(|| ipvs::add_service(between, SocketAddrV4::new(CONTAINER, PORT)))?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send_to(&t.fwd, SocketAddr::new(SERVICE.into(), PORT), PROBE)?;
    becomes(
        reason::SETUP,
        "ns_fwd, src_fwd: packets turned round, and those that IPVS has not changed",
        || program.hits(),
        (1, 0),
    )?;
    receiver.must_get(PROBE)
}

/// A socket that discovers the path's MTU by itself sets DF, and leaves word on
/// the packet that the host may fragment it all the same. The container forwards
/// it to a device whose MTU is smaller.
fn df_is_kept() -> Verdict {
    const MTU: u32 = 600;
    let t = Topology::quiet(Pair::Veth)?;
    turned_round(&t, &[FAR])?;
    t.dst.enter(|| {
        netns::sysctl("ipv4/ip_forward", "1")?;
        let far = link::add_dummy("far")?;
        link::set_mtu(far, MTU)?;
        link::set_up(far, true)?;
        link::add_route(far, FAR.into())?;
        link::add_neighbour(far, FAR.into(), MAC_DST)
    })?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let refused = || t.dst.enter(|| scene::counter("Ip FragFails")).ok();
    let before = refused();
    probe::send_to(&t.fwd, SocketAddr::new(FAR.into(), PORT), &[7; 1000])?;
    becomes(
        reason::SETUP,
        "ns_fwd, src_fwd: probes turned round",
        || program.hits().1,
        1,
    )?;
    let left = || t.dst.enter(|| Ok(link::counters("far")?.tx));
    // Either comes, or the packet has not come to be forwarded.
    becomes(
        reason::NOT_DELIVERED,
        "ns_dst: whether the packet was refused for its DF (Ip FragFails), or left by far",
        || refused() != before || left().is_ok_and(|tx| tx != (0, 0)),
        true,
    )?;
    same(
        reason::WRONG_COUNT,
        "ns_dst, far: packets and bytes transmitted",
        left()?,
        (0, 0),
    )?;
    same(
        reason::WRONG_COUNT,
        "ns_dst: packets refused for their DF (Ip FragFails)",
        refused(),
        before
            .context("reading Ip FragFails")
            .map(|n| Some(n + 1))?,
    )
}
