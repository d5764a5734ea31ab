// SPDX-License-Identifier: GPL-2.0-only
//! Finds the kernel's reports on its console, while it comes. Takes anything,
//! keeps a bounded part of it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{MARK_END, MARK_START};

use super::{
    Splat,
    kept::Kept,
    line::{Message, messages},
    open::{Open, goes_with_trace},
    rules::{Pattern, RULES, UNNAMED},
};

/// A line without end is taken as it is after this many bytes.
const LONGEST_LINE: usize = 16 << 10;
/// A message that comes later than this is not part of the report. Microseconds.
const GAP: u64 = 2_000_000;
/// Reports that may be under way at once, one for each CPU or task.
const MOST_OPEN: usize = 16;
/// Names of cases that are remembered, and how long one may be.
pub(super) const MOST_CASES: usize = 10_000;
const LONGEST_NAME: usize = 200;

/// What the kernel says in place of messages that its ring buffer no longer
/// had when the console was ready for them.
const DROPPED: [&str; 2] = ["** ", " printk messages dropped"];
/// The last that a kernel says, from kernel/reboot.c.
const LAST_WORDS: [&str; 4] = [
    "reboot: Power down",
    "reboot: Restarting system",
    "reboot: System halted",
    "reboot: machine restart",
];

/// A report and the case during which it came. Two cases with the same report
/// have one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the kernel logged.
    pub splat: Splat,
    /// The case that was running, or that allocated what leaked; `None` between
    /// cases, while booting and after.
    pub case: Option<String>,
    /// Outside a case, the last one that ran before it.
    pub after: Option<String>,
}

/// That a report has begun. What it says will be known at the end of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// As [`Splat::kind`].
    pub kind: String,
    /// The line that says so.
    pub line: String,
    /// The kernel cannot go on: waiting for progress is in vain.
    pub fatal: bool,
}

/// Reads a console.
#[derive(Debug, Default)]
pub struct Scanner {
    partial: Vec<u8>,
    timed: u64,
    /// Lines without a timestamp, from the kernel's first one on: firmware is before it.
    untimed: u64,
    case: Option<String>,
    last: Option<String>,
    marked: BTreeSet<String>,
    /// Cases whose end the kernel log says.
    closed: BTreeSet<String>,
    /// The kernel's last words before it went: nothing is missing at the end.
    gone: bool,
    /// What the kernel said of messages that it wrote to no console.
    dropped: Option<String>,
    open: Vec<Open>,
    /// CPUs that write a part of another CPU's report, as it asked them to, and
    /// the writer of that report.
    asked: BTreeMap<String, String>,
    /// A line of `=`, which is part of the report if one follows.
    rule: Option<String>,
    /// Somebody asked for a dump of all tasks: its stack traces are no reports.
    dumping: bool,
    fatal: bool,
    kept: Kept,
}

