// SPDX-License-Identifier: GPL-2.0-only
//! Packets of a device without link-layer header, which get one on the way.

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Stop, Verdict},
    link::{self, Pair},
    netns::Netns,
    probe::{self, Tun, Wire},
    topology::{Ip, MAC_DST, Topology, dst_address, src_address},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, p) in [(Pair::Veth, "veth"), (Pair::Netkit, "netkit")] {
        for (ip, i) in [(Ip::V4, "v4"), (Ip::V6, "v6")] {
            for (kind, with_tcp) in [("tcp", true), ("ping", false)] {
                let case = Case::feature(
                    format!("l3_{p}_{kind}_{i}"),
                    &["R2", "kernel:tc_redirect_peer_l3"],
                    format!(
                        "Verify that {kind} IP{i} of a TUN device, given headers by bpf_skb_change_head(), goes into a container over {p}"
                    ),
                    move || l3(pair, ip, with_tcp),
                );
                cases.push(if pair == Pair::Veth {
                    case
                } else {
                    case.needs_netkit()
                });
            }
        }
    }
    cases
}

fn l3(pair: Pair, ip: Ip, with_tcp: bool) -> Verdict {
    let mut t = Topology::new(pair)?;
    // In place of ns_src: one whose only way out is a TUN device.
    let src = Netns::new("ns_src")?;
    let (outer, _) = tun(&src, "src")?;
    let (inner, inner_index) = tun(&t.fwd, "tun_fwd")?;
    src.enter(|| {
        let index = link::index("src")?;
        link::add_address(index, src_address(ip))?;
        link::add_route(index, dst_address(ip))
    })?;
    let _wire = Wire::between(outer, inner);

    let there = Redirect::load("peer_from_l3", |r| {
        r.target = t.dst_fwd;
        r.l2_dst = MAC_DST;
    })?;
    let back = Redirect::to("plain", inner_index)?;
    let checker = Redirect::load("checker", |_| {})?;
    there.at_ingress(&t.fwd, inner_index)?;
    back.at_ingress(&t.fwd, t.dst_fwd)?;
    checker.at_egress(&t.fwd, t.dst_fwd)?;
    t.src = src;
    let result = if with_tcp {
        probe::tcp(&t, ip)
    } else {
        probe::ping(&t.src, dst_address(ip))
    };
    result.map_err(|e: Stop| {
        e.with(format!(
            "programs ran for: tun_fwd {:?}, dst_fwd {:?}, egress {:?}",
            there.hits(),
            back.hits(),
            checker.hits()
        ))
    })
}

fn tun(ns: &Netns, name: &str) -> anyhow::Result<(Tun, u32)> {
    ns.enter(|| {
        let tun = Tun::new(name)?;
        let index = link::index(name)?;
        link::set_up(index, true)?;
        Ok((tun, index))
    })
}
