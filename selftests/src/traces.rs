// SPDX-License-Identifier: GPL-2.0-only
//! What a case may not leave behind.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use protocol::reason;

use crate::{
    bpf,
    fail::{LONG, Verdict, failed},
    leaks, netlink,
};

/// What there is on this machine that a case could add to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    programs: usize,
    maps: usize,
    links: usize,
    devices: Vec<String>,
    /// That the first namespace has an id for, as for all that cases make.
    namespaces: usize,
    /// Sockets of the first namespace; those of others keep their namespace.
    sockets: u64,
    /// Files, sockets, programs and namespaces that this process has open.
    descriptors: usize,
    /// What the kernel took and cannot give back, KiB: slabs and per-CPU memory.
    memory: u64,
}

/// How much more kernel memory may be in use, KiB: slabs are freed by the page,
/// and what RCU has yet to free is not free. 50 times what is seen of all cases.
const MEMORY_SLACK: u64 = 8 << 10;

impl Traces {
    /// What there is now.
    pub(crate) fn now() -> Result<Self> {
        let path = "/proc/net/dev";
        let devices = fs::read_to_string(path)
            .with_context(|| format!("reading {path}"))?
            .lines()
            .skip(2)
            .filter_map(|l| l.split(':').next())
            .map(|n| n.trim().to_owned())
            .collect();
        let (programs, maps, links) = bpf::loaded();
        // Before asking over netlink: a socket of that family is counted until a
        // grace period of RCU after it was closed.
        let sockets = number("/proc/net/sockstat", "sockets: used")?;
        Ok(Self {
            programs,
            maps,
            links,
            devices,
            namespaces: netlink::namespaces()?,
            sockets,
            descriptors: fs::read_dir("/proc/self/fd")
                .context("reading /proc/self/fd")?
                .count(),
            // What KASAN keeps back in its quarantine looks like a leak; where
            // there is kmemleak, that is asked instead.
            memory: if leaks::can_be_found() {
                0
            } else {
                number("/proc/meminfo", "SUnreclaim:")? + number("/proc/meminfo", "Percpu:")?
            },
        })
    }

    /// Fails unless everything is as before. A namespace goes in the kernel's
    /// own time, and takes its devices and programs along.
    pub(crate) fn all_gone(&self) -> Verdict {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let now = Self::now()?;
            if now.covered_by(self) {
                return Ok(());
            }
            if start.elapsed() > LONG {
                return Err(failed(
                    reason::LEFTOVER,
                    format!("expected {self:?} afterwards as before, got {now:?}"),
                ));
            }
            // Longer and longer, or what this leaves for RCU never gets less.
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(200));
        }
    }

    /// Fewer is fine: what others had on the machine goes as well.
    fn covered_by(&self, before: &Self) -> bool {
        self.programs <= before.programs
            && self.maps <= before.maps
            && self.links <= before.links
            && self.namespaces <= before.namespaces
            && self.sockets <= before.sockets
            && self.descriptors <= before.descriptors
            && self.memory <= before.memory + MEMORY_SLACK
            && self.devices == before.devices
    }
}

/// The number that follows `label` in a file of /proc.
fn number(path: &str, label: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    text.lines()
        .find_map(|l| l.strip_prefix(label))
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("{path} has no number after `{label}`"))
}
