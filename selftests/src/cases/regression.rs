// SPDX-License-Identifier: GPL-2.0-only
//! The siblings of the helper: the same result on every arm.

use std::net::Ipv4Addr;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::Verdict,
    link::{self, Pair},
    netns,
    probe::{self, Receiver},
    topology::{Ip, MAC_DST, MAC_DST_FWD, MAC_SRC, Topology, dst_address, src_address},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::regression(
            "redirect_tcp_v4",
            "Verify that TCP over IPv4 goes both ways by bpf_redirect()",
            || plain(Ip::V4),
        ),
        Case::regression(
            "redirect_tcp_v6",
            "Verify that TCP over IPv6 goes both ways by bpf_redirect()",
            || plain(Ip::V6),
        ),
        Case::regression(
            "redirect_neigh_nexthop",
            "Verify that bpf_redirect_neigh() delivers by the next hop that it is given",
            nexthop,
        ),
        Case::regression(
            "redirect_ingress",
            "Verify that bpf_redirect() with BPF_F_INGRESS has the packet received on the other device",
            ingress,
        ),
    ];
    for (pair, p) in [(Pair::Veth, ""), (Pair::Netkit, "netkit_")] {
        for (ip, i) in [(Ip::V4, "v4"), (Ip::V6, "v6")] {
            for (program, kernel, how) in [
                ("neigh", "kernel:tc_redirect_neigh", "bpf_redirect_neigh()"),
                (
                    "neigh_fib",
                    "kernel:tc_redirect_neigh_fib",
                    "bpf_redirect_neigh() with the next hop that bpf_fib_lookup() found",
                ),
            ] {
                let case = Case::closure(
                    format!("redirect_{program}_{p}tcp_{i}"),
                    &["regression", kernel],
                    format!("Verify that TCP over IP{i} and {pair:?} goes both ways by {how}"),
                    move || neigh(program, pair, ip),
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

fn both_ways(program: &'static str, t: &Topology, ip: Ip) -> Verdict {
    let (to_dst, to_src) = (
        Redirect::to(program, t.dst_fwd)?,
        Redirect::to(program, t.src_fwd)?,
    );
    to_dst.at_ingress(&t.fwd, t.src_fwd)?;
    to_src.at_ingress(&t.fwd, t.dst_fwd)?;
    probe::tcp(t, ip)
}

fn plain(ip: Ip) -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    t.address_frames_to_the_end(ip)?;
    both_ways("plain", &t, ip)
}

fn neigh(program: &'static str, pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::new(pair)?;
    // The helper asks the host's tables for the next hop's MAC.
    t.fwd.enter(|| {
        for (index, to, mac) in [
            (t.src_fwd, src_address(ip), MAC_SRC),
            (t.dst_fwd, dst_address(ip), MAC_DST),
        ] {
            link::add_route(index, to)?;
            link::add_neighbour(index, to, mac)?;
        }
        // bpf_fib_lookup() finds nothing where nothing is forwarded.
        if program == "neigh_fib" {
            netns::sysctl("ipv4/ip_forward", "1")?;
            netns::sysctl("ipv6/conf/all/forwarding", "1")?;
        }
        Ok(())
    })?;
    both_ways(program, &t, ip)
}

const PROBE: &[u8] = b"a probe for the siblings";

fn nexthop() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let gateway = Ipv4Addr::new(172, 16, 2, 254);
    t.fwd
        .enter(|| link::add_neighbour(t.dst_fwd, gateway.into(), MAC_DST))?;
    let program = Redirect::load("neigh_nexthop", |r| {
        r.target = t.dst_fwd;
        r.nexthop = u32::from_ne_bytes(gateway.octets());
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)
}

fn ingress() -> Verdict {
    const BPF_F_INGRESS: u64 = 1;
    let t = Topology::new(Pair::Veth)?;
    let to = dst_address(Ip::V4);
    t.src
        .enter(|| link::add_neighbour(t.src_dev, to, MAC_DST_FWD))?;
    t.fwd.enter(|| link::add_address(t.dst_fwd, to))?;
    let program = Redirect::load("plain", |r| {
        r.target = t.dst_fwd;
        r.flags = BPF_F_INGRESS;
    })?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let receiver = Receiver::new(&t.fwd, Ip::V4)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)
}
