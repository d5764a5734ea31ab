// SPDX-License-Identifier: GPL-2.0-only
//! Folders that are full, read-only, or were made by another version.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    Came, Trial,
    interrupted::fake_tree,
    second::{Place, Second},
};
use crate::{exec::Program, fail, session::Session};

/// Runs the rest of its words with a file system of its own at `$2`, which
/// nobody else sees and which ends with it; `$1` are options of mount. `$3` is
/// done in it first.
const MOUNTED: &str = "mount -t tmpfs -o \"$1\" redirect-peer \"$2\" && cd \"$2\" && eval \"$3\" \
                       && cd \"$OLDPWD\" && shift 3 && exec \"$@\"";

/// A cache folder that takes no other byte; `dd` says so, and is expected to.
const FILL: &str =
    "echo 1 >layout && : >lock && dd if=/dev/zero of=.tmp-full bs=4k 2>/dev/null; true";

const READ_ONLY: &str = "echo 1 >layout && mount -o remount,ro . .";

/// Words that start a program in a mount namespace of its own.
fn apart() -> Vec<&'static str> {
    let mut words = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words.push("--");
    words
}

/// Why nothing can be mounted here; `None` where it can.
fn no_mounts(dir: &Path) -> Result<Option<String>> {
    let words = apart();
    let out = Program::new(words[0])
        .args(&words[1..])
        .args(["sh", "-c", MOUNTED, "sh", "size=64k"])
        .arg(dir)
        .args(["true", "true"])
        .output()?;
    Ok((!out.status.success()).then(|| {
        format!(
            "this user may not mount anything in a namespace of its own ({})",
            out.stderr.trim()
        )
    }))
}

/// The second harness with a file system of its own at `at`.
fn on(
    place: &Place,
    at: &Path,
    options: &str,
    first: &str,
    words: &[&str],
    cache: &Path,
) -> Result<Second> {
    let at = at.to_string_lossy();
    let mut before = apart();
    before.extend(["sh", "-c", MOUNTED, "sh", options, &at, first]);
    place.start_on(&before, words, cache)
}

pub(super) fn try_all(place: &Place, session: &Session) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let step = session.progress.begin("disturb", "disks");
    let older = place.path("older");
    fs::create_dir(&older).context("making a folder")?;
    fs::write(older.join("layout"), "0\n").context("writing a layout")?;
    let name = older.to_string_lossy().into_owned();
    let wrong = place.start_on(&[], &["build"], &older)?.must_end(
        fail::REQUEST,
        &[
            "another version",
            &name,
            "cargo harness clean",
            "--cache DIR",
        ],
    )?;
    trials.push(Trial::new("a cache of an older version", wrong));

    let disk = place.path("disk");
    fs::create_dir(&disk).context("making a folder")?;
    let tree = fake_tree(place)?;
    let tree = tree.to_string_lossy();
    let name = disk.to_string_lossy();
    let results = disk.join("results");
    let results = results.to_string_lossy();
    let build = ["build", "--arm", "upstream", "--tree", &tree];
    let verify = [
        "verify",
        "--arm",
        "patched",
        "--case",
        super::damaged::CASE,
        "--results",
        &results,
    ];
    let own = place.cache();
    type Try<'a> = (
        &'a str,
        &'a str,
        &'a str,
        &'a [&'a str],
        &'a Path,
        u8,
        &'a [&'a str],
    );
    let tries: [Try<'_>; 4] = [
        (
            "a cache on a full disk",
            "size=64k",
            FILL,
            &build,
            &disk,
            fail::COULD_NOT_TELL,
            &[&name, "disk is full", "make room"],
        ),
        (
            "a cache on a disk that is too small",
            "size=16m",
            "true",
            &build,
            &disk,
            fail::COULD_NOT_TELL,
            &[&name, "MiB are free", "--cache DIR"],
        ),
        (
            "a cache on a read-only disk",
            "size=64k",
            READ_ONLY,
            &build,
            &disk,
            fail::REQUEST,
            &[&name, "Read-only", "--cache DIR"],
        ),
        (
            "results on a full disk",
            "size=16k",
            "true",
            &verify,
            &own,
            fail::COULD_NOT_TELL,
            &[&name, "disk is full", "make room"],
        ),
    ];
    let untried = no_mounts(&disk)?;
    for (what, options, first, words, cache, status, parts) in tries {
        step.at(what);
        trials.push(match &untried {
            Some(why) => Trial {
                what: what.into(),
                came: Came::Untried(why.clone()),
            },
            None => {
                let mut second = on(place, &disk, options, first, words, cache)?;
                Trial::new(what, second.must_end(status, parts)?)
            }
        });
    }
    step.done(false);
    Ok(trials)
}
