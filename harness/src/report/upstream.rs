// SPDX-License-Identifier: GPL-2.0-only
//! Where upstream's helper and ours are not the same: docs/upstream.md.

use std::fmt::Write;

use protocol::{Arm, Outcome};

use super::{marks, text};
use crate::{
    results::{CaseResult, Results, Run},
    verdict::Verdict,
};

/// A section for each base that has both arms, and what they did differently.
/// The text is Markdown; `results` may come from several invocations.
pub(super) fn upstream(results: &[Results]) -> String {
    let mut out = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # Where upstream and this series differ\n\n\
         Every case was asked of both kernels; one that a base cannot run, as it declares, is skipped there and\n\
         counted as such. Those that came to the same on both are counted and not listed; the reason is what the\n\
         case declares.\n",
    );
    for results in results {
        for ours in runs_of(results, Arm::Patched) {
            let theirs = results.runs.iter().find(|r| {
                r.arm == Arm::Upstream && r.source == ours.source && r.flavor == ours.flavor
            });
            if let Some(theirs) = theirs {
                section(&mut out, results, theirs, ours);
            }
        }
    }
    out
}

fn runs_of(results: &Results, arm: Arm) -> impl Iterator<Item = &Run> {
    results.runs.iter().filter(move |r| r.arm == arm)
}

fn section(out: &mut String, results: &Results, theirs: &Run, ours: &Run) {
    // A selftest that comes with the series has nothing to be compared with.
    let both: Vec<(&CaseResult, &CaseResult)> = theirs
        .cases
        .iter()
        .filter_map(|t| Some((t, ours.cases.iter().find(|o| o.name == t.name)?)))
        .collect();
    let (differing, same): (Vec<_>, Vec<_>) = both.iter().partition(|(t, o)| word(t) != word(o));
    let foreign = |c: &CaseResult| {
        text::case(results, &c.name).is_some_and(|i| i.proves.iter().any(|p| p == "in-tree"))
    };
    let whose = if both.iter().all(|(t, _)| foreign(t)) {
        ": the kernel's own selftest"
    } else {
        ""
    };
    let skipped = same
        .iter()
        .filter(|(_, o)| o.verdict == Verdict::ExpectedSkip)
        .count();
    let _ = writeln!(
        out,
        "\n## {}{whose}\n\nLinux {}, {}: {}, {} the same, {} different, {skipped} skipped on both.",
        text::run_name(ours).replace(" patched", ""),
        text::markdown(&ours.source),
        text::markdown(&results.machine.accel),
        text::count(both.len(), "case"),
        same.len() - skipped,
        differing.len()
    );
    if let Some(patches) = results.patches.get(&ours.base) {
        let _ = writeln!(out, "\n{}", marks::mark(&ours.base, patches));
    }
    if differing.is_empty() {
        return;
    }
    out.push_str("\n| case | proves | upstream | this series | why |\n|---|---|---|---|---|\n");
    for (theirs, ours) in differing {
        let info = text::case(results, &theirs.name);
        let why = if theirs.verdict == Verdict::Pass {
            &ours.why
        } else {
            &theirs.why
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            text::line(&theirs.name).replace(['`', '|'], "?"),
            text::markdown(&info.map(|i| i.proves.join(" ")).unwrap_or_default()),
            word(theirs),
            word(ours),
            text::markdown(why)
        );
    }
}

/// What a case did, whatever had been declared: the verdict alone would call a
/// declared failure good.
fn word(case: &CaseResult) -> String {
    match (case.verdict, &case.outcome) {
        (Verdict::ExpectedFail, Some(Outcome::Fail(failure))) => {
            format!("fails: {}", text::markdown(&failure.reason))
        }
        (Verdict::ExpectedFail, Some(_)) => "kernel reports".into(),
        (Verdict::ExpectedFail, None) => "brings the guest down".into(),
        (Verdict::ExpectedSkip, _) => "cannot run".into(),
        (verdict, _) => verdict.word().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Verify that a base with one of the two arms has no section, and that one
    /// with both lists what differs and nothing else.
    #[test]
    fn lists_what_differs() {
        let mut results = sample::good();
        assert!(!upstream(&[results.clone()]).contains("\n## "));
        let patched = results
            .runs
            .iter()
            .find(|r| r.arm == Arm::Patched)
            .unwrap()
            .clone();
        let mut theirs = patched.clone();
        theirs.arm = Arm::Upstream;
        theirs.cases[0].verdict = Verdict::ExpectedFail;
        theirs.cases[0].outcome = None;
        theirs.cases[0].why = "no bound | on the loop".into();
        results.runs.push(theirs);
        let without = upstream(&[results.clone()]);
        // What came with the series is on one side only.
        let ours = results.runs.iter_mut().find(|r| r.arm == Arm::Patched);
        let ours = &mut ours.unwrap().cases;
        let mut own = ours[0].clone();
        own.name = "in_tree_redirect_peer_x".into();
        ours.push(own);
        let text = upstream(&[results]);
        assert_eq!(text, without);
        assert!(text.contains("1 different"), "{text}");
        assert!(text.contains(&patched.cases[0].name));
        assert!(text.contains("brings the guest down"));
        assert!(text.contains("no bound \\| on the loop"), "{text}");
        assert!(!text.contains(&patched.cases[1].name));
    }
}
