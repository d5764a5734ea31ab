// SPDX-License-Identifier: GPL-2.0-only
//! `--retry`: whether what is bad is always so.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use protocol::CaseInfo;

use super::at_once;
use crate::{
    fail,
    results::{self, CaseResult},
    run::Job,
    session::Session,
};

/// More cases of one kernel than this are run again in one guest: what is wrong
/// with so many is seldom the chance that a guest of its own would show.
const MOST_ALONE: usize = 20;

/// Runs what came to something bad and has not been good since once more, each
/// case in a fresh guest, and notes beside the first verdict what it came to.
/// `keep` says where a console of some name is kept.
pub(crate) fn again(
    jobs: &[Job<'_>],
    runs: &mut [results::Run],
    time: u32,
    keep: &dyn Fn(&str) -> Result<PathBuf>,
    session: &Session,
) -> Result<()> {
    let mut open = Vec::new();
    for (at, (job, run)) in jobs.iter().zip(runs.iter()).enumerate() {
        for (number, cases) in guests(job, run).into_iter().enumerate() {
            let name = job.console.file_stem().unwrap_or_default();
            let name = format!("{}-again-{time}-{}.log", name.to_string_lossy(), number + 1);
            open.push((at, cases, keep(&name)?));
        }
    }
    let more: Vec<Job<'_>> = open
        .iter()
        .map(|(at, cases, console)| Job {
            cases,
            console,
            ..jobs[*at]
        })
        .collect();
    // That a guest could not be had says nothing of the case.
    let came = at_once::each(&more, session.guests(), &session.progress);
    for ((at, _, _), came) in open.iter().zip(came) {
        let came = match came {
            Ok(came) => came,
            Err(error) if fail::status(&error) == fail::INTERRUPTED => return Err(error),
            Err(error) => {
                session.progress.note(&format!("not run again: {error:#}"));
                continue;
            }
        };
        for case in came.cases {
            // What is wrong with the guest as a whole is wrong with each case in it.
            let verdict = if case.verdict.is_good() && !came.why.is_empty() {
                came.verdict
            } else {
                case.verdict
            };
            if let Some(first) = runs[*at].cases.iter_mut().find(|c| c.name == case.name) {
                first.again.push(verdict);
            }
        }
    }
    Ok(())
}

/// The cases for each guest that is to show whether they are always bad: what one
/// of them leaves behind must not be what the next one fails by.
fn guests(job: &Job<'_>, run: &results::Run) -> Vec<Vec<CaseInfo>> {
    let is_open = |c: &&CaseResult| !c.verdict.is_good() && !c.is_flaky();
    let open = run.cases.iter().filter(is_open);
    let names: BTreeSet<&str> = open.map(|c| c.name.as_str()).collect();
    let cases = job.cases.iter().filter(|c| names.contains(c.name.as_str()));
    let cases: Vec<CaseInfo> = cases.cloned().collect();
    let each = if cases.len() > MOST_ALONE {
        cases.len()
    } else {
        1
    };
    cases.chunks(each).map(<[_]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collect::{
            Collected,
            sample::{case, with_job_of},
        },
        verdict::Verdict,
    };

    /// Verify that each bad case has a guest of its own, unless there are too many,
    /// and that no good one is run again.
    #[test]
    fn each_bad_case_has_a_guest() {
        let of = |bad: usize| {
            let cases: Vec<CaseInfo> = (0..40).map(|n| case(&format!("c{n}"))).collect();
            with_job_of(&cases, |job| {
                let mut run = Collected::default().into_run(job).unwrap();
                for case in run.cases.iter_mut().skip(bad) {
                    case.verdict = Verdict::Pass;
                }
                let guests = guests(job, &run);
                guests.iter().map(Vec::len).collect::<Vec<_>>()
            })
        };
        assert_eq!(of(3), [1, 1, 1]);
        assert_eq!(of(21), [21]);
        assert!(of(0).is_empty());
    }
}
