// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel counts about receiving, before and after.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::bpf::Softirqs;

/// Columns of /proc/net/softnet_stat (net/core/net-procfs.c) by name.
const SOFTNET: [(usize, &str); 3] = [(0, "processed"), (1, "dropped"), (2, "time_squeeze")];

/// Counts by name, over all CPUs.
pub(super) type Counts = BTreeMap<String, u64>;

/// What was counted during a measurement.
#[derive(Default)]
pub(super) struct Counters {
    counts: Counts,
    softirqs: Option<Softirqs>,
}

impl Counters {
    /// With what is counted on tracepoints, too, from now on.
    pub(super) fn with(softirqs: Softirqs) -> Self {
        Self {
            counts: Counts::new(),
            softirqs: Some(softirqs),
        }
    }

    /// Ends counting, which began with what [`read`] gave.
    pub(super) fn since(&mut self, before: Counts) -> Result<()> {
        for (name, after) in read()? {
            let first = before.get(&name).copied().unwrap_or(0);
            // softnet_stat has 32 bits.
            self.counts
                .insert(name, after.wrapping_sub(first) as u32 as u64);
        }
        if let Some(softirqs) = self.softirqs.take() {
            for (name, count) in softirqs.counted() {
                self.counts.insert(name.to_owned(), count);
            }
        }
        Ok(())
    }

    /// Each by its name.
    pub(super) fn all(self) -> impl Iterator<Item = (String, u64)> {
        self.counts.into_iter()
    }
}

/// What the kernel has counted so far.
pub(super) fn read() -> Result<Counts> {
    let of = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let mut counts = softnet(&of("/proc/net/softnet_stat")?);
    counts.extend(softirqs(&of("/proc/softirqs")?));
    Ok(counts)
}

/// Sums of /proc/net/softnet_stat: a line for each CPU, in hexadecimal.
fn softnet(text: &str) -> Counts {
    let mut counts = Counts::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        for (at, name) in SOFTNET {
            let value = columns
                .get(at)
                .and_then(|c| u64::from_str_radix(c, 16).ok());
            *counts.entry(name.to_owned()).or_default() += value.unwrap_or(0);
        }
    }
    counts
}

/// Sums of the two lines of /proc/softirqs that are about networking.
fn softirqs(text: &str) -> Counts {
    let mut counts = Counts::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = match words.next() {
            Some("NET_RX:") => "net_rx",
            Some("NET_TX:") => "net_tx",
            _ => continue,
        };
        let sum = words.filter_map(|w| w.parse::<u64>().ok()).sum();
        counts.insert(name.to_owned(), sum);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that CPUs are added up, and that hexadecimal is read as such.
    #[test]
    fn files_are_read() {
        let counts = softnet("0000001f 00000001 00000000 0\n00000010 00000000 00000002 00000000\n");
        assert_eq!(counts["processed"], 47);
        assert_eq!((counts["dropped"], counts["time_squeeze"]), (1, 2));
        let counts = softirqs("     CPU0  CPU1\n  NET_TX:  1 2\n  NET_RX:  30 12\n BLOCK: 9 9\n");
        assert_eq!((counts["net_tx"], counts["net_rx"]), (3, 42));
        assert_eq!(counts.len(), 2);
    }
}
