// SPDX-License-Identifier: GPL-2.0-only
//! What the boots of one run showed, put together and judged as a whole.

mod reports;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;
use protocol::Expect;

use self::reports::Splats;
use crate::{
    boot::Observed,
    interrupt,
    judge::{Seen, judge, run_verdict},
    post_mortem,
    results::{Allowed, CaseResult, OF_THE_RUN, Run, STATE_OF},
    run::Job,
    splat::{Decoder, KMEMLEAK, Report, Scanner, Splat},
    verdict::Verdict,
};

/// What the boots of one run showed.
#[derive(Debug, Default)]
pub struct Collected {
    kernel: String,
    seen: BTreeMap<String, (Seen, Option<u64>)>,
    splats: Splats,
    allowed: Vec<Allowed>,
    metrics: Vec<crate::results::Metric>,
    own: Option<(Verdict, String)>,
    /// One for each boot that hung; the first line says which.
    post_mortems: Vec<Vec<String>>,
    seconds: f64,
    boot_seconds: Option<f64>,
}

impl Collected {
    /// Takes what one boot showed; gives whether it ended otherwise than it should.
    pub fn take(&mut self, job: &Job<'_>, batch: &[String], mut seen: Observed) -> bool {
        for name in batch.iter().filter(|c| seen.started.contains(c)) {
            let entry = self.seen.entry(name.clone()).or_default();
            entry.0.started = true;
            if let Some((outcome, us)) = seen.ended.get(name) {
                entry.0.outcome = Some(outcome.clone());
                entry.1 = Some(*us);
            }
        }
        let scan = std::mem::take(&mut seen.scan);
        let unseen = unseen(batch, &seen, &scan);
        let (crashed, reported) = self.reports(job, scan);
        let broken = self.ended(job, batch, &seen, crashed);
        if seen.kernel.is_some() && !same_cases(&seen.announced, batch, job.guest.shuffle.is_some())
        {
            self.bad(
                Verdict::Lost,
                "the guest announced other cases than it was given".into(),
            );
        }
        for why in unseen.into_iter().chain(seen.watched.lacks(reported)) {
            self.bad(Verdict::Lost, why);
        }
        self.kernel = seen
            .kernel
            .unwrap_or_else(|| std::mem::take(&mut self.kernel));
        self.metrics.extend(seen.metrics);
        self.seconds += seen.seconds;
        self.boot_seconds = self.boot_seconds.or(seen.boot_seconds);
        broken
    }

    /// Seconds of all boots so far.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Takes the kernel's reports of one boot; gives whether its kernel crashed, and
    /// whether there was any that is not allowed.
    fn reports(&mut self, job: &Job<'_>, scan: Scanner) -> (bool, bool) {
        let reports = scan.finish();
        let leaked = self.leaked_during(&reports);
        let (mut crashed, mut reported) = (false, false);
        for Report { splat, case, after } in reports {
            if let Some(reason) = job.allowed.allow(&splat, job.base) {
                self.allow(splat, reason);
                continue;
            }
            crashed |= splat.fatal;
            reported = true;
            let cases = match (case, &leaked) {
                (None, Some(cases)) if is_count_of_leaks(&splat) => cases.clone(),
                (case, _) => case.into_iter().collect(),
            };
            let mut known = false;
            for case in &cases {
                if let Some((seen, _)) = self.seen.get_mut(case) {
                    seen.reports.push(splat.clone());
                    known = true;
                }
            }
            if !known {
                let verdict = if splat.fatal {
                    Verdict::Crash
                } else {
                    Verdict::Splat
                };
                let after = after.map_or(String::new(), |c| format!(", after `{c}`"));
                self.bad(
                    verdict,
                    format!(
                        "outside every case{after} the kernel logged: {}",
                        splat.title
                    ),
                );
            }
            self.splats.add(splat, cases);
        }
        (crashed, reported)
    }

    /// Takes a report that is known and harmless.
    fn allow(&mut self, splat: Splat, reason: &str) {
        match self.allowed.iter_mut().find(|a| a.title == splat.title) {
            Some(before) => before.count += splat.count,
            None => self.allowed.push(Allowed {
                title: splat.title,
                reason: reason.to_owned(),
                count: splat.count,
            }),
        }
    }

    /// The cases that allocated what leaked, where all of it was some case's.
    fn leaked_during(&self, reports: &[Report]) -> Option<Vec<String>> {
        let mut cases = BTreeSet::new();
        for report in reports {
            if report.splat.kind == KMEMLEAK && !is_count_of_leaks(&report.splat) {
                let case = report.case.as_ref();
                cases.insert(case.filter(|c| self.seen.contains_key(*c))?.clone());
            }
        }
        (!cases.is_empty()).then(|| cases.into_iter().collect())
    }

    /// Takes how one boot ended; gives whether it was otherwise than it should.
    fn ended(&mut self, job: &Job<'_>, batch: &[String], seen: &Observed, crashed: bool) -> bool {
        if let Some((why, case)) = &seen.deadline {
            let of = case.as_deref().unwrap_or(OF_THE_RUN);
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
                Some((case, _)) => {
                    case.deadline_passed = true;
                    case.busy = post_mortem::was_busy(&seen.post_mortem);
                }
                None => self.bad(Verdict::Hang, why.clone()),
            }
            return true;
        }
        if let Some(why) = &seen.stream_lacks {
            let expected_end = batch.len() == 1
                && job.cases.iter().any(|c| {
                    c.name == batch[0]
                        && matches!(
                            c.expect(job.arm, job.base).0,
                            Expect::Hang | Expect::Splat { .. } | Expect::Crash { .. }
                        )
                });
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
            return true;
        }
        false
    }

    /// The worst that is wrong with the run itself stands, the first of several.
    pub fn bad(&mut self, verdict: Verdict, why: String) {
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
            allowed: self.allowed,
            metrics: self.metrics,
            post_mortem: self.post_mortems.concat(),
            console: format!("console/{console}"),
            seconds: self.seconds,
            boot_seconds: self.boot_seconds,
        })
    }
}

/// Whether it says only how much leaked; what, is reports of their own.
fn is_count_of_leaks(splat: &Splat) -> bool {
    splat.kind == KMEMLEAK && splat.title.contains(" new suspected memory leak")
}

/// Why it is not certain that all was seen that the kernel of one boot had to say.
fn unseen(batch: &[String], seen: &Observed, scan: &Scanner) -> Vec<String> {
    let mut why = Vec::new();
    let whole = seen.stream_lacks.is_none() && seen.deadline.is_none();
    let by = &seen.ended_by;
    if whole && seen.killed {
        why.push(format!(
            "{by} after the guest was done: what its kernel had yet to say was not seen"
        ));
    }
    if let Some(dropped) = scan.dropped() {
        why.push(format!("the kernel logged more than its console could take, and a report of it may not have been seen: {dropped}"));
    }
    // After `done` there is the shutdown, during which a kernel may say a lot.
    // How QEMU ended does not tell: virtme-run's status is that of the guest's script.
    if whole && !scan.is_gone() {
        why.push(format!(
            "{by} before the kernel said that it turns the machine off: what else it had to say was not seen"
        ));
    }
    if scan.lines() == 0 {
        why.push(
            "nothing came over the console: a report of the kernel would not have been seen".into(),
        );
    }
    let unmarked = batch
        .iter()
        .find(|c| seen.ended.contains_key(*c) && !(scan.marked(c) && scan.closed(c)));
    if let Some(unmarked) = unmarked {
        why.push(format!("`{unmarked}` left no mark on the console at its start, or none at its end: a report of the kernel would not have been seen"));
    }
    why
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
