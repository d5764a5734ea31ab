// SPDX-License-Identifier: GPL-2.0-only
//! The commits of a range as a graph. Pure.

use std::collections::{BTreeMap, VecDeque};

/// A commit of a [`History`]: its place in the order parents before children.
pub type At = usize;

/// The commits among which the culprit is: what the bad end has and the good
/// end has not, both as `git rev-list GOOD..BAD` has them. The last one is the
/// bad end.
#[derive(Debug, Clone)]
pub struct History {
    ids: Vec<String>,
    places: BTreeMap<String, At>,
    parents: Vec<Vec<At>>,
    counts: Vec<bool>,
}

/// A set of commits of one history.
pub type Set = Vec<bool>;

impl History {
    /// From each commit and its parents, parents first. Parents that are not in
    /// the list are outside of the range, and so part of the good end.
    pub fn new(commits: &[(String, Vec<String>)]) -> Self {
        let places: BTreeMap<String, At> = commits
            .iter()
            .enumerate()
            .map(|(at, (id, _))| (id.clone(), at))
            .collect();
        let parents = commits
            .iter()
            .enumerate()
            .map(|(at, (_, parents))| {
                let mut inside: Vec<At> = parents
                    .iter()
                    .filter_map(|p| places.get(p).copied())
                    .filter(|p| *p < at)
                    .collect();
                inside.dedup();
                inside
            })
            .collect();
        Self {
            ids: commits.iter().map(|c| c.0.clone()).collect(),
            places,
            parents,
            counts: vec![true; commits.len()],
        }
    }

    /// Says which commits count: one that cannot affect the image is never the
    /// culprit and never worth a boot.
    pub fn count_only(mut self, counts: impl Fn(&str) -> bool) -> Self {
        self.counts = self.ids.iter().map(|id| counts(id)).collect();
        self
    }

    /// How many commits there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The commit's name.
    pub fn id(&self, at: At) -> &str {
        &self.ids[at]
    }

    /// Where a commit is, if it is one of the range.
    pub fn find(&self, id: &str) -> Option<At> {
        self.places.get(id).copied()
    }

    /// Its parents within the range.
    pub fn parents(&self, at: At) -> &[At] {
        &self.parents[at]
    }

    /// Whether it can affect the image.
    pub fn counts(&self, at: At) -> bool {
        self.counts[at]
    }

    /// A commit and everything it was made on.
    pub fn ancestors(&self, of: At) -> Set {
        self.ancestors_of_all(&[of])
    }

    /// Commits and everything any of them was made on.
    pub fn ancestors_of_all(&self, of: &[At]) -> Set {
        let mut set = vec![false; self.len()];
        let mut todo = of.to_vec();
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut set[at], true) {
                todo.extend(&self.parents[at]);
            }
        }
        set
    }

    /// Commits and everything that was made on any of them.
    pub fn descendants_of_all(&self, of: &[At]) -> Set {
        let mut set = vec![false; self.len()];
        for at in of {
            set[*at] = true;
        }
        // Parents come first, so that one pass sees them all.
        for at in 0..self.len() {
            set[at] |= self.parents[at].iter().any(|p| set[*p]);
        }
        set
    }

    /// For each member of `among`, how many counting members it is made of,
    /// itself included; 0 for the others.
    pub fn weights(&self, among: &Set) -> Vec<usize> {
        let mut weights = vec![0; self.len()];
        // Which commit's walk was the last to be here: cheaper than a set each.
        let mut walked = vec![usize::MAX; self.len()];
        for at in (0..self.len()).filter(|at| among[*at]) {
            let own = usize::from(self.counts[at]);
            let mut inside = self.parents[at].iter().copied().filter(|p| among[*p]);
            weights[at] = match (inside.next(), inside.next()) {
                (None, _) => own,
                // A line: what the parent has, and this one.
                (Some(parent), None) => weights[parent] + own,
                // Lines that meet may have commits in common.
                (Some(_), Some(_)) => {
                    let (mut sum, mut todo) = (0, vec![at]);
                    while let Some(on) = todo.pop() {
                        if std::mem::replace(&mut walked[on], at) != at {
                            sum += usize::from(self.counts[on]);
                            todo.extend(self.parents[on].iter().filter(|p| among[**p]));
                        }
                    }
                    sum
                }
            };
        }
        weights
    }

    /// How many steps, parent or child, each member of `among` is away from the
    /// nearest of `from`; `None` where there is no way.
    pub fn distances(&self, from: &[At], among: &Set) -> Vec<Option<usize>> {
        let mut children = vec![Vec::new(); self.len()];
        for at in 0..self.len() {
            for parent in &self.parents[at] {
                children[*parent].push(at);
            }
        }
        let mut away = vec![None; self.len()];
        let mut todo: VecDeque<At> = from.iter().copied().collect();
        for at in from {
            away[*at] = Some(0);
        }
        while let Some(at) = todo.pop_front() {
            for next in self.parents[at].iter().chain(&children[at]) {
                if among[*next] && away[*next].is_none() {
                    away[*next] = away[at].map(|d: usize| d + 1);
                    todo.push_back(*next);
                }
            }
        }
        away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(parents: &[&[usize]]) -> History {
        let commits: Vec<(String, Vec<String>)> = parents
            .iter()
            .enumerate()
            .map(|(at, p)| (at.to_string(), p.iter().map(ToString::to_string).collect()))
            .collect();
        History::new(&commits)
    }

    /// Verify that commits that two merged lines have in common count once.
    #[test]
    fn common_commits_count_once() {
        //  0 - 1 - 3 - 4
        //    \ 2 /
        let diamond = history(&[&[], &[0], &[0], &[1, 2], &[3]]);
        assert_eq!(diamond.weights(&vec![true; 5]), [1, 2, 2, 4, 5]);
        let without_docs = diamond.count_only(|id| id != "1");
        assert_eq!(without_docs.weights(&vec![true; 5]), [1, 1, 2, 3, 4]);
    }

    /// Verify that distances go both ways along the history.
    #[test]
    fn distances_go_both_ways() {
        let line = history(&[&[], &[0], &[1], &[2]]);
        let away = line.distances(&[1], &vec![true; 4]);
        assert_eq!(away, [Some(1), Some(0), Some(1), Some(2)]);
    }
}
