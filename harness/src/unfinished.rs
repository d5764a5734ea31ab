// SPDX-License-Identifier: GPL-2.0-only
//! A build that was killed. make had no time to remove what it was writing, and
//! goes by times: half an object that is newer than its source is never made
//! again. What such a build wrote is removed before the next one begins.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};

use crate::interrupt;

const MARKER: &str = ".redirect-peer-building";

/// A build that is under way.
#[derive(Debug)]
pub(crate) struct Unfinished {
    marker: PathBuf,
}

impl Unfinished {
    /// A build begins in the folder `out`. Gives also how many files were removed
    /// that a build before it wrote, which was killed.
    pub(crate) fn begin(out: &Path) -> Result<(Self, usize)> {
        let marker = out.join(MARKER);
        let mut removed = 0;
        if let Ok(began) = fs::metadata(&marker).and_then(|m| m.modified()) {
            removed = remove_since(out, began)
                .with_context(|| format!("removing half a build from {}", out.display()))?;
        }
        fs::write(&marker, "").with_context(|| format!("writing {}", marker.display()))?;
        Ok((Self { marker }, removed))
    }

    /// make ended by itself, well or not: it has tidied up.
    pub(crate) fn over(self) -> Result<()> {
        if interrupt::check().is_err() {
            return Ok(());
        }
        fs::remove_file(&self.marker).with_context(|| format!("removing {}", self.marker.display()))
    }
}

/// Removes the files below `dir` that were written at `since` or later.
fn remove_since(dir: &Path, since: SystemTime) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Of the link itself: what it leads to is not of this build.
        let about = entry.metadata()?;
        if about.is_dir() {
            removed += remove_since(&entry.path(), since)?;
        } else if about.is_file() && about.modified()? >= since {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    /// Verify that what a killed build wrote is removed, what was there before it
    /// is not, and that a build which ended leaves nothing to remove.
    #[test]
    fn only_what_a_killed_build_wrote_goes() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir_all(out.join("net/core")).unwrap();
        let (old, new) = (out.join("net/core/dev.o"), out.join("net/core/filter.o"));
        fs::write(&old, "whole").unwrap();
        let before = SystemTime::now() - Duration::from_secs(60);
        fs::File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(before)
            .unwrap();

        let (killed, removed) = Unfinished::begin(&out).unwrap();
        assert_eq!(removed, 0);
        fs::write(&new, "ha").unwrap();
        drop(killed);

        let (whole, removed) = Unfinished::begin(&out).unwrap();
        // The marker itself is one of them.
        assert_eq!(removed, 2);
        assert!(old.is_file() && !new.exists());
        fs::write(&new, "whole").unwrap();
        whole.over().unwrap();

        let (_, removed) = Unfinished::begin(&out).unwrap();
        assert_eq!(removed, 0);
        assert!(old.is_file() && new.is_file());
    }
}
