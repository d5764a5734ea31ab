// SPDX-License-Identifier: GPL-2.0-only
//! A report while its lines are still coming.

use protocol::LEAKED_DURING;

use super::{
    Splat,
    fingerprint::{fingerprint, functions, is_frame},
    rules::{Pattern, RULES, UNNAMED, glob},
    scanner::Report,
};

/// Lines kept of a report.
const KEPT_LINES: usize = 200;

/// The kind of what the kernel says of memory that leaked, as in vm/splats.toml.
pub const KMEMLEAK: &str = "kmemleak";

/// A report under way.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) pattern: &'static Pattern,
    pub(super) title: String,
    pub(super) fatal: bool,
    pub(super) lines: Vec<String>,
    pub(super) seen_lines: usize,
    pub(super) functions: Vec<String>,
    /// A stack trace that may be the last thing in it has begun.
    pub(super) last_trace: bool,
    pub(super) armed: bool,
    /// It has asked other CPUs for their stack traces.
    pub(super) asks: bool,
    pub(super) at: Option<u64>,
    pub(super) writer: String,
    pub(super) case: Option<String>,
    pub(super) after: Option<String>,
}

impl Open {
    pub(super) fn take(&mut self, text: &str, at: Option<u64>) {
        self.seen_lines += 1;
        self.at = at.or(self.at);
        if self.lines.len() < KEPT_LINES {
            self.lines.push(text.to_owned());
        }
        // The kernel looks for leaks when all cases are over; the guest knows whose it is.
        if self.case.is_none()
            && self.pattern.kind == KMEMLEAK
            && let Some((_, case)) = text.rsplit_once(LEAKED_DURING)
        {
            self.case = Some(case.trim_end().to_owned());
            self.after = None;
        }
        self.armed |= self.pattern.after.iter().any(|a| glob(a, text));
        self.asks |= text.starts_with("Sending NMI from CPU ");
        self.last_trace |= self.armed && is_frame(text);
        for function in functions(text, &RULES.fingerprint.noise) {
            if self.functions.len() < self.pattern.functions
                && self.functions.last() != Some(&function)
            {
                self.functions.push(function);
            }
        }
    }

    /// Whether `text` is its last line.
    pub(super) fn ends_with(&self, text: &str) -> bool {
        self.pattern.end.iter().any(|e| glob(e, text))
    }

    /// Whether `text` comes after it, where nothing marks its end.
    pub(super) fn is_over_before(&self, text: &str) -> bool {
        self.pattern.end.is_empty() && self.last_trace && !goes_with_trace(text)
    }

    pub(super) fn into_report(self) -> Report {
        let named = self.pattern.kind != UNNAMED;
        let title = if named {
            self.title
        } else {
            self.lines.get(1).cloned().unwrap_or(self.title)
        };
        let functions = &self.functions[..self.functions.len().min(self.pattern.functions)];
        Report {
            splat: Splat {
                kind: self.pattern.kind.clone(),
                fingerprint: fingerprint(&self.pattern.kind, &title, functions),
                title,
                lines: self.lines,
                count: 1,
                fatal: self.fatal,
            },
            case: self.case,
            after: self.after,
        }
    }
}

/// Lines that stand between and behind stack traces of one report.
pub(super) fn goes_with_trace(text: &str) -> bool {
    const STARTS: [&str; 24] = [
        "RIP",
        "RSP",
        "RAX",
        "RDX",
        "RBP",
        "R10",
        "R13",
        "FS:",
        "CS:",
        "CR2",
        "DR0",
        "DR3",
        "Code:",
        "PKRU",
        "Call ",
        "CPU:",
        "Hardware",
        "Modules",
        "NMI backtrace",
        "Sending NMI",
        "Workqueue",
        "rcu: ",
        "Tainted",
        "backtrace",
    ];
    text.is_empty()
        || text.starts_with([' ', '\t', '<'])
        || STARTS.iter().any(|s| text.starts_with(s))
}
