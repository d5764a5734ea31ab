// SPDX-License-Identifier: GPL-2.0-only
//! Devices, addresses, routes and neighbours of this thread's namespace, over
//! rtnetlink: spawning `ip` for each costs 60 ms under emulation.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Route,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        InfoData, InfoIpVlan, InfoKind, InfoNetkit, InfoVeth, InfoVlan, InfoVxlan, IpVlanMode,
        LinkAttribute, LinkFlags, LinkInfo, LinkMessage, NetkitMode, State,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAttribute, RouteHeader, RouteLwEnCapType, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};

use crate::{
    fail::patience,
    netlink::{ask, get},
    netns::Netns,
};

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// What a pair of devices is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// veth.
    Veth,
    /// netkit in L2 mode.
    Netkit,
    /// netkit in L3 mode: no neighbours to ask for.
    NetkitL3,
}

/// One end of a pair, about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its address.
    pub(crate) mac: Mac,
    /// Receive and transmit queues.
    pub(crate) queues: u32,
    /// Its index; 0 for the next free one.
    pub(crate) index: u32,
}

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

fn attributes(kind: Pair, end: &End<'_>) -> Vec<LinkAttribute> {
    let mut attributes = vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::NumRxQueues(end.queues),
        LinkAttribute::NumTxQueues(end.queues),
    ];
    // netkit refuses addresses in L3 mode.
    if kind != Pair::NetkitL3 {
        attributes.push(LinkAttribute::Address(end.mac.to_vec()));
    }
    attributes
}

/// Makes a pair: `host` in this namespace, `peer` in `peer_ns`.
pub(crate) fn add_pair(kind: Pair, host: &End<'_>, peer: &End<'_>, peer_ns: &Netns) -> Result<()> {
    let mut other = LinkMessage::default();
    other.header.index = peer.index;
    other.attributes = attributes(kind, peer);
    other
        .attributes
        .push(LinkAttribute::NetNsFd(peer_ns.fd().as_raw_fd()));
    let mut message = LinkMessage::default();
    message.header.index = host.index;
    message.attributes = attributes(kind, host);
    let info = match kind {
        Pair::Veth => vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ],
        Pair::Netkit | Pair::NetkitL3 => vec![
            LinkInfo::Kind(InfoKind::Netkit),
            LinkInfo::Data(InfoData::Netkit(vec![
                InfoNetkit::Mode(if kind == Pair::Netkit {
                    NetkitMode::L2
                } else {
                    NetkitMode::L3
                }),
                InfoNetkit::Peer(other),
            ])),
        ],
    };
    message.attributes.push(LinkAttribute::LinkInfo(info));
    ask(Route::NewLink(message), CREATE)
        .with_context(|| format!("making the {kind:?} pair {} and {}", host.name, peer.name))
}

/// Makes a dummy device.
pub(crate) fn add_dummy(name: &str) -> Result<u32> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
    ];
    ask(Route::NewLink(message), CREATE).with_context(|| format!("making {name}"))?;
    index(name)
}

/// Makes a VLAN device on top of another and takes it up.
pub(crate) fn add_vlan(name: &str, below: u32, id: u16) -> Result<u32> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(below),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
        ]),
    ];
    ask(Route::NewLink(message), CREATE).with_context(|| format!("making {name}"))?;
    let index = index(name)?;
    set_up(index, true)?;
    Ok(index)
}

/// Makes a bridge and takes it up.
pub(crate) fn add_bridge(name: &str, mac: Mac) -> Result<u32> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    ask(Route::NewLink(message), CREATE).with_context(|| format!("making {name}"))?;
    let index = index(name)?;
    set_up(index, true)?;
    Ok(index)
}

/// Makes a device a port of a bridge.
pub(crate) fn add_port(bridge: u32, index: u32) -> Result<()> {
    change(index, |m| {
        m.attributes.push(LinkAttribute::Controller(bridge));
    })
}

/// Makes an ipvlan device (L2 mode) on top of `below`, in another namespace.
pub(crate) fn add_ipvlan(name: &str, below: u32, ns: &Netns) -> Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(below),
        LinkAttribute::NetNsFd(ns.fd().as_raw_fd()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::IpVlan),
            LinkInfo::Data(InfoData::IpVlan(vec![InfoIpVlan::Mode(IpVlanMode::L2)])),
        ]),
    ];
    ask(Route::NewLink(message), CREATE).with_context(|| format!("making {name}"))
}

/// Makes a VXLAN device for the network `id`, on `port`, and takes it up.
pub(crate) fn add_vxlan(name: &str, id: u32, port: u16) -> Result<u32> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(vec![
                InfoVxlan::Id(id),
                InfoVxlan::Port(port),
                InfoVxlan::Learning(false),
            ])),
        ]),
    ];
    ask(Route::NewLink(message), CREATE).with_context(|| format!("making {name}"))?;
    let index = index(name)?;
    set_up(index, true)?;
    Ok(index)
}

/// Moves a device of this namespace to another one, where it is down.
pub(crate) fn move_to(index: u32, ns: &Netns) -> Result<()> {
    change(index, |m| {
        m.attributes
            .push(LinkAttribute::NetNsFd(ns.fd().as_raw_fd()));
    })
}

