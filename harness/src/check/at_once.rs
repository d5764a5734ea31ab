// SPDX-License-Identifier: GPL-2.0-only
//! Guests that run at once against the same guests one after the other.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use protocol::{CaseInfo, MARK_START};

use crate::{
    cli::Verify,
    results::{Results, Run},
    session::Session,
    verdict::Verdict,
    verify,
};

/// Of so many cases every so-manyth is run again: a few, of all kinds.
const EVERY: usize = 12;

/// Runs some of the cases of `at_once` again, one guest at a time, and gives what
/// is not the same; `dir` has the consoles of `at_once`.
pub(super) fn compare(
    session: &mut Session,
    request: &Verify,
    at_once: &Results,
    dir: &Path,
) -> Result<Vec<String>> {
    let names = |cases: &[CaseInfo]| -> Vec<String> {
        let some = cases.iter().step_by(EVERY);
        some.map(|c| c.name.clone()).collect()
    };
    let request = Verify {
        cases: names(&at_once.cases),
        ..request.clone()
    };
    let asked = session.common.jobs.replace(1);
    let alone = verify::collect(session, &request).context("one guest at a time");
    session.common.jobs = asked;
    let mut wrong = different(at_once, &alone?);
    wrong.extend(shared_logs(at_once, dir)?);
    Ok(wrong)
}

/// Verdicts of `alone` that are others in `at_once`, and whatever of it is not there.
fn different(at_once: &Results, alone: &Results) -> Vec<String> {
    let verdicts = |results: &Results| -> BTreeMap<(String, String), Verdict> {
        let of_run = |run: &Run| {
            let kernel = format!("{} {} {}", run.base, run.arm.word(), run.flavor);
            let cases = run.cases.iter();
            cases
                .map(|c| ((kernel.clone(), c.name.clone()), c.verdict))
                .collect::<Vec<_>>()
        };
        results.runs.iter().flat_map(of_run).collect()
    };
    let (one, other) = (verdicts(alone), verdicts(at_once));
    if one.is_empty() {
        return vec!["nothing was run one at a time".into()];
    }
    one.iter()
        .filter(|(at, verdict)| other.get(at) != Some(verdict))
        .map(|((kernel, case), verdict)| {
            let came = other
                .get(&(kernel.clone(), case.clone()))
                .map_or("nothing", |v| v.word());
            format!("{case} on {kernel}: {verdict} one at a time, {came} at once")
        })
        .collect()
}

/// Logs that do not have each case of their run once: another guest wrote to
/// them, or to nobody's.
fn shared_logs(results: &Results, dir: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for run in &results.runs {
        let path = dir.join(&run.console);
        let console = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let console = String::from_utf8_lossy(&console);
        let mut starts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in console.lines() {
            if let Some((_, case)) = line.split_once(MARK_START) {
                *starts.entry(case.trim()).or_default() += 1;
            }
        }
        for case in run.cases.iter().filter(|c| c.outcome.is_some()) {
            let times = starts.get(case.name.as_str()).copied().unwrap_or(0);
            if times != 1 {
                wrong.push(format!(
                    "{} has the start of {} {times} times",
                    run.console, case.name
                ));
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Results {
        serde_json::from_str(include_str!("../../tests/results/good.json")).unwrap()
    }

    /// Verify that another verdict, and one that lacks, are told, and that the
    /// same ones are not.
    #[test]
    fn another_verdict_is_told() {
        let (at_once, mut alone) = (sample(), sample());
        assert!(different(&at_once, &alone).is_empty());
        alone.runs[0].cases[0].verdict = Verdict::Hang;
        let wrong = different(&at_once, &alone);
        assert!(wrong.len() == 1 && wrong[0].contains("hang"), "{wrong:?}");
        let mut lacks = sample();
        lacks.runs.pop();
        assert!(!different(&lacks, &sample()).is_empty());
        alone.runs.clear();
        assert!(!different(&at_once, &alone).is_empty());
    }

    /// Verify that a log with the cases of two guests is told, and one that lacks a case.
    #[test]
    fn a_shared_log_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let results = sample();
        let write = |log: &str, run: &Run, times: usize| {
            let marks = run
                .cases
                .iter()
                .map(|c| format!("[1.0] {MARK_START}{}\n", c.name));
            let path = dir.path().join(log);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, marks.collect::<String>().repeat(times)).unwrap();
        };
        for run in &results.runs {
            write(&run.console, run, 1);
        }
        assert!(shared_logs(&results, dir.path()).unwrap().is_empty());
        let first = &results.runs[0];
        for times in [0, 2] {
            write(&first.console, first, times);
            assert!(!shared_logs(&results, dir.path()).unwrap().is_empty());
        }
    }
}
