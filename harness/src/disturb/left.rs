// SPDX-License-Identifier: GPL-2.0-only
//! What a harness that has ended may have left behind: processes, mounts, its
//! lock, files that are not whole.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use super::second::{MARK, Place};
use crate::{cache::unfinished, exec::POLL};

/// How long what was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What can be mounted now, one a line.
pub(super) fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// What is left of the second harness, in words; `was_killed` when it had no time
/// to tidy up. The next run does then, and what it leaves of that is told of it: it
/// keeps what is younger than a minute, which is made older here.
pub(super) fn behind(place: &Place, mounts_before: &str, was_killed: bool) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let mut waited = Duration::ZERO;
    let mut running = processes(&place.mark());
    while !running.is_empty() && waited < GONE_WITHIN {
        std::thread::sleep(POLL);
        waited += POLL;
        running = processes(&place.mark());
    }
    left.extend(
        running
            .into_iter()
            .map(|(pid, line)| format!("process {pid}: {line}")),
    );
    // Others may mount and unmount: only what names the folder is its own.
    let own = place.mark();
    let new = mounts();
    left.extend(
        new.lines()
            .filter(|l| l.contains(&own) && !mounts_before.contains(l))
            .map(|l| format!("mount {l}")),
    );
    let lock = fs::File::open(place.cache().join("lock")).context("opening its lock")?;
    if Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_err() {
        left.push("its lock is held".into());
    }
    if was_killed {
        grow_old(&place.tmp())?;
        return Ok(left);
    }
    let files = [place.tmp(), place.cache().join("tmp")];
    let files = files.iter().flat_map(|dir| files_in(dir));
    let files = files.chain(unfinished(&place.cache()));
    left.extend(files.map(|path| format!("file {}", path.display())));
    Ok(left)
}

/// The processes that have the mark in their environment, with their command lines.
pub(super) fn processes(mark: &str) -> Vec<(String, String)> {
    let wanted = format!("{MARK}={mark}");
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().into_owned();
            pid.parse::<u32>().ok()?;
            let env = fs::read(entry.path().join("environ")).ok()?;
            let marked = env.split(|b| *b == 0).any(|v| v == wanted.as_bytes());
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // One that has ended and waits to be collected has no command line.
            (marked && !line.is_empty()).then_some((pid, line))
        })
        .collect()
}

/// Everything in `dir`, where there should be nothing.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).collect()
}

/// Makes everything in `dir` an hour old.
fn grow_old(dir: &Path) -> Result<()> {
    let then = SystemTime::now() - Duration::from_secs(3_600);
    for path in files_in(dir) {
        fs::File::open(&path)
            .and_then(|f| f.set_modified(then))
            .with_context(|| format!("making {} older", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that what was left is old enough for the next run afterwards.
    #[test]
    fn what_was_left_grows_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redirect-peer-x");
        fs::create_dir(&path).unwrap();
        grow_old(dir.path()).unwrap();
        let age = path.metadata().unwrap().modified().unwrap().elapsed();
        assert!(age.unwrap() > Duration::from_secs(3_000));
        assert_eq!(files_in(dir.path()), [path]);
    }
}
