// SPDX-License-Identifier: GPL-2.0-only
//! ns_src - ns_fwd - ns_dst, as in the kernel's own test of this helper: two
//! pairs with their host ends in ns_fwd, and no link between the outer ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    link::{self, End, Mac, Pair},
    netns::{self, Netns},
};

/// Version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ip {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Address of the device in ns_src.
pub(crate) fn src_address(ip: Ip) -> IpAddr {
    match ip {
        Ip::V4 => Ipv4Addr::new(172, 16, 1, 100).into(),
        Ip::V6 => Ipv6Addr::new(0, 0, 0, 0, 1, 0xdead, 0xbeef, 0xcafe).into(),
    }
}

/// Address of the device in ns_dst.
pub(crate) fn dst_address(ip: Ip) -> IpAddr {
    match ip {
        Ip::V4 => Ipv4Addr::new(172, 16, 2, 100).into(),
        Ip::V6 => Ipv6Addr::new(0, 0, 0, 0, 2, 0xdead, 0xbeef, 0xcafe).into(),
    }
}

/// MAC addresses: locally administered, one for each end.
pub(crate) const MAC_SRC: Mac = [2, 0, 0, 0, 0, 1];
/// The end of ns_src's pair in ns_fwd.
pub(crate) const MAC_SRC_FWD: Mac = [2, 0, 0, 0, 0, 2];
/// The device in ns_dst.
pub(crate) const MAC_DST: Mac = [2, 0, 0, 0, 0, 3];
/// The end of ns_dst's pair in ns_fwd.
pub(crate) const MAC_DST_FWD: Mac = [2, 0, 0, 0, 0, 4];

/// The three namespaces. Everything in them goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Topology {
    /// Where requests come from.
    pub(crate) src: Netns,
    /// The host.
    pub(crate) fwd: Netns,
    /// The container.
    pub(crate) dst: Netns,
    /// Index of src_fwd in ns_fwd.
    pub(crate) src_fwd: u32,
    /// Index of src in ns_src.
    pub(crate) src_dev: u32,
    /// Index of dst_fwd in ns_fwd.
    pub(crate) dst_fwd: u32,
    /// Index of dst in ns_dst.
    pub(crate) dst_dev: u32,
}

impl Topology {
    /// Both pairs of `kind`, one queue each.
    pub(crate) fn new(kind: Pair) -> Result<Self> {
        Self::build(kind, 1, &[Ip::V4, Ip::V6])
    }

    /// With the version of IP in question, but without IPv6 on the host, which
    /// needs none to redirect: its devices send nothing of their own.
    pub(crate) fn quiet_host(kind: Pair, ip: Ip) -> Result<Self> {
        if ip == Ip::V4 {
            return Self::quiet(kind);
        }
        let t = Self::new(kind)?;
        t.fwd
            .enter(|| netns::sysctl("ipv6/conf/all/disable_ipv6", "1"))?;
        Ok(t)
    }

    /// As [`Self::new`], with so many queues on both ends of ns_dst's pair.
    pub(crate) fn with_queues(kind: Pair, dst_queues: u32) -> Result<Self> {
        Self::build(kind, dst_queues, &[Ip::V4, Ip::V6])
    }

    /// As [`Self::new`], without IPv6, which joins groups and says so on the
    /// link when it likes: for cases that count every packet.
    pub(crate) fn quiet(kind: Pair) -> Result<Self> {
        Self::build(kind, 1, &[Ip::V4])
    }

    /// One version of IP only, and a wire (ns_src's pair) of another kind than
    /// the container's.
    pub(crate) fn with_wire(wire: Pair, kind: Pair, ip: Ip) -> Result<Self> {
        Self::join(wire, kind, 1, &[ip])
    }

