// SPDX-License-Identifier: GPL-2.0-only
//! From what was seen to a verdict. Pure: everything that is known is in the
//! arguments, and what is not known is never good.

use protocol::{Arm, CaseInfo, Expect, Outcome, reason};

use crate::{splat::Splat, verdict::Verdict};

/// What was seen of one case.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The guest said that it started.
    pub started: bool,
    /// What the guest said it came to.
    pub outcome: Option<Outcome>,
    /// The kernel's reports during it that no allowlist entry covers.
    pub reports: Vec<Splat>,
    /// Its deadline passed.
    pub deadline_passed: bool,
    /// A CPU was at work in the kernel then.
    pub busy: bool,
}

/// What the kernel calls it when a CPU or a task does not go on, as in
/// vm/splats.toml: what a hang may say of itself.
const LOCKUPS: [&str; 5] = [
    "soft_lockup",
    "hard_lockup",
    "rcu_stall",
    "hung_task",
    "workqueue_lockup",
];

/// Those of them that are about a CPU; a task that waits for ever may do so for
/// whatever reason.
const SPINS: [&str; 3] = ["soft_lockup", "hard_lockup", "rcu_stall"];

impl Seen {
    /// Whether the kernel could not go on.
    pub fn fatal(&self) -> bool {
        self.reports.iter().any(|r| r.fatal)
    }

    /// Whether each report is about a kernel that does not go on.
    fn only_lockups(&self) -> bool {
        let is_lockup = |r: &Splat| LOCKUPS.contains(&r.kind.as_str());
        self.reports.iter().all(is_lockup)
    }

    /// Whether one is about a CPU that does not come back.
    fn spins(&self) -> bool {
        let spins = |r: &Splat| SPINS.contains(&r.kind.as_str());
        self.reports.iter().any(spins)
    }

    /// Whether each report is of that kind and has a line that says so.
    fn only(&self, kind: &str, says: &str) -> bool {
        self.reports
            .iter()
            .all(|r| r.kind == kind && says_so(r, says))
    }

    /// Whether the first report has a line that says so: what a kernel says while
    /// it goes down may be any number of things.
    fn first_says(&self, says: &str) -> bool {
        self.reports.first().is_some_and(|r| says_so(r, says))
    }

    fn titles(&self) -> String {
        let titles: Vec<&str> = self.reports.iter().map(|r| r.title.as_str()).collect();
        titles.join("; ")
    }
}

fn says_so(report: &Splat, says: &str) -> bool {
    report.title.contains(says) || report.lines.iter().any(|l| l.contains(says))
}

/// What a case came to, and why.
pub fn judge(case: &CaseInfo, arm: Arm, base: &str, seen: &Seen) -> (Verdict, String) {
    let (expect, declared) = case.expect(arm, base);
    let declared = || declared.to_owned();
    if seen.fatal() {
        return match expect {
            Expect::Crash { says } if seen.first_says(says) => (Verdict::ExpectedFail, declared()),
            Expect::Crash { .. } => (
                Verdict::Crash,
                format!("it had to {} here, but: {}", words(expect), seen.titles()),
            ),
            _ => (Verdict::Crash, seen.titles()),
        };
    }
    if seen.deadline_passed {
        return match expect {
            // It had to hang, and not to corrupt memory on the way.
            Expect::Hang if !seen.only_lockups() => (Verdict::Splat, seen.titles()),
            Expect::Hang if seen.spins() || seen.busy => (Verdict::ExpectedFail, declared()),
            // A deadlock of its own, or a host that gave it no time.
            Expect::Hang => (
                Verdict::Hang,
                "its deadline passed, but no CPU was seen at work in the kernel: that is not the hang that it must come to".into(),
            ),
            _ => (Verdict::Hang, "its deadline passed without an end".into()),
        };
    }
    if !seen.reports.is_empty() {
        return match expect {
            Expect::Splat { kind, says } if seen.only(kind, says) => {
                (Verdict::ExpectedFail, declared())
            }
            Expect::Splat { .. } => (
                Verdict::Splat,
                format!("it had to {} here, but: {}", words(expect), seen.titles()),
            ),
            _ => (Verdict::Splat, seen.titles()),
        };
    }
    match (&seen.outcome, expect) {
        (None, _) if seen.started => (
            Verdict::Lost,
            "it started, and the guest ended before it did".into(),
        ),
        (None, _) => (
            Verdict::Missing,
            "it was asked for and never reported".into(),
        ),
        (Some(Outcome::Pass), Expect::Pass) => (Verdict::Pass, String::new()),
        (Some(Outcome::Pass), other) => (
            Verdict::UnexpectedPass,
            format!("it had to {} here ({})", words(other), declared()),
        ),
        (Some(Outcome::Skip { .. }), Expect::Skip) => (Verdict::ExpectedSkip, declared()),
        (Some(Outcome::Skip { why }), _) => (Verdict::Skip, why.clone()),
        // A case that could not be set up says nothing about the kernel.
        (Some(Outcome::Fail(failure)), Expect::Fail { reason: wanted })
            if *wanted == failure.reason
                && ![reason::SETUP, reason::PANIC].contains(&wanted.as_str()) =>
        {
            (Verdict::ExpectedFail, declared())
        }
        (Some(Outcome::Fail(failure)), Expect::Pass) => (
            Verdict::Fail,
            format!("{}: {}", failure.reason, failure.message),
        ),
        (Some(Outcome::Fail(failure)), other) => (
            Verdict::Fail,
            format!(
                "it had to {} here, but: {}: {}",
                words(other),
                failure.reason,
                failure.message
            ),
        ),
    }
}

