// SPDX-License-Identifier: GPL-2.0-only
//! Where the consoles of an invocation are.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::scratch::Scratch;

/// A folder of console logs.
pub(super) enum Consoles {
    Kept(PathBuf),
    Thrown(Scratch),
}

impl Consoles {
    /// The place of a new log.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf> {
        let dir = match self {
            Self::Kept(dir) => dir.as_path(),
            Self::Thrown(dir) => dir.path(),
        };
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join(name);
        // Each boot appends; what an earlier invocation left there is not ours.
        let _ = std::fs::remove_file(&path);
        Ok(path)
    }
}
