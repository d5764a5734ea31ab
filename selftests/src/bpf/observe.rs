// SPDX-License-Identifier: GPL-2.0-only
//! The programs that look at what a container receives.

use anyhow::{Context, Result};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};

use super::{
    attach, find, now, only, refusal, room,
    skel::observe::{ObserveSkel, ObserveSkelBuilder},
};
use protocol::reason;

use crate::{
    fail::{Stop, Verdict, becomes},
    netns::Netns,
};

pub(crate) use super::skel::observe::types::{seen as Seen, stream as Stream};

/// A program that looks at what arrives on a device.
pub(crate) struct Observer {
    skel: ObserveSkel<'static>,
}

impl Observer {
    /// The usual one, at a device's ingress.
    pub(crate) fn at_ingress(ns: &Netns, index: u32) -> Result<Self, Stop> {
        Self::with("observe", ns, index)
    }

    /// One by name, at a device's ingress.
    pub(crate) fn with(program: &str, ns: &Netns, index: u32) -> Result<Self, Stop> {
        let mut open = ObserveSkelBuilder::default()
            .open(room())
            .context("opening observe.bpf.o")?;
        only(open.open_object_mut(), program);
        let skel = open.load().map_err(|e| refusal(&e))?;
        attach::clsact(&find(skel.object(), program)?, ns, index, false)?;
        Ok(Self { skel })
    }

    /// Fails unless it has seen so many probes, or soon has.
    pub(crate) fn must_see(&self, probes: u64) -> Verdict {
        becomes(
            reason::WRONG_COUNT,
            "ns_dst, dst: probes seen at ingress",
            || self.seen().count,
            probes,
        )
    }

    /// What it saw of the last probe.
    pub(crate) fn seen(&self) -> Seen {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or_else(Seen::default, |b| now(&b.seen))
    }

    /// skb->csum of the last probe that observe_checksum ran for; negative when
    /// its checksum was not CHECKSUM_COMPLETE.
    pub(crate) fn checksum(&self) -> i64 {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or(-1, |b| now(&b.csum))
    }

    /// What it saw of a stream.
    pub(crate) fn stream(&self) -> Stream {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or_else(Stream::default, |b| now(&b.stream))
    }
}
