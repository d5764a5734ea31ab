// SPDX-License-Identifier: GPL-2.0-only
//! Everything that was found out, as one value: what `results.json` holds and
//! what every report is made from.

use std::collections::BTreeMap;

use protocol::{Arm, CaseInfo, Expect, Outcome};
use serde::{Deserialize, Serialize};

use crate::{splat::Splat, verdict::Verdict};

/// Changed whenever a reader of one version would misread the other.
pub const VERSION: u32 = 1;

/// How the state of a guest that hung begins, in [`Run::post_mortem`]; the name
/// of a case follows, or [`OF_THE_RUN`].
pub const STATE_OF: &str = "== ";

/// See [`STATE_OF`]: no case was running.
pub const OF_THE_RUN: &str = "the run itself";

/// One invocation of the harness.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// [`VERSION`].
    pub version: u32,
    /// Version of the harness.
    pub harness: String,
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// The command line, program name included.
    pub command: Vec<String>,
    /// The commit that was at `--rev` then, of a tree of the user's.
    #[serde(default)]
    pub rev: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// The cases that were asked for, in the order in which they run.
    pub cases: Vec<CaseInfo>,
    /// One for each arm, base and flavor.
    pub runs: Vec<Run>,
    /// Where the time went, in the order in which the steps began.
    pub steps: Vec<Step>,
    /// Flaky cases do not make the whole bad: asked for with `--allow-flaky`.
    #[serde(default)]
    pub allow_flaky: bool,
    /// What was found besides verdicts, and makes none of them worse.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// By base, a digest of the patches that were applied to it.
    #[serde(default)]
    pub patches: BTreeMap<String, String>,
}

/// Something about a base that somebody should see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The base, `6.12`.
    pub base: String,
    /// A sentence that says what, and where.
    pub what: String,
}

/// Where it ran.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// CPU model, as /proc/cpuinfo names it.
    pub cpu: String,
    /// CPUs that the harness may use.
    pub cpus: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// PRETTY_NAME of /etc/os-release.
    pub os: String,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// Why it is not KVM; empty when it is, or when TCG was asked for.
    pub accel_why: String,
    /// First line of `qemu-system-x86_64 --version`.
    pub qemu: String,
    /// Version of virtme-ng.
    pub virtme_ng: String,
    /// First line of `gcc --version`.
    pub compiler: String,
}

/// One boot of one kernel with a list of cases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The base, `6.12`.
    pub base: String,
    /// The arm.
    pub arm: Arm,
    /// The flavor, `default`.
    pub flavor: String,
    /// `uname -r` of the guest; empty when it never said hello.
    pub kernel: String,
    /// Full version of the source, `6.12.117`.
    pub source: String,
    /// The commit in the prepared tree that was built.
    pub commit: String,
    /// The worst verdict of its cases, or what ended the run.
    pub verdict: Verdict,
    /// Why, when the verdict is not good and no case says so.
    pub why: String,
    /// One for each case asked for, in that order.
    pub cases: Vec<CaseResult>,
    /// What the kernel logged, each different report once.
    pub splats: Vec<Splat>,
    /// What the kernel logged that is known and harmless.
    #[serde(default)]
    pub allowed: Vec<Allowed>,
    /// Figures that the guest reported.
    pub metrics: Vec<Metric>,
    /// Registers, task dump, last console lines: kept when the run hung.
    pub post_mortem: Vec<String>,
    /// The console log, relative to the results folder.
    pub console: String,
    /// From the start of QEMU to its end, seconds.
    pub seconds: f64,
    /// From the start of QEMU to `hello`, seconds.
    pub boot_seconds: Option<f64>,
}

/// One case of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What it had to come to.
    pub expected: Expect,
    /// What the guest said; `None` when it said nothing.
    pub outcome: Option<Outcome>,
    /// Why the verdict is what it is; the reason of the declaration for a good
    /// verdict that is no pass; empty for a plain pass.
    pub why: String,
    /// Guest time, microseconds.
    pub duration_us: Option<u64>,
    /// Indices into [`Run::splats`].
    pub splats: Vec<usize>,
    /// What it came to when it was run again, each time in a fresh guest. The
    /// verdict is that of the first time.
    #[serde(default)]
    pub again: Vec<Verdict>,
}

impl CaseResult {
    /// Bad the first time and good another: it does not always come to the same.
    pub fn is_flaky(&self) -> bool {
        !self.verdict.is_good() && self.again.iter().any(|v| v.is_good())
    }

    /// Whether [`Results::allow_flaky`] may speak for it. What a kernel logged or
    /// died of has happened, however seldom it does.
    pub fn is_excusable(&self) -> bool {
        self.is_flaky() && !matches!(self.verdict, Verdict::Splat | Verdict::Crash)
    }
}

/// A report of the kernel that an entry of vm/splats.toml allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Its first line, without timestamp.
    pub title: String,
    /// Why it is harmless, as the entry says.
    pub reason: String,
    /// How often it was seen.
    pub count: usize,
}

/// A figure that the guest reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metric {
    /// Dotted name.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}

/// A step of the flow and the time it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// `source`, `tree`, `build`, `run`...
    pub name: String,
    /// What it worked on: `6.12 patched`.
    pub what: String,
    /// Seconds of wall-clock time.
    pub seconds: f64,
    /// Whether an earlier result was used again.
    pub cached: bool,
}

