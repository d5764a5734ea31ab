// SPDX-License-Identifier: GPL-2.0-only
//! What is promised of the patched kernel beside another, and what came of it.
//! Pure.

use std::{cmp::Ordering, collections::BTreeSet};

use protocol::Arm;

use super::{
    expected::{self, gaps},
    figures::{Asked, BOOTS, Bench, Measured, apart, ends, middle, name},
};

/// Boots of one kernel that are further apart than this cannot show that a
/// promise holds: it is what a promise allows at most.
pub(super) const APART: f64 = 0.001;

/// Traffic of which nothing is promised, as what a connection costs depends on
/// where memory lies and when RCU frees the ones before: the boots of a kernel
/// do not agree on it.
pub(super) const NOT_JUDGED: &str = "tcp_crr";

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
    match (other, way) {
        // Packets that are not redirected cost what they cost without the series.
        (Arm::Baseline, "host" | "stack" | "pass" | "local.stack") => Some(Limit {
            requirement: "C1",
            most: 1.001,
        }),
        (Arm::Upstream, "redirect_peer" | "local.redirect_peer") => Some(Limit {
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
    /// Some pairs of boots hold and some do not, the boots are too far apart, or
    /// there are not all of them.
    CouldNotTell,
    /// It holds for no pair of boots.
    Broken,
}

impl Answer {
    /// As a table has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::CouldNotTell => "could not tell",
            Self::Broken => "BROKEN",
        }
    }
}

/// Compares a figure of two kernels. The answer is sure only if every boot of
/// one gives it against every boot of the other.
pub(super) fn answer(ours: &[f64], theirs: &[f64], most: f64) -> Answer {
    if ours.len() < BOOTS || theirs.len() < BOOTS {
        return Answer::CouldNotTell;
    }
    let (Some((low, high)), Some(other)) = (ends(ours), ends(theirs)) else {
        return Answer::CouldNotTell;
    };
    if low / other.1 > most {
        Answer::Broken
    } else if high / other.0 <= most && apart(ours) <= APART && apart(theirs) <= APART {
        Answer::Holds
    } else {
        Answer::CouldNotTell
    }
}

/// A figure of two kernels, measured among all others or by itself.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub(super) ours: Vec<f64>,
    pub(super) theirs: Vec<f64>,
    pub(super) answer: Answer,
}

impl Beside {
    pub(super) fn new(ours: Option<&Vec<f64>>, theirs: Option<&Vec<f64>>, most: f64) -> Self {
        let (ours, theirs) = (
            ours.cloned().unwrap_or_default(),
            theirs.cloned().unwrap_or_default(),
        );
        Self {
            answer: answer(&ours, &theirs, most),
            ours,
            theirs,
        }
    }

    /// Ours by theirs; NaN where one is missing.
    pub(super) fn ratio(&self) -> f64 {
        middle(&self.ours).unwrap_or(f64::NAN) / middle(&self.theirs).unwrap_or(f64::NAN)
    }
}

/// A promise for one figure, and what it came to.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    pub(super) full: String,
    pub(super) requirement: &'static str,
    pub(super) most: f64,
    /// Whether it has a say in the verdict.
    pub(super) judged: bool,
    /// Measured with all the others.
    pub(super) first: Beside,
    /// Measured by itself.
    pub(super) alone: Option<Beside>,
}

impl Compared {
    /// What decides: the measurement by itself, whichever way the first went.
    pub(super) fn last(&self) -> &Beside {
        self.alone.as_ref().unwrap_or(&self.first)
    }

    pub(super) fn answer(&self) -> Answer {
        self.last().answer
    }
}

/// Every figure that something is promised of, whether it was measured or not.
pub(super) fn compare(ours: &Measured, theirs: &Measured, asked: &Asked) -> Vec<Compared> {
    let due = expected::figures(&ours.source, ours.arm, asked).into_iter();
    due.filter_map(|full| {
        let name = name(&full)?;
        let Limit { requirement, most } = limit(name.way, theirs.arm)?;
        let judged = name.traffic() != NOT_JUDGED;
        let alone = (ours.alone.contains_key(&full) || theirs.alone.contains_key(&full))
            .then(|| Beside::new(ours.alone.get(&full), theirs.alone.get(&full), most));
        Some(Compared {
            first: Beside::new(ours.costs.get(&full), theirs.costs.get(&full), most),
            requirement,
            most,
            judged,
            alone,
            full,
        })
    })
    .collect()
}

/// The patched kernel of a base beside another arm; `None` where one of the two
/// was not measured.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) base: &'a str,
    pub(super) other: Arm,
    pub(super) pair: Option<(&'a Measured, &'a Measured)>,
    pub(super) all: Vec<Compared>,
}

impl Comparison<'_> {
    pub(super) fn judged(&self) -> impl Iterator<Item = &Compared> {
        self.all.iter().filter(|c| c.judged)
    }
}

