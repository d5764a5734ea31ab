// SPDX-License-Identifier: GPL-2.0-only
//! `--retry`: whether what is bad is always so.

use std::collections::BTreeSet;

use anyhow::Result;
use protocol::CaseInfo;

use super::{at_once, consoles::Consoles};
use crate::{
    results::{self, CaseResult},
    run::Job,
    session::Session,
};

/// Runs what came to something bad and has not been good since once more, in a
/// fresh guest for each run, and notes beside the first verdict what it came to.
pub(super) fn again(
    jobs: &[Job<'_>],
    runs: &mut [results::Run],
    time: u32,
    console: &Consoles,
    session: &Session,
) -> Result<()> {
    let is_open = |c: &CaseResult| !c.verdict.is_good() && !c.is_flaky();
    let mut open = Vec::new();
    for (at, (job, run)) in jobs.iter().zip(runs.iter()).enumerate() {
        let names: BTreeSet<&str> = run
            .cases
            .iter()
            .filter(|c| is_open(c))
            .map(|c| c.name.as_str())
            .collect();
        if names.is_empty() {
            continue;
        }
        let cases: Vec<CaseInfo> = job
            .cases
            .iter()
            .filter(|c| names.contains(c.name.as_str()))
            .cloned()
            .collect();
        let name = job.console.file_stem().unwrap_or_default();
        let name = format!("{}-again-{time}.log", name.to_string_lossy());
        open.push((at, cases, console.path(&name)?));
    }
    let more: Vec<Job<'_>> = open
        .iter()
        .map(|(at, cases, console)| Job {
            cases,
            console,
            ..jobs[*at]
        })
        .collect();
    let came = at_once(&more, session.guests(), &session.progress)?;
    for ((at, _, _), came) in open.iter().zip(came) {
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
