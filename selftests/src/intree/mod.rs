// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own selftests of the helper, which the host has built: each of
//! their subtests as a case.

mod program;
mod script;
mod tc;

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{Signal, killpg},
    },
    unistd::Pid,
};

use crate::{
    cases::Case,
    fail::{Stop, Verdict},
};

pub(crate) use tc::{Args as TcArgs, tc};

/// What cases are called before their own name.
const PREFIX: &str = "in_tree_";

/// The test that comes with the series; any other is one of the release.
const OF_SERIES: &str = "redirect_peer";

/// It spawns `ip` for each step, and waits for pings.
const DEADLINE_MS: u64 = 60_000;

/// Where the programs are that it uses.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Lines of its output that a failure shows, and how much of each.
const LINES: usize = 40;
const COLUMNS: usize = 500;

/// The cases of a folder of harness/src/intree, which has a list of them.
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
    /// `tc_redirect 3 tc_redirect_peer_l3_veth`: the test within test_progs, the
    /// subtest's number within that, and its name.
    Subtest(&'a str, u32, &'a str),
    /// `sh test_tc_peer`: a script and an object of this name.
    Script(&'a str),
    /// `! tc_redirect it does not build`: its name, and why it cannot run.
    Impossible(&'a str, &'a str),
}

fn parse(line: &str) -> Option<Entry<'_>> {
    let is_name =
        |s: &&str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "!" => {
            let (name, why) = rest.split_once(' ')?;
            Some(name).filter(is_name)?;
            Some(Entry::Impossible(name, why))
        }
        "sh" => Some(rest).filter(is_name).map(Entry::Script),
        test => {
            let (number, name) = rest.split_once(' ')?;
            let number = number.parse().ok().filter(|n| *n > 0)?;
            let test = Some(test).filter(is_name)?;
            Some(Entry::Subtest(test, number, Some(name).filter(is_name)?))
        }
    }
}

fn case(dir: &Path, entry: Entry<'_>) -> Case {
    let dir = dir.to_owned();
    let foreign = |name: &str, run: Box<dyn Fn() -> Verdict + Send + Sync>| {
        let (whose, proves): (_, &[&str]) = if name.starts_with(OF_SERIES) {
            ("series'", &["in-tree", "series"])
        } else {
            ("kernel's", &["in-tree"])
        };
        let summary = format!("Verify that {name} of the {whose} own selftest passes");
        let name = format!("{PREFIX}{name}");
        Case::foreign(name, proves, summary, DEADLINE_MS, move || {
            // For `ip netns`; its folder is in what the guest can write to.
            fs::create_dir_all("/run/netns").context("making /run/netns")?;
            run()
        })
    };
    match entry {
        Entry::Subtest(test, number, name) => {
            let (test, own) = (test.to_owned(), name.to_owned());
            // Those of the release have the test in their own names.
            let whole = if name.starts_with(&test) {
                name.to_owned()
            } else {
                format!("{test}_{name}")
            };
            let run = move || program::subtest(&dir, &test, number, &own);
            foreign(&whole, Box::new(run))
        }
        Entry::Script(name) => {
            let own = name.to_owned();
            foreign(name, Box::new(move || script::scene(&dir, &own)))
        }
        // Nothing declares it: a check that cannot be made is not a good one.
        Entry::Impossible(name, why) => {
            let why = why.to_owned();
            foreign(name, Box::new(move || Err(Stop::Skipped(why.clone()))))
        }
    }
}

/// Runs a program to its end and ends what it leaves running. Gives what it
/// printed, in order, and whether it succeeded.
fn said_by(command: &mut Command) -> Result<(String, bool)> {
    let what = command.get_program().to_string_lossy().into_owned();
    // Not a pipe: that has no end while a process that was left behind holds it.
    let said = memfd_create(c"said", MFdFlags::MFD_CLOEXEC).context("making a file in memory")?;
    let mut said = File::from(said);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {what}"))?;
    let group = Pid::from_raw(child.id() as i32);
    let status = child
        .wait()
        .with_context(|| format!("waiting for {what}"))?;
    // It may well have left nothing.
    let _ = killpg(group, Signal::SIGKILL);
    said.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes)
        .with_context(|| format!("reading what {what} said"))?;
    // The script's netcat prints what it gets: zeros, hundreds of thousands.
    bytes.retain(|byte| *byte != 0);
    Ok((
        String::from_utf8_lossy(&bytes).into_owned(),
        status.success(),
    ))
}

/// The end of what it said, short enough for a record.
fn last(said: &str) -> String {
    let lines: Vec<String> = said
        .lines()
        .map(|line| line.chars().take(COLUMNS).collect())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// How it ended, in words.
fn ended(success: bool) -> &'static str {
    if success {
        "exit status 0"
    } else {
        "an exit status that is not 0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that half a line of the list is no entry.
    #[test]
    fn entries() {
        assert_eq!(parse("t_u 2 a_b"), Some(Entry::Subtest("t_u", 2, "a_b")));
        assert_eq!(parse("sh a_b"), Some(Entry::Script("a_b")));
        assert_eq!(
            parse("! a_sh no way"),
            Some(Entry::Impossible("a_sh", "no way"))
        );
        for line in [
            "", "2", "t 0 a", "t x a", "2 a", "t 2 a b", "!", "! a", "! a/b c", "t 2 ", "t 2",
            "sh", "sh ", "sh ../a", "sh a b", "../t 2 a",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    /// Verify that the series' own selftest is told from that of the release, built
    /// or not, and that no case is called as another.
    #[test]
    fn whose_it_is() {
        let of = |line: &str| {
            let info = case(Path::new("/x"), parse(line).unwrap()).info();
            (info.name, info.proves.contains(&"series".to_owned()))
        };
        for (line, name, series) in [
            (
                "tc_redirect 1 tc_redirect_peer",
                "in_tree_tc_redirect_peer",
                false,
            ),
            ("redirect_peer 1 loop", "in_tree_redirect_peer_loop", true),
            ("! redirect_peer why", "in_tree_redirect_peer", true),
            ("! tc_redirect why", "in_tree_tc_redirect", false),
            ("sh test_tc_peer", "in_tree_test_tc_peer", false),
        ] {
            assert_eq!(of(line), (name.to_owned(), series), "{line}");
        }
    }

    /// Verify that all that is said comes, zeros left out, and that what is left
    /// running neither keeps it waiting nor runs on.
    #[test]
    fn what_is_left_is_ended() {
        let script = "printf 'a\\0b\\n'; echo c >&2; sleep 1000 & echo $!; exit 3";
        let (said, success) = said_by(Command::new("sh").args(["-c", script])).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((&lines[..2], success), (["ab", "c"].as_slice(), false));
        let left = Path::new("/proc").join(lines[2]);
        let state = || fs::read_to_string(left.join("stat")).unwrap_or_default();
        for _ in 0..1_000 {
            if !left.exists() || state().contains(") Z") {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("it still runs: {}", state());
    }

    /// Verify that however much is said fits into a record.
    #[test]
    fn the_end_is_short() {
        let said = format!("{}\n", "x".repeat(1 << 16)).repeat(100);
        assert!(last(&said).len() < 1 << 15);
        assert_eq!(last("a\nb\n"), "a\nb");
    }
}
