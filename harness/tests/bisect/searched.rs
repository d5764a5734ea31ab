// SPDX-License-Identifier: GPL-2.0-only
//! The search by itself: whatever the history, it ends, soon, and at a culprit.

use std::collections::BTreeMap;

use harness::bisect::{
    graph::{At, History},
    search::{Answer, Next, candidates, next},
};

use crate::histories::{Dice, Shape};

/// Searches to the end; gives it and the number of commits that were tested.
fn search(history: &History, truth: impl Fn(At) -> Answer) -> (Next, usize, BTreeMap<At, Answer>) {
    let mut answers = BTreeMap::new();
    answers.insert(history.len() - 1, Answer::Bad);
    for tested in 0.. {
        match next(history, &answers) {
            Next::Test(at) => {
                assert!(
                    history.counts(at),
                    "a commit that does not count was chosen"
                );
                assert!(
                    answers.insert(at, truth(at)).is_none(),
                    "a commit was chosen twice"
                );
            }
            end => return (end, tested, answers),
        }
    }
    unreachable!()
}

fn name(at: usize) -> String {
    format!("c{at}")
}

fn log2(many: usize) -> usize {
    many.next_power_of_two().trailing_zeros() as usize
}

/// Verify that on a line without untestable commits the culprit is found in
/// log2(N) tests, wherever it is.
#[test]
fn line_in_log2() {
    for len in 1..130 {
        let history = Shape::line(len).history(name);
        for culprit in 0..len {
            let truth = |at| {
                if at >= culprit {
                    Answer::Bad
                } else {
                    Answer::Good
                }
            };
            let (end, tested, _) = search(&history, truth);
            assert_eq!(end, Next::Found(culprit), "{culprit} of {len}");
            assert!(tested <= log2(len), "{tested} tests for {len}");
        }
    }
}

/// Verify that on histories with merges, with one culprit or several, the
/// commit that is found is bad and all of its parents are good.
#[test]
fn merges_and_several_culprits() {
    for seed in 0..3000 {
        let mut dice = Dice::new(seed);
        let len = 2 + dice.below(80);
        let shape = Shape::with_merges(len, &mut dice);
        let culprits: Vec<usize> = (0..=dice.below(3)).map(|_| dice.below(len)).collect();
        if !shape.has(len - 1, &culprits) {
            continue;
        }
        let bad = |at| shape.has(at, &culprits);
        let truth = |at| if bad(at) { Answer::Bad } else { Answer::Good };
        let history = shape.history(name);
        let (end, tested, _) = search(&history, truth);
        let Next::Found(found) = end else {
            panic!("seed {seed}: {end:?}");
        };
        assert!(culprits.contains(&found), "seed {seed}");
        assert!(
            history.parents(found).iter().all(|p| !bad(*p)),
            "seed {seed}"
        );
        assert!(
            tested <= 2 * log2(len) + 2,
            "seed {seed}: {tested} of {len}"
        );
    }
}

/// Verify that what cannot be tested never hides the culprit: it is found, or
/// is one of those named, and those named besides it could not be tested.
#[test]
fn untestable_commits() {
    let mut found = 0;
    for seed in 0..3000 {
        let mut dice = Dice::new(seed);
        let len = 2 + dice.below(100);
        let shape = if dice.chance(0.5) {
            Shape::line(len)
        } else {
            Shape::with_merges(len, &mut dice)
        };
        let culprit = dice.below(len);
        // Some by themselves and a run of them, as a broken build is.
        let (from, many) = (dice.below(len), dice.below(1 + len / 4));
        let skipped: Vec<bool> = (0..len)
            .map(|at| (from..from + many).contains(&at) || dice.chance(0.05))
            .collect();
        let truth = |at| match (skipped[at], shape.has(at, &[culprit])) {
            (true, _) if dice_of(seed, at) => Answer::CannotTell,
            (true, _) => Answer::Skip,
            (_, true) => Answer::Bad,
            _ => Answer::Good,
        };
        if !shape.has(len - 1, &[culprit]) {
            continue;
        }
        let (end, _, answers) = search(&shape.history(name), truth);
        match end {
            Next::Found(at) => {
                assert_eq!(at, culprit, "seed {seed}");
                found += 1;
            }
            Next::AnyOf(all) => {
                assert!(all.contains(&culprit), "seed {seed}");
                let testable: Vec<_> = all
                    .iter()
                    .filter(|at| {
                        !matches!(answers.get(at), Some(Answer::Skip | Answer::CannotTell))
                    })
                    .collect();
                assert!(
                    testable.len() <= 1,
                    "seed {seed}: {testable:?} were not tested"
                );
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(found > 1500, "{found}");
}

fn dice_of(seed: u64, at: usize) -> bool {
    Dice::new(seed ^ ((at as u64) << 20)).chance(0.3)
}

/// Verify that a stretch that does not build costs few tests: the search goes
/// away from it rather than along it.
#[test]
fn stretch_that_does_not_build() {
    let (len, broken) = (256, 96..160);
    for culprit in (0..len).filter(|c| !broken.contains(c) && *c != broken.end) {
        let truth = |at: usize| match (broken.contains(&at), at >= culprit) {
            (true, _) => Answer::Skip,
            (_, true) => Answer::Bad,
            _ => Answer::Good,
        };
        let (end, tested, answers) = search(&Shape::line(len).history(name), truth);
        let skips = answers.values().filter(|a| **a == Answer::Skip).count();
        assert_eq!(end, Next::Found(culprit));
        assert!(
            skips <= 14 && tested - skips <= 9,
            "{culprit}: {tested} tests, {skips} of them in vain"
        );
    }
}

/// Verify that commits that do not count cost nothing, and are never the culprit.
#[test]
fn commits_that_do_not_count() {
    for seed in 0..2000 {
        let mut dice = Dice::new(seed);
        let len = 8 + dice.below(100);
        let quiet: Vec<bool> = (0..len).map(|_| dice.chance(0.6)).collect();
        let counting: Vec<usize> = (0..len).filter(|at| !quiet[*at]).collect();
        if counting.is_empty() {
            continue;
        }
        let culprit = counting[dice.below(counting.len())];
        let history = Shape::line(len)
            .history(name)
            .count_only(|id| !quiet[id[1..].parse::<usize>().unwrap()]);
        let truth = |at| {
            if at >= culprit {
                Answer::Bad
            } else {
                Answer::Good
            }
        };
        let (end, tested, _) = search(&history, truth);
        assert_eq!(end, Next::Found(culprit), "seed {seed}");
        assert!(tested <= log2(counting.len()), "seed {seed}: {tested}");
    }
}

/// Verify that answers that rule every commit out are not turned into a culprit.
#[test]
fn contradiction_is_no_culprit() {
    let history = Shape::line(10).history(name);
    let answers = BTreeMap::from([(9, Answer::Good), (4, Answer::Bad)]);
    assert_eq!(next(&history, &answers), Next::Nothing);
    assert!(candidates(&history, &answers).iter().all(|left| !left));
}
