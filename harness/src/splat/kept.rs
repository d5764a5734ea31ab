// SPDX-License-Identifier: GPL-2.0-only
//! The reports that are over, within bounds: a kernel under test may log
//! anything, as often as it likes.

use std::collections::HashMap;

use super::scanner::{MOST_CASES, Report};

/// Lines kept of a report once there are [`FULL_REPORTS`].
const FEW_LINES: usize = 3;
/// Reports of which everything is kept.
const FULL_REPORTS: usize = 100;
/// Different reports kept for a case; the rest are counted.
const MOST_FOR_A_CASE: usize = 50;
/// Different reports kept at all; the rest are counted.
const MOST_REPORTS: usize = 1000;

/// Reports, each different one once for each case.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) reports: Vec<Report>,
    /// Places in `reports` by case.
    by_case: HashMap<Option<String>, Vec<usize>>,
}

impl Kept {
    /// Takes a report that is over: the same one in the same case is counted.
    pub(super) fn add(&mut self, mut report: Report) {
        let all = self.reports.len();
        let places = self
            .by_case
            .get(&report.case)
            .map_or(&[][..], Vec::as_slice);
        let of_case = places.len();
        let same = places
            .iter()
            .find(|i| self.reports[**i].splat.fingerprint == report.splat.fingerprint);
        let counts_for = if same.is_some() {
            same
        } else if of_case > MOST_FOR_A_CASE || all >= MOST_REPORTS {
            places.last()
        } else {
            None
        };
        let beyond = (all >= MOST_REPORTS + MOST_CASES).then(|| all - 1);
        if let Some(at) = counts_for.copied().or(beyond) {
            let splat = &mut self.reports[at].splat;
            splat.count += 1;
            splat.fatal |= report.splat.fatal;
            return;
        }
        if of_case == MOST_FOR_A_CASE {
            report.splat.kind = "flood".into();
            report.splat.fingerprint = "flood".into();
            report.splat.title = format!(
                "more reports than can be kept; the next was: {}",
                report.splat.title
            );
        }
        if all >= FULL_REPORTS {
            report.splat.lines.truncate(FEW_LINES);
        }
        self.by_case
            .entry(report.case.clone())
            .or_default()
            .push(all);
        self.reports.push(report);
    }
}