/// Deletes a device, and its peer where it is one of a pair.
pub(crate) fn delete(index: u32) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    ask(Route::DelLink(message), 0).with_context(|| format!("deleting device {index}"))
}

fn change(index: u32, edit: impl FnOnce(&mut LinkMessage)) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    edit(&mut message);
    ask(Route::SetLink(message), 0).with_context(|| format!("changing device {index}"))
}

/// Takes a device up or down.
pub(crate) fn set_up(index: u32, up: bool) -> Result<()> {
    change(index, |m| {
        m.header.change_mask = LinkFlags::Up;
        m.header.flags = if up {
            LinkFlags::Up
        } else {
            LinkFlags::empty()
        };
    })
}

/// Waits until a device can transmit. One whose other end came up after it is
/// told by a work queue, and drops what it is given until then. Its state is
/// `up` when that was done, and not before, whatever its flags are.
pub(crate) fn wait_for_carrier(name: &str) -> Result<()> {
    let mut wanted = LinkMessage::default();
    wanted.header.index = index(name)?;
    let start = Instant::now();
    loop {
        let Route::NewLink(now) = get(Route::GetLink(wanted.clone()))? else {
            bail!("asked for device {name}, the kernel answered something else");
        };
        if now
            .attributes
            .contains(&LinkAttribute::OperState(State::Up))
        {
            return Ok(());
        }
        if start.elapsed() > patience() {
            bail!("{name} is up and has no carrier, although its other end is up, too");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sets a device's MAC address.
pub(crate) fn set_mac(index: u32, mac: Mac) -> Result<()> {
    change(index, |m| {
        m.attributes.push(LinkAttribute::Address(mac.to_vec()));
    })
}

/// Sets a device's MTU.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Result<()> {
    change(index, |m| m.attributes.push(LinkAttribute::Mtu(mtu)))
}

/// Index of a device by name.
pub(crate) fn index(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("looking for device {name}"))
}

/// Gives a device an address of its own, without a route for its prefix.
pub(crate) fn add_address(index: u32, address: IpAddr) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = bits(address);
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        // An address must be usable at once.
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    ask(Route::NewAddress(message), CREATE).with_context(|| format!("adding {address}"))
}

/// Has packets for `to` go out of a device.
pub(crate) fn add_route(index: u32, to: IpAddr) -> Result<()> {
    ask(Route::NewRoute(route(index, to)), CREATE)
        .with_context(|| format!("adding a route to {to}"))
}

/// The same, through an lwt_xmit program.
pub(crate) fn add_route_through(index: u32, to: IpAddr, program: BorrowedFd<'_>) -> Result<()> {
    // include/uapi/linux/lwtunnel.h: LWT_BPF_XMIT, LWT_BPF_PROG_FD and _NAME
    const XMIT: u16 = 3;
    const NESTED: u16 = 1 << 15;
    let mut encap = Vec::new();
    for (kind, value) in [(1_u16, program.as_raw_fd().to_ne_bytes()), (2, *b"lwt\0")] {
        encap.extend(8_u16.to_ne_bytes());
        encap.extend(kind.to_ne_bytes());
        encap.extend(value);
    }
    let mut nest = (encap.len() as u16 + 4).to_ne_bytes().to_vec();
    nest.extend((XMIT | NESTED).to_ne_bytes());
    nest.extend(encap);
    // include/uapi/linux/rtnetlink.h: RTA_ENCAP
    const ENCAP: u16 = 22;
    let mut message = route(index, to);
    message
        .attributes
        .push(RouteAttribute::EncapType(RouteLwEnCapType::Bpf));
    message
        .attributes
        .push(RouteAttribute::Other(DefaultNla::new(ENCAP | NESTED, nest)));
    ask(Route::NewRoute(message), CREATE)
        .with_context(|| format!("adding a route to {to} through a program"))
}

fn route(index: u32, to: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to);
    message.header.destination_prefix_length = bits(to);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(to.into()),
        RouteAttribute::Oif(index),
    ];
    message
}

/// Says where `to` is on a device's link, so that nothing has to ask.
pub(crate) fn add_neighbour(index: u32, to: IpAddr, mac: Mac) -> Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(to);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    let address = match to {
        IpAddr::V4(a) => NeighbourAddress::Inet(a),
        IpAddr::V6(a) => NeighbourAddress::Inet6(a),
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(address),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    ask(Route::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        .with_context(|| format!("adding the neighbour {to}"))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A device's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Packets and bytes received.
    pub(crate) rx: (u64, u64),
    /// Packets and bytes transmitted.
    pub(crate) tx: (u64, u64),
    /// Packets received and dropped.
    pub(crate) rx_dropped: u64,
    /// Packets to be transmitted and dropped.
    pub(crate) tx_dropped: u64,
}

/// Counters of a device of this namespace, as `ip -s link` has them.
pub(crate) fn counters(name: &str) -> Result<Counters> {
    let path = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let line = text
        .lines()
        .find_map(|l| l.trim_start().strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("{path} has no {name}"))?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    let at = |i: usize| {
        fields
            .get(i)
            .copied()
            .with_context(|| format!("{path} has no field {i} for {name}"))
    };
    Ok(Counters {
        rx: (at(1)?, at(0)?),
        tx: (at(9)?, at(8)?),
        rx_dropped: at(3)?,
        tx_dropped: at(11)?,
    })
}