/// The verdict of a run: the worst of its cases, unless the run itself came to
/// something bad (`own`), and never good without cases.
pub fn run_verdict(cases: &[Verdict], own: Option<Verdict>) -> Verdict {
    let bad = cases
        .iter()
        .copied()
        .filter(|v| !v.is_good())
        .max_by_key(|v| v.weight());
    match (own, bad) {
        (Some(own), _) if !own.is_good() => own,
        (_, Some(bad)) => bad,
        _ if cases.is_empty() => Verdict::Missing,
        _ => Verdict::Pass,
    }
}

fn words(expect: &Expect) -> String {
    match expect {
        Expect::Pass => "pass".into(),
        Expect::Fail { reason } => format!("fail with {reason}"),
        Expect::Hang => "hang".into(),
        Expect::Splat { kind, says } => {
            format!("make the kernel log a {kind} that says `{says}`")
        }
        Expect::Crash { says } => format!("bring the kernel down, which says `{says}`"),
        Expect::Skip => "be skipped".into(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Expectation, Failure};

    use super::*;

    fn case(expect: Expect) -> CaseInfo {
        CaseInfo {
            name: "c".into(),
            summary: String::new(),
            proves: vec![],
            expectations: vec![Expectation {
                arm: None,
                bases: vec![],
                expect,
                why: "declared".into(),
            }],
            deadline_ms: 1,
            waits_ms: 0,
        }
    }

    fn fail(reason: &str) -> Option<Outcome> {
        Some(Outcome::Fail(Failure {
            reason: reason.into(),
            message: "m".into(),
            context: vec![],
        }))
    }

    fn report(kind: &str, lines: &[&str]) -> Splat {
        Splat {
            kind: kind.into(),
            title: kind.into(),
            fingerprint: String::new(),
            lines: lines.iter().map(|l| (*l).to_owned()).collect(),
            count: 1,
            fatal: false,
        }
    }

    fn warning() -> Expect {
        Expect::Splat {
            kind: "warning".into(),
            says: "more queues".into(),
        }
    }

    fn verdict(expect: Expect, seen: &Seen) -> Verdict {
        judge(&case(expect), Arm::Patched, "6.12", seen).0
    }

    /// Verify every pair of outcome and declaration that is good, and that no other is.
    #[test]
    fn good_only_as_declared() {
        let helper = || Expect::Fail {
            reason: reason::HELPER_UNKNOWN.into(),
        };
        let outcomes = [
            ("pass", Some(Outcome::Pass)),
            ("declared", fail(reason::HELPER_UNKNOWN)),
            ("other", fail(reason::NOT_DELIVERED)),
            ("setup", fail(reason::SETUP)),
            ("skip", Some(Outcome::Skip { why: String::new() })),
            ("none", None),
        ];
        let expects = [
            ("pass", Expect::Pass),
            ("declared", helper()),
            (
                "setup!",
                Expect::Fail {
                    reason: reason::SETUP.into(),
                },
            ),
            ("hang", Expect::Hang),
            ("splat", warning()),
            ("skip", Expect::Skip),
        ];
        for (o, outcome) in &outcomes {
            for (e, expect) in &expects {
                let seen = Seen {
                    started: true,
                    outcome: outcome.clone(),
                    ..Seen::default()
                };
                assert_eq!(
                    verdict(expect.clone(), &seen).is_good(),
                    o == e,
                    "{o} where {e} is due"
                );
            }
        }
    }

    /// Verify that a report of the kernel outweighs a pass, and a crash outweighs a report.
    #[test]
    fn kernel_reports_outweigh_the_guest() {
        let mut seen = Seen {
            started: true,
            outcome: Some(Outcome::Pass),
            reports: vec![report("warning", &["cut here", "more queues than"])],
            ..Seen::default()
        };
        assert_eq!(verdict(Expect::Pass, &seen), Verdict::Splat);
        assert_eq!(verdict(warning(), &seen), Verdict::ExpectedFail);
        seen.reports[0].fatal = true;
        assert_eq!(verdict(Expect::Pass, &seen), Verdict::Crash);
        assert_eq!(verdict(warning(), &seen), Verdict::Crash);
    }

    /// Verify that a declared crash is one that begins as declared, and ends the
    /// kernel.
    #[test]
    fn a_declared_crash_is_no_licence() {
        let declared = || Expect::Crash {
            says: "guard page was hit".into(),
        };
        let after = |reports: Vec<Splat>| {
            let seen = Seen {
                started: true,
                reports,
                ..Seen::default()
            };
            verdict(declared(), &seen)
        };
        let fatal = |says: &str| Splat {
            fatal: true,
            ..report("oops", &[says])
        };
        let overflow = || fatal("BUG: IRQ stack guard page was hit at 0");
        let panic = || fatal("Kernel panic - not syncing");
        assert_eq!(after(vec![overflow()]), Verdict::ExpectedFail);
        assert_eq!(after(vec![overflow(), panic()]), Verdict::ExpectedFail);
        assert_eq!(after(vec![panic(), overflow()]), Verdict::Crash);
        assert_eq!(after(vec![fatal("Oops: 0002")]), Verdict::Crash);
        let survived = report("bug", &["BUG: IRQ stack guard page was hit at 0"]);
        assert_eq!(after(vec![survived]), Verdict::Splat);
        assert_eq!(after(vec![]), Verdict::Lost);
    }

    /// Verify that a declared report is that report: another of its kind, one of
    /// another kind, or another besides, is not what was declared.
    #[test]
    fn a_declared_report_is_no_licence() {
        let declared = || report("warning", &["cut here", "more queues than"]);
        let after = |reports: Vec<Splat>| {
            let seen = Seen {
                started: true,
                outcome: Some(Outcome::Pass),
                reports,
                ..Seen::default()
            };
            verdict(warning(), &seen)
        };
        let (kasan, other) = (
            report("kasan", &["BUG: KASAN: more queues than"]),
            report("warning", &["cut here", "something else"]),
        );
        assert_eq!(after(vec![declared()]), Verdict::ExpectedFail);
        assert_eq!(after(vec![declared(), declared()]), Verdict::ExpectedFail);
        for bad in [kasan, other] {
            assert_eq!(after(vec![bad.clone()]), Verdict::Splat, "{}", bad.title);
            assert_eq!(after(vec![declared(), bad]), Verdict::Splat);
        }
    }

    /// Verify that what never ended is lost, hung or missing, never a pass.
    #[test]
    fn silence_is_never_good() {
        let mut seen = Seen::default();
        assert_eq!(verdict(Expect::Pass, &seen), Verdict::Missing);
        seen.started = true;
        assert_eq!(verdict(Expect::Pass, &seen), Verdict::Lost);
        assert_eq!(verdict(Expect::Hang, &seen), Verdict::Lost);
        seen.deadline_passed = true;
        assert_eq!(verdict(Expect::Pass, &seen), Verdict::Hang);
        // All of its tasks may be waiting for something, or for the host.
        assert_eq!(verdict(Expect::Hang, &seen), Verdict::Hang);
        seen.busy = true;
        assert_eq!(verdict(Expect::Pass, &seen), Verdict::Hang);
        assert_eq!(verdict(Expect::Hang, &seen), Verdict::ExpectedFail);
    }

    /// Verify that a declared hang may be called a lockup by the kernel, and that
    /// anything else that the kernel logs is not what was declared.
    #[test]
    fn a_declared_hang_is_no_licence() {
        let after = |kind: &str, fatal| {
            let mut seen = Seen {
                started: true,
                deadline_passed: true,
                ..Seen::default()
            };
            seen.reports.push(Splat {
                fatal,
                ..report(kind, &[])
            });
            verdict(Expect::Hang, &seen)
        };
        assert_eq!(after("rcu_stall", false), Verdict::ExpectedFail);
        assert_eq!(after("soft_lockup", false), Verdict::ExpectedFail);
        assert_eq!(after("hung_task", false), Verdict::Hang);
        assert_eq!(after("kasan", false), Verdict::Splat);
        assert_eq!(after("oops", true), Verdict::Crash);
    }

    /// Verify that each kind that a hang may have is one that the scanner gives.
    #[test]
    fn lockups_are_known_kinds() {
        let rules = include_str!("../../vm/splats.toml");
        for kind in LOCKUPS {
            assert!(rules.contains(&format!("kind = \"{kind}\"")), "{kind}");
        }
    }

    /// Verify that a run is as bad as its worst case, and bad without any.
    #[test]
    fn run_is_as_bad_as_its_cases() {
        use Verdict::{Fail, Lost, Missing, Pass};
        assert_eq!(run_verdict(&[Pass, Fail], None), Fail);
        assert_eq!(run_verdict(&[Pass], Some(Lost)), Lost);
        assert_eq!(run_verdict(&[], None), Missing);
        assert_eq!(run_verdict(&[Pass], None), Pass);
    }
}
