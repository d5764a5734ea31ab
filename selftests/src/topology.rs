// SPDX-License-Identifier: GPL-2.0-only
//! ns_src - ns_fwd - ns_dst, as in the kernel's own test of this helper: two
//! pairs with their host ends in ns_fwd, and no link between the outer ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    link::{self, End, Mac, Pair},
    netns::Netns,
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
    /// Index of dst_fwd in ns_fwd.
    pub(crate) dst_fwd: u32,
    /// Index of dst in ns_dst.
    pub(crate) dst_dev: u32,
}

impl Topology {
    /// Both pairs of `kind`, one queue each.
    pub(crate) fn new(kind: Pair) -> Result<Self> {
        Self::with_queues(kind, 1, 1)
    }

    /// As [`Self::new`], with so many queues on the pairs of ns_src and ns_dst.
    pub(crate) fn with_queues(kind: Pair, src_queues: u32, dst_queues: u32) -> Result<Self> {
        let src = Netns::new("ns_src")?;
        let fwd = Netns::new("ns_fwd")?;
        let dst = Netns::new("ns_dst")?;
        let (src_fwd, dst_fwd) = fwd.enter(|| {
            let end = |name, mac, queues| End { name, mac, queues };
            link::add_pair(
                kind,
                &end("src_fwd", MAC_SRC_FWD, src_queues),
                &end("src", MAC_SRC, src_queues),
                &src,
            )?;
            link::add_pair(
                kind,
                &end("dst_fwd", MAC_DST_FWD, dst_queues),
                &end("dst", MAC_DST, dst_queues),
                &dst,
            )?;
            let (a, b) = (link::index("src_fwd")?, link::index("dst_fwd")?);
            link::set_up(a, true)?;
            link::set_up(b, true)?;
            Ok((a, b))
        })?;
        outer_end(&src, "src", src_address, dst_address, MAC_DST)?;
        let dst_dev = outer_end(&dst, "dst", dst_address, src_address, MAC_SRC)?;
        Ok(Self {
            src,
            fwd,
            dst,
            src_fwd,
            dst_fwd,
            dst_dev,
        })
    }
}

fn outer_end(
    ns: &Netns,
    name: &str,
    own: fn(Ip) -> IpAddr,
    other: fn(Ip) -> IpAddr,
    other_mac: Mac,
) -> Result<u32> {
    ns.enter(|| {
        let index = link::index(name)?;
        link::set_up(index, true)?;
        for ip in [Ip::V4, Ip::V6] {
            link::add_address(index, own(ip))?;
            link::add_route(index, other(ip))?;
            link::add_neighbour(index, other(ip), other_mac)?;
        }
        Ok(index)
    })
}