    /// One more pair between ns_fwd and ns_dst, of veth and without addresses:
    /// the index of other_fwd in ns_fwd, and that of other in ns_dst.
    pub(crate) fn other_pair(&self) -> Result<(u32, u32)> {
        let end = |name, last| End {
            name,
            mac: [2, 0, 0, 0, 0, last],
            queues: 1,
            index: 0,
        };
        let (host, container) = (end("other_fwd", 44), end("other", 45));
        self.fwd
            .enter(|| link::add_pair(Pair::Veth, &host, &container, &self.dst))?;
        let up = |ns: &Netns, name| {
            ns.enter(|| {
                let index = link::index(name)?;
                link::set_up(index, true)?;
                Ok(index)
            })
        };
        let indices = (up(&self.fwd, "other_fwd")?, up(&self.dst, "other")?);
        self.fwd.enter(|| link::wait_for_carrier("other_fwd"))?;
        Ok(indices)
    }

    fn build(kind: Pair, dst_queues: u32, ips: &[Ip]) -> Result<Self> {
        Self::join(kind, kind, dst_queues, ips)
    }

    fn join(wire: Pair, kind: Pair, dst_queues: u32, ips: &[Ip]) -> Result<Self> {
        let src = Netns::new("ns_src")?;
        let fwd = Netns::new("ns_fwd")?;
        let dst = Netns::new("ns_dst")?;
        if !ips.contains(&Ip::V6) {
            for ns in [&src, &fwd, &dst] {
                ns.enter(|| netns::sysctl("ipv6/conf/default/disable_ipv6", "1"))?;
            }
        }
        let (src_fwd, dst_fwd) = fwd.enter(|| {
            // Indices that mean nothing in the other namespaces.
            let end = |name, mac, queues, index| End {
                name,
                mac,
                queues,
                index,
            };
            link::add_pair(
                wire,
                &end("src_fwd", MAC_SRC_FWD, 1, 102),
                &end("src", MAC_SRC, 1, 101),
                &src,
            )?;
            link::add_pair(
                kind,
                &end("dst_fwd", MAC_DST_FWD, dst_queues, 103),
                &end("dst", MAC_DST, dst_queues, 104),
                &dst,
            )?;
            let (a, b) = (link::index("src_fwd")?, link::index("dst_fwd")?);
            link::set_up(a, true)?;
            link::set_up(b, true)?;
            Ok((a, b))
        })?;
        // Frames go to the MAC of the host's end, as to a next hop: the host
        // takes them for its own, and they are delivered for no other reason.
        let src_dev = outer_end(&src, "src", ips, src_address, dst_address, MAC_SRC_FWD)?;
        let dst_dev = outer_end(&dst, "dst", ips, dst_address, src_address, MAC_DST_FWD)?;
        fwd.enter(|| {
            link::wait_for_carrier("src_fwd")?;
            link::wait_for_carrier("dst_fwd")
        })?;
        Ok(Self {
            src,
            fwd,
            dst,
            src_fwd,
            src_dev,
            dst_fwd,
            dst_dev,
        })
    }

    /// Has frames go to the MAC of the outer device itself: what is transmitted
    /// to it by bpf_redirect() is received by nobody else.
    pub(crate) fn address_frames_to_the_end(&self, ip: Ip) -> Result<()> {
        self.src
            .enter(|| link::add_neighbour(self.src_dev, dst_address(ip), MAC_DST))?;
        self.dst
            .enter(|| link::add_neighbour(self.dst_dev, src_address(ip), MAC_SRC))
    }
}

fn outer_end(
    ns: &Netns,
    name: &str,
    ips: &[Ip],
    own: fn(Ip) -> IpAddr,
    other: fn(Ip) -> IpAddr,
    other_mac: Mac,
) -> Result<u32> {
    ns.enter(|| {
        let index = link::index(name)?;
        link::set_up(index, true)?;
        for &ip in ips {
            link::add_address(index, own(ip))?;
            link::add_route(index, other(ip))?;
            link::add_neighbour(index, other(ip), other_mac)?;
        }
        Ok(index)
    })
}
