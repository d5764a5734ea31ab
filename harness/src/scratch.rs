// SPDX-License-Identifier: GPL-2.0-only
//! Folders for what lasts as long as a guest: sockets, virtme-run's own files,
//! what the guest sees. Not in the cache, whose path may be too long for a socket.
//! Each goes when it is dropped; what a harness left that was killed is removed
//! by the next one.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tempfile::TempDir;

const PREFIX: &str = "redirect-peer-";

/// A folder younger than this may be one that is not locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    // Removed first, then unlocked.
    dir: TempDir,
    _lock: Flock<File>,
}

impl Scratch {
    /// A new one, where temporary files are; `what` it is for, in an error.
    pub fn new(what: &str) -> Result<Self> {
        let make = || {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
            let lock = lock(File::open(dir.path())?)?;
            Ok::<_, std::io::Error>(Self { dir, _lock: lock })
        };
        make().with_context(|| {
            let place = std::env::temp_dir();
            format!("making a folder for {what} in {}", place.display())
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Holds a folder, until the result is dropped or this process ends.
fn lock(dir: File) -> Result<Flock<File>, Errno> {
    Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, why)| why)
}

/// Removes the folders of harnesses that are no more.
pub fn sweep() {
    sweep_in(&std::env::temp_dir(), YOUNG);
}

/// Removes those in `place` that nobody holds, that are this user's and older
/// than `young`. One that cannot be removed stays.
fn sweep_in(place: &Path, young: Duration) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not the target of a link, which somebody else may have made.
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let old = found
            .modified()
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= young));
        if !ours || !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() || !old {
            continue;
        }
        let path = entry.path();
        let Ok(dir) = File::open(&path) else {
            continue;
        };
        if !matches!(lock(dir), Err(Errno::EWOULDBLOCK)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that what nobody holds goes, and what somebody holds, or has just
    /// made, or is not ours, stays.
    #[test]
    fn only_what_is_left_goes() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("virtme_ret"), "x").unwrap();
            path
        };
        let held = make("redirect-peer-held");
        let left = make("redirect-peer-left");
        let other = make("something-else");
        let lock = lock(File::open(&held).unwrap()).unwrap();
        sweep_in(place.path(), Duration::from_secs(3600));
        assert!(held.exists() && left.exists());
        sweep_in(place.path(), Duration::ZERO);
        assert!(held.exists() && !left.exists() && other.exists());
        drop(lock);
        sweep_in(place.path(), Duration::ZERO);
        assert!(!held.exists());
    }

    /// Verify that a folder is held as long as it is used, and goes with it.
    #[test]
    fn it_is_held() {
        let scratch = Scratch::new("a test").unwrap();
        let path = scratch.path().to_owned();
        let again = File::open(&path).unwrap();
        assert!(matches!(lock(again), Err(Errno::EWOULDBLOCK)));
        drop(scratch);
        assert!(!path.exists());
    }
}
