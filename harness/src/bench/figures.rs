// SPDX-License-Identifier: GPL-2.0-only
//! Costs, and what can be said of two kernels from them. Pure.

use std::collections::BTreeMap;

use protocol::Arm;
use serde::{Deserialize, Serialize};

use super::profile::Profile;

/// Changed whenever a reader of one version would misread the other.
pub const VERSION: u32 = 2;

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
    /// CPU model and QEMU of the machine: neither changes a count.
    pub machine: crate::results::Machine,
    /// One for each kernel.
    pub kernels: Vec<Measured>,
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
    /// Instructions for a transaction by `PAIR.TRAFFIC.IP.WAY`.
    pub costs: Costs,
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

/// Takes a figure's name apart; `None` when it is none of `bench`.
pub(super) fn name(full: &str) -> Option<Name<'_>> {
    let (at, _) = full.match_indices('.').nth(2)?;
    Some(Name {
        what: &full[..at],
        way: &full[at + 1..],
    })
}

/// The requirement that a figure belongs to, and the most that its ratio may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit {
    /// `C1`, `C2`.
    pub(super) requirement: &'static str,
    /// Patched by the other arm.
    pub(super) most: f64,
}

/// What a comparison with `other` must show for packets that go `way`; `None`
/// when nothing is promised.
pub(super) fn limit(way: &str, other: Arm) -> Option<Limit> {
    let uses_helper = way.ends_with("redirect_peer");
    match (other, uses_helper) {
        // Packets that are not redirected cost what they cost without the series.
        (Arm::Baseline, false) if matches!(way, "host" | "stack") => Some(Limit {
            requirement: "C1",
            most: 1.001,
        }),
        (Arm::Upstream, true) => Some(Limit {
            requirement: "C2",
            most: 1.0,
        }),
        _ => None,
    }
}

/// What a limit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// It holds for every pair of boots.
    Holds,
    /// Some pairs of boots hold and some do not, or there is no figure.
    CouldNotTell,
    /// It holds for no pair of boots.
    Broken,
}

/// Compares a figure of two kernels. The answer is sure only if every boot of
/// one gives it against every boot of the other.
pub(super) fn answer(ours: &[f64], theirs: &[f64], most: f64) -> Answer {
    let ends = |costs: &[f64]| {
        let low = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low > 0.0 && high.is_finite()).then_some((low, high))
    };
    let (Some(ours), Some(theirs)) = (ends(ours), ends(theirs)) else {
        return Answer::CouldNotTell;
    };
    if ours.1 / theirs.0 <= most {
        Answer::Holds
    } else if ours.0 / theirs.1 > most {
        Answer::Broken
    } else {
        Answer::CouldNotTell
    }
}

/// The middle of what the boots gave.
pub(super) fn middle(costs: &[f64]) -> Option<f64> {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Whether every boot gave the same.
pub(super) fn exact(costs: &[f64]) -> bool {
    costs.len() > 1 && costs.windows(2).all(|w| w[0] == w[1])
}

/// How many figures every boot agreed on, how many there are, and by how much of
/// itself the worst of the others differs.
pub(super) fn agreement(costs: &Costs) -> (usize, usize, f64) {
    let same = costs.values().filter(|c| exact(c)).count();
    let spread = |c: &Vec<f64>| {
        let high = c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let low = c.iter().copied().fold(f64::INFINITY, f64::min);
        high / low - 1.0
    };
    let worst = costs.values().map(spread).fold(0.0, f64::max);
    (same, costs.len(), worst)
}

/// Of what crossing into the container's namespace costs by bpf_redirect(), the
/// share that bpf_redirect_peer() saves: 1 would be as cheap as the host itself.
/// Of traffic with answers half of that way is bpf_redirect()'s still.
pub(super) fn won_back(costs: &Costs, what: &str) -> Option<f64> {
    let cost = |way: &str| middle(costs.get(&format!("{what}.{way}"))?);
    let (host, redirect, peer) = (cost("host")?, cost("redirect")?, cost("redirect_peer")?);
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
            costs: costs
                .iter()
                .map(|(name, boots)| ((*name).to_owned(), boots.to_vec()))
                .collect(),
            profiles: BTreeMap::new(),
        }
    }

    /// Verify that figures which boots do not agree on are counted, and the worst is named.
    #[test]
    fn boots_agree() {
        let found = measured(
            Arm::Patched,
            &[
                ("a.b.c.d", &[100.0, 100.0]),
                ("a.b.c.e", &[100.0, 101.0]),
                ("a.b.c.f", &[100.0]),
            ],
        );
        let (same, all, worst) = agreement(&found.costs);
        assert_eq!((same, all), (1, 3));
        assert!((worst - 0.01).abs() < 1e-9, "{worst}");
    }

    /// Verify that an answer is given only where every pair of boots gives it.
    #[test]
    fn answers() {
        for (ours, theirs, most, due) in [
            (
                &[1000.0, 1000.0][..],
                &[1000.0, 1000.0][..],
                1.0,
                Answer::Holds,
            ),
            (&[1001.0, 1001.0], &[1000.0, 1000.0], 1.001, Answer::Holds),
            (&[1002.0, 1002.0], &[1000.0, 1000.0], 1.001, Answer::Broken),
            (
                &[1000.0, 1002.0],
                &[1000.0, 1000.0],
                1.001,
                Answer::CouldNotTell,
            ),
            (&[1000.0], &[999.0, 1001.0], 1.0, Answer::CouldNotTell),
            (&[], &[1000.0], 1.0, Answer::CouldNotTell),
            (&[0.0], &[1000.0], 1.0, Answer::CouldNotTell),
            (&[1000.0], &[0.0], 1.0, Answer::CouldNotTell),
        ] {
            assert_eq!(answer(ours, theirs, most), due, "{ours:?} {theirs:?}");
        }
    }

    /// Verify which figures are promised something.
    #[test]
    fn limits() {
        let of = |way, arm| limit(way, arm).map(|l| l.requirement);
        assert_eq!(of("host", Arm::Baseline), Some("C1"));
        assert_eq!(of("stack", Arm::Baseline), Some("C1"));
        assert_eq!(of("redirect_peer", Arm::Baseline), None);
        assert_eq!(of("redirect_peer", Arm::Upstream), Some("C2"));
        assert_eq!(of("local.redirect_peer", Arm::Upstream), Some("C2"));
        assert_eq!(of("redirect", Arm::Upstream), None);
    }

    /// Verify that names are taken apart at the way.
    #[test]
    fn names() {
        let n = name("veth.tcp_rr.v4.local.redirect_peer").unwrap();
        assert_eq!((n.what, n.way), ("veth.tcp_rr.v4", "local.redirect_peer"));
        assert_eq!(name("boot"), None);
    }

    /// Verify the share that is won back, and that there is none without a figure.
    #[test]
    fn share() {
        let costs = |peer: f64| {
            Costs::from([
                ("a.b.c.host".into(), vec![100.0]),
                ("a.b.c.redirect".into(), vec![200.0]),
                ("a.b.c.redirect_peer".into(), vec![peer]),
            ])
        };
        assert_eq!(won_back(&costs(150.0), "a.b.c"), Some(0.5));
        assert_eq!(won_back(&Costs::new(), "a.b.c"), None);
    }
}
