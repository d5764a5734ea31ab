// SPDX-License-Identifier: GPL-2.0-only
//! Latencies as the guest program reports them, CPU by CPU. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Figures by name: of one CPU `transactions`, `rate` (1/s), `mean`, `stddev`,
/// `min`, `p50`, `p90` and `p99` (ns); of all of them counters.
pub(super) type Figures = BTreeMap<String, f64>;

/// One measurement: so many flows on each CPU, one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    /// `veth.tcp_rr.v4`: the container's pair, what is sent, and in which protocol.
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
    /// What the kernel counted meanwhile, all CPUs together, with `transactions`.
    pub(super) counts: Figures,
    /// What was counted on tracepoints, with `transactions`, in a measurement of
    /// its own; waits in ns.
    pub(super) traced: Figures,
}

impl Point {
    /// How many flows were at work at once, on average, for each that there is:
    /// by Little's law the transactions in a second times what one takes, which
    /// is 1 unless some flows were kept from running while others were measured.
    pub(super) fn at_once(&self) -> Option<f64> {
        let (rate, mean) = (self.all.get("rate")?, self.all.get("mean")?);
        let flows = f64::from(self.flows) * self.cpus.len() as f64;
        Some(rate * mean / 1e9 / flows).filter(|n| n.is_finite())
    }
}

/// Puts figures called `PAIR.TRAFFIC.IP.fFLOWS.WAY.rROUND.QUANTITY.CPU` (CPU
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
        let [pair, traffic, ip, flows, way, round, quantity, last] = parts[..] else {
            anyhow::bail!(wrong());
        };
        let traffic = format!("{pair}.{traffic}.{ip}");
        let number =
            |text: &str, before: char| -> Option<u32> { text.strip_prefix(before)?.parse().ok() };
        let flows = number(flows, 'f').with_context(wrong)?;
        let round = number(round, 'r').with_context(wrong)?;
        let same = |p: &Point| {
            (&p.traffic, p.flows, p.way.as_str(), p.round) == (&traffic, flows, way, round)
        };
        let at = points.iter().position(same).unwrap_or_else(|| {
            points.push(Point {
                traffic: traffic.clone(),
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
            traffic: "veth.tcp_rr.v4".into(),
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
            ("veth.tcp_rr.v4.f4.redirect.r0.p50.0", 10.0),
            ("veth.tcp_rr.v4.f4.redirect.r0.p50.1", 20.0),
            ("veth.tcp_rr.v4.f4.redirect.r0.p50.all", 14.0),
            ("veth.tcp_rr.v4.f4.redirect.r0.count.net_rx", 7.0),
            ("veth.tcp_rr.v4.f4.redirect.r0.traced.again", 6.0),
            ("veth.tcp_rr.v4.f4.redirect.r0.traced.transactions", 3.0),
            ("veth.tcp_rr.v4.f4.redirect.r1.p50.0", 11.0),
        ])
        .unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].cpus[&1]["p50"], 20.0);
        assert_eq!(found[0].cpus.len(), 2);
        assert_eq!(found[0].all["p50"], 14.0);
        assert_eq!(found[0].counts["net_rx"], 7.0);
        assert_eq!(found[0].traced["again"], 6.0);
        assert_eq!(found[0].traffic, "veth.tcp_rr.v4");
        assert_eq!(found[1].round, 1);
    }

    /// Verify that flows which had to wait until others were done are noticed.
    #[test]
    fn flows_at_once() {
        // Two CPUs, a flow on each: 50 transactions a second of 40 ms are two at once.
        let mut point = sample("redirect", 0, 40e6, 25.0);
        point.all.insert("rate".into(), 50.0);
        assert_eq!(point.at_once(), Some(1.0));
        point.all.insert("rate".into(), 25.0);
        assert_eq!(point.at_once(), Some(0.5));
        point.all.remove("mean");
        assert_eq!(point.at_once(), None);
    }

    /// Verify that a name of another form is refused.
    #[test]
    fn other_names_are_refused() {
        for name in [
            "a.b",
            "p.t.v.4.w.r0.p50.0",
            "p.t.v.f4.w.r0.p50.x",
            "p.t.v.f4.w.0.p50.0",
        ] {
            assert!(points([(name, 1.0)]).is_err(), "{name}");
        }
    }
}
