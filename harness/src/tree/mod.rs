// SPDX-License-Identifier: GPL-2.0-only
//! The tree that a series is proved on, and its arms as commits.

mod nearest;
mod prepare;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::Arm;

use self::nearest::{by_distance, nearest};
pub use self::prepare::prepare;
use crate::{
    fail,
    git::Repo,
    progress::Progress,
    project::{Base, Project, patches_in},
    request, source,
};

/// Where a tree comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The base's source package.
    Package(Base),
    /// A kernel archive.
    Tarball(PathBuf),
    /// The user's own git tree at a revision.
    Git {
        /// Its checkout or repository.
        dir: PathBuf,
        /// What to prove the series on.
        rev: String,
    },
}

/// A tree whose commits are in a repository of the harness's own.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The repository.
    pub repo: Repo,
    /// The release line whose series goes with it.
    pub base: Base,
    /// Full version, `6.12.117`.
    pub version: String,
    /// The untouched tree.
    pub commit: String,
    /// A folder name of its own for what is built from it.
    pub slot: String,
    /// Why no base's patches apply to it, a line for each; empty while one's do.
    pub refused: Vec<String>,
}

/// The version that a commit's Makefile names; `None` when it names none, which
/// is the commit's fault, as an interrupted git is not.
fn known_version(repo: &Repo, commit: &str) -> Result<Option<String>> {
    let makefile = repo.file(commit, "Makefile")?.unwrap_or_default();
    Ok(source::makefile_version(&makefile))
}

impl Tree {
    fn new(repo: Repo, base: Base, version: String, commit: String, slot: String) -> Self {
        Self {
            repo,
            base,
            version,
            commit,
            slot,
            refused: Vec::new(),
        }
    }

    /// The same repository at another commit, which may be of another version.
    pub fn at(&self, project: &Project, commit: &str) -> Result<Self> {
        let version = known_version(&self.repo, commit)?
            .ok_or_else(|| request!("{commit} is no kernel tree: its Makefile names no version"))?;
        Ok(Self {
            base: nearest(project, &version)?,
            version,
            commit: commit.to_owned(),
            ..self.clone()
        })
    }

    /// The same tree with the nearest base whose patches apply to it: strip and
    /// series, or the strip alone where `own` is a series to use instead. Says
    /// which base was nearer and why it was not taken. Where none goes with the
    /// tree, the nearest is kept, and [`Tree::arm`] says why of each.
    pub fn fitted(
        mut self,
        project: &Project,
        own: Option<&Path>,
        progress: &Progress,
    ) -> Result<Self> {
        let arm = if own.is_some() {
            Arm::Baseline
        } else {
            Arm::Patched
        };
        let mut refused: Vec<String> = Vec::new();
        for base in by_distance(project.bases()?, &self.version) {
            let line = base.line.clone();
            let one = Self {
                base,
                ..self.clone()
            };
            match one.arm(project, arm, None) {
                Ok(_) => {
                    for nearer in &refused {
                        progress.note(without_hunk(nearer));
                    }
                    if !refused.is_empty() {
                        progress.note(&format!(
                            "Linux {}: the patches for {line} are used",
                            self.version
                        ));
                    }
                    return Ok(one);
                }
                Err(error) if fail::status(&error) == fail::REQUEST => refused.push(format!(
                    "the patches for {line} do not go with Linux {}: {error:#}",
                    self.version
                )),
                Err(error) => return Err(error),
            }
        }
        self.refused = refused;
        Ok(self)
    }

    /// Whether the tree has upstream's helper, so that it must be stripped first.
    pub fn has_helper(&self) -> Result<bool> {
        let path = "include/uapi/linux/bpf.h";
        let header = self.repo.file(&self.commit, path)?.ok_or_else(|| {
            request!(
                "Linux {} has no {path}: it is too old for this series",
                self.version
            )
        })?;
        Ok(header.contains("FN(redirect_peer"))
    }

    /// The commit of an arm. `series` is a folder of patches to use instead of
    /// the project's own.
    pub fn arm(&self, project: &Project, arm: Arm, series: Option<&Path>) -> Result<String> {
        let has_helper = self.has_helper()?;
        if arm == Arm::Upstream {
            return if has_helper {
                Ok(self.commit.clone())
            } else {
                Err(request!(
                    "Linux {} has no bpf_redirect_peer() of its own: it has no arm `upstream`",
                    self.version
                ))
            };
        }
        let baseline = if has_helper {
            let strip = project.patches(&self.base.line, "strip")?;
            self.repo
                .apply(&self.commit, &strip)
                .context("taking upstream's helper out")
                .map_err(|e| self.why_none(e))?
        } else {
            self.commit.clone()
        };
        if arm == Arm::Baseline {
            return Ok(baseline);
        }
        if let Some(dir) = series {
            return self
                .repo
                .apply(&baseline, &patches_in(dir)?)
                .context("applying the series");
        }
        self.repo
            .apply(&baseline, &project.patches(&self.base.line, "series")?)
            .context("applying the series")
            .map_err(|e| self.why_none(e))
    }

