// SPDX-License-Identifier: GPL-2.0-only
//! The project's own files: the patches, the config fragments, the list of bases.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{cache::Key, request};

/// The checkout this binary was built from.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
}

/// A Linux release line that a series is kept for, as bases.toml has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// `6.12`.
    pub line: String,
    /// The Debian source package.
    pub package: String,
    /// The suite it is in; empty when it is the machine's own.
    #[serde(default)]
    pub suite: String,
    /// Symbols of the config fragments that this release line does not have yet.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Lines of configuration that this release line needs for what later ones
    /// have without.
    #[serde(default)]
    pub adds: Vec<String>,
    /// Flavors that this release line cannot have.
    #[serde(default)]
    pub without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bases {
    base: Vec<Base>,
}

impl Project {
    /// The checkout this binary was built from.
    pub fn find() -> Result<Self> {
        // Cargo sets the variable for `cargo harness`; the constant serves a
        // binary that is started by itself.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("the harness's folder has a parent")?
            .to_owned();
        if !root.join("kernel-patches/bases.toml").is_file() {
            return Err(request!(
                "{} is not a checkout of this project (kernel-patches/bases.toml is missing): run `cargo harness` inside one",
                root.display()
            ));
        }
        Ok(Self { root })
    }

    /// A checkout that a test has made up.
    #[cfg(test)]
    pub(crate) fn made_up(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// A path below the checkout.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// What a file is called in a message: its path below the checkout, where it is one.
    pub fn name_of(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.display().to_string()
    }

    /// The bases, oldest first.
    pub fn bases(&self) -> Result<Vec<Base>> {
        let path = self.path("kernel-patches/bases.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        parse_bases(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The base of one release line.
    pub fn base(&self, line: &str) -> Result<Base> {
        let bases = self.bases()?;
        let known: Vec<&str> = bases.iter().map(|b| b.line.as_str()).collect();
        let known = known.join(", ");
        bases.into_iter().find(|b| b.line == line).ok_or_else(|| {
            request!("no series is kept for base `{line}`: there is one for {known}")
        })
    }

    /// The patches of `kind` (`strip`, `series`) for a base, in order.
    pub fn patches(&self, line: &str, kind: &str) -> Result<Vec<PathBuf>> {
        patches_in(&self.path("kernel-patches").join(line).join(kind))
    }

    /// A digest of what the patches of a base change: strip, and the series or
    /// the folder to use instead of it. Not of what they say, which is written
    /// after it has been measured.
    pub fn patch_set(&self, line: &str, series: Option<&Path>) -> Result<String> {
        let series = match series {
            Some(dir) => patches_in(dir)?,
            None => self.patches(line, "series")?,
        };
        let mut key = Key::new("patches");
        for patch in self.patches(line, "strip")?.iter().chain(&series) {
            let text = std::fs::read_to_string(patch)
                .with_context(|| format!("reading {}", patch.display()))?;
            key = key.with(changes(&text));
        }
        Ok(key.hex())
    }
}

/// What a patch changes in each file of a kernel: its message is left out, and
/// so are the selftests, which are in no kernel.
fn changes(patch: &str) -> String {
    let files = patch.split("\ndiff --git ").skip(1);
    let built = files.filter(|file| !file.starts_with("a/tools/testing/"));
    built.collect::<Vec<_>>().join("\n")
}

/// The `*.patch` files of a folder, in order. A folder without any is an error.
pub fn patches_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)
        .map_err(|e| request!("cannot read the patches in {}: {e}", dir.display()))?;
    let mut patches = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "patch") {
            patches.push(path);
        }
    }
    patches.sort();
    if patches.is_empty() {
        return Err(request!("{} holds no *.patch file", dir.display()));
    }
    Ok(patches)
}

/// Release lines, compared as versions: (major, minor).
pub fn line_number(line: &str) -> Option<(u32, u32)> {
    let (major, minor) = line.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn parse_bases(text: &str) -> Result<Vec<Base>> {
    let mut bases = toml::from_str::<Bases>(text)?.base;
    for base in &bases {
        line_number(&base.line)
            .with_context(|| format!("`{}` is no release line such as 6.12", base.line))?;
    }
    bases.sort_by_key(|b| line_number(&b.line));
    Ok(bases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    /// Verify that a patch is known by what it changes in a kernel, and by
    /// nothing else.
    #[test]
    fn a_patch_is_what_it_changes() {
        let patch = |message: &str, line: &str, test: &str| {
            format!(
                "Subject: {message}\n---\n a.c | 1 +\n\ndiff --git a/a.c b/a.c\n+{line}\n\
                 diff --git a/tools/testing/t.c b/tools/testing/t.c\n+{test}\n\
                 diff --git a/b.c b/b.c\n+{line}\n"
            )
        };
        let one = changes(&patch("x", "y", "t"));
        assert!(one.contains("a/a.c") && one.contains("a/b.c"), "{one}");
        assert_eq!(changes(&patch("other", "y", "u")), one);
        assert_ne!(changes(&patch("x", "z", "t")), one);
    }

    /// Verify that release lines are ordered as versions, not as text.
    #[test]
    fn bases_are_ordered_as_versions() {
        let text = "[[base]]\nline = \"6.12\"\npackage = \"a\"\n[[base]]\nline = \"6.1\"\npackage = \"b\"\n";
        let lines: Vec<String> = parse_bases(text)
            .unwrap()
            .into_iter()
            .map(|b| b.line)
            .collect();
        assert_eq!(lines, ["6.1", "6.12"]);
    }

    /// Verify that a mistyped key or line in bases.toml is an error.
    #[test]
    fn damaged_bases_are_refused() {
        for text in [
            "[[base]]\nline = \"6\"\npackage = \"a\"",
            "[[base]]\nlien = \"6.1\"\npackage = \"a\"",
            "base = 3",
        ] {
            assert!(parse_bases(text).is_err(), "{text}");
        }
    }

    /// Verify that a changed line, and another series, make another patch set.
    #[test]
    fn patch_sets_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project {
            root: dir.path().to_owned(),
        };
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("Subject: x\n\ndiff --git {text}\n")).unwrap();
        };
        write("kernel-patches/6.1/strip/0001.patch", "a");
        write("kernel-patches/6.1/series/0001.patch", "b");
        write("own/0001.patch", "c");
        let of = |series: Option<&Path>| project.patch_set("6.1", series).unwrap();
        let before = of(None);
        assert_eq!(of(None), before);
        assert_ne!(of(Some(&dir.path().join("own"))), before);
        write("kernel-patches/6.1/series/0001.patch", "b2");
        let after = of(None);
        assert_ne!(after, before);
        write("kernel-patches/6.1/strip/0001.patch", "a2");
        assert_ne!(of(None), after);
        assert!(project.patch_set("6.2", None).is_err());
    }

    /// Verify that an empty folder of patches is not a series that applies.
    #[test]
    fn no_patches_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(patches_in(dir.path()).is_err());
    }

    /// Verify that a damaged bases.toml is refused or read, and that what is read
    /// is release lines in order.
    #[test]
    fn damaged_bases_do_no_harm() {
        let text = include_str!("../../kernel-patches/bases.toml");
        assert_eq!(parse_bases(text).unwrap().len(), 4);
        let mut read = 0;
        Damage::texts(3_000, text, |damaged| {
            if let Ok(bases) = parse_bases(damaged) {
                read += 1;
                let lines: Vec<_> = bases.iter().map(|b| line_number(&b.line)).collect();
                assert!(lines.iter().all(Option::is_some) && lines.is_sorted());
            }
        });
        assert!(read > 0, "damage that nothing survives shows nothing");
    }
}
