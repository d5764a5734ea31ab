// SPDX-License-Identifier: GPL-2.0-only
//! One kernel and a list of cases, booted as often as it takes: a case that
//! brings the guest down must not take the cases after it along.

use std::{collections::VecDeque, path::Path, time::Duration};

use anyhow::{Result, bail};
use protocol::{Arm, CaseInfo, Expect};

use crate::{
    accel::Accel,
    boot::{self, Deadlines, Observed},
    collect::Collected,
    detectors,
    guest::Guest,
    kernel::Kernel,
    progress::Progress,
    results::Run,
    scratch::Scratch,
    setup::VirtmeNg,
    splat::Allowlist,
    turn,
    verdict::Verdict,
    vm::{Device, SHARE, Spec},
};

/// What a guest is given at the most, MiB: KASAN needs it.
pub const MOST_MEMORY_MIB: u32 = 3072;

/// From a line on the console to the next before `hello`, without emulation. A
/// disk that is read for the first time can keep init silent for long.
pub const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// Guests that ended before their last case are booted again for the rest, but
/// not more often than this, whatever number of boots was planned.
const MOST_AGAIN: usize = 5;

/// Ends udev, a shell line. It gives a new device a MAC address that stays the
/// same from boot to boot, sometimes after the kernel's own selftest has read the
/// first one and told the neighbours: nothing arrives then. (The cases make their
/// devices where udev does not see them.)
const NO_UDEV: &str = "for p in /proc/[0-9]*; do read -r c <$p/comm && [ \"$c\" = systemd-udevd ] && kill ${p#/proc/}; done; ";

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// virtme-ng.
    pub vng: &'a VirtmeNg,
    /// What executes the guest.
    pub accel: Accel,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The guest program.
    pub guest: &'a Guest,
    /// The cases.
    pub cases: &'a [CaseInfo],
    /// Release line, `6.12`.
    pub base: &'a str,
    /// Full version, `6.12.117`.
    pub source: &'a str,
    /// The arm.
    pub arm: Arm,
    /// The flavor.
    pub flavor: &'a str,
    /// Reports that are known and harmless.
    pub allowed: &'a Allowlist,
    /// Where the console is kept.
    pub console: &'a Path,
    /// Parts of the machine besides the usual ones.
    pub devices: &'a [Device],
    /// From a line on the console to the next before `hello`, without emulation.
    pub boot_limit: Duration,
    /// What the guest program is to do instead of running the cases, one after
    /// the other; words without a meaning to a shell.
    pub words: &'a [String],
    /// Others are waited for longer than this one: it takes what they leave of
    /// the CPUs.
    pub background: bool,
}

impl Job<'_> {
    /// How many cases must pass: those that must fail are over sooner.
    pub fn to_pass(&self) -> usize {
        let passes = |c: &&CaseInfo| matches!(c.expect(self.arm, self.base).0, Expect::Pass);
        self.cases.iter().filter(passes).count()
    }
}

/// Runs the cases and judges them.
pub fn run(job: &Job<'_>, progress: &Progress) -> Result<Run> {
    let step = progress.begin("run", &format!("{} {}", job.base, job.arm.word()));
    let collected = boot_all(job, |batch, left| boot_once(job, batch, left, &step))?;
    let result = collected.into_run(job)?;
    step.done(false);
    Ok(result)
}

/// Boots for each batch of the plan, and again for what a guest that went down
/// left over. `boot` is given the cases, and how long it may take altogether.
fn boot_all(
    job: &Job<'_>,
    mut boot: impl FnMut(&[String], Duration) -> Result<Observed>,
) -> Result<Collected> {
    let mut collected = Collected::default();
    let mut plan = plan(job);
    let most = plan.len() + MOST_AGAIN;
    let whole = may_take(job, most);
    let mut boots = 0;
    while let Some(batch) = plan.pop_front() {
        if boots == most {
            collected.bad(
                Verdict::Lost,
                format!("given up after {most} boots: the guest keeps going down"),
            );
            break;
        }
        let taken = Duration::from_secs_f64(collected.seconds());
        if taken >= whole {
            collected.bad(
                Verdict::Hang,
                format!(
                    "given up after {} s: everything together may take {} s, which a run that goes on never does",
                    taken.as_secs(),
                    whole.as_secs()
                ),
            );
            break;
        }
        boots += 1;
        let seen = boot(&batch, whole - taken)?;
        let came_up = seen.kernel.is_some();
        let rest = unreported(&batch, &seen);
        let progressed = rest.len() < batch.len();
        let broken = collected.take(job, &batch, seen);
        if boots == 1 && !came_up {
            // It would not come up for the others either, one after the other.
            break;
        }
        if broken && progressed && !rest.is_empty() {
            plan.push_front(rest);
        }
    }
    Ok(collected)
}

