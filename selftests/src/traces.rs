// SPDX-License-Identifier: GPL-2.0-only
//! What a case may not leave behind.

use std::{
    fmt::Debug,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use protocol::reason;

use crate::{
    bpf,
    fail::{LONG, Verdict, failed},
    leaks, memory, netlink,
};

/// Where the cases run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// In a guest, in which nothing else does anything.
    Guest,
    /// On somebody's machine: what others do to it is no case's fault.
    Shared,
}

/// What a shared machine has of others, so that it is not compared there.
pub(crate) const NOT_COMPARED: &str = "programs, maps, links and kernel memory are the whole machine's, and whether \
     cases leave any of it behind is not looked at: a guest shows that (cargo harness verify)";

/// What there is on this machine that a case could add to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    machine: Machine,
    programs: Vec<u32>,
    maps: Vec<u32>,
    links: Vec<u32>,
    devices: Vec<String>,
    /// That this namespace has an id for, as for all that cases make.
    namespaces: usize,
    /// Sockets of this namespace; those of others keep their namespace.
    sockets: u64,
    /// Files, sockets, programs and namespaces that this process has open.
    descriptors: usize,
    /// What the kernel took and cannot give back, KiB: slabs and per-CPU memory.
    memory: u64,
}

/// How much more kernel memory may be in use, KiB: slabs are freed by the page,
/// and what RCU has yet to free is not free. 50 times what is seen of all cases: a
/// case that has something to show sends as much as cannot be overlooked, and
/// [`memory`] compares the whole run.
const MEMORY_SLACK: u64 = 8 << 10;

impl Traces {
    /// What there is now.
    pub(crate) fn now(machine: Machine) -> Result<Self> {
        let path = "/proc/net/dev";
        let devices = fs::read_to_string(path)
            .with_context(|| format!("reading {path}"))?
            .lines()
            .skip(2)
            .filter_map(|l| l.split(':').next())
            .map(|n| n.trim().to_owned())
            .collect();
        let (programs, maps, links) = match machine {
            Machine::Guest => bpf::loaded(),
            Machine::Shared => Default::default(),
        };
        // Before asking over netlink: a socket of that family is counted until a
        // grace period of RCU after it was closed.
        let sockets = number("/proc/net/sockstat", "sockets: used")?;
        Ok(Self {
            machine,
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
            memory: if machine == Machine::Shared || leaks::can_be_found() {
                0
            } else {
                memory::in_use()?
            },
        })
    }

    /// Fails unless everything is as before. A namespace goes in the kernel's
    /// own time, and takes its devices and programs along.
    pub(crate) fn all_gone(&self) -> Verdict {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let now = Self::now(self.machine)?;
            if now.covered_by(self) {
                return Ok(());
            }
            if start.elapsed() > LONG {
                return Err(failed(
                    reason::LEFTOVER,
                    format!("left behind: {}", now.beyond(self).join("; ")),
                ));
            }
            // Longer and longer, or what this leaves for RCU never gets less.
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(200));
        }
    }

    /// Fewer is fine: what others had on the machine goes as well.
    fn covered_by(&self, before: &Self) -> bool {
        self.programs.len() <= before.programs.len()
            && self.maps.len() <= before.maps.len()
            && self.links.len() <= before.links.len()
            && self.namespaces <= before.namespaces
            && self.sockets <= before.sockets
            && self.descriptors <= before.descriptors
            && self.memory <= before.memory + MEMORY_SLACK
            && self.devices == before.devices
    }

    /// What is other than before, in words.
    fn beyond(&self, before: &Self) -> Vec<String> {
        let new = |now: &[u32], before: &[u32]| -> Vec<u32> {
            let new = now.iter().filter(|id| !before.contains(id));
            new.copied().collect()
        };
        let mut other = Vec::new();
        let programs = new(&self.programs, &before.programs);
        if self.programs.len() > before.programs.len() {
            other.push(format!("programs {}", bpf::names(&programs).join(", ")));
        }
        for (what, now, before) in [
            ("maps", &self.maps, &before.maps),
            ("links", &self.links, &before.links),
        ] {
            if now.len() > before.len() {
                other.push(format!("{what} with the ids {:?}", new(now, before)));
            }
        }
        other.extend(
            [
                more("namespaces", self.namespaces, before.namespaces),
                more("sockets", self.sockets, before.sockets),
                more("open files", self.descriptors, before.descriptors),
                // The slack is in it: what was in use before is that much less.
                more("KiB of memory", self.memory, before.memory + MEMORY_SLACK),
            ]
            .into_iter()
            .flatten(),
        );
        if self.devices != before.devices {
            other.push(format!(
                "devices: expected {:?} as before, got {:?}",
                before.devices, self.devices
            ));
        }
        other
    }
}

fn more<T: PartialOrd + Debug>(what: &str, now: T, before: T) -> Option<String> {
    (now > before).then(|| format!("{what}: expected at most {before:?} as before, got {now:?}"))
}

/// The number that follows `label` in a file of /proc.
pub(crate) fn number(path: &str, label: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    text.lines()
        .find_map(|l| l.strip_prefix(label))
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("{path} has no number after `{label}`"))
}

#[cfg(test)]
mod tests {
    use super::{MEMORY_SLACK, Machine, Traces};

    /// Verify that whatever there is more of is told, by name, and that fewer is fine.
    #[test]
    fn what_is_left_is_named() {
        let traces = || Traces {
            machine: Machine::Guest,
            programs: vec![1, 2],
            maps: vec![1],
            links: vec![],
            devices: vec!["lo".into()],
            namespaces: 1,
            sockets: 3,
            descriptors: 4,
            memory: 1_000,
        };
        let before = traces();
        let left = |change: fn(&mut Traces)| {
            let mut now = traces();
            change(&mut now);
            assert_eq!(now.covered_by(&before), now.beyond(&before).is_empty());
            now.beyond(&before).join("; ")
        };
        assert_eq!(left(|_| {}), "");
        assert_eq!(left(|t| t.programs.truncate(1)), "");
        assert_eq!(left(|t| t.memory += MEMORY_SLACK), "");
        assert!(left(|t| t.programs.push(9)).starts_with("programs "));
        assert_eq!(left(|t| t.links.push(7)), "links with the ids [7]");
        assert!(left(|t| t.devices.push("dst".into())).contains("dst"));
        for what in [
            left(|t| t.namespaces += 1),
            left(|t| t.sockets += 1),
            left(|t| t.descriptors += 1),
            left(|t| t.memory += MEMORY_SLACK + 1),
        ] {
            assert!(what.contains("expected at most"), "{what}");
        }
    }
}
