// SPDX-License-Identifier: GPL-2.0-only
//! What comparisons came to, for a cover letter. Pure.

use protocol::Arm;

use super::{
    figures::Bench,
    promise::{Answer, comparisons},
};

/// What a comparison of one base came to, for a cover letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The other kernel.
    pub theirs: Arm,
    /// The most that a figure may be of theirs, `1.001`.
    pub most: String,
    /// Figures that hold.
    pub hold: usize,
    /// Figures of which nobody can tell whether they do.
    pub open: usize,
    /// Names of the figures that do not.
    pub broken: Vec<String>,
    /// Figures that have no say.
    pub not_judged: usize,
}

/// Each promise that the kernels of a base were compared for.
pub fn promises(bench: &Bench, base: &str) -> Vec<Promise> {
    let all = comparisons(bench);
    let of_base = all.iter().filter(|c| c.base == base && !c.all.is_empty());
    of_base
        .map(|comparison| {
            let number = |answer| comparison.judged().filter(|c| c.answer() == answer).count();
            let broken = comparison.judged().filter(|c| c.answer() == Answer::Broken);
            Promise {
                theirs: comparison.other,
                most: format!("{:.3}", comparison.all[0].most),
                hold: number(Answer::Holds),
                open: number(Answer::CouldNotTell),
                broken: broken.map(|c| c.full.clone()).collect(),
                not_judged: comparison.all.len() - comparison.judged().count(),
            }
        })
        .collect()
}