/// How long all boots together may take. A case that fails waits for what does not
/// come, by the clock, which no emulation stretches: each may use its deadline so.
/// One may do what takes the longest that is allowed.
fn may_take(job: &Job<'_>, boots: usize) -> Duration {
    let limits = deadlines(job, Duration::MAX);
    let waits: u64 = job.cases.iter().map(|c| c.deadline_ms).sum();
    let longest = limits.cases.values().max().copied().unwrap_or_default();
    Duration::from_millis(waits)
        + limits.boot * boots as u32
        + longest.max(limits.between) * boot::MOST_STRETCH
}

/// The batches of cases, one for each boot: a case that is declared to bring
/// the guest down has a boot of its own, after all others.
fn plan(job: &Job<'_>) -> VecDeque<Vec<String>> {
    let ends_guest = |c: &&CaseInfo| {
        matches!(
            c.expect(job.arm, job.base).0,
            Expect::Hang | Expect::Splat { .. } | Expect::Crash { .. }
        )
    };
    let (alone, together): (Vec<_>, Vec<_>) = job.cases.iter().partition(ends_guest);
    let mut plan = VecDeque::new();
    if !together.is_empty() {
        plan.push_back(together.into_iter().map(|c| c.name.clone()).collect());
    }
    plan.extend(alone.into_iter().map(|c| vec![c.name.clone()]));
    plan
}

/// The cases that come after the last one that started.
fn unreported(batch: &[String], seen: &Observed) -> Vec<String> {
    batch
        .iter()
        .filter(|c| !seen.started.contains(c))
        .cloned()
        .collect()
}

fn boot_once(
    job: &Job<'_>,
    batch: &[String],
    left: Duration,
    step: &crate::progress::Doing<'_>,
) -> Result<Observed> {
    let share = Scratch::new("what the guest sees")?;
    job.guest.share(share.path(), batch)?;
    let words = if job.words.is_empty() {
        job.guest.words(SHARE)
    } else {
        job.words.join(" ")
    };
    let before = if job.guest.in_tree.is_empty() {
        ""
    } else {
        NO_UDEV
    };
    let script = format!("{before}exec {SHARE}/selftests {words} --port auto 2>&1");
    let spec = Spec {
        vng: job.vng,
        accel: job.accel,
        image: &job.kernel.image,
        background: job.background,
        cpus: turn::CPUS,
        memory_mib: if job.flavor == "default" { 1024 } else { 3072 },
        script: &script,
        share: share.path(),
        devices: [&[Device::short_grace_periods()], job.devices].concat(),
    };
    step.at("booting");
    let mut seen = boot::watch(&spec, &deadlines(job, left), job.console, step)?;
    if let Some(said) = seen.not_started() {
        bail!(
            "no virtual machine was started, so nothing can be said of the kernel; {}: {said}",
            seen.ended_by
        );
    }
    if seen.kernel.is_some() {
        job.kernel.is_what_ran(seen.build_id.as_deref())?;
        seen.watched.promised = detectors::promised(job.kernel)?;
    }
    Ok(seen)
}

