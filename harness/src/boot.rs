// SPDX-License-Identifier: GPL-2.0-only
//! One boot, watched from start to end: what came through the port, what the
//! console said, and what ended it. Judges nothing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use protocol::{Event, Outcome};

use crate::{
    detectors::Watched,
    exec::{POLL, describe, was_killed},
    interrupt,
    post_mortem::{self, Answer},
    progress::Doing,
    results::Metric,
    splat::{Notice, Scanner, clean},
    stream::Stream,
    turn::Turn,
    vm::{Spec, Vm},
};

/// What grows beyond this, console, port or output, is flooded. Bytes.
const CONSOLE_LIMIT: u64 = 256 << 20;

/// A phase in which there is progress may take this many times its deadline:
/// a guest that says something for ever does not come to an end either.
const MOST_STRETCH: u32 = 10;

/// How much of the end of the guest's output is shown. Bytes and lines.
const OUTPUT_SHOWN: u64 = 16 << 10;
const OUTPUT_LINES: usize = 20;

/// Lines of the console that are quoted of a guest that never said hello.
const LAST_WORDS: usize = 4;

/// How long each phase may take.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// From the last line on the console to the next, before `hello`.
    pub boot: Duration,
    /// For a case by name.
    pub cases: BTreeMap<String, Duration>,
    /// For everything between cases.
    pub between: Duration,
    /// From `done` to the end of QEMU.
    pub shutdown: Duration,
    /// From the last sign of life after a panic or an oops to the next.
    pub crashed: Duration,
}

/// Everything that one boot showed.
#[derive(Debug, Default)]
pub struct Observed {
    /// `uname -r`; `None` when there was no `hello`.
    pub kernel: Option<String>,
    /// Build ID of the kernel that ran, as the guest read it.
    pub build_id: Option<String>,
    /// What looked for bugs in it.
    pub watched: Watched,
    /// Cases that the guest said it would run.
    pub announced: Vec<String>,
    /// Cases that the guest said it started.
    pub started: Vec<String>,
    /// What the cases came to, as the guest said, with guest time in microseconds.
    pub ended: BTreeMap<String, (Outcome, u64)>,
    /// Figures.
    pub metrics: Vec<Metric>,
    /// Why the stream cannot be called whole.
    pub stream_lacks: Option<String>,
    /// Why the run was ended from outside, and the case that was running.
    pub deadline: Option<(String, Option<String>)>,
    /// It was ended for what it wrote: whether it would have come to an end is not known.
    pub flooded: bool,
    /// How QEMU ended by itself.
    pub ended_by: String,
    /// QEMU was killed by a signal: what the kernel had yet to say was not seen.
    pub killed: bool,
    /// Reports of the kernel, and how many lines it wrote.
    pub scan: Scanner,
    /// Of a guest that hung: held locks, registers, the last console lines, tasks.
    pub post_mortem: Vec<String>,
    /// Last lines on the console, of the kernel or of QEMU, when it was lost
    /// before `hello`.
    pub last_words: String,
    /// Last lines of what the guest's script printed.
    pub output: String,
    /// Whole run, seconds.
    pub seconds: f64,
    /// To `hello`, seconds.
    pub boot_seconds: Option<f64>,
}

impl Observed {
    /// What QEMU, or virtme-ng, said instead of starting a machine: nothing is
    /// known of the kernel then. `None` when a machine was started, however
    /// early it ended.
    pub fn not_started(&self) -> Option<&str> {
        let nothing_ran =
            self.kernel.is_none() && self.deadline.is_none() && self.scan.lines() == 0;
        let complaint = |l: &str| {
            ["qemu-system-", "virtme-run", "Traceback "]
                .iter()
                .any(|who| l.starts_with(who))
        };
        (nothing_ran && self.last_words.lines().any(complaint)).then_some(&self.last_words)
    }

    /// Takes what the guest said.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Hello {
                kernel,
                build_id,
                cases,
                detectors,
                ..
            } => {
                self.kernel = Some(kernel);
                self.build_id = build_id;
                self.announced = cases;
                self.watched.at_hello = Some(detectors);
            }
            Event::CaseStart { case } => self.started.push(case),
            Event::CaseEnd {
                case,
                outcome,
                duration_us,
            } => {
                self.ended.insert(case, (outcome, duration_us));
            }
            Event::Metric { name, value, unit } => {
                self.metrics.push(Metric { name, value, unit });
            }
            Event::Done { detectors, .. } => self.watched.at_done = Some(detectors),
            Event::Log { .. } => {}
        }
    }
}

