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
    exec::{POLL, describe, tail},
    interrupt,
    progress::Doing,
    results::Metric,
    splat::Scanner,
    stream::Stream,
    vm::{Spec, Vm},
};

/// A console that grows beyond this is a kernel that floods it. Bytes.
const CONSOLE_LIMIT: u64 = 256 << 20;

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
}

/// Everything that one boot showed.
#[derive(Debug, Default)]
pub struct Observed {
    /// `uname -r`; `None` when there was no `hello`.
    pub kernel: Option<String>,
    /// Build ID of the kernel that ran, as the guest read it.
    pub build_id: Option<String>,
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
    /// How QEMU ended by itself.
    pub ended_by: String,
    /// Reports of the kernel, and how many lines it wrote.
    pub scan: Scanner,
    /// Registers and task dump of a guest that hung.
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

/// Boots, watches to the end, and keeps the console in `keep` (appended).
pub fn watch(
    spec: &Spec<'_>,
    deadlines: &Deadlines,
    keep: &Path,
    step: &Doing<'_>,
) -> Result<Observed> {
    let vm = spec.boot()?;
    let start = Instant::now();
    let mut watch = Watch {
        console: Tail::open(vm.console())?,
        events: Tail::open(vm.events())?,
        vm,
        stream: Stream::default(),
        seen: Observed::default(),
        running: None,
        progress: Instant::now(),
        start,
    };
    let end = watch.until_it_ends(deadlines, step);
    // Whatever happened, what was seen is kept.
    watch.vm.end();
    while watch.drain(step)? {}
    watch.console.copy_to(keep)?;
    end?;
    let Watch {
        mut seen,
        stream,
        vm,
        ..
    } = watch;
    seen.stream_lacks = stream.lacks();
    seen.output = tail(
        &std::fs::read_to_string(vm.output()).unwrap_or_default(),
        20,
    );
    if seen.kernel.is_none() {
        seen.last_words = tail(
            &String::from_utf8_lossy(&std::fs::read(vm.console()).unwrap_or_default()),
            4,
        );
    }
    seen.seconds = start.elapsed().as_secs_f64();
    Ok(seen)
}

struct Watch {
    vm: Vm,
    console: Tail,
    events: Tail,
    stream: Stream,
    seen: Observed,
    running: Option<String>,
    progress: Instant,
    start: Instant,
}

impl Watch {
    fn until_it_ends(&mut self, deadlines: &Deadlines, step: &Doing<'_>) -> Result<()> {
        loop {
            let ended = self.vm.try_wait()?;
            self.drain(step)?;
            if let Some(status) = ended {
                self.seen.ended_by = format!("QEMU ended with {}", describe(status));
                return Ok(());
            }
            interrupt::check()?;
            if let Some(why) = self.overdue(deadlines) {
                step.note(&format!("{why}: asking the guest what it was doing"));
                self.seen.deadline = Some((why, self.running.clone()));
                self.seen.post_mortem = self.vm.post_mortem(Duration::from_secs(5));
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
            self.seen.scan.push(&bytes);
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
        Ok(any)
    }

    fn take(&mut self, event: Event, step: &Doing<'_>) {
        match event {
            Event::Hello {
                kernel,
                build_id,
                cases,
                ..
            } => {
                self.seen.build_id = build_id;
                self.seen.kernel = Some(kernel);
                self.seen.boot_seconds = Some(self.start.elapsed().as_secs_f64());
                step.at(format!("{} cases", cases.len()));
            }
            Event::CaseStart { case } => {
                step.at(format!("{} {case}", self.seen.ended.len() + 1));
                self.seen.started.push(case.clone());
                self.running = Some(case);
            }
            Event::CaseEnd {
                case,
                outcome,
                duration_us,
            } => {
                self.running = None;
                self.seen.ended.insert(case, (outcome, duration_us));
            }
            Event::Metric { name, value, unit } => {
                self.seen.metrics.push(Metric { name, value, unit });
            }
            Event::Log { text } => step.note(&text),
            Event::Done { .. } => {}
        }
    }

    /// Why the run must be ended now, if it must.
    fn overdue(&self, deadlines: &Deadlines) -> Option<String> {
        if self.console.length > CONSOLE_LIMIT {
            return Some(format!(
                "the guest wrote more than {} MiB to its console",
                CONSOLE_LIMIT >> 20
            ));
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
        let waited = self.progress.elapsed();
        (waited > limit)
            .then(|| format!("no progress in {phase} for {:.0} s", waited.as_secs_f64()))
    }
}

/// A file that grows, read as far as it has come.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Tail {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            path,
            file,
            length: 0,
        })
    }

    /// What has come since the last time, a bounded piece of it.
    fn read(&mut self) -> Result<Vec<u8>> {
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
