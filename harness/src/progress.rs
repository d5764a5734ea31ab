// SPDX-License-Identifier: GPL-2.0-only
//! Telling whoever waits what is being done, for how long, and how long it is
//! likely to take. A live line on a terminal, plain lines elsewhere, all on
//! standard error: standard output is for results.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{cache::Cache, results::Step};

const SAVED: &str = "timings.json";

/// Keeps the steps of one invocation.
#[derive(Debug)]
pub struct Progress {
    live: bool,
    /// Several steps may be under way at once.
    bars: MultiProgress,
    quiet: bool,
    /// Seconds that a step of this name and kind took last time.
    expected: Mutex<BTreeMap<String, f64>>,
    steps: Mutex<Vec<Step>>,
}

/// A step that is being worked on.
#[derive(Debug)]
pub struct Doing<'a> {
    progress: &'a Progress,
    name: String,
    what: String,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `quiet` leaves out everything but the steps' record.
    pub fn new(cache: &Cache, quiet: bool) -> Self {
        Self {
            live: std::io::stderr().is_terminal() && !quiet,
            bars: MultiProgress::new(),
            quiet,
            expected: Mutex::new(cache.load(SAVED).unwrap_or_default()),
            steps: Mutex::default(),
        }
    }

    /// Begins a step: `name` is one of the flow's words, `what` its input.
    pub fn begin(&self, name: &str, what: &str) -> Doing<'_> {
        let expected = self.lock_expected().get(&format!("{name} {what}")).copied();
        let usual = expected
            .map(|s| format!(" (last time {})", seconds(s)))
            .unwrap_or_default();
        let bar = self.live.then(|| {
            let bar = self.bars.add(ProgressBar::new_spinner()).with_style(
                ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix:.bold} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_prefix(format!("{name} {what}{usual}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if !self.live && !self.quiet {
            crate::say!("{name} {what}{usual} ...");
        }
        Doing {
            progress: self,
            name: name.into(),
            what: what.into(),
            start: Instant::now(),
            bar,
        }
    }

    /// Says something that stays on the screen.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.live {
            let _ = self.bars.println(text);
        } else {
            crate::say!("{text}");
        }
    }

    /// The steps so far, in the order in which they ended.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Remembers how long the steps took, for the next time.
    pub fn save(&self, cache: &Cache) -> anyhow::Result<()> {
        cache.save(SAVED, &*self.lock_expected())
    }

    fn lock_expected(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, f64>> {
        self.expected.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Doing<'_> {
    /// Shows how far the step is; on a terminal only.
    pub fn at(&self, text: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.into());
        }
    }

    /// Says something that stays on the screen, above the live lines.
    pub fn note(&self, text: &str) {
        self.progress.note(text);
    }

    /// Ends the step. One that used an earlier result again is not timed for
    /// the next expectation.
    pub fn done(self, cached: bool) {
        let took = self.start.elapsed().as_secs_f64();
        if !cached {
            self.progress
                .lock_expected()
                .insert(format!("{} {}", self.name, self.what), took);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if !self.progress.quiet {
            let note = if cached { " (cached)" } else { "" };
            let line = format!("{} {}: {}{note}", self.name, self.what, seconds(took));
            self.progress.note(&line);
        }
        let step = Step {
            name: self.name.clone(),
            what: self.what.clone(),
            seconds: took,
            cached,
        };
        self.progress
            .steps
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(step);
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A duration as people read it: `3.4 s`, `4 min 50 s`.
pub fn seconds(s: f64) -> String {
    if s < 60.0 {
        return format!("{s:.1} s");
    }
    let whole = s.round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    /// Verify that durations read as people write them.
    #[test]
    fn seconds_read_well() {
        assert_eq!(super::seconds(3.44), "3.4 s");
        assert_eq!(super::seconds(119.7), "2 min 00 s");
    }
}