impl Results {
    /// Whether everything is as it should be. A run without cases, and no run
    /// at all, prove nothing and are not good.
    pub fn is_good(&self) -> bool {
        !self.runs.is_empty()
            && self.runs.iter().all(|r| {
                r.verdict.is_good()
                    && !r.cases.is_empty()
                    && r.cases.iter().all(|c| c.verdict.is_good())
            })
    }

    /// Whether the whole may be called good: everything is as it should be, or
    /// what is not is a flaky case and [`Results::allow_flaky`] holds. What is
    /// wrong with a run itself is never made good by running a case again.
    pub fn is_acceptable(&self) -> bool {
        let tolerable = |run: &Run| {
            run.verdict.is_good()
                || (run.why.is_empty()
                    && run
                        .cases
                        .iter()
                        .all(|c| c.verdict.is_good() || c.is_excusable()))
        };
        self.is_good()
            || (self.allow_flaky
                && !self.runs.is_empty()
                && self
                    .runs
                    .iter()
                    .all(|r| !r.cases.is_empty() && tolerable(r)))
    }

    /// Why nothing follows although nothing may be bad: where a kernel with the
    /// series was run a case must have passed there, elsewhere one must have done
    /// more than be skipped.
    pub fn proves_nothing(&self) -> Option<&'static str> {
        let verdicts = |arm: Option<Arm>| {
            let runs = self
                .runs
                .iter()
                .filter(move |r| arm.is_none_or(|a| a == r.arm));
            runs.flat_map(|r| &r.cases).map(|c| c.verdict)
        };
        if self.runs.iter().any(|r| r.arm == Arm::Patched) {
            let passed = verdicts(Some(Arm::Patched)).any(|v| v == Verdict::Pass);
            return (!passed).then_some(
                "no case passed on a kernel with the series: this proves nothing of it",
            );
        }
        verdicts(None)
            .all(|v| v == Verdict::ExpectedSkip)
            .then_some("no case did more than be skipped: this proves nothing")
    }

    /// Cases that are flaky, of all runs.
    pub fn flaky(&self) -> usize {
        let cases = self.runs.iter().flat_map(|r| &r.cases);
        cases.filter(|c| c.is_flaky()).count()
    }

    /// What is to be said beside the verdicts of `run`: what was found of its base,
    /// and which reports of its kernel are allowed. What was found of a base that
    /// was not run is said with the first.
    pub fn notes_of(&self, run: &Run) -> Vec<String> {
        let first = self.runs.first().is_some_and(|r| std::ptr::eq(r, run));
        let was_run = |f: &&Finding| self.runs.iter().any(|r| r.base == f.base);
        let of_it = |f: &&Finding| f.base == run.base || (first && !was_run(f));
        let found = self.findings.iter().filter(of_it).map(|f| f.what.clone());
        let allowed = run.allowed.iter().map(|a| {
            format!(
                "allowed, logged {} times: {} ({})",
                a.count, a.title, a.reason
            )
        });
        found.chain(allowed).collect()
    }

    /// How many cases of all runs came to `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.runs
            .iter()
            .flat_map(|r| &r.cases)
            .filter(|c| c.verdict == verdict)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(verdict: Verdict, again: &[Verdict], allow_flaky: bool) -> Results {
        let case = CaseResult {
            name: "c".into(),
            verdict,
            expected: Expect::Pass,
            outcome: None,
            why: String::new(),
            duration_us: None,
            splats: vec![],
            again: again.to_vec(),
        };
        Results {
            version: VERSION,
            harness: String::new(),
            started: 0,
            seconds: 0.0,
            command: vec![],
            rev: None,
            machine: Machine::default(),
            cases: vec![],
            runs: vec![Run {
                base: "6.12".into(),
                arm: Arm::Patched,
                flavor: "default".into(),
                kernel: String::new(),
                source: String::new(),
                commit: String::new(),
                verdict,
                why: String::new(),
                cases: vec![case],
                splats: vec![],
                allowed: vec![],
                metrics: vec![],
                post_mortem: vec![],
                console: String::new(),
                seconds: 0.0,
                boot_seconds: None,
            }],
            steps: vec![],
            allow_flaky,
            findings: vec![],
            patches: BTreeMap::new(),
        }
    }

    /// Verify that a case that is good when run again never makes a bad whole
    /// good by itself, and never takes away what is wrong with the run.
    #[test]
    fn flaky_is_a_fact_and_no_excuse() {
        use Verdict::{Fail, Pass};
        let flaky = results(Fail, &[Fail, Pass], false);
        assert!(flaky.runs[0].cases[0].is_flaky() && flaky.flaky() == 1);
        assert!(!flaky.is_good() && !flaky.is_acceptable());
        let mut allowed = results(Fail, &[Pass], true);
        assert!(!allowed.is_good() && allowed.is_acceptable());
        allowed.runs[0].why = "the guest was lost after its last case".into();
        assert!(!allowed.is_acceptable());
        assert!(!results(Fail, &[Fail], true).is_acceptable());
        assert!(!results(Fail, &[], true).is_acceptable());
        assert!(!results(Pass, &[Fail], true).runs[0].cases[0].is_flaky());
        for worse in [Verdict::Splat, Verdict::Crash] {
            let excused = results(worse, &[Pass], true);
            assert!(excused.runs[0].cases[0].is_flaky());
            assert!(!excused.is_acceptable(), "{worse}");
        }
        let mut nothing = results(Pass, &[], true);
        nothing.runs.clear();
        assert!(!nothing.is_acceptable());
    }
}
