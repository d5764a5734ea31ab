// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's reports of all boots of a run, and whose they are.

use crate::splat::Splat;

/// The kernel's reports, each different one once, with the cases during which it came.
#[derive(Debug, Default)]
pub(super) struct Splats(pub(super) Vec<(Splat, Vec<String>)>);

impl Splats {
    /// Takes a report. One that came during no case is not the same as one that
    /// came during a case: no case answers for it.
    pub(super) fn add(&mut self, splat: Splat, during: impl IntoIterator<Item = String>) {
        let during: Vec<String> = during.into_iter().collect();
        let same = |(s, cases): &&mut (Splat, Vec<String>)| {
            s.fingerprint == splat.fingerprint && cases.is_empty() == during.is_empty()
        };
        match self.0.iter_mut().find(same) {
            Some((before, cases)) => {
                before.count += splat.count;
                before.fatal |= splat.fatal;
                for case in during {
                    if !cases.contains(&case) {
                        cases.push(case);
                    }
                }
            }
            None => self.0.push((splat, during)),
        }
    }

    /// Places of those that came during a case.
    pub(super) fn during(&self, case: &str) -> Vec<usize> {
        (0..self.0.len())
            .filter(|i| self.0[*i].1.iter().any(|c| c == case))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that the same report in two cases is one report with two cases, and
    /// that one outside every case stays by itself.
    #[test]
    fn the_same_report_is_one() {
        let splat = |fatal| Splat {
            kind: "warning".into(),
            title: "WARNING: x".into(),
            fingerprint: "warning: x".into(),
            lines: vec![],
            count: 1,
            fatal,
        };
        let mut splats = Splats::default();
        splats.add(splat(false), Some("first".into()));
        splats.add(splat(true), Some("third".into()));
        splats.add(splat(false), Some("third".into()));
        splats.add(splat(false), None);
        assert_eq!(splats.0.len(), 2);
        assert_eq!((splats.0[0].0.count, splats.0[0].0.fatal), (3, true));
        assert_eq!(
            (splats.during("first"), splats.during("third")),
            (vec![0], vec![0])
        );
        assert!(splats.during("second").is_empty());
    }
}
