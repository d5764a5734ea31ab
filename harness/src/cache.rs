// SPDX-License-Identifier: GPL-2.0-only
//! The one folder that holds everything the harness makes. Safe to delete at
//! any time; locked against a second run; written by rename.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{interrupt, request};

/// Changed whenever a folder made by one version misleads the other.
const LAYOUT: &str = "1";

/// How the names of files begin that are not whole yet.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// The cache folder, locked.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Cache {
    /// The folder that is used unless one is named: below $XDG_CACHE_HOME or ~/.cache.
    pub fn default_dir() -> Result<PathBuf> {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        var("XDG_CACHE_HOME")
            .or_else(|| var("HOME").map(|h| h.join(".cache")))
            .map(|d| d.join("redirect-peer"))
            .ok_or_else(|| {
                request!("neither XDG_CACHE_HOME nor HOME is set: name a folder with --cache DIR")
            })
    }

    /// Opens the folder, making it if need be, and waits while another run has it.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| {
            request!(
                "cannot make the cache folder {}: {e}; name another with --cache DIR",
                dir.display()
            )
        })?;
        let dir = dir.canonicalize()?;
        refuse_other(&dir)?;
        let path = dir.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| {
                request!(
                    "cannot write to the cache folder {}: {e}; name another with --cache DIR",
                    dir.display()
                )
            })?;
        let lock = lock(file, &dir)?;
        let mut file = &*lock;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
            .with_context(|| format!("writing {}", path.display()))?;
        let cache = Self { dir, _lock: lock };
        cache.check_layout()?;
        Ok(cache)
    }

    /// Removes what a run left half written that was killed: the lock is held, so
    /// nobody writes it now.
    pub fn sweep(&self) {
        for path in unfinished(&self.dir) {
            let _ = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
        }
    }

    fn check_layout(&self) -> Result<()> {
        let path = self.dir.join("layout");
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == LAYOUT => Ok(()),
            Ok(found) => Err(request!(
                "the cache folder {0} was made by another version of this project (layout {1}, this one has {LAYOUT}): run `cargo harness clean --cache {0}`, or name another folder with --cache DIR",
                self.dir.display(),
                found.trim(),
            )),
            Err(_) => self.write("layout", LAYOUT.as_bytes()),
        }
    }

    /// A path below the folder.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(below)
    }

    /// A folder below the folder, made if need be.
    pub fn folder(&self, below: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(below);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, below: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        write_whole(&self.path(below), bytes)
    }

    /// Reads a value saved with [`Cache::save`]; `None` when there is none, or
    /// none that can be read.
    pub fn load<T: DeserializeOwned>(&self, below: impl AsRef<Path>) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(below)).ok()?).ok()
    }

    /// Saves a value as JSON.
    pub fn save<T: Serialize>(&self, below: impl AsRef<Path>, value: &T) -> Result<()> {
        self.write(below, &serde_json::to_vec_pretty(value)?)
    }

    /// Fails unless `mib` are free where the folder is: a build that runs out of
    /// space half-way says so in a hundred ways, none of them clear.
    pub fn need_space(&self, mib: u64, what: &str) -> Result<()> {
        let stat = nix::sys::statvfs::statvfs(&self.dir)
            .with_context(|| format!("looking at {}", self.dir.display()))?;
        let free = stat.blocks_available() * stat.fragment_size() / (1 << 20);
        if free < mib {
            bail!(
                "{what} needs about {mib} MiB in {}, and {free} MiB are free: make room, run `cargo harness clean`, or name a folder on another disk with --cache DIR",
                self.dir.display()
            );
        }
        Ok(())
    }
}

/// Refuses a folder that holds something else: `clean` removes a cache folder
/// with everything in it.
fn refuse_other(dir: &Path) -> Result<()> {
    if dir.join("layout").exists() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        // What is there when an earlier run was killed at its very start.
        let ours = name == "lock" || name.to_string_lossy().starts_with(TEMPORARY);
        if !ours {
            return Err(request!(
                "{} holds `{}` and was not made by this harness: name a new or an empty folder with --cache DIR",
                dir.display(),
                name.to_string_lossy()
            ));
        }
    }
    Ok(())
}

/// Folders that others write, in ways of their own, or that hold as many files as
/// a kernel has.
const NOT_OURS: [&str; 4] = ["apt", "ccache", "objects", "sources"];

/// As deep as files of ours are: `src/6.12/patched/.build-default/.tmp-x`.
const DEEPEST: usize = 4;

/// What was being written below a cache folder: temporary files and folders, and in
/// repositories the locks of git.
pub(crate) fn unfinished(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    unfinished_below(dir, 0, false, &mut found);
    found
}

fn unfinished_below(dir: &Path, depth: usize, in_repo: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Of a link itself: what it leads to may be another cache's.
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        if name.starts_with(TEMPORARY) || (in_repo && !is_dir && name.ends_with(".lock")) {
            found.push(entry.path());
        } else if is_dir && in_repo && name == "objects" {
            unfinished_below(&entry.path().join("info"), DEEPEST, in_repo, found);
        } else if is_dir && depth < DEEPEST && !NOT_OURS.contains(&&*name) {
            let in_repo = in_repo || (depth == 0 && name == "trees");
            unfinished_below(&entry.path(), depth + 1, in_repo, found);
        }
    }
}

