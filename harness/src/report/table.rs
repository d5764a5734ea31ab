// SPDX-License-Identifier: GPL-2.0-only
//! The table of cases by kernels, for a terminal, and what is bad below it.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    explain::explain,
    problems::{bad, declared, word},
    text,
};
use crate::{
    results::{Results, Run},
    verdict::Verdict,
};

/// How a table is to look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// With the terminal's colours.
    pub colour: bool,
    /// With the reasons of what is good and no pass, and with more of each failure.
    pub verbose: bool,
    /// Columns of the terminal.
    pub width: usize,
}

/// Cases by kernels, as wide as the terminal.
pub fn table(results: &Results, colour: bool, verbose: bool) -> String {
    table_in(
        results,
        Style {
            colour,
            verbose,
            width: terminal_width(),
        },
    )
}

/// Cases by kernels.
pub fn table_in(results: &Results, style: Style) -> String {
    let mut out = String::new();
    grid(&mut out, results, style);
    let problems = bad(results);
    if !problems.is_empty() {
        out.push('\n');
    }
    let mut shown = BTreeSet::new();
    for problem in &problems {
        explain(&mut out, results, problem, style, &mut shown);
    }
    if style.verbose {
        let declared = declared(results);
        if !declared.is_empty() {
            out.push_str("as declared:\n");
        }
        for one in declared {
            let why = text::line(one.why);
            let _ = writeln!(
                out,
                "  {} on {}: {}: {why}",
                one.name(),
                one.places(),
                one.verdict
            );
            for line in text::wrap(&one.names(), style.width.saturating_sub(4).max(30)) {
                let _ = writeln!(out, "    {line}");
            }
        }
        out.push('\n');
    }
    for finding in &results.findings {
        let (base, what) = (text::line(&finding.base), text::line(&finding.what));
        let _ = writeln!(out, "found on {base}: {what}");
    }
    summary(&mut out, results, style);
    out
}

fn summary(out: &mut String, results: &Results, style: Style) {
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|v| (results.count(*v), v))
        .filter(|(n, _)| *n > 0)
        .map(|(n, v)| paint(style, *v, &format!("{n} {v}")))
        .collect();
    let nothing = results.proves_nothing().filter(|_| results.is_acceptable());
    let verdict = if let Some(why) = nothing {
        paint(style, Verdict::Fail, why)
    } else if results.is_good() {
        paint(style, Verdict::Pass, "everything is as it should be")
    } else if results.is_acceptable() {
        let flaky = text::count(results.flaky(), "flaky case");
        paint(
            style,
            Verdict::Skip,
            &format!("as it should be but for {flaky}, as allowed"),
        )
    } else if results.runs.is_empty() {
        paint(style, Verdict::Fail, "nothing was run: this proves nothing")
    } else {
        paint(style, Verdict::Fail, "not as it should be")
    };
    let counts = if counts.is_empty() {
        "no verdicts".to_owned()
    } else {
        counts.join(", ")
    };
    let _ = writeln!(
        out,
        "{verdict}: {counts}, in {}, {}",
        text::count(results.runs.len(), "run"),
        text::seconds(results.seconds)
    );
}

