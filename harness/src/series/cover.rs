// SPDX-License-Identifier: GPL-2.0-only
//! The cover letter: the part that is written by hand (kernel-patches/cover.txt
//! and changes.txt), and what was tested, from results. Pure.

use std::fmt::Write;

use anyhow::Result;
use protocol::Arm;

use crate::{
    request,
    results::{Results, Run},
    verdict::Verdict,
};

/// The hand-written part: first line the subject, then the text.
pub fn written(text: &str) -> Result<(&str, &str)> {
    match text.split_once("\n\n") {
        Some((subject, body)) if !subject.contains('\n') && !body.trim().is_empty() => {
            Ok((subject.trim(), body.trim_end()))
        }
        _ => Err(request!(
            "a cover letter's text is a line for the subject, an empty line, and what the series is for"
        )),
    }
}

/// What changed up to a posting, newest first, out of changes.txt: a line `v2:`
/// and what follows it, up to the next. Empty for a first posting. A posting
/// that nothing is said of is refused: reviewers ask for it.
pub fn changes(text: &str, posting: u32) -> Result<String> {
    let mut sections: Vec<(u32, String)> = Vec::new();
    for line in text.lines() {
        let number = line
            .strip_prefix('v')
            .and_then(|l| l.strip_suffix(':'))
            .and_then(|n| n.parse().ok());
        match (number, sections.last_mut()) {
            (Some(n), _) => sections.push((n, String::new())),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    let mut out = String::new();
    for n in (2..=posting).rev() {
        let body = sections
            .iter()
            .find(|(m, _)| *m == n)
            .map(|(_, b)| b.trim_end())
            .filter(|b| !b.trim().is_empty())
            .ok_or_else(|| {
                request!("kernel-patches/changes.txt says nothing of v{n}: add a line `v{n}:` and what changed since v{}", n - 1)
            })?;
        let _ = writeln!(out, "Changes in v{n}:\n{body}\n");
    }
    Ok(out)
}

/// The runs of one base with the commit that is exported, and with its
/// baseline. Refuses results that are about something else, or bad.
pub fn runs_for<'r>(
    results: &'r Results,
    base: &str,
    baseline: &str,
    patched: &str,
) -> Result<Vec<&'r Run>> {
    let runs: Vec<&Run> = results.runs.iter().filter(|r| r.base == base).collect();
    let of = |arm| runs.iter().filter(move |r| r.arm == arm);
    for (arm, commit) in [(Arm::Baseline, baseline), (Arm::Patched, patched)] {
        let Some(run) = of(arm).next() else {
            return Err(request!(
                "the results have no run of {base} {}: run `cargo harness verify --base {base} --results DIR`",
                arm.word()
            ));
        };
        if let Some(other) = of(arm).find(|r| r.commit != commit) {
            return Err(request!(
                "the results are about another {}: {:.12} was tested and {commit:.12} is what the patches give now; run `cargo harness verify --base {base} --results DIR` again",
                run.arm.word(),
                other.commit
            ));
        }
    }
    let bad: usize = runs
        .iter()
        .map(|r| {
            let cases = r.cases.iter().filter(|c| !c.verdict.is_good()).count();
            cases + usize::from(cases == 0 && (!r.verdict.is_good() || r.cases.is_empty()))
        })
        .sum();
    if bad > 0 {
        return Err(request!(
            "the results have {} for {base}: a series with those is not posted",
            count(bad, "bad verdict")
        ));
    }
    Ok(runs)
}

