// SPDX-License-Identifier: GPL-2.0-only
//! XDP programs: in generic mode, the one that an skb goes through, unless said
//! otherwise.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use libbpf_rs::{
    MapCore, MapFlags, Xdp as Hook, XdpFlags,
    skel::{OpenSkel, Skel, SkelBuilder},
};

use super::{
    find, now, only, refusal, room,
    skel::xdp::{XdpSkel, XdpSkelBuilder},
};
use crate::{fail::Stop, netns::Netns};

/// A program of xdp.bpf.c at a device. It goes with the namespace.
pub(crate) struct Xdp {
    skel: XdpSkel<'static>,
}

impl Xdp {
    /// Lets everything pass, and counts it.
    pub(crate) fn pass(ns: &Netns, index: u32) -> Result<Self, Stop> {
        Self::attach("pass", &[], XdpFlags::SKB_MODE, ns, index)
    }

    /// The same in the driver, which polls a queue of its own from then on, as a
    /// NIC's does, where veth would have used the CPU's backlog.
    pub(crate) fn pass_in_driver(ns: &Netns, index: u32) -> Result<Self, Stop> {
        Self::attach("pass", &[], XdpFlags::DRV_MODE, ns, index)
    }

    /// Redirects what is for the port above the probes' to the first device of a
    /// map that has two.
    pub(crate) fn redirect(map: [u32; 2], ns: &Netns, index: u32) -> Result<Self, Stop> {
        Self::attach("redirect_map", &map, XdpFlags::SKB_MODE, ns, index)
    }

    fn attach(
        program: &str,
        devices: &[u32],
        mode: XdpFlags,
        ns: &Netns,
        index: u32,
    ) -> Result<Self, Stop> {
        let mut open = XdpSkelBuilder::default()
            .open(room())
            .context("opening xdp.bpf.o")?;
        only(open.open_object_mut(), program);
        let skel = open.load().map_err(|e| refusal(&e))?;
        ns.enter(|| {
            // Indices are looked up in the namespace of whoever fills the map.
            for (at, device) in (0_u32..).zip(devices) {
                skel.maps
                    .devices
                    .update(&at.to_ne_bytes(), &device.to_ne_bytes(), MapFlags::ANY)
                    .context("filling the device map")?;
            }
            Hook::new(find(skel.object(), program)?.as_fd())
                .attach(index as i32, mode)
                .with_context(|| format!("attaching XDP to device {index}"))
        })?;
        Ok(Self { skel })
    }

    /// How many packets it counted, and the receive queue of the last.
    pub(crate) fn hits(&self) -> (u64, u32) {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or((0, 0), |b| (now(&b.hits), now(&b.rx_queue)))
    }
}
