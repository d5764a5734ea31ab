// SPDX-License-Identifier: GPL-2.0-only
//! The other ways to run a program at ingress, and other directions to go.

use super::Case;
use crate::{
    bpf::Redirect,
    fail::Verdict,
    link::{self, End, Pair},
    netns::Netns,
    probe::{self, Receiver, Tap},
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that takes another way";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "peer_tcx_tcp",
            &["carry"],
            "Verify that TCP goes both ways when the programs are attached by tcx",
            tcx,
        )
        .needs_netkit(),
        Case::feature(
            "peer_act_bpf_tcp",
            &["carry"],
            "Verify that TCP goes both ways when the programs are actions of a matchall filter",
            act_bpf,
        ),
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
    ]
}

fn tcx() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let to_dst = Redirect::to("peer_tcx", t.dst_fwd)?;
    let to_src = Redirect::to("peer_tcx", t.src_fwd)?;
    let checker = Redirect::load("checker", |_| {})?;
    let links = [
        to_dst.at_tcx_ingress(&t.fwd, t.src_fwd)?,
        to_src.at_tcx_ingress(&t.fwd, t.dst_fwd)?,
    ];
    checker.at_egress(&t.fwd, t.src_fwd)?;
    checker.at_egress(&t.fwd, t.dst_fwd)?;
    let verdict = probe::tcp(&t, Ip::V4);
    drop(links);
    verdict
}

fn act_bpf() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let to_dst = Redirect::to("peer_action", t.dst_fwd)?;
    let to_src = Redirect::to("peer_action", t.src_fwd)?;
    let checker = Redirect::load("checker", |_| {})?;
    to_dst.as_action(&t.fwd, t.src_fwd)?;
    to_src.as_action(&t.fwd, t.dst_fwd)?;
    checker.at_egress(&t.fwd, t.src_fwd)?;
    checker.at_egress(&t.fwd, t.dst_fwd)?;
    probe::tcp(&t, Ip::V4)
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
    second.at_ingress(&t.dst, t.dst_dev)?;
    let between = Receiver::new(&t.dst, Ip::V4)?;
    let receiver = Receiver::new(&within, Ip::V4)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    between.must_get_nothing()
}
