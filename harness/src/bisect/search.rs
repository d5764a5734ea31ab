// SPDX-License-Identifier: GPL-2.0-only
//! Which commit to test next, and when it is over. Pure: everything that is
//! known is in the arguments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::graph::{At, History, Set};

/// What is known of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// As at the good end.
    Good,
    /// As at the bad end.
    Bad,
    /// It cannot be tested: it does not build, or does not boot for another reason.
    Skip,
    /// It was tested, and nothing can be said.
    CannotTell,
}

impl Answer {
    /// The word for tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Skip => "skip",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This commit says most.
    Test(At),
    /// This is the culprit.
    Found(At),
    /// It is one of these, and the rest of them cannot be tested.
    AnyOf(Vec<At>),
    /// No commit is left: the answers contradict each other, or there are
    /// several culprits and they were given for different ones.
    Nothing,
}

/// The commits of which any can still be the culprit: what every bad commit
/// has and no good one.
pub fn candidates(history: &History, answers: &BTreeMap<At, Answer>) -> Set {
    let mut left = vec![true; history.len()];
    for (at, answer) in answers {
        let keep = match answer {
            Answer::Bad => true,
            Answer::Good => false,
            Answer::Skip | Answer::CannotTell => continue,
        };
        for (left, has) in left.iter_mut().zip(history.ancestors(*at)) {
            *left &= has == keep;
        }
    }
    left
}

/// The next step. The bad end counts as bad whether `answers` has it or not.
pub fn next(history: &History, answers: &BTreeMap<At, Answer>) -> Next {
    let left = candidates(history, answers);
    let weights = history.weights(&left);
    let in_it = |at: &At| left[*at] && history.counts(*at);
    let all: Vec<At> = (0..history.len()).filter(in_it).collect();
    let [only] = all.as_slice() else {
        if all.is_empty() {
            return Next::Nothing;
        }
        return best(history, answers, &left, &weights, &all).map_or(Next::AnyOf(all), Next::Test);
    };
    Next::Found(*only)
}

/// The commit that splits the candidates most evenly, whichever way the answer
/// goes, and is not likely to be as untestable as one that was skipped.
fn best(
    history: &History,
    answers: &BTreeMap<At, Answer>,
    left: &Set,
    weights: &[usize],
    all: &[At],
) -> Option<At> {
    let untestable: Vec<At> = all
        .iter()
        .copied()
        .filter(|at| matches!(answers.get(at), Some(Answer::Skip | Answer::CannotTell)))
        .collect();
    let away = history.distances(&untestable, left);
    let (below, above) = (
        history.ancestors_of_all(&untestable),
        history.descendants_of_all(&untestable),
    );
    let score = |at: At| {
        let halves = weights[at].min(all.len() - weights[at]) as f64;
        let many = untestable.len() as f64;
        // What breaks the build usually stays for some commits around: the more
        // were skipped, the further away from them a commit must be to be
        // trusted. Without any, this is git's own measure.
        let far = away[at].map_or(1.0, |steps| steps as f64 / (steps as f64 + many));
        // Between two that were skipped, and nothing in between that was not,
        // it is likely the same breakage.
        let between = below[at] && above[at];
        halves * far / if between { (1.0 + many).powi(2) } else { 1.0 }
    };
    all.iter()
        .copied()
        .filter(|at| !answers.contains_key(at))
        .map(|at| (score(at), at))
        .filter(|rated| rated.0 > 0.0)
        .reduce(|best, new| if new.0 > best.0 { new } else { best })
        .map(|best| best.1)
}

/// About how many steps are left: each halves what is left.
pub fn steps_left(history: &History, answers: &BTreeMap<At, Answer>) -> u32 {
    let left = candidates(history, answers);
    let many = (0..history.len())
        .filter(|at| left[*at] && history.counts(*at))
        .count();
    many.max(1).next_power_of_two().trailing_zeros()
}
