// SPDX-License-Identifier: GPL-2.0-only
//! The other ways to run a program at ingress, and other directions to go.

use std::net::Ipv4Addr;

use protocol::reason;

use super::{Case, WAYS, connectivity::both_ways_by};
use crate::{
    bpf::{Hook, Redirect},
    fail::{Verdict, becomes},
    link::{self, End, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver, Tap},
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that takes another way";
const LAST: &[u8] = b"the one behind it, which goes half of it";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let traffic: [(&str, Traffic); 3] = [
        ("tcp", probe::tcp),
        ("udp", probe::echo),
        ("ping", probe::ping_both),
    ];
    for (hook, h, how) in [
        (Hook::Tcx, "tcx", "attached by tcx"),
        (Hook::Action, "act_bpf", "actions of a matchall filter"),
    ] {
        for (kind, traffic) in traffic {
            for (pair, ip, way) in WAYS {
                let case = Case::feature(
                    format!("peer_{h}_{kind}{way}"),
                    &["carry"],
                    format!(
                        "Verify that {kind} goes both ways over {pair:?} and IP{ip:?} when the programs are {how}"
                    ),
                    move || both_ways_by(hook, &Topology::new(pair)?, &|t| traffic(t, ip)),
                );
                // tcx is as old as netkit.
                cases.push(if hook == Hook::Tcx {
                    case.needs_netkit()
                } else {
                    case.over(pair)
                });
            }
        }
    }
    cases.extend(directions());
    cases
}

type Traffic = fn(&Topology, Ip) -> Verdict;

fn directions() -> Vec<Case> {
    vec![
        Case::feature(
            "container_to_host_is_delivered",
            &["carry"],
            "Verify that a program in the container can switch a packet to the host's end",
            container_to_host,
        ),
        Case::feature(
            "second_container_is_delivered",
            &["carry"],
            "Verify that a container's own program may switch a packet on into a container within",
            second_container,
        ),
        Case::feature(
            "ipvlan_on_the_peer",
            &["carry"],
            "Verify that a packet for an ipvlan device on top of the container's device is delivered to it",
            ipvlan,
        ),
    ]
}

/// The host transmits a frame; the container's program switches it back.
fn container_to_host() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    t.fwd
        .enter(|| link::add_address(t.src_fwd, dst_address(Ip::V4)))?;
    let receiver = Receiver::new(&t.fwd, Ip::V4)?;
    let program = Redirect::to("peer_probe", t.src_dev)?;
    program.at_ingress(&t.src, t.src_dev)?;
    Tap::new(&t.fwd, t.src_fwd)?.send(&probe::frame(
        MAC_SRC,
        MAC_SRC_FWD,
        libc::ETH_P_IP as u16,
        &probe::udp_packet(PROBE),
    ))?;
    receiver
        .must_get(PROBE)
        .map_err(|e| e.with(format!("ns_src, src: program ran for {:?}", program.hits())))
}

fn second_container() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    let within = Netns::new("ns_within")?;
    let host_end = t.dst.enter(|| {
        let end = |name, last, index| End {
            name,
            mac: [2, 0, 0, 0, 1, last],
            queues: 1,
            index,
        };
        link::add_pair(
            Pair::Veth,
            &end("within_fwd", 1, 105),
            &end("within", 2, 106),
            &within,
        )?;
        link::set_up(105, true)?;
        Ok(105)
    })?;
    within.enter(|| {
        link::set_up(106, true)?;
        link::add_address(106, dst_address(Ip::V4))
    })?;
    let first = Redirect::to("peer_probe", t.dst_fwd)?;
    let second = Redirect::to("peer_probe", host_end)?;
    first.at_ingress(&t.fwd, t.src_fwd)?;
    let mut filter = second.at_ingress(&t.dst, t.dst_dev)?;
    let between = Receiver::new(&t.dst, Ip::V4)?;
    let receiver = Receiver::new(&within, Ip::V4)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    // It stays where it is without the second program, and is the first there.
    t.dst.enter(|| filter.detach())?;
    probe::send(&t, Ip::V4, LAST)?;
    between.must_get_only(LAST)
}

/// The rx_handler of the container's device has its turn in the new round.
fn ipvlan() -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let within = Netns::new("ns_within")?;
    // An address of its own: ipvlan tells by it.
    let address = Ipv4Addr::new(172, 16, 2, 200);
    t.dst
        .enter(|| link::add_ipvlan("within", t.dst_dev, &within))?;
    within.enter(|| {
        let index = link::index("within")?;
        link::set_up(index, true)?;
        link::add_address(index, address.into())
    })?;
    t.src.enter(|| {
        link::add_route(t.src_dev, address.into())?;
        link::add_neighbour(t.src_dev, address.into(), MAC_SRC_FWD)
    })?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let receiver = Receiver::new(&within, Ip::V4)?;
    probe::send_to(&t.src, (address, PORT).into(), PROBE)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)
}
