// SPDX-License-Identifier: GPL-2.0-only
//! results.ktap: KTAP version 1, as Documentation/dev-tools/ktap.rst has it and
//! tools/testing/kunit/kunit.py parse reads it. A run is a test, its cases are
//! its subtests.

use std::fmt::Write;

use super::{
    problems::{context, in_short, is_bad_itself, of_case, outside, state_of, summary},
    text,
};
use crate::{
    results::{CaseResult, Results, Run},
    splat::Splat,
    verdict::Verdict,
};

/// Lines of a report of the kernel that go along.
const MOST: usize = 60;

/// The text of results.ktap.
pub(super) fn ktap(results: &Results) -> String {
    let mut out = String::from("KTAP version 1\n");
    if results.runs.is_empty() {
        // A plan of nothing is read as nothing wrong by some.
        out.push_str("1..1\nnot ok 1 nothing-was-run # ERROR no kernel was run\n");
        return out;
    }
    let _ = writeln!(out, "1..{}", results.runs.len());
    for (at, run) in results.runs.iter().enumerate() {
        one(&mut out, at + 1, results, run);
    }
    out
}

fn one(out: &mut String, number: usize, results: &Results, run: &Run) {
    let id = text::run_id(run);
    // What is wrong with the run and no case says is a subtest of its own: a
    // parser counts those, not the line that sums them up.
    let itself = is_bad_itself(run);
    let good = run.verdict.is_good() && !itself && run.cases.iter().all(|c| c.verdict.is_good());
    let _ = writeln!(
        out,
        "    KTAP version 1\n    # Subtest: {id}\n    1..{}",
        run.cases.len() + usize::from(itself)
    );
    diagnose(
        out,
        &format!("kernel {}, commit {}", run.kernel, run.commit),
    );
    for note in results.notes_of(run) {
        diagnose(out, &note);
    }
    for (at, case) in run.cases.iter().enumerate() {
        for line in context(case)
            .into_iter()
            .chain(in_short(state_of(run, Some(case))))
        {
            diagnose(out, &line);
        }
        splats(out, &of_case(run, case));
        result(out, at + 1, case);
    }
    if itself {
        splats(out, &outside(run));
        for line in in_short(state_of(run, None)) {
            diagnose(out, &line);
        }
        let why = if run.why.is_empty() {
            "the run has no cases"
        } else {
            &run.why
        };
        let _ = writeln!(
            out,
            "    not ok {} the-run-itself # ERROR {}: {}",
            run.cases.len() + 1,
            run.verdict,
            undirected(why)
        );
    }
    let _ = writeln!(out, "{} {number} {id}", if good { "ok" } else { "not ok" });
}

fn result(out: &mut String, number: usize, case: &CaseResult) {
    let ok = if case.verdict.is_good() {
        "ok"
    } else {
        "not ok"
    };
    let directive = match case.verdict {
        Verdict::Pass => "",
        Verdict::ExpectedFail => " # XFAIL",
        Verdict::ExpectedSkip => " # SKIP",
        Verdict::Hang => " # TIMEOUT",
        Verdict::Crash | Verdict::Lost | Verdict::Missing => " # ERROR",
        // An undeclared skip is bad, and SKIP would be read as good.
        Verdict::Fail | Verdict::UnexpectedPass | Verdict::Splat | Verdict::Skip => " #",
    };
    let said = match case.verdict {
        Verdict::Pass => String::new(),
        other => format!(" {other}: {}", undirected(&summary(case))),
    };
    let _ = writeln!(
        out,
        "    {ok} {number} {}{directive}{}",
        text::id(&case.name),
        said.trim_end()
    );
}

fn splats(out: &mut String, splats: &[&Splat]) {
    for splat in splats {
        diagnose(
            out,
            &format!(
                "{}, {}: {}",
                splat.kind,
                text::count(splat.count, "time"),
                splat.title
            ),
        );
        for line in splat.lines.iter().take(MOST) {
            diagnose(out, line);
        }
    }
}

/// A line of diagnostics, which none of a parser's patterns is to match.
fn diagnose(out: &mut String, line: &str) {
    for line in text::lines(line) {
        let _ = writeln!(out, "    #   {}", tame(&line));
    }
}

/// kunit.py stops reading where a kernel would stop writing.
fn tame(text: &str) -> String {
    let mut text = text::lines(text).join(" ");
    for end in [
        "List of all partitions:",
        "Kernel panic - not syncing: VFS:",
        "reboot: System halted",
    ] {
        text = text.replace(end, &end.replacen(':', ";", 1));
    }
    text
}

/// Text for a line with a result: what follows a `#` there is a directive, and
/// the last of several holds.
fn undirected(text: &str) -> String {
    tame(text).replace('#', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn results(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|l| l.trim_start().starts_with("ok ") || l.trim_start().starts_with("not ok "))
            .collect()
    }

    /// Verify that there is a result for each case and each run, and no good one for a bad one.
    #[test]
    fn one_result_each() {
        for of in [sample::good(), sample::bad(), sample::hostile()] {
            let text = ktap(&of);
            let extra = of.runs.iter().filter(|r| is_bad_itself(r)).count();
            let cases: usize = of.runs.iter().map(|r| r.cases.len()).sum();
            assert_eq!(
                results(&text).len(),
                cases + of.runs.len() + extra,
                "{text}"
            );
            let bad: usize = of
                .runs
                .iter()
                .flat_map(|r| &r.cases)
                .filter(|c| !c.verdict.is_good())
                .count();
            let not_ok = results(&text)
                .iter()
                .filter(|l| l.starts_with("    not ok "))
                .count();
            assert_eq!(not_ok, bad + extra, "{text}");
            let skips = results(&text)
                .iter()
                .filter(|l| l.contains("# SKIP"))
                .count();
            let all = of.runs.iter().flat_map(|r| &r.cases);
            assert_eq!(
                skips,
                all.filter(|c| c.verdict == Verdict::ExpectedSkip).count(),
                "{text}"
            );
            let headers = text
                .lines()
                .filter(|l| l.trim() == "KTAP version 1")
                .count();
            assert_eq!(headers, of.runs.len() + 1, "{text}");
        }
    }

    /// Verify that no runs and a run without cases are not ok.
    #[test]
    fn nothing_is_not_ok() {
        let mut of = sample::good();
        of.runs[0].cases.clear();
        assert!(ktap(&of).contains("not ok 1 the-run-itself # ERROR"));
        of.runs.clear();
        assert!(ktap(&of).contains("not ok 1 nothing-was-run"));
    }
}