/// Boots, watches to the end, and keeps the console in `keep` (appended).
pub fn watch(
    spec: &Spec<'_>,
    deadlines: &Deadlines,
    keep: &Path,
    step: &Doing<'_>,
) -> Result<Observed> {
    step.at("waiting for another guest to boot");
    let turn = Turn::wait()?;
    step.at("booting");
    let vm = spec.boot()?;
    let start = Instant::now();
    let mut watch = Watch {
        turn: Some(turn),
        console: Tail::open(vm.console())?,
        events: Tail::open(vm.events())?,
        vm,
        stream: Stream::default(),
        seen: Observed::default(),
        running: None,
        progress: start,
        sign: start,
        phase: start,
        crashed: false,
        damaged: None,
        asked_at: 0,
        answer: None,
        start,
    };
    let end = watch.until_it_ends(deadlines, step);
    // Whatever happened, what was seen is kept.
    let copied = watch.vm.end();
    while watch.drain(step)? {}
    watch.console.copy_to(keep)?;
    end?;
    copied?;
    watch.turn = None;
    if let Some(answer) = watch.answer.take() {
        watch.seen.post_mortem = watch.post_mortem(answer)?;
    }
    let Watch {
        mut seen,
        stream,
        vm,
        ..
    } = watch;
    seen.stream_lacks = stream.lacks();
    seen.output = end_of(&vm.output(), OUTPUT_LINES)?;
    if seen.kernel.is_none() {
        seen.last_words = end_of(&vm.console(), LAST_WORDS)?;
    }
    seen.seconds = start.elapsed().as_secs_f64();
    Ok(seen)
}

struct Watch {
    /// To boot, until `hello` or the end.
    turn: Option<Turn>,
    vm: Vm,
    console: Tail,
    events: Tail,
    stream: Stream,
    seen: Observed,
    running: Option<String>,
    /// The last progress within the phase.
    progress: Instant,
    /// The last of anything at all.
    sign: Instant,
    /// The beginning of the phase.
    phase: Instant,
    /// The kernel crashed in this phase.
    crashed: bool,
    /// When the records could no longer be believed.
    damaged: Option<Instant>,
    /// Length of the console when the guest was asked what it was doing, and what
    /// came of it.
    asked_at: u64,
    answer: Option<Answer>,
    start: Instant,
}

impl Watch {
    fn until_it_ends(&mut self, deadlines: &Deadlines, step: &Doing<'_>) -> Result<()> {
        loop {
            let ended = self.vm.try_wait()?;
            self.drain(step)?;
            if let Some(status) = ended {
                self.seen.ended_by = format!("QEMU ended with {}", describe(status));
                self.seen.killed = was_killed(status);
                return Ok(());
            }
            interrupt::check()?;
            if self
                .damaged
                .is_some_and(|d| d.elapsed() > deadlines.between)
            {
                // Whether a case hangs cannot be told any more.
                self.seen.ended_by = "the harness ended the guest".into();
                return Ok(());
            }
            if let Some(why) = self.overdue(deadlines) {
                step.note(&format!("{why}: asking the guest what it was doing"));
                self.seen.deadline = Some((why, self.running.clone()));
                self.seen.flooded = self.written() > CONSOLE_LIMIT;
                self.asked_at = self.console.length;
                self.answer = Some(post_mortem::ask(&mut self.vm)?);
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Takes what has come; gives whether anything had.
    fn drain(&mut self, step: &Doing<'_>) -> Result<bool> {
        let bytes = self.console.read()?;
        let mut any = !bytes.is_empty();
        // What the kernel says when it is asked (by an NMI, upon which it panics)
        // is an answer, not a report.
        if any && self.seen.deadline.is_none() {
            for notice in self.seen.scan.push(&bytes) {
                self.notice(&notice, step);
            }
            // Lines on the console are progress only while there is no other sign of life.
            if self.seen.kernel.is_none() {
                self.progress = Instant::now();
            }
        }
        let bytes = self.events.read()?;
        any |= !bytes.is_empty();
        for event in self.stream.push(&bytes) {
            self.progress = Instant::now();
            self.take(event, step);
        }
        if self.damaged.is_none() && self.stream.is_damaged() {
            self.damaged = Some(Instant::now());
        }
        if any {
            self.sign = Instant::now();
        }
        Ok(any)
    }

    /// A report has begun on the console.
    fn notice(&mut self, notice: &Notice, step: &Doing<'_>) {
        let during = self.running.as_deref().unwrap_or("no case");
        step.at(format!("{during}: the kernel logs: {}", notice.line));
        self.crashed |= notice.fatal;
    }

    /// Another phase begins.
    fn enter(&mut self) {
        self.phase = Instant::now();
        self.crashed = false;
    }

    fn take(&mut self, event: Event, step: &Doing<'_>) {
        match &event {
            Event::Hello { cases, .. } => {
                self.seen.boot_seconds = Some(self.start.elapsed().as_secs_f64());
                self.turn = None;
                step.at(format!("{} cases", cases.len()));
                self.enter();
            }
            Event::CaseStart { case } => {
                step.at(format!("{} {case}", self.seen.ended.len() + 1));
                self.running = Some(case.clone());
                self.enter();
            }
            Event::CaseEnd { .. } => {
                self.running = None;
                self.enter();
            }
            Event::Done { .. } => self.enter(),
            Event::Log { text } => step.note(text),
            Event::Metric { .. } => {}
        }
        self.seen.take(event);
    }

    /// Length of the longest of what the guest writes to the host's disk. Bytes.
    fn written(&self) -> u64 {
        let output = std::fs::metadata(self.vm.output()).map_or(0, |m| m.len());
        self.console.length.max(self.events.length).max(output)
    }

    /// Why the run must be ended now, if it must.
    fn overdue(&self, deadlines: &Deadlines) -> Option<String> {
        if self.written() > CONSOLE_LIMIT {
            return Some(format!(
                "the guest wrote more than {} MiB to its console, its port or its output",
                CONSOLE_LIMIT >> 20
            ));
        }
        if self.damaged.is_some() {
            return None;
        }
        let (phase, limit) = if self.seen.kernel.is_none() {
            ("boot".to_owned(), deadlines.boot)
        } else if let Some(case) = &self.running {
            let limit = deadlines
                .cases
                .get(case)
                .copied()
                .unwrap_or(deadlines.between);
            (format!("case {case}"), limit)
        } else if self.stream.is_done() {
            ("shutdown".to_owned(), deadlines.shutdown)
        } else {
            ("the time between cases".to_owned(), deadlines.between)
        };
        let silent = self.sign.elapsed();
        if self.crashed && silent > deadlines.crashed {
            return Some(format!(
                "the kernel crashed in {phase}, and nothing came for {:.0} s",
                silent.as_secs_f64()
            ));
        }
        let waited = self.progress.elapsed();
        if waited > limit {
            return Some(format!(
                "no progress in {phase} for {:.0} s",
                waited.as_secs_f64()
            ));
        }
        let whole = self.phase.elapsed();
        (whole > limit * MOST_STRETCH).then(|| {
            format!(
                "no end of {phase} after {:.0} s, although there was progress",
                whole.as_secs_f64()
            )
        })
    }

    /// The state of a guest that hung, out of what it answered and its console.
    fn post_mortem(&self, answer: Answer) -> Result<Vec<String>> {
        let asked_at = self.asked_at;
        let (shown_before, shown_after) = post_mortem::LOOKED_AT;
        let console = |from, to| lines_between(&self.console.path, from, to);
        let before = console(asked_at.saturating_sub(shown_before), asked_at)?;
        let after = console(asked_at, asked_at + shown_after)?;
        Ok(post_mortem::tell(answer, before, after))
    }
}

/// A file that grows, read as far as it has come.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Tail {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            path,
            file,
            length: 0,
        })
    }

    /// What has come since the last time, a bounded piece of it.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.length))?;
        (&self.file)
            .take(16 << 20)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", self.path.display()))?;
        self.length += bytes.len() as u64;
        Ok(bytes)
    }

    fn copy_to(&mut self, keep: &Path) -> Result<()> {
        let mut to = File::options()
            .create(true)
            .append(true)
            .open(keep)
            .with_context(|| format!("opening {}", keep.display()))?;
        self.file.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut (&self.file).take(CONSOLE_LIMIT), &mut to)
            .with_context(|| format!("keeping the console in {}", keep.display()))?;
        Ok(())
    }
}