/// Each comparison that was asked for, of each base.
pub(super) fn comparisons(bench: &Bench) -> Vec<Comparison<'_>> {
    let bases: BTreeSet<&str> = bench.kernels.iter().map(|k| k.base.as_str()).collect();
    let of = |base: &str, arm| {
        let mut kernels = bench.kernels.iter();
        kernels.find(|k| k.base == base && k.arm == arm)
    };
    let mut found = Vec::new();
    for base in bases {
        for &other in &bench.asked.compare {
            let pair = of(base, Arm::Patched).zip(of(base, other));
            let all = pair.map_or_else(Vec::new, |(o, t)| compare(o, t, &bench.asked));
            found.push(Comparison {
                base,
                other,
                pair,
                all,
            });
        }
    }
    found
}

/// Every answer: of each promise, and of whether there is what was asked for.
pub(super) fn answers(bench: &Bench) -> Vec<Answer> {
    let mut found = Vec::new();
    let complete = bench.whole
        && bench.lacks.is_empty()
        && !bench.kernels.is_empty()
        && bench
            .kernels
            .iter()
            .all(|k| gaps(k, &bench.asked) == expected::Gaps::default());
    if !complete {
        found.push(Answer::CouldNotTell);
    }
    let all = comparisons(bench);
    // Of a comparison that nobody named, --only may leave nothing.
    let silent = |c: &Comparison<'_>| c.pair.is_none() || c.judged().next().is_none();
    if all.iter().any(|c| silent(c) && bench.asked.named)
        || (!all.is_empty() && all.iter().all(silent))
        || all.iter().any(|c| c.pair.is_none())
    {
        found.push(Answer::CouldNotTell);
    }
    found.extend(
        all.iter()
            .flat_map(Comparison::judged)
            .map(Compared::answer),
    );
    found
}

