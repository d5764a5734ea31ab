// SPDX-License-Identifier: GPL-2.0-only
//! The ways that packets take into a container, each set up for traffic.

use anyhow::Result;

use crate::{
    bpf::Redirect,
    fail::Stop,
    link::{self, Pair},
    netns::{Netns, sysctl},
    topology::{Ip, MAC_DST, MAC_SRC, MAC_SRC_FWD, Topology, dst_address, src_address},
};

/// A way that packets take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    by: By,
    /// From another container of the same host, not from the wire.
    local: bool,
}

/// Who sends packets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Nobody. No container: the far end is on the host. The limit.
    Host,
    /// The host routes.
    Stack,
    /// A program sees each packet and lets the host route it.
    Pass,
    /// bpf_redirect() both ways.
    Redirect,
    /// bpf_redirect_neigh() both ways.
    Neigh,
    /// bpf_redirect_peer() into a container, bpf_redirect() to the wire.
    Peer,
}

const fn way(by: By, local: bool) -> Way {
    Way { by, local }
}

impl Way {
    /// Whether it depends on the container's pair: the limit uses none, and is
    /// measured once.
    pub(super) fn has_container(self) -> bool {
        self.by != By::Host
    }
}

/// All of them, by the name in a figure.
pub(super) const WAYS: [(Way, &str); 10] = [
    (way(By::Host, false), "host"),
    (way(By::Stack, false), "stack"),
    (way(By::Pass, false), "pass"),
    (way(By::Redirect, false), "redirect"),
    (way(By::Neigh, false), "redirect_neigh"),
    (way(By::Peer, false), "redirect_peer"),
    (way(By::Stack, true), "local.stack"),
    (way(By::Redirect, true), "local.redirect"),
    (way(By::Neigh, true), "local.redirect_neigh"),
    (way(By::Peer, true), "local.redirect_peer"),
];

/// A way that is ready for traffic.
pub(super) struct Prepared {
    pub(super) topology: Topology,
    pub(super) ip: Ip,
    by: By,
    _programs: Vec<Redirect>,
}

impl Prepared {
    /// Sets it up. The container has a pair of this kind; what comes from afar
    /// comes from a veth pair, and what comes from another container from its
    /// pair, of the same kind.
    pub(super) fn new(pair: Pair, ip: Ip, way: Way) -> Result<Self, Stop> {
        let Way { by, local } = way;
        let t = Topology::with_wire(if local { pair } else { Pair::Veth }, pair, ip)?;
        // Where the host's own tables send things, for the ways that ask them.
        t.fwd.enter(|| {
            link::add_neighbour(t.src_fwd, src_address(ip), MAC_SRC)?;
            link::add_route(t.src_fwd, src_address(ip))?;
            if by == By::Host {
                link::add_address(t.src_fwd, dst_address(ip))
            } else {
                link::add_neighbour(t.dst_fwd, dst_address(ip), MAC_DST)?;
                link::add_route(t.dst_fwd, dst_address(ip))
            }
        })?;
        if matches!(by, By::Stack | By::Pass) {
            t.fwd.enter(|| match ip {
                Ip::V4 => sysctl("ipv4/ip_forward", "1"),
                Ip::V6 => sysctl("ipv6/conf/all/forwarding", "1"),
            })?;
        }
        let (there, back) = match by {
            By::Host | By::Stack => (None, None),
            By::Pass => (Some("lean_pass"), Some("lean_pass")),
            By::Redirect => (Some("lean_redirect"), Some("lean_redirect")),
            By::Neigh => (Some("lean_neigh"), Some("lean_neigh")),
            By::Peer if local => (Some("lean_peer"), Some("lean_peer")),
            By::Peer => (Some("lean_peer"), Some("lean_redirect")),
        };
        // What bpf_redirect() transmits is received as it is: it must be for the
        // device that receives it. Into the others frames come as to a host.
        if back == Some("lean_redirect") {
            t.address_frames_to_the_end(ip)?;
        }
        if there == Some("lean_peer") && !local {
            t.src
                .enter(|| link::add_neighbour(t.src_dev, dst_address(ip), MAC_SRC_FWD))?;
        }
        let mut programs = Vec::new();
        for (program, from, to) in [(there, t.src_fwd, t.dst_fwd), (back, t.dst_fwd, t.src_fwd)] {
            if let Some(program) = program {
                let program = Redirect::to(program, to)?;
                program.at_ingress(&t.fwd, from)?;
                programs.push(program);
            }
        }
        Ok(Self {
            topology: t,
            ip,
            by,
            _programs: programs,
        })
    }

    /// Where the far end is.
    pub(super) fn far(&self) -> &Netns {
        match self.by {
            By::Host => &self.topology.fwd,
            _ => &self.topology.dst,
        }
    }
}
