// SPDX-License-Identifier: GPL-2.0-only
//! What one boot showed.

use std::collections::BTreeMap;

use protocol::{Event, Outcome};

use crate::{detectors::Watched, results::Metric, splat::Scanner};

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
    /// Why the run was ended from outside, and the case that did not go on. None
    /// of a guest that was ended for what it wrote, or because the whole took too
    /// long: whether the case would have come to an end is not known.
    pub deadline: Option<(String, Option<String>)>,
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
}
