// SPDX-License-Identifier: GPL-2.0-only
//! A paragraph for a mail, with the tag only where it is deserved.

use std::process::Command;

use protocol::Arm;

use super::{
    problems,
    text::{self, wrap},
};
use crate::{results::Results, verdict::Verdict};

/// Who tests, as git knows them; a place to fill in where it does not.
pub(super) fn identity() -> String {
    let ask = |key: &str| {
        let out = Command::new("git")
            .args(["config", "--get", key])
            .output()
            .ok()?;
        let text = text::line(&String::from_utf8_lossy(&out.stdout));
        (!text.is_empty()).then_some(text)
    };
    match (ask("user.name"), ask("user.email")) {
        (Some(name), Some(mail)) => format!("{name} <{mail}>"),
        _ => "Your Name <you@example.org>".into(),
    }
}

/// The paragraph.
pub(super) fn tested_by(results: &Results, who: &str) -> String {
    let mut out = Vec::new();
    let kernels: Vec<String> = results
        .runs
        .iter()
        .map(|r| {
            let flavor = if r.flavor == "default" {
                String::new()
            } else {
                format!(", {}", text::line(&r.flavor))
            };
            format!("{} ({}{flavor})", text::line(&r.source), r.arm.word())
        })
        .collect();
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|v| (results.count(*v), v))
        .filter(|(n, _)| *n > 0)
        .map(|(n, v)| format!("{n} {v}"))
        .collect();
    let machine = &results.machine;
    let intro = format!(
        "{} of bpf_redirect_peer() on Linux {}, booted in QEMU ({}): {}.",
        text::count(results.cases.len(), "selftest"),
        if kernels.is_empty() {
            "nothing".to_owned()
        } else {
            kernels.join(", ")
        },
        text::line(&machine.accel),
        if counts.is_empty() {
            "no verdicts".to_owned()
        } else {
            counts.join(", ")
        },
    );
    out.extend(wrap(&intro, 72));
    let patched = || results.runs.iter().filter(|r| r.arm == Arm::Patched);
    if results.is_good() && patched().count() == 0 {
        out.push(String::new());
        out.push("No kernel with the series was run: this says nothing of it.".into());
    } else if results.is_good()
        && let Some(why) = results.proves_nothing()
    {
        out.push(String::new());
        out.extend(wrap(&format!("Nothing is bad, but {why}."), 72));
    } else if results.is_good() {
        let claims = claims(results);
        if !claims.is_empty() {
            out.push(String::new());
            out.extend(wrap(&claims, 72));
        }
        out.push(String::new());
        out.push(format!("Tested-by: {who}"));
    } else {
        out.push(String::new());
        out.push("Not as it should be:".into());
        for problem in problems::bad(results) {
            let what = problem.name();
            let why = problem
                .case()
                .map_or_else(|| text::line(problem.why), problems::summary);
            out.extend(wrap(
                &format!(
                    "- {what} on {}: {}: {why}",
                    problem.places(),
                    problem.verdict
                ),
                72,
            ));
        }
    }
    out.join("\n") + "\n"
}

/// What may be said beyond the counts, each only where it is so.
fn claims(results: &Results) -> String {
    let mut claims = Vec::new();
    let mut controls = results
        .runs
        .iter()
        .filter(|r| r.arm == Arm::Baseline)
        .flat_map(|r| &r.cases)
        .peekable();
    if controls.peek().is_some()
        && controls.all(|c| matches!(c.verdict, Verdict::ExpectedFail | Verdict::ExpectedSkip))
    {
        claims.push("Without the series each case failed, for the reason it had to.");
    }
    if results.runs.iter().all(|r| r.splats.is_empty()) {
        claims.push("No kernel logged a warning or a report.");
    }
    claims.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Verify that only good results have the tag, whatever a message says.
    #[test]
    fn only_good_results_have_the_tag() {
        let tag = |r: &Results| {
            tested_by(r, "A <a@b.c>")
                .lines()
                .any(|l| l == "Tested-by: A <a@b.c>")
        };
        assert!(tag(&sample::good()));
        assert!(!tag(&sample::bad()));
        assert!(!tag(&sample::hostile()));
        let mut none = sample::good();
        none.runs.clear();
        assert!(!tag(&none));
        for verdict in [Verdict::ExpectedSkip, Verdict::ExpectedFail] {
            let mut nothing_shown = sample::good();
            for run in nothing_shown
                .runs
                .iter_mut()
                .filter(|r| r.arm == Arm::Patched)
            {
                run.cases.iter_mut().for_each(|c| c.verdict = verdict);
            }
            assert!(!tag(&nothing_shown), "{verdict}");
        }
        let mut control_only = sample::good();
        control_only.runs.truncate(1);
        assert!(!tag(&control_only));
    }

    /// Verify that lines fit into a mail.
    #[test]
    fn lines_are_wrapped() {
        assert!(
            tested_by(&sample::good(), "A <a@b.c>")
                .lines()
                .all(|l| l.len() <= 72)
        );
    }
}