pub(crate) fn lock(mut file: File, dir: &Path) -> Result<Flock<File>> {
    let mut said = false;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                if !said {
                    let mut pid = String::new();
                    let _ = file.read_to_string(&mut pid);
                    crate::say!(
                        "waiting for process {}, which uses the cache folder {} (--cache DIR names another)",
                        pid.trim(),
                        dir.display()
                    );
                    said = true;
                }
                file
            }
            Err((_, e)) => bail!("locking {}: {e}", dir.display()),
        };
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().context("a file has a folder")?;
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let write = || -> std::io::Result<()> {
        let mut temp = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(dir)?;
        temp.write_all(bytes)?;
        // Temporary files are private; what they become is as readable as any other.
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
        temp.as_file().set_permissions(mode)?;
        temp.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Removes a file, if there is one.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// SHA-256 of what a file holds, in hexadecimal digits: how damage to something
/// that was made earlier is noticed.
pub fn digest(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut bytes = vec![0; 1 << 20];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => hash.update(&bytes[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// A key that is a hash of everything a result depends on.
#[derive(Debug, Default)]
pub struct Key(Sha256);

impl Key {
    /// A key for one kind of result.
    pub fn new(kind: &str) -> Self {
        Self::default().with(kind.as_bytes())
    }

    /// Adds an input. Its length goes in first, so that no two lists of inputs
    /// are the same bytes.
    pub fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// The key, 24 hexadecimal digits.
    pub fn hex(self) -> String {
        self.0
            .finalize()
            .iter()
            .take(12)
            .map(|b| format!("{b:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that inputs cannot be shifted from one to the next unnoticed.
    #[test]
    fn key_depends_on_boundaries() {
        let one = Key::new("k").with("ab").with("c").hex();
        assert_ne!(one, Key::new("k").with("a").with("bc").hex());
        assert_eq!(one, Key::new("k").with("ab").with("c").hex());
    }

    /// Verify that a change of one bit anywhere in a file changes its digest.
    #[test]
    fn digest_tells_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut bytes = vec![7; (1 << 20) + 3];
        fs::write(&path, &bytes).unwrap();
        let whole = digest(&path).unwrap();
        for at in [0, 1 << 20, (1 << 20) + 2] {
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_ne!(digest(&path).unwrap(), whole, "byte {at}");
            bytes[at] ^= 1;
        }
        fs::write(&path, b"").unwrap();
        assert!(digest(&path).unwrap().starts_with("e3b0c44298fc1c14"));
    }

    /// Verify that a folder of another layout is refused, not used.
    #[test]
    fn other_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("layout"), "0").unwrap();
        let error = Cache::open(dir.path()).unwrap_err();
        assert_eq!(crate::fail::status(&error), crate::fail::REQUEST);
        assert!(error.to_string().contains("another version"), "{error}");
    }

    /// Verify that a folder with something else in it is not made a cache, which
    /// `clean` would then remove, and that one of a run that was killed early is.
    #[test]
    fn other_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        drop(Cache::open(dir.path()).unwrap());
        drop(Cache::open(dir.path()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis"), "").unwrap();
        let error = Cache::open(dir.path()).unwrap_err();
        assert_eq!(crate::fail::status(&error), crate::fail::REQUEST);
        assert!(error.to_string().contains("`thesis`"), "{error}");
        assert!(!dir.path().join("lock").exists());
    }

    /// Verify that everything that a run may leave half written is gone after a
    /// sweep, and nothing else, nor what a link leads to.
    #[test]
    fn only_what_is_half_written_goes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let make = |below: &str| {
            let path = dir.path().join(below);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            path
        };
        let left = [
            ".tmp-a",
            "trees/6.12/.tmp-b/index",
            "trees/6.12/objects/info/.tmp-c",
            "trees/6.12/refs/heads/base.lock",
            "trees/6.12/worktrees/patched/index.lock",
            "src/6.12/patched/.build-default/.tmp-d",
            "bisect/one/.tmp-e",
        ]
        .map(make);
        let whole = [
            "accel-1.json",
            "trees/6.12/refs/heads/base",
            "trees/6.12/objects/ab/tmp_obj",
            "src/6.12/patched/Cargo.lock",
            "ccache/1/.tmp-stats",
            "elsewhere/.other",
        ]
        .map(make);
        let other = tempfile::tempdir().unwrap();
        let theirs = other.path().join(".tmp-theirs");
        fs::write(&theirs, "x").unwrap();
        std::os::unix::fs::symlink(other.path(), dir.path().join("trees/7.3")).unwrap();
        assert_eq!(unfinished(dir.path()).len(), left.len());
        cache.sweep();
        assert!(unfinished(dir.path()).is_empty());
        assert!(left.iter().all(|p| !p.exists()));
        assert!(whole.iter().all(|p| p.exists()) && theirs.exists());
        assert!(dir.path().join("lock").exists());
    }

    /// Verify that a lack of space is said before anything is begun.
    #[test]
    fn lack_of_space_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.need_space(0, "nothing").unwrap();
        let error = cache
            .need_space(u64::MAX >> 21, "a build")
            .unwrap_err()
            .to_string();
        assert!(error.contains("MiB are free"), "{error}");
    }
}
