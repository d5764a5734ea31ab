// SPDX-License-Identifier: GPL-2.0-only
//! One boot, watched from start to end: what came through the port, what the
//! console said, and what ended it. Judges nothing.

mod observed;
mod phase;
mod tail;

use std::{path::Path, time::Instant};

use anyhow::Result;
use protocol::Event;

pub use self::{observed::Observed, phase::Deadlines};
pub(crate) use self::{phase::MOST_STRETCH, tail::Tail};
use self::{
    phase::Phase,
    tail::{end_of, lines_between},
};
use crate::{
    exec::{POLL, describe, was_killed},
    interrupt,
    post_mortem::{self, Answer},
    progress::Doing,
    splat::Notice,
    stream::Stream,
    turn::Turn,
    vm::{Spec, Vm},
};

/// What grows beyond this, console, port or output, is flooded. Bytes.
const CONSOLE_LIMIT: u64 = 256 << 20;

/// Lines of the end of the guest's output that are shown.
const OUTPUT_LINES: usize = 20;

/// Lines of the console that are quoted of a guest that never said hello.
const LAST_WORDS: usize = 4;

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
            if let Some((why, case)) = self.overdue(deadlines) {
                step.note(&format!("{why}: asking the guest what it was doing"));
                self.seen.deadline = Some((why, case));
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

    /// Why the run must be ended now, if it must, and the case that hangs.
    fn overdue(&self, deadlines: &Deadlines) -> Option<(String, Option<String>)> {
        if self.written() > CONSOLE_LIMIT {
            let most = CONSOLE_LIMIT >> 20;
            let why = format!(
                "the guest wrote more than {most} MiB to its console, its port or its output"
            );
            return Some((why, None));
        }
        if self.damaged.is_some() {
            return None;
        }
        if self.start.elapsed() > deadlines.whole {
            let why = format!(
                "no end of the whole run, of which this boot took {:.0} s",
                self.start.elapsed().as_secs_f64()
            );
            return Some((why, None));
        }
        let phase = if self.seen.kernel.is_none() {
            Phase::Boot
        } else if let Some(case) = &self.running {
            Phase::Case(case)
        } else if self.stream.is_done() {
            Phase::Shutdown
        } else {
            Phase::Between
        };
        let silent = self.sign.elapsed();
        let why = if self.crashed && silent > deadlines.crashed {
            format!(
                "the kernel crashed in {phase}, and nothing came for {:.0} s",
                silent.as_secs_f64()
            )
        } else {
            phase.late(deadlines, self.progress.elapsed(), self.phase.elapsed())?
        };
        Some((why, self.running.clone()))
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