fn grid(out: &mut String, results: &Results, style: Style) {
    let names = text::case_names(results);
    let longest = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let first = longest.clamp(4, style.width.saturating_sub(18).clamp(12, 60));
    let mut rest: &[Run] = &results.runs;
    while !rest.is_empty() {
        // As many kernels side by side as the terminal has room for.
        let mut used = first;
        let fit = rest
            .iter()
            .take_while(|r| {
                used += 2 + column_width(r);
                used <= style.width
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at(fit);
        rest = later;
        block(out, &names, first, now, style);
        if !rest.is_empty() {
            out.push('\n');
        }
    }
}

fn column_width(run: &Run) -> usize {
    let words = run.cases.iter().map(|c| word(c).len());
    let headings = heading(run).map(|h| h.chars().count());
    words
        .chain(headings)
        .chain([run.verdict.word().len()])
        .max()
        .unwrap_or(0)
}

fn heading(run: &Run) -> [String; 3] {
    let version = if run.source.is_empty() {
        &run.base
    } else {
        &run.source
    };
    let flavor = if run.flavor == "default" {
        String::new()
    } else {
        text::line(&run.flavor)
    };
    [text::line(version), run.arm.word().to_owned(), flavor].map(|h| text::squeeze(&h, 16))
}

fn block(out: &mut String, names: &[&str], first: usize, runs: &[Run], style: Style) {
    let widths: Vec<usize> = runs.iter().map(column_width).collect();
    for (at, title) in ["case", "", ""].into_iter().enumerate() {
        let heads: Vec<String> = runs.iter().map(|r| heading(r)[at].clone()).collect();
        if heads.iter().all(String::is_empty) {
            continue;
        }
        let mut row = format!("{title:<first$}");
        for (head, width) in heads.iter().zip(&widths) {
            let _ = write!(row, "  {head:<width$}");
        }
        let _ = writeln!(out, "{}", row.trim_end());
    }
    for name in names {
        let shown = text::squeeze(&text::line(name), first);
        let mut row = format!("{shown:<first$}");
        for (at, (run, width)) in runs.iter().zip(&widths).enumerate() {
            let case = run.cases.iter().find(|c| c.name == *name);
            let verdict = case.map(|c| c.verdict);
            let word = case.map_or("-".to_owned(), word);
            let pad = if at + 1 == runs.len() {
                0
            } else {
                width - word.len()
            };
            let word = match verdict {
                Some(verdict) => paint(style, verdict, &word),
                None => word,
            };
            let _ = write!(row, "  {word}{:pad$}", "");
        }
        let _ = writeln!(out, "{row}");
    }
}

/// `text` in the colour of a verdict.
pub(super) fn paint(style: Style, verdict: Verdict, text: &str) -> String {
    if !style.colour {
        return text.to_owned();
    }
    let colour = match verdict {
        Verdict::Pass => "32",
        good if good.is_good() => "36",
        Verdict::Skip | Verdict::Missing => "1;33",
        _ => "1;31",
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// Columns of the terminal that standard output is; 100 elsewhere.
fn terminal_width() -> usize {
    // SAFETY: winsize is four integers, for which all zeroes is a value.
    let mut size: nix::libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize, and `size` is one that outlives the call.
    let status =
        unsafe { nix::libc::ioctl(nix::libc::STDOUT_FILENO, nix::libc::TIOCGWINSZ, &mut size) };
    if status == 0 && size.ws_col > 0 {
        size.ws_col.into()
    } else {
        100
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn plain(results: &Results) -> String {
        table_in(
            results,
            Style {
                colour: false,
                verbose: false,
                width: 100,
            },
        )
    }

    /// Verify that each verdict is in the row of its case, and that a good run says so.
    #[test]
    fn good_results() {
        let shown = plain(&sample::good());
        let row = shown
            .lines()
            .find(|l| l.starts_with("delivers_to_peer "))
            .unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            words,
            ["delivers_to_peer", "expected-fail", "pass"],
            "{shown}"
        );
        assert!(shown.contains("everything is as it should be: "), "{shown}");
    }

    /// Verify that a failure shows what was expected, what came, and the kernel's report.
    #[test]
    fn bad_results_are_explained() {
        let shown = plain(&sample::bad());
        for part in [
            "SPLAT  no_leak_of_dst on 6.12 patched",
            "expected  pass",
            "got       fail with not-delivered: expected 1 packet",
            "BUG: KASAN: slab-use-after-free",
            "(net/core/filter.c:2490)",
            "HANG  loop_is_bounded",
            "not as it should be: ",
        ] {
            assert!(shown.contains(part), "{part} is not in:\n{shown}");
        }
    }

    /// Verify that the same report of two cases is shown in full once, and named twice.
    #[test]
    fn the_same_report_is_shown_once() {
        let mut results = sample::bad();
        let full = plain(&results).matches("(net/core/filter.c:2490)").count();
        let run = results
            .runs
            .iter_mut()
            .find(|r| r.cases.iter().any(|c| c.verdict == Verdict::Splat))
            .unwrap();
        let splats = run
            .cases
            .iter()
            .find(|c| c.verdict == Verdict::Splat)
            .map(|c| c.splats.clone())
            .unwrap();
        let other = run
            .cases
            .iter_mut()
            .find(|c| c.verdict == Verdict::Pass)
            .unwrap();
        other.verdict = Verdict::Splat;
        other.splats = splats;
        other.why = "the same".into();
        let shown = plain(&results);
        assert_eq!(
            shown.matches("(net/core/filter.c:2490)").count(),
            full,
            "{shown}"
        );
        assert!(shown.contains("(as shown above)"), "{shown}");
    }

    /// Verify that a flaky case has its mark beside the first verdict, and that
    /// the whole stays bad unless it was allowed.
    #[test]
    fn flaky_is_marked() {
        let mut results = sample::good();
        let run = &mut results.runs[1];
        run.verdict = Verdict::Fail;
        run.cases[0].verdict = Verdict::Fail;
        run.cases[0].again = vec![Verdict::Fail, Verdict::Pass];
        let shown = plain(&results);
        assert!(shown.contains("  fail flaky\n"), "{shown}");
        assert!(
            shown.contains("flaky: run again, it came to fail, pass"),
            "{shown}"
        );
        assert!(shown.contains("not as it should be: "), "{shown}");
        results.allow_flaky = true;
        let shown = plain(&results);
        assert!(
            shown.contains("but for 1 flaky case, as allowed"),
            "{shown}"
        );
    }

    /// Verify that a hang is shown with the state of its own guest, not of another.
    #[test]
    fn each_hang_has_its_own_state() {
        let mut results = sample::bad();
        let run = results
            .runs
            .iter_mut()
            .find(|r| r.cases.iter().any(|c| c.verdict == Verdict::Hang))
            .unwrap();
        let hung = run
            .cases
            .iter()
            .find(|c| c.verdict == Verdict::Hang)
            .map(|c| c.name.clone())
            .unwrap();
        run.post_mortem = vec![
            "== another: no progress".into(),
            "CPU#0 in elsewhere+0x1/0x2".into(),
            format!("== {hung}: no progress"),
            "CPU#0 in spin+0x1/0x2".into(),
        ];
        let shown = plain(&results);
        assert!(shown.contains("spin+0x1"), "{shown}");
        assert!(!shown.contains("elsewhere+0x1"), "{shown}");
    }

    /// Verify that no results look like good ones.
    #[test]
    fn nothing_is_not_good() {
        let mut results = sample::good();
        results.runs.clear();
        assert!(plain(&results).contains("nothing was run"));
        let mut results = sample::good();
        results.runs[0].cases.clear();
        assert!(plain(&results).contains("the run has no cases"));
    }

    /// Verify that no row is wider than the terminal, and that nothing a guest
    /// says reaches the terminal as more than text.
    #[test]
    fn fits_and_is_harmless() {
        let mut results = sample::hostile();
        while results.runs.len() < 12 {
            let again = results.runs[0].clone();
            results.runs.push(again);
        }
        for width in [40, 80, 200] {
            let shown = table_in(
                &results,
                Style {
                    colour: false,
                    verbose: true,
                    width,
                },
            );
            let grid = shown.split("\n\n").next().unwrap();
            assert!(
                grid.lines().all(|l| l.chars().count() <= width),
                "{width}:\n{grid}"
            );
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
        }
        let shown = table_in(
            &sample::bad(),
            Style {
                colour: true,
                verbose: false,
                width: 80,
            },
        );
        assert!(shown.contains("\u{1b}[1;31mHANG\u{1b}[0m"));
    }
}
