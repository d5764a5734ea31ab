// SPDX-License-Identifier: GPL-2.0-only
//! Where the records go: a virtio-serial port, or standard output for people.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::time::{ClockId, clock_gettime};
use protocol::{Event, Outcome, Record, VERSION};

use crate::{build_id, detectors};

/// Takes events in order.
pub(crate) struct Report {
    to: To,
    seq: u64,
}

enum To {
    Port(File),
    People { failed: usize },
}

impl Report {
    /// To a port where one is named, or else to people.
    pub(crate) fn open(port: Option<&str>) -> Result<Self> {
        port.map_or_else(|| Ok(Self::to_people()), Self::to_port)
    }

    /// Says which kernel runs, and the cases that will be run.
    pub(crate) fn hello(&mut self, cases: Vec<String>) -> Result<()> {
        let kernel = nix::sys::utsname::uname()?
            .release()
            .to_string_lossy()
            .into_owned();
        self.send(Event::Hello {
            protocol: VERSION,
            kernel,
            build_id: build_id::running(),
            cases,
            detectors: detectors::at_work(),
        })
    }

    /// Says that so many cases ended and that nothing more comes.
    pub(crate) fn done(&mut self, cases: u64) -> Result<()> {
        self.send(Event::Done {
            cases,
            detectors: detectors::at_work(),
        })
    }

    /// To a port by path, or by name when it is `auto`.
    fn to_port(port: &str) -> Result<Self> {
        let path = if port == "auto" {
            find_port()?
        } else {
            PathBuf::from(port)
        };
        // Opened once: two owners of a virtio port can lose a wake-up.
        let file = File::options()
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        let _ = RAW.set(file.try_clone().context("sharing the events port")?);
        Ok(Self {
            to: To::Port(file),
            seq: 0,
        })
    }

    /// To standard output.
    fn to_people() -> Self {
        Self {
            to: To::People { failed: 0 },
            seq: 0,
        }
    }

    /// Sends an event.
    pub(crate) fn send(&mut self, event: Event) -> Result<()> {
        match &mut self.to {
            To::Port(file) => {
                let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
                let at_us = Duration::from(now).as_micros() as u64;
                let record = Record {
                    seq: self.seq,
                    at_us,
                    event,
                };
                self.seq += 1;
                let line = serde_json::to_string(&record)? + "\n";
                file.write_all(line.as_bytes())
                    .context("writing to the events port")
            }
            To::People { failed } => {
                if let Event::CaseEnd {
                    case,
                    outcome,
                    duration_us,
                } = &event
                {
                    let ms = duration_us / 1000;
                    match outcome {
                        Outcome::Pass => println!("pass  {case} ({ms} ms)"),
                        Outcome::Skip { why } => println!("skip  {case}: {why}"),
                        Outcome::Fail(f) => {
                            *failed += 1;
                            println!("FAIL  {case}: {}: {}", f.reason, f.message);
                            for line in f.context.iter().flat_map(|c| c.lines()) {
                                println!("      {line}");
                            }
                        }
                    }
                }
                if let Event::Log { text } = &event {
                    println!("note  {text}");
                }
                if let Event::Metric { name, value, unit } = event {
                    println!("{name:<40} {value:>12.1} {unit}");
                }
                Ok(())
            }
        }
    }

    /// Says what leaked. A host sees that in the kernel log.
    pub(crate) fn leaks(&mut self, lines: &[String]) {
        if let To::People { failed } = &mut self.to {
            for line in lines {
                println!("LEAK  {line}");
            }
            *failed += usize::from(!lines.is_empty());
        }
    }

    /// How many cases failed, or left memory behind, where people are told; a host judges by itself.
    pub(crate) fn failed(&self) -> usize {
        match self.to {
            To::Port(_) => 0,
            To::People { failed } => failed,
        }
    }
}

/// The port, for [`raw`]: it can be opened only once.
static RAW: OnceLock<File> = OnceLock::new();

/// Writes bytes to the port past every rule, as a guest that is broken would.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    let mut port = RAW.get().context("there is no events port")?;
    port.write_all(bytes).context("writing to the events port")
}

fn find_port() -> Result<PathBuf> {
    let dir = Path::new("/sys/class/virtio-ports");
    for entry in fs::read_dir(dir)
        .with_context(|| format!("{} is missing: is this a guest?", dir.display()))?
    {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|n| n.trim() == protocol::PORT) {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    bail!("no virtio-serial port is named {}", protocol::PORT)
}

/// Writes a line into the kernel log, so that what the kernel says meanwhile
/// belongs to a case. On a machine where that is not allowed there is no host
/// that looks for it either.
pub(crate) fn mark(text: &str) {
    if let Ok(mut kmsg) = File::options().write(true).open("/dev/kmsg") {
        let _ = kmsg.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    /// Verify that what leaks by hand is a failure.
    #[test]
    fn leaks_fail() {
        let mut report = Report::to_people();
        report.leaks(&[]);
        assert_eq!(report.failed(), 0);
        report.leaks(&["unreferenced object".into(), "  comm".into()]);
        assert_eq!(report.failed(), 1);
    }
}