impl Scanner {
    /// Takes bytes as they come and says which reports begin in them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for part in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let (text, whole) = match part.split_last() {
                Some((b'\n' | b'\r', text)) => (text, true),
                _ => (part, false),
            };
            // A piece at a time, so that no single call makes the line long either.
            for piece in text.chunks(LONGEST_LINE / 4) {
                self.partial.extend_from_slice(piece);
                if self.partial.len() > LONGEST_LINE {
                    self.flush_long(&mut notices);
                }
            }
            if whole {
                let line = std::mem::take(&mut self.partial);
                self.line(&line, &mut notices);
            }
        }
        notices
    }

    /// Messages of the kernel so far. None means that nobody was watching, not
    /// that nothing was wrong.
    pub fn lines(&self) -> u64 {
        if self.timed > 0 {
            self.timed
        } else {
            self.untimed
        }
    }

    /// Whether the kernel log says that `case` started.
    pub fn marked(&self, case: &str) -> bool {
        self.marked.contains(case)
    }

    /// Whether the kernel log says that `case` is over.
    pub fn closed(&self, case: &str) -> bool {
        self.closed.contains(case)
    }

    /// Whether the kernel said that it turns the machine off, its last words.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// What the kernel said, if it did, of messages that did not get to the
    /// console, which was too slow for them: any of them may be a report.
    pub fn dropped(&self) -> Option<&str> {
        self.dropped.as_deref()
    }

    /// Whether a report so far means that the kernel cannot go on.
    pub fn fatal(&self) -> bool {
        self.fatal
    }

    /// The reports, in the order in which they were over.
    pub fn finish(mut self) -> Vec<Report> {
        let line = std::mem::take(&mut self.partial);
        self.line(&line, &mut Vec::new());
        for open in std::mem::take(&mut self.open) {
            self.kept.add(open.into_report());
        }
        self.kept.reports
    }

    /// Takes a line that is too long to wait for its end, but not the start of
    /// a message at the end of it.
    fn flush_long(&mut self, notices: &mut Vec<Notice>) {
        let tail = self.partial.len().saturating_sub(LONGEST_LINE / 8);
        let at = self.partial[tail..]
            .iter()
            .position(|b| *b == b'[')
            .map_or(self.partial.len(), |i| tail + i);
        let rest = self.partial.split_off(at);
        let line = std::mem::replace(&mut self.partial, rest);
        self.line(&line, notices);
    }

    fn line(&mut self, raw: &[u8], notices: &mut Vec<Notice>) {
        for message in messages(raw) {
            match message.at {
                Some(_) => self.timed += 1,
                None if self.untimed > 0 || message.text.contains("Linux version ") => {
                    self.untimed += 1
                }
                None => {}
            }
            self.message(&message, notices);
        }
    }

    fn message(&mut self, message: &Message, notices: &mut Vec<Notice>) {
        let text = message.text.as_str();
        // With timestamps, what has none is not from the kernel.
        let of_kernel = message.at.is_some() || self.timed == 0;
        if of_kernel && self.mark(text) {
            return;
        }
        if DROPPED.iter().all(|words| text.contains(words)) && self.dropped.is_none() {
            self.dropped = Some(text.chars().take(LONGEST_NAME).collect());
        }
        self.gone |= message.at.is_some() && LAST_WORDS.contains(&text.trim());
        self.dumping |= of_kernel && text.starts_with("sysrq: Show ");
        // Each CPU or task, and user space, writes a stream of its own.
        let writer = if message.at.is_some() {
            message.caller.as_str()
        } else {
            "-"
        };
        let writer = self.author(text, writer);
        let writer = writer.as_str();
        let open = self.open.iter().position(|o| o.writer == writer);
        let open = open.and_then(|at| {
            let o = &self.open[at];
            let late =
                matches!((o.at, message.at), (Some(a), Some(b)) if b.saturating_sub(a) > GAP);
            if !late {
                return Some(at);
            }
            let o = self.open.remove(at);
            self.kept.add(o.into_report());
            None
        });
        if let Some(at) = open
            && self.open[at].ends_with(text)
        {
            let mut o = self.open.remove(at);
            o.take(text, message.at);
            self.kept.add(o.into_report());
            return;
        }
        let pattern = RULES
            .find(text)
            .filter(|p| !(self.dumping && p.kind == "trace"));
        match (open, pattern) {
            (Some(at), Some(p)) if self.belongs(&self.open[at], p) => {
                self.join(at, p, message, notices)
            }
            (Some(at), Some(p)) => {
                let o = self.open.remove(at);
                self.kept.add(o.into_report());
                self.begin(p, message, writer, notices);
            }
            (None, Some(p)) => self.begin(p, message, writer, notices),
            (Some(at), None) => {
                let o = &mut self.open[at];
                if o.is_over_before(text) {
                    let o = self.open.remove(at);
                    self.kept.add(o.into_report());
                } else {
                    o.take(text, message.at);
                    self.close_if_full(at);
                }
            }
            (None, None) => {}
        }
        self.rule = is_rule(text).then(|| text.to_owned());
    }

    /// Whose report a line of `writer` belongs to. A CPU that finds a stall asks
    /// the others by NMI where they are, and each of them answers by itself.
    fn author(&mut self, text: &str, writer: &str) -> String {
        if text.starts_with("NMI backtrace for cpu ") {
            let asking = self.open.iter().find(|o| o.asks);
            if let Some(asking) = asking.filter(|o| o.writer != writer) {
                self.asked.insert(writer.to_owned(), asking.writer.clone());
            }
        }
        let Some(asking) = self.asked.get(writer) else {
            return writer.to_owned();
        };
        let going_on = self.open.iter().any(|o| &o.writer == asking);
        let answers = goes_with_trace(text) && RULES.find(text).is_none_or(|p| p.kind == "trace");
        if going_on && answers {
            return asking.clone();
        }
        self.asked.remove(writer);
        writer.to_owned()
    }

    /// Whether a line of `pattern` is part of the report that is under way. What
    /// begins in another case is one of its own, but for the rest of one that
    /// the mark of a case fell into.
    fn belongs(&self, open: &Open, pattern: &Pattern) -> bool {
        pattern.joins(&open.pattern.kind)
            && (open.case == self.case || (!pattern.names() && !open.last_trace))
    }

    /// Takes the mark of a case; gives whether it was one.
    fn mark(&mut self, text: &str) -> bool {
        let name = |name: &str| name.chars().take(LONGEST_NAME).collect::<String>();
        if let Some(case) = text.strip_prefix(MARK_START).map(name) {
            if self.marked.len() < MOST_CASES {
                self.marked.insert(case.clone());
            }
            self.dumping = false;
            self.case = Some(case);
            true
        } else if let Some(case) = text.strip_prefix(MARK_END).map(name) {
            if self.closed.len() < MOST_CASES {
                self.closed.insert(case.clone());
            }
            self.last = Some(case);
            self.case = None;
            true
        } else {
            // Nothing else that the guest writes about itself is a report either.
            text.starts_with("redirect-peer: ")
        }
    }

    fn begin(
        &mut self,
        pattern: &'static Pattern,
        message: &Message,
        writer: &str,
        notices: &mut Vec<Notice>,
    ) {
        let mut lines = Vec::new();
        lines.extend(self.rule.take());
        let mut open = Open {
            pattern,
            title: message.text.trim().to_owned(),
            fatal: pattern.fatal,
            seen_lines: lines.len(),
            lines,
            functions: Vec::new(),
            last_trace: false,
            armed: pattern.after.is_empty(),
            asks: false,
            at: message.at,
            writer: writer.to_owned(),
            case: self.case.clone(),
            after: if self.case.is_none() {
                self.last.clone()
            } else {
                None
            },
        };
        open.take(&message.text, message.at);
        self.notice(pattern, &message.text, notices);
        if self.open.len() == MOST_OPEN {
            let oldest = self.open.remove(0);
            self.kept.add(oldest.into_report());
        }
        self.open.push(open);
        self.close_if_full(self.open.len() - 1);
    }

    fn join(
        &mut self,
        at: usize,
        pattern: &'static Pattern,
        message: &Message,
        notices: &mut Vec<Notice>,
    ) {
        let open = &mut self.open[at];
        if open.pattern.kind == UNNAMED && pattern.names() {
            open.pattern = pattern;
            open.title = message.text.trim().to_owned();
            open.armed = pattern.after.is_empty();
        }
        let news = pattern.fatal && !open.fatal;
        open.fatal |= pattern.fatal;
        open.take(&message.text, message.at);
        if news {
            self.notice(pattern, &message.text, notices);
        }
        self.close_if_full(at);
    }

    fn notice(&mut self, pattern: &Pattern, line: &str, notices: &mut Vec<Notice>) {
        self.fatal |= pattern.fatal;
        // Noise must not become a list without end either.
        if notices.len() < MOST_OPEN || pattern.fatal && notices.len() < MOST_CASES {
            notices.push(Notice {
                kind: pattern.kind.clone(),
                line: line.to_owned(),
                fatal: pattern.fatal,
            });
        }
    }

    fn close_if_full(&mut self, at: usize) {
        if self.open[at].seen_lines >= self.open[at].pattern.most {
            let open = self.open.remove(at);
            self.kept.add(open.into_report());
        }
    }
}

fn is_rule(text: &str) -> bool {
    text.len() >= 20 && text.bytes().all(|b| b == b'=')
}
