// SPDX-License-Identifier: GPL-2.0-only
//! What a boot of a kernel is for: to see cases pass or fail, or to read a
//! figure. The place where a benchmark is connected.

use anyhow::Result;

use super::sight::{Boot, Sight};
use crate::{
    progress::Progress,
    request,
    run::{self, Job},
};

/// Boots a kernel and says what it showed.
pub trait Meter {
    /// Boots the job's kernel. An error means that nothing can be said, of any
    /// commit; what is wrong with this kernel goes into the [`Sight`].
    fn boot(&mut self, job: &Job<'_>, progress: &Progress) -> Result<Boot>;
}

/// Runs the cases: `--case`.
#[derive(Debug)]
pub struct Cases;

impl Meter for Cases {
    fn boot(&mut self, job: &Job<'_>, progress: &Progress) -> Result<Boot> {
        let run = run::run(job, progress)?;
        Ok(Boot {
            sight: Sight::of_run(&run),
            starts: starts(job),
            seconds: run.seconds,
            console: job.console.display().to_string(),
        })
    }
}

/// Runs the cases and takes a figure that one of them reports: `--metric`.
#[derive(Debug)]
pub struct Reported {
    /// The metric's dotted name.
    pub name: String,
}

impl Meter for Reported {
    fn boot(&mut self, job: &Job<'_>, progress: &Progress) -> Result<Boot> {
        let run = run::run(job, progress)?;
        let figure = run.metrics.iter().find(|m| m.name == self.name);
        let sight = match figure {
            Some(figure) => Sight::Measured(figure.value),
            // A kernel that went down before it could be measured.
            None if !run.verdict.is_good() => Sight::of_run(&run),
            None => {
                let mut known: Vec<&str> = run.metrics.iter().map(|m| m.name.as_str()).collect();
                known.dedup();
                return Err(request!(
                    "nothing reported the figure `{}`; reported were: {}",
                    self.name,
                    if known.is_empty() {
                        "none".into()
                    } else {
                        known.join(", ")
                    }
                ));
            }
        };
        Ok(Boot {
            sight,
            starts: starts(job),
            seconds: run.seconds,
            console: job.console.display().to_string(),
        })
    }
}

/// How often the guest was started: its console, which is one file for all of
/// a run's boots, has the kernel's first line for each.
fn starts(job: &Job<'_>) -> usize {
    let bytes = std::fs::read(job.console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .filter(|l| l.contains("Linux version "))
        .count()
        .max(1)
}
