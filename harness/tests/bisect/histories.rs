// SPDX-License-Identifier: GPL-2.0-only
//! Generated histories, and what is true of each of their commits.

use harness::bisect::graph::History;

/// A small generator of numbers: the same seed is the same history everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// 0 to `below - 1`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        (self.roll() % below as u64) as usize
    }

    /// True so often out of 1.
    pub(crate) fn chance(&mut self, of_one: f64) -> bool {
        (self.roll() % 1_000_000) as f64 / 1e6 < of_one
    }
}

/// Commits as indices, parents first; `usize::MAX` stands for the good end.
pub(crate) struct Shape(pub(crate) Vec<Vec<usize>>);

pub(crate) const GOOD_END: usize = usize::MAX;

impl Shape {
    /// One commit after the other.
    pub(crate) fn line(len: usize) -> Self {
        Self(
            (0..len)
                .map(|at| vec![at.checked_sub(1).unwrap_or(GOOD_END)])
                .collect(),
        )
    }

    /// Branches that come and go; everything ends up in the last commit.
    pub(crate) fn with_merges(len: usize, dice: &mut Dice) -> Self {
        let mut heads: Vec<usize> = Vec::new();
        let mut parents = Vec::new();
        for at in 0..len {
            let last = at + 1 == len;
            let of = if last && !heads.is_empty() {
                std::mem::take(&mut heads)
            } else if heads.is_empty() || heads.len() < 4 && dice.chance(0.15) {
                // From the good end, or from a commit that has children already.
                vec![if at == 0 || dice.chance(0.3) {
                    GOOD_END
                } else {
                    dice.below(at)
                }]
            } else if heads.len() > 1 && dice.chance(0.25) {
                let one = heads.swap_remove(dice.below(heads.len()));
                let other = heads.swap_remove(dice.below(heads.len()));
                vec![one, other]
            } else {
                vec![heads.swap_remove(dice.below(heads.len()))]
            };
            heads.retain(|h| !of.contains(h));
            heads.push(at);
            parents.push(of);
        }
        Self(parents)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn history(&self, name: impl Fn(usize) -> String) -> History {
        let commits: Vec<(String, Vec<String>)> = self
            .0
            .iter()
            .enumerate()
            .map(|(at, of)| (name(at), of.iter().map(|p| name(*p)).collect()))
            .collect();
        History::new(&commits)
    }

    /// Whether a commit has any of `culprits` among itself and its ancestors.
    pub(crate) fn has(&self, at: usize, culprits: &[usize]) -> bool {
        let mut seen = vec![false; self.len()];
        let mut todo = vec![at];
        while let Some(on) = todo.pop() {
            if on == GOOD_END || std::mem::replace(&mut seen[on], true) {
                continue;
            }
            if culprits.contains(&on) {
                return true;
            }
            todo.extend(&self.0[on]);
        }
        false
    }
}
