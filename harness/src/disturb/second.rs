// SPDX-License-Identifier: GPL-2.0-only
//! The second harness: a process of this same program with a cache folder of
//! its own, in which everything that takes long to make is a link to what is in
//! the first one's. The first one waits meanwhile, and holds its lock.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    exec::{POLL, Program, Running},
    interrupt,
    session::Session,
};

/// What the second cache has of the first one: whatever takes long to make.
const SHARED: [&str; 7] = [
    "apt",
    "ccache",
    "host-bin",
    "sources",
    "src",
    "trees",
    "virtme-ng",
];

/// In the environment of the second harness and of all that it starts.
pub(super) const MARK: &str = "REDIRECT_PEER_DISTURBED";

/// How long anything may take at the most: emulation on a busy machine is slow,
/// and a hang here would be one of the harness itself.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the second harness works.
#[derive(Debug)]
pub(super) struct Place {
    dir: tempfile::TempDir,
    project: PathBuf,
    flags: Vec<String>,
}

impl Place {
    /// Makes it, below the cache folder.
    pub(super) fn new(session: &Session) -> Result<Self> {
        let below = session.cache.folder("tmp")?;
        let dir = tempfile::tempdir_in(below).context("making a folder for a second harness")?;
        let mut flags = vec!["--offline".to_owned()];
        if let Some(jobs) = session.common.jobs {
            flags.extend(["--jobs".to_owned(), jobs.to_string()]);
        }
        let place = Self {
            dir,
            project: session.project.path(""),
            flags,
        };
        let cache = place.cache();
        fs::create_dir_all(place.tmp()).context("making a folder for its temporary files")?;
        fs::create_dir_all(&cache).context("making its cache folder")?;
        fs::copy(session.cache.path("layout"), cache.join("layout"))
            .context("copying the layout")?;
        for name in SHARED {
            link_all(&session.cache.path(name), &cache.join(name))?;
        }
        // What executes guests here has been tried.
        for entry in fs::read_dir(session.cache.path("")).context("reading the cache folder")? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("accel-") {
                fs::copy(entry.path(), cache.join(entry.file_name()))?;
            }
        }
        Ok(place)
    }

    /// Its cache folder.
    pub(super) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Where its temporary files go.
    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// A path for something else.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// What [`MARK`] is set to: no other process has it.
    pub(super) fn mark(&self) -> String {
        self.dir.path().to_string_lossy().into_owned()
    }

    /// The words that start it on the cache folder `cache`; `before` are those of
    /// a program that starts it in turn.
    fn program(&self, before: &[&str], words: &[&str], cache: &Path) -> Program {
        // A build may replace the file meanwhile; as long as this process runs,
        // the program it is can be started by this name.
        let own = format!("/proc/{}/exe", std::process::id());
        // Below nohup it would heed that, too, and no closed terminal would end it.
        Program::new("env")
            .arg("--default-signal=HUP")
            .args(before)
            .arg(own)
            .args(words)
            .args(&self.flags)
            .arg("--cache")
            .arg(cache)
            .env(MARK, self.mark())
            .env("TMPDIR", self.tmp())
            .dir(&self.project)
    }

    /// Starts it.
    pub(super) fn start(&self, before: &[&str], words: &[&str]) -> Result<Second> {
        self.start_on(before, words, &self.cache())
    }

    /// Starts it on another cache folder.
    pub(super) fn start_on(&self, before: &[&str], words: &[&str], cache: &Path) -> Result<Second> {
        let said = self.path("said");
        let file = File::create(&said).with_context(|| format!("making {}", said.display()))?;
        let running = self
            .program(before, words, cache)
            .spawn(file.try_clone()?.into(), file.into())?;
        Ok(Second {
            running,
            said,
            start: Instant::now(),
        })
    }
}

/// Makes the folder `to` with links to everything in `from`: what is added to it
/// goes with it.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        symlink(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("linking {}", entry.path().display()))?;
    }
    Ok(())
}

/// A second harness that runs.
#[derive(Debug)]
pub(super) struct Second {
    running: Running,
    said: PathBuf,
    start: Instant,
}

impl Second {
    /// Waits until `reached`; gives whether it ended before that.
    pub(super) fn until(&mut self, mut reached: impl FnMut() -> bool) -> Result<bool> {
        loop {
            if reached() {
                return Ok(false);
            }
            if self.running.try_wait()?.is_some() {
                return Ok(true);
            }
            self.pause()?;
        }
    }

    /// Waits for its end; `meanwhile` is done again and again.
    pub(super) fn ended(&mut self, mut meanwhile: impl FnMut()) -> Result<ExitStatus> {
        loop {
            meanwhile();
            if let Some(status) = self.running.try_wait()? {
                return Ok(status);
            }
            self.pause()?;
        }
    }

    fn pause(&self) -> Result<()> {
        interrupt::check()?;
        if self.start.elapsed() > PATIENCE {
            bail!(
                "the second harness did not go on within {} s; it said: {}",
                PATIENCE.as_secs(),
                self.said()
            );
        }
        std::thread::sleep(POLL);
        Ok(())
    }

    /// What it printed and complained about.
    pub(super) fn said(&self) -> String {
        let bytes = fs::read(&self.said).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What is wrong, unless it ends with `status` and says each of `parts`.
    pub(super) fn must_end(&mut self, status: u8, parts: &[&str]) -> Result<Option<String>> {
        let ended = self.ended(|| {})?;
        let said = self.said();
        if ended.code() != Some(status.into()) {
            return Ok(Some(format!(
                "{} is due, and it ended with {}: {said}",
                status,
                crate::exec::describe(ended)
            )));
        }
        let lacking: Vec<&str> = parts
            .iter()
            .copied()
            .filter(|p| !said.contains(p))
            .collect();
        Ok((!lacking.is_empty()).then(|| format!("it does not say {lacking:?}: {said}")))
    }
}
