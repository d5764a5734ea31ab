// SPDX-License-Identifier: GPL-2.0-only
//! The counters on the kernel's tracepoints.

use anyhow::Context;
use libbpf_rs::{
    Link,
    skel::{OpenSkel, Skel, SkelBuilder},
};

use super::{
    attach_all, now, refusal, room,
    skel::path::{PathSkel, PathSkelBuilder},
};
use crate::{fail::Stop, tracefs::Format};

/// Programs on tracepoints, for as long as it lives.
pub(crate) struct Path {
    skel: PathSkel<'static>,
    _links: Vec<Link>,
}

/// How often packets of the length in question passed each point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// net:netif_rx: put on the backlog.
    pub(crate) netif_rx: u64,
    /// net:netif_receive_skb.
    pub(crate) netif_receive_skb: u64,
    /// net:net_dev_start_xmit: given to a device for transmission.
    pub(crate) start_xmit: u64,
    /// napi:napi_poll: taken from the backlog.
    pub(crate) backlog_work: u64,
}

impl Path {
    /// Counts packets with an L2 length of `len_l2`.
    pub(crate) fn count(len_l2: u32) -> Result<Self, Stop> {
        let mut open = PathSkelBuilder::default()
            .open(room())
            .context("opening path.bpf.o")?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.len_l2 = len_l2;
            rodata.len_l3 = len_l2 - 14;
            rodata.rx_len_at = Format::of("net", "netif_rx")?.offset("len")?;
            rodata.entry_len_at = Format::of("net", "netif_receive_skb_entry")?.offset("len")?;
            rodata.xmit_len_at = Format::of("net", "net_dev_start_xmit")?.offset("len")?;
            rodata.poll_name_at = Format::of("napi", "napi_poll")?.offset("dev_name")?;
        }
        let skel = open.load().map_err(|e| refusal(&e))?;
        Ok(Self {
            _links: attach_all(
                skel.object(),
                &[
                    "on_netif_rx",
                    "on_netif_receive_skb_entry",
                    "on_netif_receive_skb",
                    "on_start_xmit",
                    "on_napi_poll",
                ],
            )?,
            skel,
        })
    }

    /// What was counted so far.
    pub(crate) fn passed(&self) -> Passed {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or_else(Passed::default, |b| Passed {
                netif_rx: now(&b.netif_rx),
                netif_receive_skb: now(&b.netif_receive_skb),
                start_xmit: now(&b.start_xmit),
                backlog_work: now(&b.backlog_work),
            })
    }
}