/// Ratios in order, the missing ones last.
pub(super) fn by_ratio(a: &Compared, b: &Compared) -> Ordering {
    a.last().ratio().total_cmp(&b.last().ratio())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::figures::tests::{measured, sample};

    /// Verify that an answer is given only where every pair of boots gives it,
    /// there are enough of them, and they agree.
    #[test]
    fn sure_answers() {
        use Answer::{Broken, CouldNotTell, Holds};
        for (ours, theirs, most, due) in [
            (&[1000.0, 1000.0][..], &[1000.0, 1000.0][..], 1.0, Holds),
            (&[1001.0, 1001.0], &[1000.0, 1000.0], 1.001, Holds),
            (&[1002.0, 1002.0], &[1000.0, 1000.0], 1.001, Broken),
            (&[1000.0, 1002.0], &[1000.0, 1000.0], 1.001, CouldNotTell),
            // One boot, which would hold and which would not.
            (&[1000.0], &[1000.0, 1000.0], 1.0, CouldNotTell),
            (&[1000.0, 1000.0], &[1000.0], 1.0, CouldNotTell),
            (&[1009.0], &[1000.0], 1.0, CouldNotTell),
            // Cheaper in each pair of boots, which are 2 % and 0.1 % apart.
            (&[900.0, 918.0], &[1000.0, 1000.0], 1.0, CouldNotTell),
            (&[900.0, 900.0], &[1000.0, 1020.0], 1.0, CouldNotTell),
            (&[990.0, 990.5], &[1000.0, 1001.0], 1.0, Holds),
            // Dearer in each, however far apart.
            (&[1100.0, 1200.0], &[1000.0, 1000.0], 1.0, Broken),
            (&[], &[1000.0, 1000.0], 1.0, CouldNotTell),
            (&[0.0, 0.0], &[1000.0, 1000.0], 1.0, CouldNotTell),
            (&[1000.0, 1000.0], &[0.0, 0.0], 1.0, CouldNotTell),
        ] {
            assert_eq!(answer(ours, theirs, most), due, "{ours:?} {theirs:?}");
        }
    }

    /// Verify which figures are promised something.
    #[test]
    fn limits() {
        let of = |way, arm| limit(way, arm).map(|l| l.requirement);
        for way in ["host", "stack", "pass", "local.stack"] {
            assert_eq!(of(way, Arm::Baseline), Some("C1"), "{way}");
            assert_eq!(of(way, Arm::Upstream), None, "{way}");
        }
        for way in ["redirect_peer", "local.redirect_peer"] {
            assert_eq!(of(way, Arm::Baseline), None, "{way}");
            assert_eq!(of(way, Arm::Upstream), Some("C2"), "{way}");
        }
        assert_eq!(of("redirect", Arm::Upstream), None);
        assert_eq!(of("redirect", Arm::Baseline), None);
    }

    /// A bench of these kernels, asked for figures that begin so.
    fn bench(only: &str, compare: &[Arm], named: bool, kernels: Vec<Measured>) -> Bench {
        let mut found = sample(&[]);
        found.asked = Asked {
            only: vec![only.to_owned()],
            compare: compare.to_vec(),
            named,
        };
        found.kernels = kernels;
        found
    }

    fn worst(bench: &Bench) -> Option<Answer> {
        answers(bench).into_iter().max()
    }

    const PEER: &str = "veth.udp_1.v4.redirect_peer";

    /// Verify that a patched kernel without the helper is no kernel of which
    /// every promise holds, nor is one that upstream's figure is missing beside.
    #[test]
    fn a_missing_helper_is_no_promise_kept() {
        let all = |full: &'static str| [(full, &[1000.0, 1000.0][..])];
        let whole = |ours: &[(&str, &[f64])], theirs: &[(&str, &[f64])]| {
            let kernels = vec![
                measured(Arm::Patched, ours),
                measured(Arm::Upstream, theirs),
            ];
            worst(&bench(PEER, &[Arm::Upstream], true, kernels))
        };
        assert_eq!(whole(&all(PEER), &all(PEER)), Some(Answer::Holds));
        for (ours, theirs) in [(&[][..], &all(PEER)[..]), (&all(PEER), &[]), (&[], &[])] {
            assert_eq!(whole(ours, theirs), Some(Answer::CouldNotTell));
        }
        let one = [(PEER, &[1000.0][..])];
        assert_eq!(whole(&one, &all(PEER)), Some(Answer::CouldNotTell));
    }

    /// Verify that a comparison with nothing to judge is no comparison that
    /// holds, and what becomes of one that nobody named.
    #[test]
    fn nothing_to_judge_is_no_promise_kept() {
        let cost = &[1000.0, 1000.0][..];
        let both = |full: &'static str| {
            let one = |arm| measured(arm, &[(full, cost)]);
            vec![one(Arm::Patched), one(Arm::Upstream)]
        };
        let crr = "veth.tcp_crr.v4.redirect_peer";
        let host = "veth.udp_1.v4.host";
        for (full, named, due) in [
            (PEER, true, Answer::Holds),
            (crr, true, Answer::CouldNotTell),
            (crr, false, Answer::CouldNotTell),
            (host, true, Answer::CouldNotTell),
            (host, false, Answer::CouldNotTell),
        ] {
            let found = bench(full, &[Arm::Upstream], named, both(full));
            assert_eq!(worst(&found), Some(due), "{full} {named}");
        }
        // With another that has something, the one that nobody named is silent.
        let mut kernels = both(PEER);
        kernels.push(measured(Arm::Baseline, &[]));
        let all = [Arm::Baseline, Arm::Upstream];
        let found = bench(PEER, &all, false, kernels.clone());
        assert_eq!(worst(&found), Some(Answer::Holds));
        let found = bench(PEER, &all, true, kernels.clone());
        assert_eq!(worst(&found), Some(Answer::CouldNotTell));
        // A kernel that was not measured is never silent.
        let found = bench(PEER, &all, false, both(PEER));
        assert_eq!(worst(&found), Some(Answer::CouldNotTell));
        // Nor is what is lacking, nor an end that came too early.
        let mut found = bench(PEER, &all, false, kernels.clone());
        found.lacks.push("6.12 patched, boot 1: a splat".into());
        assert_eq!(worst(&found), Some(Answer::CouldNotTell));
        let mut found = bench(PEER, &all, false, kernels);
        found.whole = false;
        assert_eq!(worst(&found), Some(Answer::CouldNotTell));
        assert_eq!(
            worst(&bench(PEER, &all, false, vec![])),
            Some(Answer::CouldNotTell)
        );
    }

    /// Both kernels, with these figures; the baseline's cost 1000.
    pub(in crate::bench) fn rows(ours: &[(&'static str, [f64; 2])]) -> Bench {
        let theirs: Vec<_> = ours
            .iter()
            .map(|(f, _)| (*f, &[1000.0, 1000.0][..]))
            .collect();
        let ours: Vec<_> = ours.iter().map(|(f, c)| (*f, &c[..])).collect();
        let kernels = vec![
            measured(Arm::Patched, &ours),
            measured(Arm::Baseline, &theirs),
        ];
        bench("veth.", &[Arm::Baseline], true, kernels)
    }

    /// Verify that the measurement by itself decides in both directions, and
    /// that the first one is kept.
    #[test]
    fn by_itself_decides() {
        for (first, alone, due) in [
            ([1002.0; 2], Some([1000.0; 2]), Answer::Holds),
            ([1000.0; 2], Some([1002.0; 2]), Answer::Broken),
            ([1000.0; 2], None, Answer::CouldNotTell),
        ] {
            let full = "veth.udp_1.v4.host";
            let mut found = rows(&[(full, first)]);
            found.asked.only = vec![full.into()];
            for kernel in &mut found.kernels {
                let boots = match (kernel.arm, alone) {
                    (Arm::Patched, Some(alone)) => alone.to_vec(),
                    (Arm::Patched, None) => vec![],
                    _ => vec![1000.0; 2],
                };
                kernel.alone.insert(full.into(), boots);
            }
            assert_eq!(worst(&found), Some(due));
            let all = comparisons(&found);
            assert_eq!(all[0].all[0].first.ours, first);
        }
    }
}
