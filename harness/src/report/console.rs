// SPDX-License-Identifier: GPL-2.0-only
//! The console of a run, cut into what belongs to each case.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Component, Path},
};

use protocol::{MARK_END, MARK_START};

use crate::splat::clean;

/// A console is read this far. Bytes.
const MOST_BYTES: u64 = 64 << 20;
/// Lines kept for a case: the first and the last ones.
const FIRST: usize = 40;
const LAST: usize = 80;
/// Characters kept of a line.
const LONGEST: usize = 400;

/// Some lines and how many were left out between the first and the last of them.
#[derive(Debug, Default)]
pub(super) struct Excerpt {
    first: Vec<String>,
    last: VecDeque<String>,
    omitted: usize,
}

impl Excerpt {
    fn push(&mut self, line: String) {
        if self.first.len() < FIRST {
            self.first.push(line);
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
            self.omitted += 1;
        }
        self.last.push_back(line);
    }

    /// How many there are, those left out included.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.omitted + self.last.len()
    }

    /// The lines, with one that says how many are missing.
    pub(super) fn lines(&self) -> Vec<String> {
        let gap = (self.omitted > 0).then(|| format!("... {} lines left out ...", self.omitted));
        self.first
            .iter()
            .cloned()
            .chain(gap)
            .chain(self.last.iter().cloned())
            .collect()
    }
}

/// A console by case.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// Before the first case, between cases and after the last.
    pub(super) outside: Excerpt,
    /// By the name of the case.
    pub(super) cases: HashMap<String, Excerpt>,
}

/// Reads the console at `path` below `dir`; `None` when there is none. The path
/// comes from saved results: one that leads out of the folder is not followed.
pub(super) fn read(dir: &Path, path: &str) -> Option<Console> {
    let path = Path::new(path);
    if path.as_os_str().is_empty()
        || path
            .components()
            .any(|c| !matches!(c, Component::Normal(_)))
    {
        return None;
    }
    let mut reader = BufReader::new(File::open(dir.join(path)).ok()?.take(MOST_BYTES));
    let mut console = Console::default();
    let mut case: Option<String> = None;
    let mut raw = Vec::new();
    loop {
        raw.clear();
        // Bounded: a line may be as long as the file.
        let piece = (&mut reader).take(64 << 10).read_until(b'\n', &mut raw);
        if piece.ok()? == 0 {
            return Some(console);
        }
        let text: String = clean(&String::from_utf8_lossy(&raw))
            .chars()
            .take(LONGEST)
            .collect();
        let text = text.trim_end().to_owned();
        let after = |mark: &str| text.find(mark).map(|i| text[i + mark.len()..].to_owned());
        if let Some(name) = after(MARK_START) {
            console.cases.entry(name.clone()).or_default();
            case = Some(name);
        } else if after(MARK_END).is_some() {
            case = None;
        } else if !text.is_empty() {
            match case.as_ref().and_then(|c| console.cases.get_mut(c)) {
                Some(excerpt) => excerpt.push(text),
                None => console.outside.push(text),
            }
        }
        if console.cases.len() > 10_000 {
            return Some(console);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that lines go to their case and that a flood is cut in the middle.
    #[test]
    fn lines_go_to_their_case() {
        let dir = tempfile::tempdir().unwrap();
        let flood: String = (0..1000)
            .map(|i| format!("[    1.000000] line {i}\r\n"))
            .collect();
        let text = format!("boot\n[    1.0] {MARK_START}a\n{flood}[    2.0] {MARK_END}a\nend\n");
        std::fs::write(dir.path().join("c.log"), text).unwrap();
        let console = read(dir.path(), "c.log").unwrap();
        assert_eq!(console.outside.lines(), ["boot", "end"]);
        let excerpt = &console.cases["a"];
        assert_eq!(
            (excerpt.len(), excerpt.lines().len()),
            (1000, FIRST + LAST + 1)
        );
        assert!(excerpt.lines().last().unwrap().ends_with("line 999"));
    }

    /// Verify that a path out of the folder is not followed.
    #[test]
    fn stays_in_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../../etc/passwd", "/etc/passwd", "", "nothing-there"] {
            assert!(read(dir.path(), path).is_none(), "{path}");
        }
    }
}
