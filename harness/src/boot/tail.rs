// SPDX-License-Identifier: GPL-2.0-only
//! Files that grow while they are read.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::CONSOLE_LIMIT;
use crate::splat::clean;

/// How much of the end of a file is looked at for its last lines. Bytes.
const END: u64 = 16 << 10;

/// A file that grows, read as far as it has come.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(super) path: PathBuf,
    file: File,
    pub(super) length: u64,
}

impl Tail {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            path,
            file,
            length: 0,
        })
    }

    /// What has come since the last time, a bounded piece of it.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.length))?;
        (&self.file)
            .take(16 << 20)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", self.path.display()))?;
        self.length += bytes.len() as u64;
        Ok(bytes)
    }

    pub(super) fn copy_to(&mut self, keep: &Path) -> Result<()> {
        let mut to = File::options()
            .create(true)
            .append(true)
            .open(keep)
            .with_context(|| format!("opening {}", keep.display()))?;
        self.file.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut (&self.file).take(CONSOLE_LIMIT), &mut to)
            .with_context(|| format!("keeping the console in {}", keep.display()))?;
        Ok(())
    }
}

/// The lines of a part of a file, from byte `from` to byte `to`, without what a
/// terminal would take for more than text.
pub(super) fn lines_between(path: &Path, from: u64, to: u64) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut found = Vec::new();
        file.take(to.saturating_sub(from)).read_to_end(&mut found)?;
        Ok(found)
    };
    let bytes = read().with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .trim_end()
        .lines()
        .map(|l| clean(l.trim_end()))
        .collect())
}

/// The last lines of a file, at most `most`, of a bounded part of it.
pub(super) fn end_of(path: &Path, most: usize) -> Result<String> {
    let length = std::fs::metadata(path).map_or(0, |m| m.len());
    let lines = lines_between(path, length.saturating_sub(END), length)?;
    Ok(last(lines, most).join("\n"))
}

/// The last of them, at most `most`.
fn last(mut lines: Vec<String>, most: usize) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that of a file exactly the part asked for is given, as plain text.
    #[test]
    fn lines_are_those_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        std::fs::write(&path, b"one\r\ntwo\n\x1b[31mthree\n\xc3four\n").unwrap();
        let between = |from, to| lines_between(&path, from, to).unwrap();
        assert_eq!(between(0, 9), ["one", "two"]);
        assert_eq!(between(5, 9), ["two"]);
        assert_eq!(between(9, u64::MAX).len(), 2);
        assert!(!between(9, u64::MAX).concat().contains('\u{1b}'));
        assert!(between(9, 3).is_empty());
        assert_eq!(last(between(0, u64::MAX), 1).len(), 1);
        assert_eq!(last(between(0, 9), 5), ["one", "two"]);
    }
}
