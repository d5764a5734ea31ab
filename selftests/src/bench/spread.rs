// SPDX-License-Identifier: GPL-2.0-only
//! How the times of many transactions are spread. Pure.

/// What the transactions on one CPU took.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    /// Nanoseconds of each, in order.
    sorted: Vec<u64>,
    /// Nanoseconds of the whole measurement.
    lasted: u64,
}

impl Spread {
    /// Of transactions that took so long each, all of them within `lasted`.
    pub(super) fn of(mut taken: Vec<u64>, lasted: u64) -> Self {
        taken.sort_unstable();
        Self {
            sorted: taken,
            lasted,
        }
    }

    /// Of the transactions of several, which lasted as long.
    pub(super) fn together(several: &[Self]) -> Self {
        let all = several.iter().flat_map(|s| s.sorted.iter().copied());
        let lasted = several.iter().map(|s| s.lasted).max().unwrap_or(0);
        Self::of(all.collect(), lasted)
    }

    /// Name, value and unit of each figure. Latencies are nanoseconds.
    pub(super) fn figures(&self) -> Vec<(&'static str, f64, &'static str)> {
        let count = self.sorted.len() as f64;
        if self.sorted.is_empty() || self.lasted == 0 {
            return vec![("transactions", 0.0, ""), ("rate", 0.0, "1/s")];
        }
        let mean = self.sorted.iter().map(|ns| *ns as f64).sum::<f64>() / count;
        let square = |ns: &u64| (*ns as f64 - mean).powi(2);
        let deviation = (self.sorted.iter().map(square).sum::<f64>() / count).sqrt();
        vec![
            ("transactions", count, ""),
            ("rate", count * 1e9 / self.lasted as f64, "1/s"),
            ("mean", mean, "ns"),
            ("stddev", deviation, "ns"),
            ("min", self.at(0.0), "ns"),
            ("p50", self.at(0.5), "ns"),
            ("p90", self.at(0.9), "ns"),
            ("p99", self.at(0.99), "ns"),
        ]
    }

    /// The one below which a share of them are, the nearest.
    fn at(&self, share: f64) -> f64 {
        let last = self.sorted.len() - 1;
        self.sorted[(share * last as f64).round() as usize] as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Spread {
        pub(in crate::bench) fn figure(&self, name: &str) -> f64 {
            let all = self.figures();
            all.iter().find(|f| f.0 == name).unwrap().1
        }
    }

    /// Verify each figure of times whose figures are known.
    #[test]
    fn known_times() {
        let spread = Spread::of((0..=100).rev().collect(), 1_000_000);
        for (name, due) in [
            ("rate", 101_000.0),
            ("mean", 50.0),
            ("min", 0.0),
            ("p50", 50.0),
            ("p90", 90.0),
            ("p99", 99.0),
        ] {
            assert_eq!(spread.figure(name), due, "{name}");
        }
        assert!((spread.figure("stddev") - 29.154_759).abs() < 1e-5);
    }

    /// Verify that of several CPUs every transaction counts alike.
    #[test]
    fn together() {
        let (busy, starved) = (Spread::of(vec![1; 99], 100), Spread::of(vec![900], 100));
        let all = Spread::together(&[busy, starved]);
        assert_eq!((all.figure("p50"), all.sorted.len()), (1.0, 100));
        assert_eq!(all.figure("rate"), 1e9);
    }

    /// Verify that one transaction, and none, are no reason to panic.
    #[test]
    fn few() {
        assert_eq!(Spread::of(vec![7], 10).figure("p99"), 7.0);
        assert_eq!(Spread::of(vec![], 10).figure("rate"), 0.0);
    }
}
