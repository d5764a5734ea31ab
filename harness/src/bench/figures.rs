// SPDX-License-Identifier: GPL-2.0-only
//! Costs, and what can be said of two kernels from them. Pure.

use std::collections::BTreeMap;

use protocol::Arm;
use serde::{Deserialize, Serialize};

use super::profile::Profile;

/// Changed whenever a reader of one version would misread the other.
pub const VERSION: u32 = 3;

/// One figure of one kernel, once for each boot. Instructions for a transaction.
pub type Costs = BTreeMap<String, Vec<f64>>;

/// What `bench` found, as bench.json holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bench {
    /// [`VERSION`].
    pub version: u32,
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// CPU model, QEMU and compiler of the machine; only the last changes a count.
    pub machine: crate::results::Machine,
    /// Digest of the program that measured, in the guest.
    pub guest: String,
    /// What was asked for.
    pub asked: Asked,
    /// Whether it came to its end: it is written after each kernel, too.
    pub whole: bool,
    /// Why something that was asked for is not there: `6.12 patched, boot 1: ...`.
    pub lacks: Vec<String>,
    /// One for each kernel.
    pub kernels: Vec<Measured>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// How names of figures may begin; empty for each.
    pub only: Vec<String>,
    /// The arms that the patched kernel is compared with.
    pub compare: Vec<Arm>,
    /// Whether the comparisons were named: each must then have something to judge.
    pub named: bool,
}

impl Asked {
    /// Whether a figure was asked for.
    pub(super) fn wants(&self, full: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| full.starts_with(o.as_str()))
    }
}

/// One kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Release line, `6.12`.
    pub base: String,
    /// Full version, `6.12.117`.
    pub source: String,
    /// The arm.
    pub arm: Arm,
    /// The commit that was built.
    pub commit: String,
    /// Digest of the patches, strip and series, that its base has.
    pub patches: String,
    /// Instructions for a transaction by `PAIR.TRAFFIC.IP.WAY`.
    pub costs: Costs,
    /// The same of figures that were measured by themselves, afterwards.
    pub alone: Costs,
    /// Of some figures, the instructions of one transaction by function. It
    /// includes what is around the transaction in the guest's own loop.
    pub profiles: BTreeMap<String, Profile>,
}

/// The name of a figure, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name<'a> {
    /// `veth.tcp_rr.v4`.
    pub(super) what: &'a str,
    /// `redirect_peer`, `local.redirect`.
    pub(super) way: &'a str,
}

impl Name<'_> {
    /// `tcp_rr`.
    pub(super) fn traffic(&self) -> &str {
        self.what.split('.').nth(1).unwrap_or_default()
    }
}

/// Takes a figure's name apart; `None` when it is none of `bench`.
pub(super) fn name(full: &str) -> Option<Name<'_>> {
    let (at, _) = full.match_indices('.').nth(2)?;
    Some(Name {
        what: &full[..at],
        way: &full[at + 1..],
    })
}

/// Boots of each kernel.
pub(super) const BOOTS: usize = 2;

/// The least and the most that the boots gave; `None` where they give no cost.
pub(super) fn ends(costs: &[f64]) -> Option<(f64, f64)> {
    let low = costs.iter().copied().min_by(f64::total_cmp)?;
    let high = costs.iter().copied().max_by(f64::total_cmp)?;
    (low > 0.0 && high.is_finite()).then_some((low, high))
}

/// The median of what the boots gave: of an even number the mean of the two in
/// the middle.
pub(super) fn middle(costs: &[f64]) -> Option<f64> {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (below, above) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[below] + sorted[above]) / 2.0)
}

/// Whether every boot gave the same.
pub(super) fn exact(costs: &[f64]) -> bool {
    costs.len() >= BOOTS && costs.windows(2).all(|w| w[0] == w[1])
}

/// What the boots gave, `5300`, or from where to where it goes, `5300-5302`.
pub(super) fn shown(costs: &[f64]) -> String {
    match ends(costs) {
        None => "none".into(),
        Some(_) if costs.len() < BOOTS => format!("{:.0}, one boot", costs[0]),
        Some((low, high)) if low == high => format!("{low:.0}"),
        Some((low, high)) => format!("{low:.0}-{high:.0}"),
    }
}

/// By how much of itself the boots of a figure differ, 0.01 for one per cent.
pub(super) fn apart(costs: &[f64]) -> f64 {
    ends(costs).map_or(f64::INFINITY, |(low, high)| high / low - 1.0)
}

/// How far the boots of one kernel agree on figures of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Agreement {
    /// Figures that every boot gave alike.
    pub(super) same: usize,
    /// Figures.
    pub(super) all: usize,
    /// By how much of itself the worst differs.
    pub(super) worst: f64,
}

