// SPDX-License-Identifier: GPL-2.0-only
//! The selftest as a script, in the form until 5.12: one of its scenes.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use protocol::reason;

use super::{PATH, ended, last, said_by};
use crate::fail::{Verdict, failed};

/// What stands in front of the host's programs.
const STAND_INS: &str = "/run/in-tree";

/// Runs the script of one scene.
pub(super) fn scene(dir: &Path, name: &str) -> Verdict {
    let script = dir.join(format!("{name}.sh"));
    let text =
        fs::read_to_string(&script).with_context(|| format!("reading {}", script.display()))?;
    let tests = tests(&text);
    let stand_ins = stand_ins()?;
    let mut command = Command::new("bash");
    command
        .arg(&script)
        // It names its objects without a folder.
        .current_dir(dir)
        .env(
            "PATH",
            format!("{}:{}:{PATH}", stand_ins.display(), dir.display()),
        );
    let (said, success) = said_by(&mut command)?;
    judge(&said, &tests, success)
}

/// Makes what is found before the host's own: `tc`, see [`super::tc`], and the
/// netcat that knows -4 and -6, whichever of them `nc` is here.
fn stand_ins() -> Result<PathBuf> {
    let dir = PathBuf::from(STAND_INS);
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let own = env::current_exe().context("finding this program")?;
    let Some(own) = own.to_str().filter(|p| !p.contains('\'')) else {
        bail!("{} cannot be put into a script", own.display());
    };
    for (name, line) in [
        ("tc", format!("exec '{own}' tc -- \"$@\"")),
        ("nc", "exec nc.openbsd \"$@\"".to_owned()),
    ] {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{line}\n"))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(dir)
}

/// What the script calls its tests.
fn tests(script: &str) -> Vec<&str> {
    script
        .lines()
        .filter_map(|line| line.trim().strip_prefix("TEST=\"")?.strip_suffix('"'))
        .collect()
}

/// It says `TCPv4 connectivity test: PASS` of each test, in green, and ends with
/// the first that fails.
fn judge(said: &str, tests: &[&str], success: bool) -> Verdict {
    let plain: Vec<String> = said.lines().map(without_colour).collect();
    let passed = |test: &str| {
        let (pass, fail) = (format!("{test}: PASS"), format!("{test}: FAIL"));
        plain.iter().filter(|l| **l == pass).count() == 1
            && !plain.iter().any(|l| l.contains(&fail))
    };
    let not_passed: Vec<&str> = tests.iter().copied().filter(|t| !passed(t)).collect();
    if success && !tests.is_empty() && not_passed.is_empty() {
        return Ok(());
    }
    let what = if not_passed.is_empty() {
        format!("of {} tests", tests.len())
    } else {
        format!("without a PASS of {}", not_passed.join(", "))
    };
    Err(failed(
        reason::IN_TREE,
        format!("it ended {what}, with {}:\n{}", ended(success), last(said)),
    ))
}

fn without_colour(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}

#[cfg(test)]
mod checks {
    use super::*;

    const TESTS: [&str; 2] = ["TCPv4 connectivity test", "ICMPv6 connectivity test"];
    const OK: &str = "\
100000 bytes (100 kB) copied
TCPv4 connectivity test: \x1b[0;92mPASS\x1b[0m
3 packets transmitted, 3 received
ICMPv6 connectivity test: \x1b[0;92mPASS\x1b[0m
";

    fn passes(said: &str, success: bool) -> bool {
        judge(said, &TESTS, success).is_ok()
    }

    /// Verify that each test has to say PASS, once, and the script to succeed.
    #[test]
    fn only_all_of_them_pass() {
        assert!(passes(OK, true));
        assert!(!passes(OK, false));
        assert!(judge(OK, &[], true).is_err());
        for (from, to) in [
            ("ICMPv6", "ICMPv4"),
            ("PASS", "FAIL"),
            ("test: \x1b[0;92mPASS", "test: "),
            ("0 bytes", "0 bytes\nTCPv4 connectivity test: FAIL"),
            ("0 bytes", "0 bytes\nTCPv4 connectivity test: PASS\n"),
            ("PASS\x1b[0m\n3", "PASS\x1b[0m 3"),
        ] {
            let said = OK.replace(from, to);
            assert_ne!(said, OK, "{from}");
            assert!(!passes(&said, true), "{said}");
        }
    }

    /// Verify that output that ends early is no pass.
    #[test]
    fn half_of_it_is_no_pass() {
        let end = OK.rfind("PASS").unwrap() + 4;
        for at in 0..end {
            assert!(!passes(&OK[..at], true), "cut at {at}");
        }
    }

    /// Verify that the script's own names are found.
    #[test]
    fn names_are_found() {
        let script = "x() {\n\tTEST=\"TCPv4 connectivity test\"\n\techo \"${TEST}: \"\n\tTEST=\"ICMPv6 connectivity test\"\n";
        assert_eq!(tests(script), TESTS);
    }
}
