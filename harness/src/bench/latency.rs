// SPDX-License-Identifier: GPL-2.0-only
//! Latencies as the guest program reports them, CPU by CPU. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Figures by name: of one CPU `rate` (1/s), `mean`, `stddev`, `min`, `p50`,
/// `p90` and `p99` (ns); of all of them counters.
pub(super) type Figures = BTreeMap<String, f64>;

/// One measurement: so many flows on each CPU, one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    /// `tcp_rr`, `udp_rr`.
    pub(super) traffic: String,
    /// Flows on each CPU.
    pub(super) flows: u32,
    /// `redirect_peer`.
    pub(super) way: String,
    /// Which time it was measured, where ways are measured by turns.
    pub(super) round: u32,
    /// Latencies, by CPU.
    pub(super) cpus: BTreeMap<u32, Figures>,
    /// The same of the transactions of all CPUs, each of which counts alike.
    pub(super) all: Figures,
    /// What the kernel counted meanwhile, all CPUs together.
    pub(super) counts: Figures,
    /// What was counted on tracepoints, with `transactions`, in a measurement of
    /// its own; waits in ns.
    pub(super) traced: Figures,
}

impl Point {
    /// How often something was counted on tracepoints for a transaction.
    pub(super) fn traced_each(&self, name: &str) -> Option<f64> {
        let transactions = self.traced.get("transactions").filter(|n| **n > 0.0)?;
        Some(self.traced.get(name)? / transactions)
    }
}

/// Puts figures called `TRAFFIC.fFLOWS.WAY.rROUND.QUANTITY.CPU` (CPU
/// may be `all`; or `...count.COUNTER`, `...traced.COUNTER`) together, in the order in which they
/// were measured.
///
/// # Errors
///
/// A name of another form.
pub(super) fn points<'a>(metrics: impl IntoIterator<Item = (&'a str, f64)>) -> Result<Vec<Point>> {
    let mut points: Vec<Point> = Vec::new();
    for (name, value) in metrics {
        let wrong = || format!("`{name}` is no figure of a latency");
        let parts: Vec<&str> = name.split('.').collect();
        let [traffic, flows, way, round, quantity, last] = parts[..] else {
            anyhow::bail!(wrong());
        };
        let number =
            |text: &str, before: char| -> Option<u32> { text.strip_prefix(before)?.parse().ok() };
        let flows = number(flows, 'f').with_context(wrong)?;
        let round = number(round, 'r').with_context(wrong)?;
        let same = |p: &Point| {
            (p.traffic.as_str(), p.flows, p.way.as_str(), p.round) == (traffic, flows, way, round)
        };
        let at = points.iter().position(same).unwrap_or_else(|| {
            points.push(Point {
                traffic: traffic.to_owned(),
                flows,
                way: way.to_owned(),
                round,
                cpus: BTreeMap::new(),
                all: Figures::new(),
                counts: Figures::new(),
                traced: Figures::new(),
            });
            points.len() - 1
        });
        let point = &mut points[at];
        let (figures, key) = match quantity {
            "count" => (&mut point.counts, last),
            "traced" => (&mut point.traced, last),
            _ if last == "all" => (&mut point.all, quantity),
            _ => {
                let cpu = last.parse().with_context(wrong)?;
                (point.cpus.entry(cpu).or_default(), quantity)
            }
        };
        figures.insert(key.to_owned(), value);
    }
    Ok(points)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A measurement on two CPUs with this median and rate on each.
    pub(in crate::bench) fn sample(way: &str, round: u32, p50: f64, rate: f64) -> Point {
        let names = ["mean", "stddev", "min", "p50", "p90", "p99"];
        let mut figures: Figures = names.map(|n| (n.to_owned(), p50)).into();
        figures.insert("rate".into(), rate);
        Point {
            traffic: "tcp_rr".into(),
            flows: 1,
            way: way.into(),
            round,
            cpus: [(0, figures.clone()), (1, figures.clone())].into(),
            all: figures,
            counts: Figures::new(),
            traced: Figures::new(),
        }
    }

    /// Verify that figures come together by measurement.
    #[test]
    fn figures_come_together() {
        let found = points([
            ("tcp_rr.f4.redirect.r0.p50.0", 10.0),
            ("tcp_rr.f4.redirect.r0.p50.1", 20.0),
            ("tcp_rr.f4.redirect.r0.p50.all", 14.0),
            ("tcp_rr.f4.redirect.r0.count.net_rx", 7.0),
            ("tcp_rr.f4.redirect.r0.traced.again", 6.0),
            ("tcp_rr.f4.redirect.r0.traced.transactions", 3.0),
            ("tcp_rr.f4.redirect.r1.p50.0", 11.0),
        ])
        .unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].cpus[&1]["p50"], 20.0);
        assert_eq!(found[0].cpus.len(), 2);
        assert_eq!(found[0].all["p50"], 14.0);
        assert_eq!(found[0].counts["net_rx"], 7.0);
        assert_eq!(found[0].traced_each("again"), Some(2.0));
        assert_eq!(found[1].round, 1);
    }

    /// Verify that a name of another form is refused.
    #[test]
    fn other_names_are_refused() {
        for name in ["a.b", "t.4.w.r0.p50.0", "t.f4.w.r0.p50.x", "t.f4.w.0.p50.0"] {
            assert!(points([(name, 1.0)]).is_err(), "{name}");
        }
    }
}
