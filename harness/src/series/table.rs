// SPDX-License-Identifier: GPL-2.0-only
//! One table, checks by patches of every base, and below it every finding.

use std::fmt::Write;

use super::finding::{Checked, Finding, Outcome, Row};

/// How it is to look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// With the terminal's colours.
    pub colour: bool,
    /// With the reason of each check that a base has nothing for.
    pub verbose: bool,
}

/// The whole of it, as text.
pub fn table(checked: &Checked, style: Style) -> String {
    let mut out = String::new();
    patches(&mut out, checked);
    grid(&mut out, checked, style);
    details(&mut out, checked, style);
    out
}

fn patches(out: &mut String, checked: &Checked) {
    let mut base = "";
    for row in &checked.rows {
        if row.base != base {
            base = &row.base;
            let _ = writeln!(out, "Linux {}", row.version);
        }
        let commit = if row.commit.is_empty() {
            "(not applied)"
        } else {
            &row.commit[..12.min(row.commit.len())]
        };
        let _ = writeln!(out, "  {} {commit} {}", name(row), row.subject);
    }
    out.push('\n');
}

/// `1/3`, or `strip`.
fn name(row: &Row) -> String {
    if row.number == 0 {
        "strip".into()
    } else {
        format!("{}/{}", row.number, row.of)
    }
}

/// The checks in the order in which they first appear in a row.
fn checks(checked: &Checked) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    // The longest row has them all; a patch that does not apply has one only.
    let longest = checked.rows.iter().max_by_key(|r| r.cells.len());
    for row in longest.into_iter().chain(&checked.rows) {
        for cell in &row.cells {
            if !names.contains(&cell.check.as_str()) {
                names.push(&cell.check);
            }
        }
    }
    names
}

