// SPDX-License-Identifier: GPL-2.0-only
//! One kernel and a list of cases, booted as often as it takes: a case that
//! brings the guest down must not take the cases after it along.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo, Expect};

use crate::{
    accel::Accel,
    boot::{self, Deadlines, Observed},
    guest::Guest,
    judge::{Seen, judge, run_verdict},
    kernel::Kernel,
    progress::Progress,
    results::{CaseResult, Run},
    setup::VirtmeNg,
    splat::{Allowlist, Decoder, Splat},
    verdict::Verdict,
    vm::{Device, SHARE, Spec},
};

/// What a guest is given at the most, MiB: KASAN needs it.
pub const MOST_MEMORY_MIB: u32 = 3072;

/// From a line on the console to the next before `hello`, without emulation. A
/// disk that is read for the first time can keep init silent for long.
pub const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// How the state of a guest that hung begins, in [`Run::post_mortem`]; the name
/// of a case follows, or [`OF_THE_RUN`].
pub const STATE_OF: &str = "== ";

/// See [`STATE_OF`]: no case was running.
pub const OF_THE_RUN: &str = "the run itself";

/// Guests that ended before their last case are booted again for the rest, but
/// not more often than this.
const MOST_BOOTS: usize = 6;

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
            collected.own = Some((
                Verdict::Lost,
                format!("given up after {MOST_BOOTS} boots: the guest keeps going down"),
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
    let result = collected.into_run(job);
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
    let share = tempfile::Builder::new()
        .prefix("redirect-peer-share-")
        .tempdir()
        .context("making the folder that the guest sees")?;
    job.guest.share(share.path(), batch)?;
    let script = format!("exec {SHARE}/selftests run --port auto --cases-file {SHARE}/cases 2>&1");
    let spec = Spec {
        vng: job.vng,
        accel: job.accel,
        image: &job.kernel.image,
        cpus: 2,
        memory_mib: if job.flavor == "default" { 1024 } else { 3072 },
        script: &script,
        share: share.path(),
        devices: job.devices.to_vec(),
    };
    step.at("booting");
    let seen = boot::watch(&spec, &deadlines(job), job.console, step)?;
    if seen.kernel.is_some() {
        job.kernel.is_what_ran(seen.build_id.as_deref())?;
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

/// The kernel's reports, each different one once, with the cases during which it came.
#[derive(Debug, Default)]
struct Splats(Vec<(Splat, Vec<String>)>);

impl Splats {
    /// Takes a report. One that came during no case is not the same as one that
    /// came during a case: no case answers for it.
    fn add(&mut self, splat: Splat, case: Option<String>) {
        let same = |(s, cases): &&mut (Splat, Vec<String>)| {
            s.fingerprint == splat.fingerprint && cases.is_empty() == case.is_none()
        };
        match self.0.iter_mut().find(same) {
            Some((before, cases)) => {
                before.count += splat.count;
                before.fatal |= splat.fatal;
                cases.extend(case.filter(|c| !cases.contains(c)));
            }
            None => self.0.push((splat, case.into_iter().collect())),
        }
    }

    /// Places of those that came during a case.
    fn during(&self, case: &str) -> Vec<usize> {
        (0..self.0.len())
            .filter(|i| self.0[*i].1.iter().any(|c| c == case))
            .collect()
    }
}

/// What the boots of one run showed.
#[derive(Default)]
struct Collected {
    kernel: String,
    seen: BTreeMap<String, (Seen, Option<u64>)>,
    splats: Splats,
    metrics: Vec<crate::results::Metric>,
    own: Option<(Verdict, String)>,
    /// One for each boot that hung; the first line says which.
    post_mortems: Vec<Vec<String>>,
    seconds: f64,
    boot_seconds: Option<f64>,
}

impl Collected {
    /// Takes what one boot showed; gives whether it ended otherwise than it should.
    fn take(&mut self, job: &Job<'_>, batch: &[String], seen: Observed) -> bool {
        let lines = seen.scan.lines();
        let unmarked = batch
            .iter()
            .find(|c| seen.ended.contains_key(*c) && !seen.scan.marked(c))
            .cloned();
        let reports = seen.scan.finish();
        let mut fatal_outside = false;
        for name in batch.iter().filter(|c| seen.started.contains(c)) {
            let entry = &mut self.seen.entry(name.clone()).or_default();
            entry.0.started = true;
            if let Some((outcome, us)) = seen.ended.get(name) {
                entry.0.outcome = Some(outcome.clone());
                entry.1 = Some(*us);
            }
        }
        for report in reports {
            let allowed = job.allowed.allow(&report.splat, job.base).is_some();
            if !allowed {
                match report.case.as_ref().and_then(|c| self.seen.get_mut(c)) {
                    Some((case, _)) => case.report(&report.splat),
                    None => {
                        fatal_outside |= report.splat.fatal;
                        let verdict = if report.splat.fatal {
                            Verdict::Crash
                        } else {
                            Verdict::Splat
                        };
                        self.bad(
                            verdict,
                            format!(
                                "outside every case the kernel logged: {}",
                                report.splat.title
                            ),
                        );
                    }
                }
                self.splats.add(report.splat, report.case);
            }
        }
        let expected_end = batch.len() == 1
            && job.cases.iter().any(|c| {
                c.name == batch[0]
                    && matches!(c.expect(job.arm, job.base).0, Expect::Hang | Expect::Splat)
            });
        let mut broken = false;
        if let Some((why, case)) = &seen.deadline {
            broken = true;
            let of = case.as_deref().unwrap_or(OF_THE_RUN);
            let mut lines = vec![format!("{STATE_OF}{of}: {why}")];
            lines.extend(seen.post_mortem.iter().cloned());
            self.post_mortems.push(lines);
            match case.as_ref().and_then(|c| self.seen.get_mut(c)) {
                Some((seen, _)) => seen.deadline_passed = true,
                None => self.bad(Verdict::Hang, why.clone()),
            }
        } else if let Some(why) = &seen.stream_lacks {
            broken = true;
            let crashed = fatal_outside || self.seen.values().any(|(s, _)| s.fatal);
            if !expected_end && !crashed {
                let mut said = String::new();
                for (who, words) in [
                    ("it printed", &seen.output),
                    ("its console ends with", &seen.last_words),
                ] {
                    if !words.is_empty() {
                        said.push_str(&format!("; {who}: {words}"));
                    }
                }
                self.bad(Verdict::Lost, format!("{why}; {}{said}", seen.ended_by));
            }
        }
        if seen.kernel.is_some() && seen.announced != batch {
            self.bad(
                Verdict::Lost,
                "the guest announced other cases than it was given".into(),
            );
        }
        if seen.killed && seen.stream_lacks.is_none() && seen.deadline.is_none() {
            self.bad(
                Verdict::Lost,
                format!(
                    "{} after the guest was done: what its kernel had yet to say was not seen",
                    seen.ended_by
                ),
            );
        }
        if lines == 0 {
            self.bad(
                Verdict::Lost,
                "nothing came over the console: a report of the kernel would not have been seen"
                    .into(),
            );
        }
        if let Some(unmarked) = unmarked {
            self.bad(Verdict::Lost, format!("`{unmarked}` left no mark on the console: a report of the kernel would not have been seen"));
        }
        self.kernel = seen
            .kernel
            .unwrap_or_else(|| std::mem::take(&mut self.kernel));
        self.metrics.extend(seen.metrics);
        self.seconds += seen.seconds;
        self.boot_seconds = self.boot_seconds.or(seen.boot_seconds);
        broken
    }

    fn bad(&mut self, verdict: Verdict, why: String) {
        self.own.get_or_insert((verdict, why));
    }

    /// Puts file and line to what the kernel logged. What cannot be decoded is
    /// shown as the kernel wrote it.
    fn decode(&mut self, job: &Job<'_>) {
        let out = job.kernel.vmlinux.parent().unwrap_or(Path::new("."));
        let source = out.parent().unwrap_or(out);
        let mut decoder = Decoder::new(&job.kernel.vmlinux, source);
        for (splat, _) in &mut self.splats.0 {
            if let Err(e) = decoder.decode(&mut splat.lines) {
                splat.lines.push(format!("(not decoded: {e:#})"));
            }
        }
        for lines in &mut self.post_mortems {
            let cpus = decoder
                .cpus(lines)
                .unwrap_or_else(|e| vec![format!("(not decoded: {e:#})")]);
            lines.splice(1..1, cpus);
            // What cannot be decoded now could not be a line before.
            let _ = decoder.decode(lines);
        }
    }

    fn into_run(mut self, job: &Job<'_>) -> Run {
        self.decode(job);
        let nothing = (Seen::default(), None);
        let cases: Vec<CaseResult> = job
            .cases
            .iter()
            .map(|case| {
                let (seen, us) = self.seen.get(&case.name).unwrap_or(&nothing);
                let (verdict, why) = judge(case, job.arm, job.base, seen);
                CaseResult {
                    name: case.name.clone(),
                    verdict,
                    expected: case.expect(job.arm, job.base).0.clone(),
                    outcome: seen.outcome.clone(),
                    why,
                    duration_us: *us,
                    splats: self.splats.during(&case.name),
                    again: Vec::new(),
                }
            })
            .collect();
        let verdicts: Vec<Verdict> = cases.iter().map(|c| c.verdict).collect();
        let console = job
            .console
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        Run {
            base: job.base.to_owned(),
            arm: job.arm,
            flavor: job.flavor.to_owned(),
            kernel: self.kernel,
            source: job.source.to_owned(),
            commit: job.kernel.commit.clone(),
            verdict: run_verdict(&verdicts, self.own.as_ref().map(|o| o.0)),
            why: self.own.map(|o| o.1).unwrap_or_default(),
            cases,
            splats: self.splats.0.into_iter().map(|s| s.0).collect(),
            metrics: self.metrics,
            post_mortem: self.post_mortems.concat(),
            console: format!("console/{console}"),
            seconds: self.seconds,
            boot_seconds: self.boot_seconds,
        }
    }
}
