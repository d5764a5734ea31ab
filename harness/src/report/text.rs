// SPDX-License-Identifier: GPL-2.0-only
//! Words and figures as all reports show them.

use protocol::{CaseInfo, Expect};

use crate::{
    results::{Results, Run},
    splat::clean,
};

/// Text on one line, fit for a terminal.
pub(super) fn line(text: &str) -> String {
    let text = clean(&text.replace(['\n', '\r', '\t'], " "));
    text.trim().to_owned()
}

/// One line of text as Markdown shows it: nothing in it is markup, and it fits
/// into a cell of a table.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in line(text).chars() {
        // Within a word `_` is no markup, and names are full of it.
        if "\\`*[]<>|#".contains(c) || (c == '_' && !before.is_alphanumeric()) {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

/// Text as lines, each fit for a terminal.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|l| clean(l).replace('\t', "    ").trim_end().to_owned())
        .collect()
}

/// `6.12 patched`, with the flavor unless it is the default one.
pub(super) fn run_name(run: &Run) -> String {
    let name = format!("{} {}", line(&run.base), run.arm.word());
    if run.flavor == "default" {
        name
    } else {
        format!("{name} {}", line(&run.flavor))
    }
}

/// `6.12-patched-default`, for tools that take no blanks.
pub(crate) fn run_id(run: &Run) -> String {
    id(&format!("{}-{}-{}", run.base, run.arm.word(), run.flavor))
}

/// A name of ASCII letters, digits, `_`, `-` and `.`, never empty.
pub(crate) fn id(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-._".contains(c) {
            c
        } else {
            '_'
        }
    };
    let id: String = name.chars().take(200).map(plain).collect();
    if id.is_empty() { "_".into() } else { id }
}

/// How a case had to end, in words.
pub(super) fn expected(expect: &Expect) -> String {
    match expect {
        Expect::Pass => "pass".into(),
        Expect::Fail { reason } => format!("fail with {}", line(reason)),
        Expect::Hang => "hang".into(),
        Expect::Splat { kind, says } => {
            format!(
                "make the kernel log a {} that says {}",
                line(kind),
                line(says)
            )
        }
        Expect::Crash { says } => format!("bring the kernel down, which says {}", line(says)),
        Expect::Skip => "be skipped".into(),
    }
}

/// What `name` promises, if it was asked for.
pub(super) fn case<'a>(results: &'a Results, name: &str) -> Option<&'a CaseInfo> {
    results.cases.iter().find(|c| c.name == name)
}

/// The names of all cases: those asked for in their order, then any other that
/// a run has.
pub(super) fn case_names(results: &Results) -> Vec<&str> {
    let mut names: Vec<&str> = results.cases.iter().map(|c| c.name.as_str()).collect();
    let mut known: std::collections::HashSet<&str> = names.iter().copied().collect();
    for case in results.runs.iter().flat_map(|r| &r.cases) {
        if known.insert(&case.name) {
            names.push(&case.name);
        }
    }
    names
}

/// `4 min 50 s`, `3.8 s`, `12 ms`.
pub(crate) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
        if h > 0 {
            format!("{h} h {m:02} min")
        } else {
            format!("{m} min {s:02} s")
        }
    }
}

/// `2026-11-23T01:02:03Z`, from seconds since the epoch.
pub(crate) fn utc(epoch: u64) -> String {
    // Saved results may say anything; the year 9999 is the last that tools read.
    let epoch = epoch.min(253_402_300_799);
    let (days, rest) = (epoch / 86_400, epoch % 86_400);
    // Days to a date by eras of 400 years from March on, as Howard Hinnant has it.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + carry;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// `1 case`, `2 cases`.
pub(crate) fn count(n: usize, one: &str) -> String {
    if n == 1 {
        format!("1 {one}")
    } else {
        format!("{n} {one}s")
    }
}

/// At most `most` characters, cut in the middle: names differ at both ends.
pub(super) fn squeeze(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most || most < 5 {
        return text.to_owned();
    }
    let head = (most - 1) / 2;
    let tail = most - 1 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// Lines of at most `width` characters, broken at blanks.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify dates against `date -u -d @N`.
    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_395_723), "2026-11-23T01:02:03Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59Z");
    }

    /// Verify how times are shown around each change of unit.
    #[test]
    fn durations() {
        let shown = [0.0121, 0.9994, 1.0, 59.9, 59.96, 290.0, 3_725.0, f64::NAN].map(seconds);
        assert_eq!(
            shown,
            [
                "12 ms",
                "999 ms",
                "1.0 s",
                "59.9 s",
                "1 min 00 s",
                "4 min 50 s",
                "1 h 02 min",
                "?"
            ]
        );
    }

    /// Verify that hostile names become plain ones.
    #[test]
    fn names_become_plain() {
        assert_eq!(id("a b/c\n#ä"), "a_b_c___");
        assert_eq!(id(""), "_");
        assert_eq!(line("a\nb\u{1b}[31m\tc "), "a b c");
        assert_eq!(squeeze("abcdefghij", 7), "abc…hij");
    }
}
