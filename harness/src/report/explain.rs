// SPDX-License-Identifier: GPL-2.0-only
//! One problem in a terminal: what was expected, what came, why, and what helps
//! to see the cause.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    problems::{Problem, again, context, got, state, why},
    table::{Style, paint},
    text::{self, wrap},
};
use crate::{results::Results, splat::Splat};

/// Lines of a stack trace, a dump or a verifier log that are shown.
const FEW: usize = 12;
/// With --verbose.
const MANY: usize = 200;

/// Writes one problem below its heading. `shown` has the fingerprints of the
/// kernel's reports that were shown before: the same one is shown once.
pub(super) fn explain<'a>(
    out: &mut String,
    results: &Results,
    problem: &Problem<'a>,
    style: Style,
    shown: &mut BTreeSet<&'a str>,
) {
    let most = if style.verbose { MANY } else { FEW };
    let word = paint(
        style,
        problem.verdict,
        &problem.verdict.word().to_uppercase(),
    );
    let mut part = Part { out, most };
    part.heading(
        &word,
        &format!("{} on {}", problem.name(), problem.places()),
    );
    match problem.case() {
        Some(case) => {
            if problem.cases.len() == 1
                && let Some(info) = text::case(results, &case.name)
            {
                part.field(
                    "case",
                    &format!("{} [{}]", info.summary, info.proves.join(" ")),
                );
            }
            part.list(
                "cases",
                &wrap(&problem.names(), style.width.saturating_sub(14).max(30)),
            );
            part.field("expected", &text::expected(&case.expected));
            part.field("got", &got(case));
            part.field("why", &why(problem));
            part.field("again", &again(case));
            part.list("context", &context(case));
        }
        None => part.field("why", &why(problem)),
    }
    for splat in problem.splats() {
        part.splat(splat, shown.insert(&splat.fingerprint));
    }
    let Some(run) = problem.runs.first() else {
        return;
    };
    part.list("its state", &state(problem, run));
    part.field("console", &run.console);
}

struct Part<'a> {
    out: &'a mut String,
    most: usize,
}

impl Part<'_> {
    fn heading(&mut self, word: &str, what: &str) {
        let _ = writeln!(self.out, "{word}  {what}");
    }

    fn field(&mut self, name: &str, value: &str) {
        let value = text::line(value);
        if !value.is_empty() {
            let _ = writeln!(self.out, "    {name:<9} {value}");
        }
    }

    fn list(&mut self, name: &str, lines: &[String]) {
        for (at, line) in lines.iter().take(self.most).enumerate() {
            let name = if at == 0 { name } else { "" };
            let _ = writeln!(self.out, "    {name:<9} {line}");
        }
        if lines.len() > self.most {
            let more = text::count(lines.len() - self.most, "more line");
            let _ = writeln!(
                self.out,
                "    {:<9} ... {more}: --verbose, or report.html of --results",
                ""
            );
        }
    }

    fn splat(&mut self, splat: &Splat, first: bool) {
        let times = if splat.count > 1 {
            format!(", {} times", splat.count)
        } else {
            String::new()
        };
        let above = if first { "" } else { " (as shown above)" };
        self.field(
            "kernel",
            &format!("{}{times}: {}{above}", splat.kind, splat.title),
        );
        if !first {
            return;
        }
        // The stack trace says most, and comes last.
        let lines: Vec<String> = splat.lines.iter().flat_map(|l| text::lines(l)).collect();
        let trace = lines
            .iter()
            .position(|l| l.contains("Call Trace"))
            .unwrap_or(0);
        self.list("", &lines[trace..]);
    }
}