/// How far the boots of a kernel agree, by traffic.
pub(super) fn agreement(costs: &Costs) -> BTreeMap<&str, Agreement> {
    let mut found: BTreeMap<&str, Agreement> = BTreeMap::new();
    for (full, costs) in costs {
        let traffic = full.split('.').nth(1).unwrap_or(full);
        let of = found.entry(traffic).or_default();
        of.same += usize::from(exact(costs));
        of.all += 1;
        of.worst = of.worst.max(apart(costs));
    }
    found
}

/// Of what crossing into the container's namespace costs by bpf_redirect(), the
/// share that bpf_redirect_peer() saves: 1 would be as cheap as the host itself.
/// Of traffic with answers half of that way is bpf_redirect()'s still. `None`
/// where the boots do not agree on each of the three. The limit has no container,
/// and so no pair of another kind.
pub(super) fn won_back(costs: &Costs, what: &str) -> Option<f64> {
    let cost = |what: &str, way: &str| {
        let found = costs.get(&format!("{what}.{way}"))?;
        exact(found).then(|| middle(found))?
    };
    let (_, wire) = what.split_once('.')?;
    let host = cost(&format!("veth.{wire}"), "host")?;
    let (redirect, peer) = (cost(what, "redirect")?, cost(what, "redirect_peer")?);
    (redirect > host).then(|| (redirect - peer) / (redirect - host))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A bench of one patched kernel with these figures.
    pub(in crate::bench) fn sample(costs: &[(&str, &[f64])]) -> Bench {
        Bench {
            version: VERSION,
            started: 0,
            seconds: 1.0,
            machine: crate::results::Machine::default(),
            guest: "g".into(),
            asked: Asked::default(),
            whole: true,
            lacks: Vec::new(),
            kernels: vec![measured(Arm::Patched, costs)],
        }
    }

    /// A kernel with these figures.
    pub(in crate::bench) fn measured(arm: Arm, costs: &[(&str, &[f64])]) -> Measured {
        Measured {
            base: "6.12".into(),
            source: "6.12.117".into(),
            arm,
            commit: "c".into(),
            patches: "p".into(),
            costs: costs
                .iter()
                .map(|(name, boots)| ((*name).to_owned(), boots.to_vec()))
                .collect(),
            alone: Costs::new(),
            profiles: BTreeMap::new(),
        }
    }

    /// Verify that figures which boots do not agree on are counted by traffic,
    /// with the worst, and that one boot is no agreement.
    #[test]
    fn boots_agree() {
        let found = measured(
            Arm::Patched,
            &[
                ("a.rr.c.d", &[100.0, 100.0]),
                ("a.rr.c.e", &[100.0, 101.0]),
                ("a.rr.c.f", &[100.0]),
                ("a.crr.c.d", &[100.0, 145.0]),
            ],
        );
        let all = agreement(&found.costs);
        assert_eq!((all["rr"].same, all["rr"].all), (1, 3));
        assert!((all["rr"].worst - 0.01).abs() < 1e-9, "{all:?}");
        assert!((all["crr"].worst - 0.45).abs() < 1e-9, "{all:?}");
    }

    /// Verify what the median of an even number is, and how boots are shown that
    /// do not agree.
    #[test]
    fn the_median_is_one() {
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[7.0]), Some(7.0));
        assert_eq!(middle(&[9.0, 7.0]), Some(8.0));
        assert_eq!(middle(&[9.0, 7.0, 1.0]), Some(7.0));
        assert_eq!(shown(&[9.0, 7.0]), "7-9");
        assert_eq!(shown(&[7.0, 7.0]), "7");
        assert_eq!(shown(&[7.0]), "7, one boot");
        assert_eq!(shown(&[]), "none");
        assert_eq!(ends(&[0.0, 1.0]), None);
        assert_eq!(ends(&[1.0, f64::INFINITY]), None);
    }

    /// Verify that names are taken apart at the way.
    #[test]
    fn names() {
        let n = name("veth.tcp_rr.v4.local.redirect_peer").unwrap();
        assert_eq!((n.what, n.way), ("veth.tcp_rr.v4", "local.redirect_peer"));
        assert_eq!(n.traffic(), "tcp_rr");
        assert_eq!(name("boot"), None);
    }

    /// Verify the share that is won back, that there is none without a figure,
    /// and none where boots do not agree on one; and that the limit is veth's.
    #[test]
    fn share() {
        let costs = |peer: f64| {
            Costs::from([
                ("veth.b.c.host".into(), vec![100.0, 100.0]),
                ("netkit.b.c.redirect".into(), vec![200.0, 200.0]),
                ("netkit.b.c.redirect_peer".into(), vec![150.0, peer]),
            ])
        };
        assert_eq!(won_back(&costs(150.0), "netkit.b.c"), Some(0.5));
        assert_eq!(won_back(&costs(151.0), "netkit.b.c"), None);
        assert_eq!(won_back(&costs(150.0), "veth.b.c"), None);
    }
}