    /// What is said where every base was tried in vain: why of each.
    fn why_none(&self, error: anyhow::Error) -> anyhow::Error {
        if self.refused.len() < 2 {
            return error;
        }
        let others = self.refused.iter().skip(1).map(|why| without_hunk(why));
        let all: Vec<&str> = self
            .refused
            .first()
            .map(String::as_str)
            .into_iter()
            .chain(others)
            .collect();
        request!(
            "no base's patches go with Linux {}, the nearest first:\n  {}",
            self.version,
            all.join("\n  ")
        )
    }
}

/// Which patch, which files and lines, without the hunk and what to do about it.
fn without_hunk(why: &str) -> &str {
    let rest = ["\n  the hunk is:", "\n  bring the patch"];
    let ends = rest.iter().filter_map(|r| why.find(r));
    why.get(..ends.min().unwrap_or(why.len())).unwrap_or(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;

    /// A project with a patch of net/core/dev.c for each release line, and a tree.
    struct Setting {
        dir: tempfile::TempDir,
        project: Project,
    }

    impl Setting {
        /// Each line's patch replaces the text given by `new`.
        fn new(lines: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let patches = dir.path().join("project/kernel-patches");
            let mut bases = String::new();
            for (line, old) in lines {
                bases.push_str(&format!("[[base]]\nline = '{line}'\npackage = 'any'\n"));
                let series = patches.join(line).join("series");
                std::fs::create_dir_all(&series).unwrap();
                let text = format!(
                    "From: A <a@b>\nSubject: [PATCH] net: For {line}\n\nBody.\n---\n\ndiff --git a/net/core/dev.c b/net/core/dev.c\n--- a/net/core/dev.c\n+++ b/net/core/dev.c\n@@ -7,3 +7,3 @@\n one\n-{old}\n+new\n three\n"
                );
                std::fs::write(series.join(format!("0001-for-{line}.patch")), text).unwrap();
            }
            std::fs::write(patches.join("bases.toml"), bases).unwrap();
            let project = Project::made_up(&dir.path().join("project"));
            Self { dir, project }
        }

        /// A tree of a version without the helper, with its base chosen.
        fn tree(&self, version: &str, text: &str) -> Tree {
            let at = self.dir.path().join("tree");
            let mut parts = version.split('.');
            let mut part = || parts.next().unwrap();
            let makefile = format!(
                "VERSION = {}\nPATCHLEVEL = {}\nSUBLEVEL = {}\n",
                part(),
                part(),
                part()
            );
            let dev = format!("{}one\n{text}\nthree\n", "x\n".repeat(6));
            for (file, content) in [
                ("Makefile", makefile.as_str()),
                ("include/uapi/linux/bpf.h", "/* no helper */\n"),
                ("net/core/dev.c", &dev),
            ] {
                let path = at.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            let repo = Repo::open(&self.dir.path().join("repo")).unwrap();
            let commit = repo.import(&at, version).unwrap();
            let cache = Cache::open(&self.dir.path().join("cache")).unwrap();
            let base = nearest(&self.project, version).unwrap();
            let tree = Tree::new(repo, base, version.to_owned(), commit, "tree".into());
            let progress = Progress::new(&cache, true);
            tree.fitted(&self.project, None, &progress).unwrap()
        }
    }

    /// Verify that the nearest base whose patches apply is taken, whether it is
    /// older than the tree or newer, and that applying is then what it says.
    #[test]
    fn nearest_base_that_applies() {
        let s = Setting::new(&[("5.10", "a"), ("6.1", "b"), ("6.12", "b"), ("7.3", "c")]);
        for (version, text, line) in [
            ("6.6.9", "b", "6.1"),
            ("6.11.9", "b", "6.12"),
            ("6.6.9", "a", "5.10"),
            ("6.6.9", "c", "7.3"),
        ] {
            let tree = s.tree(version, text);
            assert_eq!(tree.base.line, line, "{version} {text}");
            let commit = tree.arm(&s.project, Arm::Patched, None).unwrap();
            let dev = tree.repo.file(&commit, "net/core/dev.c").unwrap().unwrap();
            assert!(dev.contains("one\nnew\nthree"), "{dev}");
        }
    }

    /// Verify that where none applies, each base is named with its patch, and with
    /// the file and line where it does not, the nearest first; what to do is said once.
    #[test]
    fn none_applies() {
        let s = Setting::new(&[("5.10", "a"), ("6.1", "b"), ("6.12", "c")]);
        let tree = s.tree("6.2.0", "other");
        let error = tree.arm(&s.project, Arm::Patched, None).unwrap_err();
        assert_eq!(fail::status(&error), fail::REQUEST);
        let text = error.to_string();
        let places: Vec<usize> = ["6.1", "6.12", "5.10"]
            .iter()
            .map(|line| {
                let part = format!("0001-for-{line}.patch does not apply");
                text.find(&part).unwrap_or_else(|| panic!("{part}: {text}"))
            })
            .collect();
        assert!(places.is_sorted(), "{text}");
        assert_eq!(
            text.matches("patch failed: net/core/dev.c:7").count(),
            3,
            "{text}"
        );
        assert_eq!(
            text.matches("bring the patch up to date").count(),
            1,
            "{text}"
        );
        // Where a file is not there at all git names no line, and there is no hunk.
        assert_eq!(
            without_hunk("p:\n    f: gone\n  bring the patch up"),
            "p:\n    f: gone"
        );
    }
}
