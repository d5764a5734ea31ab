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
    vm::{Device, SHARE, Spec},
};

/// What a guest is given at the most, MiB: KASAN needs it.
pub const MOST_MEMORY_MIB: u32 = 3072;

/// From a line on the console to the next before `hello`, without emulation. A
/// disk that is read for the first time can keep init silent for long.
pub const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// Guests that ended before their last case are booted again for the rest, but
/// not more often than this.
const MOST_BOOTS: usize = 6;

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
    let mut collected = Collected::default();
    let mut plan = plan(job);
    let mut boots = 0;
    while let Some(batch) = plan.pop_front() {
        boots += 1;
        if boots > MOST_BOOTS {
            collected.give_up(format!(
                "given up after {MOST_BOOTS} boots: the guest keeps going down"
            ));
            break;
        }
        let seen = boot_once(job, &batch, &step)?;
        let rest = unreported(&batch, &seen);
        let progressed = rest.len() < batch.len();
        let broken = collected.take(job, &batch, seen);
        if broken && progressed && !rest.is_empty() {
            plan.push_front(rest);
        }
    }
    let result = collected.into_run(job)?;
    step.done(false);
    Ok(result)
}

/// The batches of cases, one for each boot: a case that is declared to bring
/// the guest down has a boot of its own, after all others.
fn plan(job: &Job<'_>) -> VecDeque<Vec<String>> {
    let ends_guest =
        |c: &&CaseInfo| matches!(c.expect(job.arm, job.base).0, Expect::Hang | Expect::Splat);
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
    step: &crate::progress::Doing<'_>,
) -> Result<Observed> {
    let share = Scratch::new("what the guest sees")?;
    job.guest.share(share.path(), batch)?;
    let words = if job.words.is_empty() {
        job.guest.words(SHARE)
    } else {
        job.words.join(" ")
    };
    let before = match job.guest.in_tree {
        Some(_) => NO_UDEV,
        None => "",
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
    let mut seen = boot::watch(&spec, &deadlines(job), job.console, step)?;
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

fn deadlines(job: &Job<'_>) -> Deadlines {
    let scale = job.accel.scale() * if job.flavor == "default" { 1 } else { 4 };
    let limit = |ms: u64| Duration::from_millis(ms) * scale;
    Deadlines {
        boot: job.boot_limit * scale,
        cases: job
            .cases
            .iter()
            .map(|c| (c.name.clone(), limit(c.deadline_ms)))
            .collect(),
        between: limit(12_000),
        shutdown: limit(12_000),
        crashed: limit(3_000),
    }
}