/// The lines of a part of a file, from byte `from` to byte `to`, without what a
/// terminal would take for more than text.
fn lines_between(path: &Path, from: u64, to: u64) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut found = Vec::new();
        file.take(to.saturating_sub(from)).read_to_end(&mut found)?;
        Ok(found)
    };
    let bytes = read().with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .trim_end()
        .lines()
        .map(|l| clean(l.trim_end()))
        .collect())
}

/// The last lines of a file, at most `most`, of a bounded part of it.
fn end_of(path: &Path, most: usize) -> Result<String> {
    let length = std::fs::metadata(path).map_or(0, |m| m.len());
    let lines = lines_between(path, length.saturating_sub(OUTPUT_SHOWN), length)?;
    Ok(last(lines, most).join("\n"))
}

/// The last of them, at most `most`.
fn last(mut lines: Vec<String>, most: usize) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a QEMU that refuses to start is told from a kernel that ends
    /// before it says anything.
    #[test]
    fn a_machine_that_never_was() {
        let with = |words: &str| Observed {
            last_words: words.into(),
            ..Observed::default()
        };
        let refused = "qemu-system-x86_64: -m 1024M: cannot set up guest memory";
        assert_eq!(with(refused).not_started(), Some(refused));
        assert_eq!(with("Booting from ROM..").not_started(), None);
        assert_eq!(with("").not_started(), None);
        let mut ran = with(refused);
        ran.scan.push(b"[    0.000000] Linux version 6.12.1\n");
        assert_eq!(ran.not_started(), None);
    }

    /// Verify that of a file exactly the part asked for is given, as plain text.
    #[test]
    fn lines_are_those_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        std::fs::write(&path, b"one\r\ntwo\n\x1b[31mthree\n\xc3four\n").unwrap();
        let between = |from, to| lines_between(&path, from, to).unwrap();
        assert_eq!(between(0, 9), ["one", "two"]);
        assert_eq!(between(5, 9), ["two"]);
        assert_eq!(between(9, u64::MAX).len(), 2);
        assert!(!between(9, u64::MAX).concat().contains('\u{1b}'));
        assert!(between(9, 3).is_empty());
        assert_eq!(last(between(0, u64::MAX), 1).len(), 1);
        assert_eq!(last(between(0, 9), 5), ["one", "two"]);
    }
}
