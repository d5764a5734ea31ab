// SPDX-License-Identifier: GPL-2.0-only
//! The table as text, and as the page in docs/.

use std::fmt::Write as _;

use protocol::{Arm, CaseInfo, Expect, Expectation};

use super::row::Row;
use crate::{mutate::Mutation, session::DEFAULT_BASE};

/// The table for a terminal.
pub(super) fn plain(rows: &[Row<'_>]) -> String {
    rows.iter().fold(String::new(), |mut out, row| {
        let mark = if row.covered { "ok  " } else { "NONE" };
        let _ = writeln!(out, "{mark} {:<30} {}", row.id, row.text);
        for case in &row.cases {
            let _ = writeln!(out, "         {case}");
        }
        for (subject, case) in &row.mutations {
            let _ = writeln!(out, "         broken on purpose: {subject} ({case})");
        }
        if let Some(command) = row.command {
            let _ = writeln!(out, "         measured by `cargo harness {command}`");
        }
        out
    })
}

/// The table as the page in docs/, with the cases below.
pub(super) fn page(rows: &[Row<'_>], cases: &[CaseInfo], mutations: &[Mutation]) -> String {
    let mut out = String::from(
        "# What proves which requirement\n\n\
         Made by `cargo harness cases --markdown`; `cargo harness check` fails where it says something else than the cases, \
         and where a requirement has no proof. `kernel:` is a test of the kernel's own that the cases match. The last column \
         is what breaks it on purpose (kernel-patches/LINE/mutations), and the case that notices.\n\n\
         | requirement | | proved by | broken on purpose: noticed by |\n|---|---|---|---|\n",
    );
    for row in rows {
        let mut proofs: Vec<String> = row.cases.iter().map(|c| format!("`{c}`")).collect();
        proofs.extend(row.command.map(|c| format!("`cargo harness {c}`")));
        if proofs.is_empty() {
            proofs.push(
                if row.covered {
                    "&#8594;"
                } else {
                    "**nothing**"
                }
                .into(),
            );
        }
        let broken: Vec<String> = row
            .mutations
            .iter()
            .map(|(subject, case)| format!("{subject}: `{case}`"))
            .collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            row.id,
            row.text,
            proofs.join(", "),
            broken.join("; ")
        );
    }
    let _ = write!(
        out,
        "\n## The cases\n\nA case passes on every arm and base unless the fourth column says otherwise. The last one has the \
         mutations that make it fail: their numbers, of {DEFAULT_BASE} unless another line is named.\n\n\
         | case | proves | | elsewhere than by a pass | seen to fail by |\n|---|---|---|---|---|\n"
    );
    for case in cases {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            case.name,
            case.proves.join(", "),
            case.summary.replace('|', "\\|"),
            elsewhere(case),
            seen_to_fail_by(case, mutations)
        );
    }
    out
}

/// On which arms and bases a case ends otherwise than by a pass, and how.
fn elsewhere(case: &CaseInfo) -> String {
    let one = |e: &Expectation| {
        let arm = e.arm.map_or("all arms", Arm::word);
        let bases = if e.bases.is_empty() {
            String::new()
        } else {
            format!(" of {}", e.bases.join(", "))
        };
        let how = match &e.expect {
            Expect::Pass => "passes".to_owned(),
            Expect::Fail { reason } => format!("fails: {reason}"),
            Expect::Hang => "hangs".to_owned(),
            Expect::Splat { kind, says } => {
                format!("makes the kernel log a {kind} that says `{says}`")
            }
            Expect::Crash { says } => format!("brings the kernel down, which says `{says}`"),
            Expect::Skip => "is skipped".to_owned(),
        };
        format!("{arm}{bases}: {how}")
    };
    let all: Vec<String> = case.expectations.iter().map(one).collect();
    all.join("; ")
}

/// The numbers of the mutations that a case notices.
fn seen_to_fail_by(case: &CaseInfo, mutations: &[Mutation]) -> String {
    let number = |m: &Mutation| {
        let number = m.patch.file_name()?.to_str()?.split('-').next()?;
        Some(if m.base == DEFAULT_BASE {
            number.to_owned()
        } else {
            format!("{} {number}", m.base)
        })
    };
    let numbers: Vec<String> = mutations
        .iter()
        .filter(|m| m.is_noticed_by(case))
        .filter_map(number)
        .collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{
        made_up::{case, mutation, skipped_on},
        row::rows,
    };

    /// Verify that the page shouts where nothing proves a requirement.
    #[test]
    fn nothing_is_said_loudly() {
        let cases = [case("a", &["R1"])];
        let page = page(&rows(&cases, &[], &[]), &cases, &[]);
        assert!(page.contains(
            "| R2 | packets of an L3 device, given a header, are delivered | **nothing** |"
        ));
        assert!(
            page.contains("| R1 | the peer's MTU does not limit what it receives | `a` |"),
            "{page}"
        );
    }

    /// Verify that a case is shown with the mutations that it notices, those of
    /// other lines with their line, and with what it does where it does not pass.
    #[test]
    fn what_is_said_of_a_case() {
        let skipped = skipped_on("c", &[], DEFAULT_BASE);
        let mut others = mutation("R1", "?");
        others.base = "7.3".into();
        let mutations = [mutation("R1", "a*"), others];
        assert_eq!(
            seen_to_fail_by(&case("a", &[]), &mutations),
            "0001, 7.3 0001"
        );
        assert_eq!(seen_to_fail_by(&skipped, &mutations), "7.3 0001");
        assert_eq!(seen_to_fail_by(&skipped, &mutations[..1]), "");
        assert_eq!(
            elsewhere(&skipped),
            format!("all arms of {DEFAULT_BASE}: is skipped")
        );
    }
}
