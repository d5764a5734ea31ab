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
    fail::{PATIENCE, Verdict, failed},
    netlink,
};

/// What there is on this machine that a case could add to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    programs: usize,
    maps: usize,
    devices: Vec<String>,
    /// That the first namespace has an id for, as for all that cases make.
    namespaces: usize,
}

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
        let (programs, maps) = bpf::loaded();
        Ok(Self {
            programs,
            maps,
            devices,
            namespaces: netlink::namespaces()?,
        })
    }

    /// Fails unless everything is as before. A namespace goes in the kernel's
    /// own time, and takes its devices and programs along.
    pub(crate) fn all_gone(&self) -> Verdict {
        let start = Instant::now();
        loop {
            let now = Self::now()?;
            if now.covered_by(self) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(failed(
                    reason::LEFTOVER,
                    format!("expected {self:?} afterwards as before, got {now:?}"),
                ));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Fewer is fine: what others had on the machine goes as well.
    fn covered_by(&self, before: &Self) -> bool {
        self.programs <= before.programs
            && self.maps <= before.maps
            && self.namespaces <= before.namespaces
            && self.devices == before.devices
    }
}
