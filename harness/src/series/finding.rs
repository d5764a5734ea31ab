// SPDX-License-Identifier: GPL-2.0-only
//! What `series check` found: a cell for each base, patch and check, and a
//! finding for each thing that is wrong.

use serde::Serialize;

use crate::fail;

/// Something that is wrong with a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A path in the tree, or the patch's own file.
    pub file: String,
    /// Line in that file; `None` when the tool names none.
    pub line: Option<u32>,
    /// What found it, with its version where that matters.
    pub tool: String,
    /// What it said.
    pub text: String,
}

/// What one check of one patch came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Nothing to complain about.
    Good,
    /// Something is wrong.
    Found {
        /// What; never empty.
        findings: Vec<Finding>,
    },
    /// The base has nothing that could be checked.
    NotHere {
        /// Why.
        why: String,
    },
    /// The check could not be made.
    Untold {
        /// Why, and what to do about it.
        why: String,
    },
}

impl Outcome {
    /// Good when nothing was found.
    pub fn of(findings: Vec<Finding>) -> Self {
        if findings.is_empty() {
            Self::Good
        } else {
            Self::Found { findings }
        }
    }

    /// This and what a further look at the same came to: nothing that one of them
    /// found is lost, and it is good only if both are.
    #[must_use]
    pub fn and(self, further: Self) -> Self {
        match (self, further) {
            (Self::Good, other) | (other, Self::Good) => other,
            (Self::Found { mut findings }, Self::Found { findings: more }) => {
                findings.extend(more);
                Self::Found { findings }
            }
            (found @ Self::Found { .. }, _) | (_, found @ Self::Found { .. }) => found,
            (untold @ Self::Untold { .. }, _) | (_, untold) => untold,
        }
    }

    /// What a table shows for it.
    pub fn mark(&self) -> String {
        match self {
            Self::Good => "ok".into(),
            Self::Found { findings } => format!("!{}", findings.len()),
            Self::NotHere { .. } => "-".into(),
            Self::Untold { .. } => "?".into(),
        }
    }
}

/// One check of one patch.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The check, as the table names it.
    pub check: String,
    /// What it came to.
    pub outcome: Outcome,
}

/// One patch and everything that was checked of it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Release line, `6.12`.
    pub base: String,
    /// Full version of the source, `6.12.117`.
    pub version: String,
    /// Its place in the series, from 1; 0 stands for the strip.
    pub number: usize,
    /// How many patches the series has.
    pub of: usize,
    /// First line of its message.
    pub subject: String,
    /// The commit it became; empty when it does not apply.
    pub commit: String,
    /// In the order in which they were made.
    pub cells: Vec<Cell>,
}

impl Row {
    /// Adds what a check came to.
    pub fn put(&mut self, check: &str, outcome: Outcome) {
        self.cells.push(Cell {
            check: check.to_owned(),
            outcome,
        });
    }
}

/// The check that comes first, and without which there is no other.
pub const APPLIES: &str = "applies";

/// Everything that was checked.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// One for each patch of each base, in order.
    pub rows: Vec<Row>,
    /// Why a base could not be had, a sentence for each.
    pub missed: Vec<String>,
}

impl Checked {
    fn any(&self, is: impl Fn(&Cell) -> bool) -> bool {
        self.rows.iter().flat_map(|r| &r.cells).any(is)
    }

    /// Exit status: a patch that does not apply is a wrong request; a finding
    /// is bad; a check that could not be made is not good. Nothing checked at
    /// all proves nothing.
    pub fn status(&self) -> u8 {
        let found = |c: &Cell| matches!(c.outcome, Outcome::Found { .. });
        if self.any(|c| found(c) && c.check == APPLIES) {
            fail::REQUEST
        } else if self.any(found) {
            fail::BAD
        } else if !self.any(|c| c.outcome == Outcome::Good)
            || self.any(|c| matches!(c.outcome, Outcome::Untold { .. }))
            || !self.missed.is_empty()
        {
            fail::COULD_NOT_TELL
        } else {
            fail::GOOD
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(cells: &[(&str, Outcome)]) -> Checked {
        let mut row = Row {
            base: "6.12".into(),
            version: "6.12.1".into(),
            number: 1,
            of: 1,
            subject: "s".into(),
            commit: "c".into(),
            cells: Vec::new(),
        };
        for (check, outcome) in cells {
            row.put(check, outcome.clone());
        }
        Checked {
            rows: vec![row],
            ..Checked::default()
        }
    }

    /// Verify that a check that could not be made never looks like a good one,
    /// that a finding counts for more, and that no check at all is not good.
    #[test]
    fn status_is_that_of_the_worst() {
        let untold = || Outcome::Untold { why: "w".into() };
        let here = || Outcome::NotHere { why: "w".into() };
        let found = || {
            Outcome::of(vec![Finding {
                file: "f".into(),
                line: None,
                tool: "t".into(),
                text: "x".into(),
            }])
        };
        let good = || Outcome::of(Vec::new());
        for (cells, status) in [
            (vec![("a", good()), ("b", here())], fail::GOOD),
            (vec![("a", good()), ("b", untold())], fail::COULD_NOT_TELL),
            (vec![("a", untold()), ("b", found())], fail::BAD),
            (vec![(APPLIES, found()), ("b", found())], fail::REQUEST),
            (vec![("a", here())], fail::COULD_NOT_TELL),
            (vec![], fail::COULD_NOT_TELL),
        ] {
            assert_eq!(checked(&cells).status(), status, "{cells:?}");
        }
        let mut checked = checked(&[("a", good())]);
        checked.missed.push("base 5.10 cannot be had".into());
        assert_eq!(checked.status(), fail::COULD_NOT_TELL);
    }

    /// Verify that of two looks at the same the worse counts, and that what both
    /// found is kept.
    #[test]
    fn the_worse_of_two_looks_counts() {
        let untold = || Outcome::Untold { why: "u".into() };
        let here = || Outcome::NotHere { why: "n".into() };
        let found = |texts: &[&str]| {
            let one = |text: &&str| Finding {
                file: "f".into(),
                line: None,
                tool: "t".into(),
                text: (*text).into(),
            };
            Outcome::of(texts.iter().map(one).collect())
        };
        let ranked = [Outcome::Good, here(), untold(), found(&["x"])];
        for (i, worse) in ranked.iter().enumerate() {
            for other in &ranked[..=i] {
                if other != worse || i < 3 {
                    assert_eq!(worse.clone().and(other.clone()), *worse);
                    assert_eq!(other.clone().and(worse.clone()), *worse);
                }
            }
        }
        assert_eq!(found(&["x"]).and(found(&["y"])), found(&["x", "y"]));
    }
}