fn deadlines(job: &Job<'_>, whole: Duration) -> Deadlines {
    let scale = job.accel.scale() * if job.flavor == "default" { 1 } else { 4 };
    let limit = |ms: u64| Duration::from_millis(ms) * scale;
    let of_case = |c: &CaseInfo| limit(c.deadline_ms) + Duration::from_millis(c.waits_ms);
    Deadlines {
        boot: job.boot_limit * scale,
        cases: job
            .cases
            .iter()
            .map(|c| (c.name.clone(), of_case(c)))
            .collect(),
        between: limit(12_000),
        shutdown: limit(12_000),
        crashed: limit(3_000),
        whole,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Expectation, Outcome};

    use super::*;
    use crate::collect::sample::{case, console, names, observed, records, with_job_of};

    /// A case that has a boot of its own.
    fn alone(name: &str) -> CaseInfo {
        CaseInfo {
            expectations: vec![Expectation {
                arm: None,
                bases: vec![],
                expect: Expect::Hang,
                why: "declared".into(),
            }],
            ..case(name)
        }
    }

    /// A guest that ran all that it was given.
    fn whole(batch: &[String]) -> Observed {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let events = records(&batch, |_| Outcome::Pass).concat();
        observed(&events, &console(&batch).concat())
    }

    /// A guest whose kernel went down in its first case.
    fn crashed(batch: &[String]) -> Observed {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let events = records(&batch, |_| Outcome::Pass)[..2].concat();
        let mut lines = console(&batch)[..2].concat();
        lines.extend_from_slice(b"[    1.100000] Kernel panic - not syncing: x\n");
        observed(&events, &lines)
    }

    /// What came of these cases on guests of that kind, and the batches.
    fn run_with(
        cases: &[CaseInfo],
        mut guest: impl FnMut(&[String]) -> Observed,
    ) -> (Run, Vec<Vec<String>>) {
        let mut batches = Vec::new();
        let run = with_job_of(cases, |job| {
            let collected = boot_all(job, |batch, _| {
                batches.push(batch.to_vec());
                Ok(guest(batch))
            });
            collected.unwrap().into_run(job).unwrap()
        });
        (run, batches)
    }

    fn verdict(run: &Run, name: &str) -> Verdict {
        run.cases.iter().find(|c| c.name == name).unwrap().verdict
    }

    /// Verify that boots that were planned do not count as the guest's going down:
    /// after one crash each other case still has its turn.
    #[test]
    fn planned_boots_are_no_crashes() {
        let mut cases = vec![case("first"), case("second")];
        cases.extend(["a", "b", "c", "d", "e", "f"].map(alone));
        let (run, batches) = run_with(&cases, |batch| match batch[0].as_str() {
            "first" => crashed(batch),
            _ => whole(batch),
        });
        assert_eq!(batches.len(), 8);
        assert_eq!(verdict(&run, "first"), Verdict::Crash);
        assert_eq!(verdict(&run, "second"), Verdict::Pass);
        assert!(run.cases.iter().all(|c| c.verdict != Verdict::Missing));
        assert_eq!(run.why, "");
    }

    /// Verify that a guest that goes down in each case is given up, and that this
    /// does not hide that its kernel crashed.
    #[test]
    fn a_guest_that_keeps_going_down_is_given_up() {
        let all: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
        let cases: Vec<CaseInfo> = all.iter().map(|n| case(n)).collect();
        let (run, batches) = run_with(&cases, |batch| {
            let mut seen = crashed(batch);
            seen.scan = Default::default();
            seen.scan
                .push(b"[    0.100000] Kernel panic - not syncing: x\n");
            seen
        });
        assert!(batches.len() < 10);
        assert_eq!(run.verdict, Verdict::Crash, "{}", run.why);
        assert_eq!(verdict(&run, "c19"), Verdict::Missing);
    }

    /// Verify that a kernel that does not come up is not booted again for each
    /// case that has a boot of its own.
    #[test]
    fn a_kernel_that_dies_before_hello_is_booted_once() {
        let mut cases = vec![case("first")];
        cases.extend(["a", "b", "c"].map(alone));
        let dead =
            b"[    0.000000] Linux version 6.12.1\n[    0.100000] Kernel panic - not syncing: x\n";
        let (run, batches) = run_with(&cases, |_| observed(b"", dead));
        assert_eq!(batches, [names(&["first"])]);
        assert_eq!(run.verdict, Verdict::Crash);
        assert_eq!(verdict(&run, "c"), Verdict::Missing);
    }

    /// Verify that all boots of a run together have an end.
    #[test]
    fn a_run_has_an_end() {
        let mut cases = vec![case("first")];
        cases.extend(["a", "b", "c"].map(alone));
        let (run, batches) = run_with(&cases, |batch| Observed {
            seconds: 1e6,
            ..whole(batch)
        });
        assert_eq!(batches.len(), 1);
        assert_eq!(run.verdict, Verdict::Hang);
        assert!(run.why.contains("1000000 s"), "{}", run.why);
        let (run, _) = run_with(&cases, whole);
        assert_eq!(run.why, "");
    }
}
