// SPDX-License-Identifier: GPL-2.0-only
//! What the boots of one run showed, put together and judged as a whole.

mod reports;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use protocol::Expect;

use self::reports::Splats;
use crate::{
    boot::Observed,
    interrupt,
    judge::{Seen, judge, run_verdict},
    results::{CaseResult, OF_THE_RUN, Run, STATE_OF},
    run::Job,
    splat::Decoder,
    verdict::Verdict,
};

/// What the boots of one run showed.
#[derive(Debug, Default)]
pub struct Collected {
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
    pub fn take(&mut self, job: &Job<'_>, batch: &[String], seen: Observed) -> bool {
        let lines = seen.scan.lines();
        let unmarked = batch
            .iter()
            .find(|c| seen.ended.contains_key(*c) && !(seen.scan.marked(c) && seen.scan.closed(c)))
            .cloned();
        let gone = seen.scan.is_gone();
        let dropped = seen.scan.dropped().map(str::to_owned);
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
            // A flooded case was not seen to hang: the state is not evidence of it.
            let of = case.as_deref().filter(|_| !seen.flooded);
            let of = of.unwrap_or(OF_THE_RUN);
            let mut lines = vec![format!("{STATE_OF}{of}: {why}")];
            // What a guest wrote must not look as if it began another's.
            lines.extend(seen.post_mortem.iter().map(|l| {
                if l.starts_with(STATE_OF) {
                    format!(" {l}")
                } else {
                    l.clone()
                }
            }));
            self.post_mortems.push(lines);
            match case.as_ref().and_then(|c| self.seen.get_mut(c)) {
                Some((case, _)) if !seen.flooded => case.deadline_passed = true,
                // A case that is declared to hang was not seen to.
                _ => self.bad(Verdict::Hang, why.clone()),
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
        if seen.kernel.is_some() && !same_cases(&seen.announced, batch, job.guest.shuffle.is_some())
        {
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
        if let Some(dropped) = dropped {
            self.bad(
                Verdict::Lost,
                format!("the kernel logged more than its console could take, and a report of it may not have been seen: {dropped}"),
            );
        }
        // After `done` there is the shutdown, during which a kernel may say a lot.
        // How QEMU ended does not tell: virtme-run's status is that of the guest's script.
        if seen.stream_lacks.is_none() && seen.deadline.is_none() && !gone {
            self.bad(
                Verdict::Lost,
                format!(
                    "{} before the kernel said that it turns the machine off: what else it had to say was not seen",
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
            self.bad(Verdict::Lost, format!("`{unmarked}` left no mark on the console at its start, or none at its end: a report of the kernel would not have been seen"));
        }
        self.kernel = seen
            .kernel
            .unwrap_or_else(|| std::mem::take(&mut self.kernel));
        self.metrics.extend(seen.metrics);
        self.seconds += seen.seconds;
        self.boot_seconds = self.boot_seconds.or(seen.boot_seconds);
        broken
    }

    /// Says that the rest of the cases will not be run.
    pub fn give_up(&mut self, why: String) {
        self.own = Some((Verdict::Lost, why));
    }

    /// The worst that is wrong with the run itself stands, the first of several.
    fn bad(&mut self, verdict: Verdict, why: String) {
        if self
            .own
            .as_ref()
            .is_none_or(|(before, _)| verdict.weight() > before.weight())
        {
            self.own = Some((verdict, why));
        }
    }

    /// Puts file and line to what the kernel logged. What cannot be decoded is
    /// shown as the kernel wrote it.
    fn decode(&mut self, job: &Job<'_>) -> Result<()> {
        let out = job.kernel.vmlinux.parent().unwrap_or(Path::new("."));
        let source = out.parent().unwrap_or(out);
        let mut decoder = Decoder::new(&job.kernel.vmlinux, source);
        for (splat, _) in &mut self.splats.0 {
            let decoded = decoder.decode(&mut splat.lines);
            // An interruption is no reason to show less: there is nothing to be shown.
            interrupt::check()?;
            if let Err(e) = decoded {
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
            interrupt::check()?;
        }
        Ok(())
    }

    /// Judges each case and the run. The only error is an interruption.
    pub fn into_run(mut self, job: &Job<'_>) -> Result<Run> {
        self.decode(job)?;
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
        Ok(Run {
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
        })
    }
}

/// Whether the guest announced what it was given, in the order in which it was
/// unless it was asked for another.
fn same_cases(announced: &[String], given: &[String], in_any_order: bool) -> bool {
    if !in_any_order {
        return announced == given;
    }
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names
    };
    sorted(announced) == sorted(given)
}
