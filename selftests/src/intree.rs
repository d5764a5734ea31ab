// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own selftest of the helper, which the host has built: each of
//! its subtests as a case.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use protocol::{Expect, reason};

use crate::{
    cases::Case,
    fail::{Stop, Verdict, failed},
};

/// What cases are called before their own name.
const PREFIX: &str = "in_tree_";

/// What the test is called within test_progs, of which it is the only one.
const TEST: &str = "tc_redirect";

/// It spawns `ip` for each step, and waits for pings.
const DEADLINE_MS: u64 = 60_000;

/// Lines of its output that a failure shows.
const LINES: usize = 40;

/// The cases of a folder that holds `test_progs` and the list `cases`.
pub(crate) fn cases(dir: &Path) -> Result<Vec<Case>> {
    let list = dir.join("cases");
    let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let cases: Vec<Case> = text
        .lines()
        .map(|line| {
            parse(line)
                .map(|entry| case(dir, entry))
                .with_context(|| format!("{}: `{line}` is no entry", list.display()))
        })
        .collect::<Result<_>>()?;
    if cases.is_empty() {
        bail!("{} names no subtest", list.display());
    }
    Ok(cases)
}

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
enum Entry<'a> {
    /// `3 tc_redirect_peer_l3_veth`: its number and its name.
    Subtest(u32, &'a str),
    /// `- test_tc_redirect.sh tc refuses it`: its name, and why it cannot run.
    Impossible(&'a str, &'a str),
}

fn parse(line: &str) -> Option<Entry<'_>> {
    let (number, rest) = line.split_once(' ')?;
    if number == "-" {
        let (name, why) = rest.split_once(' ')?;
        return Some(Entry::Impossible(name, why));
    }
    let number = number.parse().ok().filter(|n| *n > 0)?;
    let fine = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fine.then_some(Entry::Subtest(number, rest))
}

fn case(dir: &Path, entry: Entry<'_>) -> Case {
    match entry {
        Entry::Subtest(number, name) => {
            let dir = dir.to_owned();
            Case::foreign(
                format!("{PREFIX}{name}"),
                format!("Verify that {name} of the kernel's own selftest passes"),
                DEADLINE_MS,
                move || subtest(&dir, number),
            )
        }
        Entry::Impossible(name, why) => {
            let name: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let (said, why) = (why.to_owned(), why.to_owned());
            Case::foreign(
                format!("{PREFIX}{name}"),
                "Verify that the kernel's own selftest passes".into(),
                DEADLINE_MS,
                move || Err(Stop::Skipped(said.clone())),
            )
            .on(None, &[], Expect::Skip, &why)
        }
    }
}

fn subtest(dir: &Path, number: u32) -> Verdict {
    // For `ip netns`, whose folder is in what the guest can write to.
    fs::create_dir_all("/run/netns").context("making /run/netns")?;
    let program: PathBuf = dir.join("test_progs");
    let out = Command::new(&program)
        .args(["-v", "-n", &format!("1/{number}")])
        .current_dir("/tmp")
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut said = String::from_utf8_lossy(&out.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&out.stderr));
    judge(&said, number, out.status.success())
}

/// What it says of the subtest: `#1/3     tc_redirect/tc_redirect_peer_l3:OK`.
/// Nothing said, or an exit status that does not go with it, is a failure.
fn judge(said: &str, number: u32, success: bool) -> Verdict {
    let label = format!("#1/{number}");
    let mut words = said.lines().filter_map(|line| {
        let (first, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim().strip_prefix(TEST)?.strip_prefix('/')?;
        (first == label).then_some(rest.rsplit_once(':')?.1)
    });
    let word = words.next();
    let contradicted = words.any(|other| Some(other) != word);
    match word {
        Some("OK") if success && !contradicted => Ok(()),
        Some("SKIP") if success && !contradicted => Err(Stop::Skipped(last(said))),
        Some(word) => Err(failed(
            reason::IN_TREE,
            format!(
                "it says {word}, with exit status {}:\n{}",
                if success { "0" } else { "not 0" },
                last(said)
            ),
        )),
        None => Err(failed(
            reason::IN_TREE,
            format!("it says nothing of subtest {number}:\n{}", last(said)),
        )),
    }
}

fn last(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "\
serial_test_x:PASS
#1/3     tc_redirect/tc_redirect_peer_l3:OK
#1       tc_redirect:OK
Summary: 1/1 PASSED, 0 SKIPPED, 0 FAILED
";

    fn passes(said: &str, number: u32, success: bool) -> bool {
        judge(said, number, success).is_ok()
    }

    /// Verify that only a subtest that says OK, itself and once, with a good exit
    /// status, has passed.
    #[test]
    fn only_ok_passes() {
        assert!(passes(OK, 3, true));
        for (said, number, success) in [
            (OK, 3, false),
            (OK, 1, true),
            (OK, 33, true),
            ("", 3, true),
            (&OK.replace(":OK", ":FAIL"), 3, true),
            (&OK.replace("l3:OK", "l3:OKAY"), 3, true),
            (&OK.replace("#1/3     ", "#1/3"), 3, true),
            (&format!("{OK}{}", OK.replace("l3:OK", "l3:FAIL")), 3, true),
            (&OK[..40], 3, true),
        ] {
            assert!(!passes(said, number, success), "{said}");
        }
        assert!(matches!(
            judge(&OK.replace("l3:OK", "l3:SKIP"), 3, true),
            Err(Stop::Skipped(_))
        ));
    }

    /// Verify that half a line of the list is no entry.
    #[test]
    fn entries() {
        assert_eq!(parse("2 a_b"), Some(Entry::Subtest(2, "a_b")));
        assert_eq!(
            parse("- a.sh no way"),
            Some(Entry::Impossible("a.sh", "no way"))
        );
        for line in ["", "2", "0 a", "x a", "2 a b", "-", "- a.sh", "2 "] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
