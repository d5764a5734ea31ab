// SPDX-License-Identifier: GPL-2.0-only
//! `list`: what each case proves, where it must pass, and how it ends elsewhere.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo, Expect, Expectation};

use crate::{
    cases::{self, Case},
    intree,
};

/// The bases that cases are declared for: those of kernel-patches/bases.toml.
const BASES: [&str; 4] = ["5.10", "6.1", "6.12", "7.3"];

/// Prints the cases: all, or those of one kind.
pub(crate) fn list(json: bool, faults: bool, in_tree: &[PathBuf]) -> Result<ExitCode> {
    let cases = if !in_tree.is_empty() {
        let each = in_tree.iter().map(|dir| intree::cases(dir));
        each.collect::<Result<Vec<_>>>()?.concat()
    } else if faults {
        cases::faults()
    } else {
        cases::all()
    };
    let text: String = if json {
        let infos: Vec<CaseInfo> = cases.iter().map(Case::info).collect();
        serde_json::to_string_pretty(&infos)? + "\n"
    } else {
        let one = |c: &Case| lines(&c.info(), c.danger().as_deref());
        cases.iter().map(one).collect()
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("printing the list")?;
    Ok(ExitCode::SUCCESS)
}

fn lines(info: &CaseInfo, danger: Option<&str>) -> String {
    let mut out = format!(
        "{} [{}]\n    {}\n    passes on {}\n",
        info.name,
        info.proves.join(" "),
        info.summary,
        passes(info)
    );
    for e in &info.expectations {
        out += &format!("    {}\n", elsewhere(e));
    }
    if let Some(why) = danger {
        out += &format!("    by hand only with --even-if-dangerous: {why}\n");
    }
    out
}

/// Where a case must pass: `patched of 6.12 7.3, upstream of 7.3`.
fn passes(info: &CaseInfo) -> String {
    let on = |arm: &Arm| {
        let passes = |base: &&str| *info.expect(*arm, base).0 == Expect::Pass;
        let bases: Vec<&str> = BASES.into_iter().filter(passes).collect();
        (!bases.is_empty()).then(|| format!("{} of {}", arm.word(), bases.join(" ")))
    };
    let all: Vec<String> = Arm::ALL.iter().filter_map(on).collect();
    if all.is_empty() {
        "no kernel".into()
    } else {
        all.join(", ")
    }
}

/// How a case must end otherwise than by a pass: `upstream of 5.10: fails with
/// wrong-count: why`.
pub(crate) fn elsewhere(e: &Expectation) -> String {
    let arm = e.arm.map_or("any arm", Arm::word);
    let bases = if e.bases.is_empty() {
        "any base".to_owned()
    } else {
        e.bases.join(" ")
    };
    let how = match &e.expect {
        Expect::Pass => "passes".to_owned(),
        Expect::Fail { reason } => format!("fails with {reason}"),
        Expect::Hang => "hangs".to_owned(),
        Expect::Splat { kind, says } => format!("the kernel logs a {kind} that says `{says}`"),
        Expect::Crash { says } => format!("the kernel crashes and says `{says}`"),
        Expect::Skip => "is skipped".to_owned(),
    };
    format!("{arm} of {bases}: {how}: {}", e.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a case is printed with what it proves, where it must pass, and
    /// how it ends elsewhere; the first declaration that speaks of a kernel holds.
    #[test]
    fn each_case_says_where_it_passes() {
        let on = |arm, base: &str, expect| Expectation {
            arm,
            bases: vec![base.into()],
            expect,
            why: "w".into(),
        };
        let mut info = CaseInfo {
            name: "a".into(),
            summary: "Verify that".into(),
            proves: vec!["R1".into(), "R2".into()],
            expectations: vec![
                on(None, "5.10", Expect::Skip),
                on(Some(Arm::Upstream), "6.1", Expect::Hang),
            ],
            deadline_ms: 1,
            waits_ms: 0,
        };
        assert_eq!(
            lines(&info, Some("d")),
            "a [R1 R2]\n    Verify that\n    \
             passes on baseline of 6.1 6.12 7.3, patched of 6.1 6.12 7.3, upstream of 6.12 7.3\n    \
             any arm of 5.10: is skipped: w\n    upstream of 6.1: hangs: w\n    \
             by hand only with --even-if-dangerous: d\n"
        );
        info.expectations[0].bases.clear();
        assert_eq!(passes(&info), "no kernel");
    }

    /// Verify that the bases are those that a series is kept for.
    #[test]
    fn bases_are_those_of_the_series() {
        let text = include_str!("../../kernel-patches/bases.toml");
        let line = |l: &str| Some(l.strip_prefix("line = \"")?.strip_suffix('"')?.to_owned());
        let lines: Vec<String> = text.lines().filter_map(line).collect();
        assert_eq!(lines, BASES);
    }
}
