// SPDX-License-Identifier: GPL-2.0-only
//! What the boots of one run showed, put together and judged as a whole.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use protocol::Expect;

use crate::{
    boot::Observed,
    interrupt,
    judge::{Seen, judge, run_verdict},
    results::{CaseResult, OF_THE_RUN, Run, STATE_OF},
    run::Job,
    splat::{Decoder, Report, Splat},
    verdict::Verdict,
};

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
        let bad_reports = |r: &Report| job.allowed.allow(&r.splat, job.base).is_none();
        let blind = seen.watched.lacks(reports.iter().any(bad_reports));
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
        if let Some(blind) = blind {
            self.bad(Verdict::Lost, blind);
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

#[cfg(test)]
mod tests {
    use protocol::{
        Arm, CaseInfo, Detector, Event, Failure, MARK_END, MARK_START, Outcome, Record, VERSION,
    };

    use super::*;
    use crate::{
        accel::Accel, damage::Damage, guest::Guest, kernel::Kernel, setup::VirtmeNg,
        splat::Allowlist, stream::Stream,
    };

    const NAMES: [&str; 3] = ["first", "second", "third"];

    /// What a guest that runs the cases writes to its port, one piece a record.
    fn records(outcome_of: impl Fn(&str) -> Outcome) -> Vec<Vec<u8>> {
        let mut events = vec![Event::Hello {
            protocol: VERSION,
            kernel: "6.12.1".into(),
            build_id: Some("0a".into()),
            cases: NAMES.map(str::to_owned).into(),
            detectors: [Detector::Lockdep].into(),
        }];
        for case in NAMES {
            events.push(Event::CaseStart { case: case.into() });
            events.push(Event::Log { text: case.into() });
            events.push(Event::CaseEnd {
                case: case.into(),
                outcome: outcome_of(case),
                duration_us: 5,
            });
        }
        events.push(Event::Done {
            cases: 3,
            detectors: [Detector::Lockdep].into(),
        });
        let line = |(seq, event)| {
            let record = Record {
                seq,
                at_us: 7,
                event,
            };
            (serde_json::to_string(&record).unwrap() + "\n").into_bytes()
        };
        (0..).zip(events).map(line).collect()
    }

    /// What its kernel writes to the console, one piece a line.
    fn console() -> Vec<Vec<u8>> {
        let mut lines = vec!["[    0.000000] Linux version 6.12.1".to_owned()];
        for case in NAMES {
            lines.push(format!("[    1.000000] {MARK_START}{case}"));
            lines.push(format!("[    1.500000] {MARK_END}{case}"));
        }
        lines.push("[    2.000000] reboot: Power down".into());
        let end = |l: String| (l + "\n").into_bytes();
        lines.into_iter().map(end).collect()
    }

    /// The run of a guest that wrote this and ended.
    fn run(events: &[u8], console: &[u8]) -> Run {
        let cases = NAMES.map(|name| CaseInfo {
            name: name.into(),
            summary: String::new(),
            proves: vec![],
            expectations: vec![],
            deadline_ms: 1,
        });
        let vng = VirtmeNg {
            program: "vng".into(),
            version: String::new(),
        };
        let kernel = Kernel {
            image: "bzImage".into(),
            vmlinux: "/nowhere/vmlinux".into(),
            commit: String::new(),
            build_id: "0a".into(),
            cached: true,
        };
        let guest = Guest {
            program: "selftests".into(),
            cases: cases.to_vec(),
            in_tree: None,
            shuffle: None,
            patience: None,
        };
        let job = Job {
            vng: &vng,
            accel: Accel::Tcg,
            kernel: &kernel,
            guest: &guest,
            cases: &cases,
            base: "6.12",
            source: "6.12.1",
            arm: Arm::Patched,
            flavor: "default",
            allowed: &Allowlist::none(),
            console: Path::new("console"),
            devices: &[],
            boot_limit: crate::run::BOOT_LIMIT,
            words: &[],
            background: false,
        };
        let mut seen = Observed::default();
        seen.watched.promised = [Detector::Lockdep].into();
        let mut stream = Stream::default();
        for event in stream.push(events) {
            seen.take(event);
        }
        seen.stream_lacks = stream.lacks();
        seen.scan.push(console);
        seen.ended_by = "QEMU ended with status 0".into();
        let mut collected = Collected::default();
        collected.take(&job, &NAMES.map(str::to_owned), seen);
        collected.into_run(&job).unwrap()
    }

    fn is_good(run: &Run) -> bool {
        run.verdict.is_good() && run.cases.iter().all(|c| c.verdict.is_good())
    }

    fn all_pass() -> Vec<Vec<u8>> {
        records(|_| Outcome::Pass)
    }

    fn second_fails() -> Vec<Vec<u8>> {
        records(|case| match case {
            "second" => Outcome::Fail(Failure {
                reason: "wrong-value".into(),
                message: "m".into(),
                context: vec![],
            }),
            _ => Outcome::Pass,
        })
    }

    /// Verify that another order is taken where it was asked for, and other
    /// cases never are.
    #[test]
    fn announced_is_what_was_given() {
        let names = |all: &[&str]| -> Vec<String> { all.iter().map(|n| (*n).into()).collect() };
        let given = names(&["a", "b"]);
        assert!(same_cases(&given, &given, false));
        assert!(!same_cases(&names(&["b", "a"]), &given, false));
        assert!(same_cases(&names(&["b", "a"]), &given, true));
        assert!(!same_cases(&names(&["b"]), &given, true));
        assert!(!same_cases(&names(&["a", "a"]), &given, true));
    }

    /// Verify that a whole and good guest is good, or nothing below would prove anything.
    #[test]
    fn whole_and_good_is_good() {
        let good = run(&all_pass().concat(), &console().concat());
        assert!(is_good(&good), "{}: {}", good.verdict, good.why);
        let bad = run(&second_fails().concat(), &console().concat());
        assert_eq!(bad.verdict, Verdict::Fail);
    }

    /// Verify that no guest is good that ended early, at whatever byte, nor one
    /// of whose records any is missing, comes twice or changes places with the next.
    #[test]
    fn no_part_of_the_records_is_good() {
        let (records, console) = (all_pass(), console().concat());
        let whole = records.concat();
        for length in 0..whole.len() {
            assert!(
                !is_good(&run(&whole[..length], &console)),
                "cut at {length}"
            );
        }
        for at in 0..records.len() {
            let mut less = records.clone();
            less.remove(at);
            assert!(!is_good(&run(&less.concat(), &console)), "without {at}");
            let mut more = records.clone();
            more.insert(at, records[at].clone());
            assert!(!is_good(&run(&more.concat(), &console)), "{at} twice");
            if at + 1 < records.len() {
                let mut other = records.clone();
                other.swap(at, at + 1);
                assert!(!is_good(&run(&other.concat(), &console)), "{at} late");
            }
        }
    }

    /// Verify that no guest is good whose console was not seen: all of it, what
    /// was there when a case began or ended, or anything from some byte on.
    #[test]
    fn an_unseen_console_is_not_good() {
        let (events, lines) = (all_pass().concat(), console());
        assert!(!is_good(&run(&events, b"")));
        for (at, line) in lines.iter().enumerate() {
            let line = String::from_utf8_lossy(line);
            if line.contains(MARK_START) || line.contains(MARK_END) {
                let mut less = lines.clone();
                less.remove(at);
                assert!(!is_good(&run(&events, &less.concat())), "without {at}");
            }
        }
        let whole = lines.concat();
        for length in 0..whole.len() - 1 {
            assert!(
                !is_good(&run(&events, &whole[..length])),
                "the console ends after {length} of {} bytes",
                whole.len()
            );
        }
    }

    /// Verify that no guest is good in whose kernel something that looks for bugs
    /// had not begun to, or had stopped.
    #[test]
    fn a_blind_detector_is_not_good() {
        let console = console().concat();
        let records = all_pass();
        for at in [0, records.len() - 1] {
            let text = String::from_utf8(records[at].clone()).unwrap();
            let mut blind = records.clone();
            blind[at] = text.replace("[\"lockdep\"]", "[]").into_bytes();
            assert_ne!(blind[at], records[at]);
            let run = run(&blind.concat(), &console);
            assert!(!is_good(&run) && run.why.contains("lockdep"), "{}", run.why);
        }
    }

    /// Verify that no guest is good whose kernel says that it dropped messages.
    #[test]
    fn dropped_messages_are_not_good() {
        let (events, lines) = (all_pass().concat(), console());
        for dropped in [
            "** 213 printk messages dropped **",
            "[    1.600000] ** 1 printk messages dropped ** [    1.600001] x",
        ] {
            for at in 1..lines.len() {
                let mut more = lines.clone();
                more.insert(at, format!("{dropped}\n").into_bytes());
                let run = run(&events, &more.concat());
                assert!(!is_good(&run), "{dropped} at {at}");
            }
        }
    }

    /// Verify that a report of the kernel is seen wherever it stands.
    #[test]
    fn a_report_anywhere_is_not_good() {
        let (events, lines) = (all_pass().concat(), console());
        for report in [
            "WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2",
            "BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            "Kernel panic - not syncing: Fatal exception in interrupt",
        ] {
            for at in 1..=lines.len() {
                let mut more = lines.clone();
                more.insert(at, format!("[    1.700000] {report}\n").into_bytes());
                let run = run(&events, &more.concat());
                assert!(!is_good(&run), "{report} at {at}");
            }
        }
    }

    /// Verify that no damage to what a guest wrote, in both streams, turns a
    /// failure into something good.
    #[test]
    fn damage_never_makes_good() {
        let (events, console) = (second_fails().concat(), console().concat());
        let mut damage = Damage::new();
        for round in 0..3_000 {
            let mut streams = [events.clone(), console.clone()];
            for _ in 0..=damage.below(5) {
                let which = damage.below(2);
                damage.to(&mut streams[which]);
            }
            let run = run(&streams[0], &streams[1]);
            assert!(!is_good(&run), "round {round}");
        }
    }

    /// Verify that the same report in two cases is one report with two cases, and
    /// that one outside every case stays by itself.
    #[test]
    fn the_same_report_is_one() {
        let splat = |fatal| Splat {
            kind: "warning".into(),
            title: "WARNING: x".into(),
            fingerprint: "warning: x".into(),
            lines: vec![],
            count: 1,
            fatal,
        };
        let mut splats = Splats::default();
        splats.add(splat(false), Some("first".into()));
        splats.add(splat(true), Some("third".into()));
        splats.add(splat(false), Some("third".into()));
        splats.add(splat(false), None);
        assert_eq!(splats.0.len(), 2);
        assert_eq!((splats.0[0].0.count, splats.0[0].0.fatal), (3, true));
        assert_eq!(
            (splats.during("first"), splats.during("third")),
            (vec![0], vec![0])
        );
        assert!(splats.during("second").is_empty());
    }
}
