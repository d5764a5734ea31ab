// SPDX-License-Identifier: GPL-2.0-only
//! What a whole run leaves in the kernel's memory: a little of each case may be
//! less than anything that one case could be blamed for.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{fail::LONG, leaks, report::mark, traces::number};

/// How a line about it begins in the kernel log: vm/splats.toml has it as well.
const LEFT: &str = "redirect-peer left in memory: ";

/// How much more may be in use at the end than at the start, KiB.
///
/// The kernel keeps some things that are made when they are first used: a run of all
/// cases ended with 272 more on 6.12, and with 188 on a kernel without the helper,
/// where most end early. Beyond that it is what a packet takes with its data (232
/// and 704 bytes of slabs, 1 KiB and more before 6.3) some 800 times. The cases send
/// more than 200,000 packets, so four in a thousand that stay are seen.
const SLACK: u64 = 1024;

/// The same where lockdep is: each lock of each object that stays is larger by a
/// map. With PREEMPT_RT a run ended with 564 more on 6.12, and with 760 and 1164 on
/// 7.3, so that eight in a thousand packets are seen.
const SLACK_WITH_LOCKDEP: u64 = 2048;

fn slack() -> u64 {
    if Path::new("/proc/lockdep_stats").exists() {
        SLACK_WITH_LOCKDEP
    } else {
        SLACK
    }
}

/// What the kernel took and cannot give back, KiB: slabs and per-CPU memory.
pub(crate) fn in_use() -> Result<u64> {
    Ok(number("/proc/meminfo", "SUnreclaim:")? + number("/proc/meminfo", "Percpu:")?)
}

/// The same to the page: slabs without objects are given back, and each CPU adds
/// what it has counted by itself.
fn exactly_in_use() -> Result<u64> {
    for cache in fs::read_dir("/sys/kernel/slab").into_iter().flatten() {
        // A cache may go meanwhile, and need not be one that shrinks.
        let _ = fs::write(cache?.path().join("shrink"), "1");
    }
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    in_use()
}

/// A run in a guest, from its start.
#[derive(Debug)]
pub(crate) struct Whole {
    /// KiB in use then; `None` where kmemleak is asked instead.
    from: Option<u64>,
}

impl Whole {
    /// Begins.
    pub(crate) fn start() -> Result<Self> {
        let from = if leaks::can_be_found() {
            None
        } else {
            Some(exactly_in_use()?)
        };
        Ok(Self { from })
    }

    /// Has the kernel log say so, upon which the host reports it, when more is in
    /// use than at the start; gives by how much, KiB, where that is known.
    pub(crate) fn end(&self) -> Result<Option<i64>> {
        let Some(from) = self.from else {
            return Ok(None);
        };
        let start = Instant::now();
        let slack = slack() as i64;
        loop {
            let grown = exactly_in_use()? as i64 - from as i64;
            if grown <= slack {
                return Ok(Some(grown));
            }
            if start.elapsed() > LONG / 2 {
                mark(&format!(
                    "{LEFT}{grown} KiB more than before the first case"
                ));
                return Ok(Some(grown));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    /// Verify that the host takes the line for a report of the kernel.
    #[test]
    fn it_is_reported() {
        let rules = include_str!("../../vm/splats.toml");
        assert!(rules.contains(&format!("\"{}*\"", super::LEFT)));
    }
}
