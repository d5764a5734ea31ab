// SPDX-License-Identifier: GPL-2.0-only
//! junit.xml, as Jenkins, GitLab and GitHub actions read it. A run is a suite.

use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    problems::{context, got, in_short, is_bad_itself, of_case, outside, state_of, summary},
    text,
};
use crate::{
    results::{CaseResult, Results, Run},
    splat::Splat,
    verdict::Verdict,
};

/// The text of junit.xml.
pub(super) fn junit(results: &Results) -> Result<String> {
    let mut report = Report::new("redirect-peer");
    report.set_time(duration(results.seconds));
    if results.runs.is_empty() {
        let mut suite = TestSuite::new("nothing-was-run");
        suite.add_test_case(TestCase::new(
            "nothing-was-run",
            bad(Verdict::Missing, "no kernel was run", ""),
        ));
        report.add_test_suite(suite);
    }
    for run in &results.runs {
        report.add_test_suite(suite(results, run));
    }
    report.to_string().context("writing junit.xml")
}

fn suite(results: &Results, run: &Run) -> TestSuite {
    let id = text::run_id(run);
    let mut suite = TestSuite::new(&id);
    suite.set_time(duration(run.seconds));
    for (name, value) in [
        ("base", &run.base),
        ("source", &run.source),
        ("kernel", &run.kernel),
        ("commit", &run.commit),
        ("flavor", &run.flavor),
    ] {
        suite.add_property((name, text::line(value).as_str()));
    }
    for note in results.notes_of(run) {
        suite.add_property(("finding", text::line(&note).as_str()));
    }
    for case in &run.cases {
        let mut test = TestCase::new(text::line(&case.name), status(run, case));
        test.set_classname(&id);
        if let Some(us) = case.duration_us {
            test.set_time(Duration::from_micros(us));
        }
        let mut said = in_short(state_of(run, Some(case)));
        if case.verdict == Verdict::ExpectedFail {
            said.insert(0, format!("expected-fail: {}", summary(case)));
        }
        if !said.is_empty() {
            test.set_system_out(said.join("\n"));
        }
        suite.add_test_case(test);
    }
    if is_bad_itself(run) {
        let why = if run.why.is_empty() {
            "the run has no cases"
        } else {
            &run.why
        };
        let mut test = TestCase::new(
            "the run itself",
            bad(run.verdict, &text::line(why), &report(&outside(run))),
        );
        let said = in_short(state_of(run, None));
        if !said.is_empty() {
            test.set_system_out(said.join("\n"));
        }
        test.set_classname(&id);
        suite.add_test_case(test);
    }
    suite
}

fn status(run: &Run, case: &CaseResult) -> TestCaseStatus {
    match case.verdict {
        Verdict::Pass | Verdict::ExpectedFail => TestCaseStatus::success(),
        Verdict::ExpectedSkip => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(summary(case));
            skipped
        }
        verdict => {
            let mut lines = vec![
                format!("expected: {}", text::expected(&case.expected)),
                format!("got: {}", got(case)),
            ];
            lines.extend(context(case));
            lines.push(report(&of_case(run, case)));
            bad(verdict, &summary(case), &lines.join("\n"))
        }
    }
}

fn bad(verdict: Verdict, message: &str, description: &str) -> TestCaseStatus {
    let kind = match verdict {
        Verdict::Fail | Verdict::UnexpectedPass | Verdict::Splat => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_type(verdict.word())
        .set_message(message)
        .set_description(description);
    status
}

fn report(splats: &[&Splat]) -> String {
    let lines = splats
        .iter()
        .flat_map(|s| std::iter::once(&s.title).chain(&s.lines));
    lines
        .flat_map(|l| text::lines(l))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Saved results may hold any figure; a duration may not.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Verify that a reader of JUnit finds as many bad cases as there are.
    #[test]
    fn counts_are_right() {
        for of in [sample::good(), sample::bad(), sample::hostile()] {
            let text = junit(&of).unwrap();
            let report = Report::deserialize_from_str(&text).unwrap();
            let cases = report.test_suites.iter().flat_map(|s| &s.test_cases);
            let found = cases
                .filter(|c| matches!(c.status, TestCaseStatus::NonSuccess { .. }))
                .count();
            let bad = of
                .runs
                .iter()
                .flat_map(|r| &r.cases)
                .filter(|c| !c.verdict.is_good())
                .count();
            let extra = of.runs.iter().filter(|r| is_bad_itself(r)).count();
            assert_eq!(found, bad + extra);
        }
    }

    /// Verify that no runs are an error and a hostile figure is no panic.
    #[test]
    fn nothing_is_an_error() {
        let mut of = sample::good();
        of.seconds = f64::NAN;
        of.runs.clear();
        assert!(junit(&of).unwrap().contains("<error"));
    }
}
