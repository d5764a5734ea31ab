// SPDX-License-Identifier: GPL-2.0-only
//! The counter of frames that the kernel frees.

use std::collections::BTreeMap;

use anyhow::Context;
use libbpf_rs::{
    Link,
    skel::{OpenSkel, Skel, SkelBuilder},
};

use super::{
    attach_all, now, refusal, room,
    skel::freed::{FreedSkel, FreedSkelBuilder},
};
use crate::{fail::Stop, tracefs::Format};

/// A program on skb:kfree_skb, for as long as it lives.
pub(crate) struct Freed {
    skel: FreedSkel<'static>,
    format: Format,
    _links: Vec<Link>,
}

impl Freed {
    /// Counts frames of a protocol from now on.
    pub(crate) fn count(protocol: u16) -> Result<Self, Stop> {
        let format = Format::of("skb", "kfree_skb")?;
        let mut open = FreedSkelBuilder::default()
            .open(room())
            .context("opening freed.bpf.o")?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.protocol = protocol;
            rodata.protocol_at = format.offset("protocol")?;
            // 0, where no field is, has every frame counted alike.
            rodata.reason_at = format.offset("reason").unwrap_or(0);
        }
        let skel = open.load().map_err(|e| refusal(&e))?;
        Ok(Self {
            _links: attach_all(skel.object(), &["on_free"])?,
            skel,
            format,
        })
    }

    /// Whether this kernel has reasons.
    pub(crate) fn has_reasons(&self) -> bool {
        self.format.has("reason")
    }

    /// How many were freed so far, by reason.
    pub(crate) fn by_reason(&self) -> BTreeMap<String, u64> {
        let names = self.format.symbols();
        let counts = self.skel.maps.bss_data.as_deref().map(|b| now(&b.freed));
        let name = |number: usize| {
            let name = names.get(&number).cloned();
            name.unwrap_or_else(|| format!("reason {number}"))
        };
        counts
            .into_iter()
            .flat_map(|counts| counts.into_iter().enumerate())
            .filter(|(_, count)| *count > 0)
            .map(|(number, count)| (name(number), count))
            .collect()
    }

    /// How many were freed so far.
    pub(crate) fn all(&self) -> u64 {
        let counts = self.skel.maps.bss_data.as_deref().map(|b| now(&b.freed));
        counts.into_iter().flatten().sum()
    }
}