/// What was tested, as a paragraph and a table.
pub fn tests(results: &Results, runs: &[&Run]) -> String {
    let shown: Vec<Verdict> = Verdict::ALL
        .into_iter()
        .filter(|v| runs.iter().any(|r| number(r, *v) > 0))
        .collect();
    let name = |run: &Run| {
        let flavor = if run.flavor == "default" {
            String::new()
        } else {
            format!(" {}", run.flavor)
        };
        format!("{} {}{flavor}", run.source, run.arm.word())
    };
    let first = runs.iter().map(|r| name(r).len()).max().unwrap_or(0);
    let mut out = format!(
        "Tests: {}, run in QEMU ({}) on each of these kernels:\n\n  {:first$}  cases",
        count(results.cases.len(), "case"),
        if results.machine.accel == "tcg" {
            "software emulation"
        } else {
            &results.machine.accel
        },
        "Linux",
    );
    for verdict in &shown {
        let _ = write!(out, "  {}", verdict);
    }
    out.push('\n');
    for run in runs {
        let _ = write!(out, "  {:first$}  {:5}", name(run), run.cases.len());
        for verdict in &shown {
            let width = verdict.to_string().len();
            let _ = write!(out, "  {:width$}", number(run, *verdict));
        }
        out.push('\n');
    }
    if shown.contains(&Verdict::ExpectedFail) {
        out.push_str(
            "\nexpected-fail: on the baseline the case uses a helper that is not there, and\nmust fail for that reason.\n",
        );
    }
    if runs.iter().any(|r| r.arm == Arm::Upstream) {
        out.push_str(
            "upstream is the release with the helper that it has: a case that must fail\nthere shows a difference that this series makes on purpose.\n",
        );
    }
    out
}

/// `1 case`, `2 cases`.
fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

fn number(run: &Run, verdict: Verdict) -> usize {
    run.cases.iter().filter(|c| c.verdict == verdict).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Results {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/results/");
        crate::report::load(std::path::Path::new(&format!("{path}{name}.json"))).unwrap()
    }

    /// Verify that a letter needs a subject and a text.
    #[test]
    fn letter_has_a_subject() {
        assert_eq!(written("s\n\nbody\n").unwrap(), ("s", "body"));
        for bad in ["", "s", "s\n\n", "s\nmore\n\nbody"] {
            assert!(written(bad).is_err(), "{bad}");
        }
    }

    /// Verify that all changes up to a posting are said, newest first, and that
    /// a posting without any is refused.
    #[test]
    fn changes_are_said() {
        let text = "# kept by hand\n\nv2:\n- one\n\nv3:\n- two\n";
        assert_eq!(changes(text, 1).unwrap(), "");
        assert_eq!(
            changes(text, 3).unwrap(),
            "Changes in v3:\n- two\n\nChanges in v2:\n- one\n\n"
        );
        assert!(changes(text, 4).unwrap_err().to_string().contains("v4"));
    }

    /// Verify that numbers are only taken from results about these very commits,
    /// and never from bad ones.
    #[test]
    fn results_must_be_about_the_series() {
        let good = sample("good");
        let commit = |arm| {
            let run = good.runs.iter().find(|r| r.arm == arm).unwrap();
            (run.base.clone(), run.commit.clone())
        };
        let (base, baseline) = commit(Arm::Baseline);
        let (_, patched) = commit(Arm::Patched);
        let runs = runs_for(&good, &base, &baseline, &patched).unwrap();
        let text = tests(&good, &runs);
        assert!(text.contains("patched"), "{text}");
        for (baseline, patched) in [("other", patched.as_str()), (baseline.as_str(), "other")] {
            let error = runs_for(&good, &base, baseline, patched).unwrap_err();
            assert!(error.to_string().contains("another"), "{error}");
        }
        assert!(runs_for(&good, "4.4", &baseline, &patched).is_err());
        let bad = sample("bad");
        let commit = |arm| {
            let run = bad.runs.iter().find(|r| r.arm == arm);
            run.map(|r| r.commit.clone()).unwrap_or_default()
        };
        let error = runs_for(
            &bad,
            &bad.runs[0].base,
            &commit(Arm::Baseline),
            &commit(Arm::Patched),
        )
        .unwrap_err();
        assert!(error.to_string().contains("bad verdict"), "{error}");
    }
}
