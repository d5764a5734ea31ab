// SPDX-License-Identifier: GPL-2.0-only
//! The siblings of the helper: the same result on every arm.

use super::Case;
use crate::{
    bpf::Redirect,
    fail::Verdict,
    link::{self, Pair},
    probe,
    topology::{Ip, MAC_DST, MAC_SRC, Topology, dst_address, src_address},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
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
            "redirect_neigh_tcp_v4",
            "Verify that TCP over IPv4 goes both ways by bpf_redirect_neigh()",
            || neigh(Ip::V4),
        ),
        Case::regression(
            "redirect_neigh_tcp_v6",
            "Verify that TCP over IPv6 goes both ways by bpf_redirect_neigh()",
            || neigh(Ip::V6),
        ),
    ]
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

fn neigh(ip: Ip) -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    // The helper asks the host's tables for the next hop's MAC.
    t.fwd.enter(|| {
        for (index, to, mac) in [
            (t.src_fwd, src_address(ip), MAC_SRC),
            (t.dst_fwd, dst_address(ip), MAC_DST),
        ] {
            link::add_route(index, to)?;
            link::add_neighbour(index, to, mac)?;
        }
        Ok(())
    })?;
    both_ways("neigh", &t, ip)
}
