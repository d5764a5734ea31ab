// SPDX-License-Identifier: GPL-2.0-only
//! A socket of the host that bpf_sk_assign() chose for a packet that then leaves
//! for the container.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use protocol::{Arm, Expect, reason};

use super::{Case, WAYS};
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes, failed, patience, same},
    link::{self, Pair},
    netns::Netns,
    probe::{self, Listener, PORT, Receiver},
    scene,
    topology::{Ip, MAC_SRC, Topology, dst_address, src_address},
};

const PROBE: &[u8] = b"a probe for the container";
const LAST: &[u8] = b"the one behind it, for the host";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, ip, way) in WAYS {
        let behind = format!("behind a {pair:?} pair, over IP{ip:?}");
        let datagram = Case::feature(
            format!("assigned_socket_stays_behind{way}"),
            &["R11"],
            format!(
                "Verify that a UDP socket of the host, chosen by bpf_sk_assign(), does not receive the container's packet {behind}"
            ),
            move || assigned_socket(pair, ip),
        );
        let listener = Case::feature(
            format!("assigned_listener_stays_behind{way}"),
            &["R11"],
            format!(
                "Verify that a listening TCP socket of the host, chosen by bpf_sk_assign(), does not answer for the container {behind}"
            ),
            move || assigned_listener(pair, ip),
        );
        cases.extend([datagram, listener].map(|case| {
            case.on(
                Some(Arm::Upstream),
                &[],
                Expect::Fail {
                    reason: reason::WRONGLY_DELIVERED.into(),
                },
                "the socket that bpf_sk_assign() chose receives the packet across namespaces",
            )
            .over(pair)
        }));
    }
    cases
}

/// Has the host own the container's address, too.
fn own(t: &Topology, address: IpAddr) -> anyhow::Result<()> {
    t.fwd.enter(|| link::add_address(t.src_fwd, address))
}

fn assigned_socket(pair: Pair, ip: Ip) -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(pair)?;
    own(&t, dst_address(ip))?;
    let host = Receiver::new(&t.fwd, ip)?;
    let container = Receiver::new(&t.dst, ip)?;
    let program = Redirect::to("peer_assigned_udp", t.dst_fwd)?;
    let mut filter = program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, ip, PROBE)?;
    // Counted after the assignment succeeded.
    becomes(
        reason::SETUP,
        "ns_fwd, src_fwd: probes assigned to the host's socket",
        || program.hits().1,
        1,
    )?;
    t.fwd.enter(|| filter.detach())?;
    probe::send(&t, ip, LAST)?;
    host.must_get_only(LAST)?;
    container.must_get(PROBE)
}

/// The host could answer as well: it has the address, and a way back.
fn assigned_listener(pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::new(pair)?;
    own(&t, dst_address(ip))?;
    t.fwd.enter(|| {
        link::add_route(t.src_fwd, src_address(ip))?;
        link::add_neighbour(t.src_fwd, src_address(ip), MAC_SRC)
    })?;
    let _host = Listener::new(&t.fwd, ip)?;
    let container = Listener::new(&t.dst, ip)?;
    let there = Redirect::to("peer_assigned_tcp", t.dst_fwd)?;
    let back = Redirect::to("peer", t.src_fwd)?;
    there.at_ingress(&t.fwd, t.src_fwd)?;
    back.at_ingress(&t.fwd, t.dst_fwd)?;
    let client = probe::connect(&t.src, SocketAddr::new(dst_address(ip), PORT))?;
    // Who answers: waiting to the end for one is not needed where the other does.
    let start = Instant::now();
    let mut accepted = container.accepted()?;
    while accepted.is_none() && answers(&t.fwd)? == 0 && start.elapsed() < patience() {
        thread::sleep(Duration::from_millis(1));
        accepted = container.accepted()?;
    }
    let answered = answers(&t.fwd)?;
    if answered > 0 {
        return Err(failed(
            reason::WRONGLY_DELIVERED,
            format!("ns_fwd: expected no answer by TCP, got {answered}"),
        ));
    }
    if accepted.is_none() {
        return Err(failed(
            reason::NOT_DELIVERED,
            format!(
                "ns_dst: expected a connection, got none; ns_fwd, src_fwd: packets assigned: {}",
                there.hits().0
            ),
        ));
    }
    drop(client);
    same(
        reason::SETUP,
        "ns_fwd, src_fwd: whether packets were assigned to the host's socket",
        there.hits().0 > 0,
        true,
    )
}

/// What the TCP of a namespace has sent.
fn answers(ns: &Netns) -> anyhow::Result<u64> {
    ns.enter(|| scene::counter("Tcp OutSegs"))
}