fn grid(out: &mut String, checked: &Checked, style: Style) {
    let checks = checks(checked);
    let first = checks.iter().map(|c| c.len()).max().unwrap_or(0);
    let column = |row: &Row| {
        let widest = row.cells.iter().map(|c| c.outcome.mark().len()).max();
        widest.unwrap_or(0).max(2) + 1
    };
    let mut head = format!("{:first$}", "");
    let mut numbers = head.clone();
    for (index, row) in checked.rows.iter().enumerate() {
        let new = index == 0 || checked.rows[index - 1].base != row.base;
        if new {
            numbers.push_str("  ");
            // A base's name may be wider than its only column.
            let pad = numbers.len().saturating_sub(head.len()).max(1);
            let _ = write!(head, "{:pad$}{}", "", row.base);
        }
        let number = if row.number == 0 {
            "s".into()
        } else {
            row.number.to_string()
        };
        let _ = write!(numbers, "{number:<width$}", width = column(row));
    }
    let _ = writeln!(out, "{}\n{}", head.trim_end(), numbers.trim_end());
    for check in checks {
        let mut line = format!("{check:first$}");
        for (index, row) in checked.rows.iter().enumerate() {
            if index == 0 || checked.rows[index - 1].base != row.base {
                line.push_str("  ");
            }
            let cell = row.cells.iter().find(|c| c.check == check);
            let mark = cell.map_or(String::new(), |c| c.outcome.mark());
            let pad = column(row) - mark.len();
            line.push_str(&match cell {
                Some(cell) if style.colour => paint(&cell.outcome, &mark),
                _ => mark,
            });
            line.push_str(&" ".repeat(pad));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = writeln!(
        out,
        "\nok good, !N findings, - nothing to check there, ? could not be checked"
    );
}

fn paint(outcome: &Outcome, mark: &str) -> String {
    let code = match outcome {
        Outcome::Good => "32",
        Outcome::Found { .. } => "31;1",
        Outcome::NotHere { .. } => "2",
        Outcome::Untold { .. } => "33",
    };
    format!("\x1b[{code}m{mark}\x1b[0m")
}

fn details(out: &mut String, checked: &Checked, style: Style) {
    // The same reason for every patch of a base is said once.
    let mut said: Vec<String> = Vec::new();
    for row in &checked.rows {
        findings(out, row);
        for cell in &row.cells {
            match &cell.outcome {
                Outcome::Good | Outcome::Found { .. } => {}
                Outcome::Untold { why } => {
                    said.push(format!("? {} {}: {}", row.base, cell.check, plain(why)));
                }
                Outcome::NotHere { why } if style.verbose => {
                    said.push(format!("- {} {}: {}", row.base, cell.check, plain(why)));
                }
                Outcome::NotHere { .. } => {}
            }
        }
    }
    for why in &checked.missed {
        said.push(format!("? {}", plain(why)));
    }
    let mut seen = std::collections::BTreeSet::new();
    for line in said.into_iter().filter(|l| seen.insert(l.clone())) {
        let _ = writeln!(out, "{line}");
    }
}

/// What was found of a patch: what several checks found is said once.
fn findings(out: &mut String, row: &Row) {
    let mut found: Vec<(&Finding, Vec<&str>)> = Vec::new();
    for cell in &row.cells {
        let Outcome::Found { findings } = &cell.outcome else {
            continue;
        };
        for finding in findings {
            match found.iter_mut().find(|(one, _)| *one == finding) {
                Some((_, checks)) => checks.push(&cell.check),
                None => found.push((finding, vec![&cell.check])),
            }
        }
    }
    for (f, checks) in found {
        let checks = match checks.as_slice() {
            [first, rest @ ..] if rest.len() > 2 => format!("{first} and {} others", rest.len()),
            few => few.join(", "),
        };
        let line = f.line.map(|l| format!(":{l}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{} {} {checks}: {}{line}: {} [{}]",
            row.base,
            name(row),
            plain(&f.file),
            plain(&f.text),
            f.tool
        );
    }
}

/// What comes from a tree or a tool is data: control characters, which a
/// terminal would obey, are taken out; further lines are indented.
fn plain(text: &str) -> String {
    text.lines()
        .map(|l| {
            l.chars()
                .map(|c| {
                    if c.is_control() && c != '\t' {
                        '\u{fffd}'
                    } else {
                        c
                    }
                })
                .collect::<String>()
        })
        .collect::<Vec<_>>()
        .join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(base: &str, number: usize, cells: Vec<(&str, Outcome)>) -> Row {
        let mut row = Row {
            base: base.into(),
            version: format!("{base}.1"),
            number,
            of: 2,
            subject: "net: Do something".into(),
            commit: "0123456789abcdef".into(),
            cells: Vec::new(),
        };
        for (check, outcome) in cells {
            row.put(check, outcome);
        }
        row
    }

    /// Verify that every base has its columns, that a finding is shown with
    /// place and tool, that a reason is said once, and that what a tool printed
    /// cannot command a terminal.
    #[test]
    fn table_names_everything() {
        let untold = || Outcome::Untold {
            why: "clang is missing".into(),
        };
        let found = Outcome::of(vec![Finding {
            file: "net/core/dev.c".into(),
            line: Some(12),
            tool: "gcc 12".into(),
            text: "unused \x1b[2Jvariable".into(),
        }]);
        let checked = Checked {
            rows: vec![
                row("5.10", 1, vec![("W=1", Outcome::Good), ("clang", untold())]),
                row("6.12", 1, vec![("W=1", found), ("clang", untold())]),
                row("6.12", 2, vec![("W=1", Outcome::Good), ("clang", untold())]),
            ],
            missed: vec!["base 7.3 cannot be had".into()],
        };
        let text = table(
            &checked,
            Style {
                colour: false,
                verbose: false,
            },
        );
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|l| l.starts_with("W=1")).unwrap();
        assert_eq!(lines[at - 2], "       5.10 6.12", "{text}");
        assert_eq!(lines[at - 1], "       1    1  2", "{text}");
        assert_eq!(lines[at], "W=1    ok   !1 ok", "{text}");
        assert_eq!(lines[at + 1], "clang  ?    ?  ?", "{text}");
        assert!(
            text.contains("6.12 1/2 W=1: net/core/dev.c:12: unused \u{fffd}[2Jvariable [gcc 12]"),
            "{text}"
        );
        assert_eq!(text.matches("6.12 clang: clang is missing").count(), 1);
        assert!(text.ends_with("? base 7.3 cannot be had\n"), "{text}");
    }

    /// Verify that what several checks found is said once, with all of them or the
    /// first and how many more.
    #[test]
    fn one_finding_is_said_once() {
        let found = |lines: &[u32]| {
            let one = |line: &u32| Finding {
                file: "a.c".into(),
                line: Some(*line),
                tool: "gcc".into(),
                text: "unused".into(),
            };
            Outcome::of(lines.iter().map(one).collect())
        };
        let cells = vec![
            ("W=1", found(&[1, 2])),
            ("A=n", found(&[2, 1])),
            ("B=n", Outcome::Good),
            ("C=n", found(&[1])),
            ("D=n", found(&[1])),
        ];
        let mut out = String::new();
        findings(&mut out, &row("6.12", 1, cells));
        assert_eq!(
            out,
            "6.12 1/2 W=1 and 3 others: a.c:1: unused [gcc]\n\
             6.12 1/2 W=1, A=n: a.c:2: unused [gcc]\n"
        );
    }
}
