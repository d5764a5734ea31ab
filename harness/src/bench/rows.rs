// SPDX-License-Identifier: GPL-2.0-only
//! The measurements of one way under one load, put together. Pure.

use super::{
    confidence::{Interval, SURE, interval, middle},
    latency::{Figures, Point},
    load::Boot,
    table,
};

/// So many of the flows must have been at work at once, in each measurement:
/// otherwise some waited until others were done, and nothing of it is a figure.
const AT_ONCE: std::ops::RangeInclusive<f64> = 0.9..=1.1;

/// A P99 says something where so many transactions took longer, in each measurement.
const BEYOND_P99: f64 = 5.0;

/// One way under one load, each time that it was measured.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    /// `veth.tcp_rr.v4`.
    pub(super) traffic: &'a str,
    /// On each CPU.
    pub(super) flows: u32,
    /// `redirect_peer`.
    pub(super) way: &'a str,
    /// The measurements, in order.
    pub(super) points: Vec<&'a Point>,
}

/// What a boot measured, by traffic, flows and way in the order of tables.
pub(super) fn rows(boot: &Boot) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for p in &boot.points {
        let is_it = |r: &&mut Row<'_>| {
            (r.traffic, r.flows, r.way) == (p.traffic.as_str(), p.flows, p.way.as_str())
        };
        match rows.iter_mut().find(is_it) {
            Some(row) => row.points.push(p),
            None => rows.push(Row {
                traffic: &p.traffic,
                flows: p.flows,
                way: &p.way,
                points: vec![p],
            }),
        }
    }
    let place = |way: &str| table::WAYS.iter().position(|w| *w == way);
    rows.sort_by_key(|r| (r.traffic, r.flows, place(r.way)));
    rows
}

impl Row<'_> {
    /// A figure, by measurement. None of P99 where too few took longer.
    fn values(&self, figure: &str) -> Vec<f64> {
        let enough = |p: &&&Point| {
            let beyond = p.all.get("transactions").map(|n| n / 100.0);
            figure != "p99" || beyond.is_some_and(|n| n >= BEYOND_P99)
        };
        let points = self.points.iter();
        points
            .filter(enough)
            .filter_map(|p| p.all.get(figure).copied())
            .collect()
    }

    /// The median of a figure, where each measurement has it.
    pub(super) fn median(&self, figure: &str) -> Option<f64> {
        let values = self.values(figure);
        middle(&values).filter(|_| values.len() == self.points.len())
    }

    /// Where the true median of a figure is; unknown with few measurements.
    pub(super) fn interval(&self, figure: &str) -> Option<Interval> {
        interval(&self.values(figure), SURE)
    }

    /// The share of its flows that were at work at once: of the measurement where
    /// it is the farthest from all of them.
    pub(super) fn at_once(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.points.iter().map(|p| p.at_once()).collect();
        let off = |share: &f64| (share - 1.0).abs();
        all?.into_iter().max_by(|a, b| off(a).total_cmp(&off(b)))
    }

    /// Whether its figures are of all of its flows at once.
    pub(super) fn holds(&self) -> bool {
        self.at_once().is_some_and(|share| AT_ONCE.contains(&share))
    }

    /// A counter, over all measurements.
    pub(super) fn sum(&self, of: fn(&Point) -> &Figures, counter: &str) -> Option<f64> {
        let values: Vec<f64> = self
            .points
            .iter()
            .filter_map(|p| of(p).get(counter).copied())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// One measurement that stands for all: medians, and the least of the least.
    pub(super) fn typical(&self) -> Option<Point> {
        let mut point = (*self.points.first()?).clone();
        for (figure, value) in &mut point.all {
            let values = self.values(figure);
            *value = if figure == "min" {
                values.into_iter().fold(f64::INFINITY, f64::min)
            } else {
                middle(&values).unwrap_or(*value)
            };
        }
        Some(point)
    }
}

/// What was counted on tracepoints.
pub(super) fn traced(point: &Point) -> &Figures {
    &point.traced
}

/// What the kernel counts by itself.
pub(super) fn counts(point: &Point) -> &Figures {
    &point.counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{effect::tests::boot, latency::tests::sample};

    /// Verify that measurements of one way come together, and that one in which
    /// half of the flows waited for the others spoils it.
    #[test]
    fn flows_that_waited() {
        let mut points = vec![
            sample("redirect", 0, 20_000.0, 100_000.0),
            sample("host", 1, 10_000.0, 200_000.0),
            sample("redirect", 2, 20_000.0, 100_000.0),
        ];
        let found = boot(points.clone());
        let all = rows(&found);
        let ways: Vec<(&str, usize)> = all.iter().map(|r| (r.way, r.points.len())).collect();
        assert_eq!(ways, [("host", 1), ("redirect", 2)]);
        assert!(all.iter().all(Row::holds));
        points[2].all.insert("rate".into(), 50_000.0);
        let found = boot(points);
        let spoilt = &rows(&found)[1];
        assert_eq!(spoilt.at_once(), Some(0.5));
        assert!(!spoilt.holds());
    }

    /// Verify that a P99 of few transactions is none.
    #[test]
    fn few_transactions() {
        let mut point = sample("redirect", 0, 20_000.0, 100_000.0);
        let mut p99 = |transactions: f64| {
            point.all.insert("transactions".into(), transactions);
            let found = boot(vec![point.clone()]);
            rows(&found)[0].median("p99")
        };
        assert_eq!(p99(499.0), None);
        assert_eq!(p99(500.0), Some(20_000.0));
    }
}
