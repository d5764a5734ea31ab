// SPDX-License-Identifier: GPL-2.0-only
//! What the commits of a generated history do.

use crate::cache::Key;

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Document,
    NotBuilt,
    Comment,
    Work,
    Break,
    Mend,
    DropsCheck,
    AddsCost,
}

/// A number below `below` that depends on nothing but the arguments.
fn pick(seed: u64, at: usize, what: &str, below: usize) -> usize {
    let hex = Key::new("history")
        .with(seed.to_le_bytes())
        .with(at.to_le_bytes())
        .with(what)
        .hex();
    let number = u64::from_str_radix(&hex[..15], 16).unwrap_or(0);
    (number % below as u64) as usize
}

/// What each commit does. What does not build stays so for up to three commits.
pub(super) fn plan(commits: usize, seed: u64) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = (0..commits)
        .map(|at| match pick(seed, at, "kind", 100) {
            0..48 => Kind::Document,
            48..62 => Kind::NotBuilt,
            62..72 => Kind::Comment,
            _ => Kind::Work,
        })
        .collect();
    let middle = |what: &str| commits / 5 + pick(seed, 0, what, commits * 3 / 5);
    let check = middle("check");
    let mut cost = middle("cost");
    if cost == check {
        cost += 1;
    }
    let taken = [check - 1, check, cost - 1, cost];
    let mut at = 2;
    while at + 4 < commits {
        at += 5 + pick(seed, at, "gap", 6);
        let until = at + 1 + pick(seed, at, "stretch", 3);
        if until >= commits - 1 || taken.iter().any(|t| (at..=until).contains(t)) {
            continue;
        }
        kinds[at] = Kind::Break;
        kinds[until] = Kind::Mend;
        at = until;
    }
    kinds[check] = Kind::DropsCheck;
    kinds[cost] = Kind::AddsCost;
    kinds
}

/// Whether a tree with these commits does not build.
pub(super) fn is_broken(kinds: &[Kind]) -> bool {
    kinds
        .iter()
        .rfind(|k| matches!(k, Kind::Break | Kind::Mend))
        .is_some_and(|k| *k == Kind::Break)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        bisect::{
            graph::History,
            search::{Answer, Next, next},
        },
        cli::HISTORY,
    };

    /// Boots that finding `culprit` takes, the ends and the confirmations among
    /// them, and how many commits on the way do not build.
    fn search(kinds: &[Kind], culprit: Kind) -> (usize, usize) {
        let name = |at: usize| at.to_string();
        let commits: Vec<(String, Vec<String>)> = (0..kinds.len())
            .map(|at| (name(at), at.checked_sub(1).map(name).into_iter().collect()))
            .collect();
        let history = History::new(&commits).count_only(|id| {
            id.parse::<usize>()
                .is_ok_and(|at| !matches!(kinds[at], Kind::Document | Kind::NotBuilt))
        });
        let wanted = kinds.iter().position(|k| *k == culprit).unwrap();
        let mut answers = BTreeMap::from([(kinds.len() - 1, Answer::Bad)]);
        let (mut boots, mut skipped) = (4, 0);
        loop {
            let at = match next(&history, &answers) {
                Next::Test(at) => at,
                Next::Found(at) => {
                    assert_eq!(at, wanted);
                    return (boots, skipped);
                }
                other => panic!("{other:?}"),
            };
            let answer = if is_broken(&kinds[..=at]) {
                skipped += 1;
                Answer::Skip
            } else {
                boots += 1;
                if at >= wanted {
                    Answer::Bad
                } else {
                    Answer::Good
                }
            };
            answers.insert(at, answer);
        }
    }

    /// Verify that the history that is tried by default has both searches meet
    /// commits that do not build, and be over within log2 of its commits and
    /// three boots: there is something to be proved by it, and it can be.
    #[test]
    fn default_history_is_worth_trying() {
        let (commits, seed) = HISTORY;
        let kinds = plan(commits, seed);
        let promised = commits.next_power_of_two().trailing_zeros() as usize + 3;
        for culprit in [Kind::DropsCheck, Kind::AddsCost] {
            let (boots, skipped) = search(&kinds, culprit);
            assert!(boots <= promised, "{culprit:?}: {boots} boots");
            assert!(skipped > 0, "{culprit:?}");
        }
        let many = |kind| kinds.iter().filter(|k| **k == kind).count();
        assert!(commits >= 60 && many(Kind::Break) >= 3 && many(Kind::Document) >= 20);
    }

    /// Verify that every history has both culprits, buildable commits before
    /// and at each of them, and that every breakage is mended.
    #[test]
    fn plans_hold_together() {
        for seed in 0..300 {
            let kinds = plan(64, seed);
            let mut broken = false;
            for (at, kind) in kinds.iter().enumerate() {
                match kind {
                    Kind::Break => {
                        assert!(!broken, "seed {seed}: {at}");
                        broken = true;
                    }
                    Kind::Mend => {
                        assert!(broken, "seed {seed}: {at}");
                        broken = false;
                    }
                    Kind::DropsCheck | Kind::AddsCost => assert!(!broken, "seed {seed}: {at}"),
                    _ => {}
                }
            }
            assert!(!broken, "seed {seed}");
            for kind in [Kind::DropsCheck, Kind::AddsCost] {
                assert_eq!(
                    kinds.iter().filter(|k| **k == kind).count(),
                    1,
                    "seed {seed}"
                );
            }
        }
    }
}
