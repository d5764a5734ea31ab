// SPDX-License-Identifier: GPL-2.0-only
//! The tree that a series is proved on, and its arms as commits.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::Arm;

use crate::{
    cache::{Cache, Key},
    fail,
    git::Repo,
    progress::Progress,
    project::{Base, Project, line_number, patches_in},
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

/// Prepares a tree; `update` asks for the newest package although one is there.
pub fn prepare(
    cache: &Cache,
    project: &Project,
    origin: &Origin,
    offline: bool,
    update: bool,
    progress: &Progress,
) -> Result<Tree> {
    match origin {
        Origin::Package(base) => from_package(cache, base, offline, update, progress),
        Origin::Tarball(file) => from_tarball(cache, project, file, progress),
        Origin::Git { dir, rev } => from_git(cache, project, dir, rev, progress),
    }
}

fn from_package(
    cache: &Cache,
    base: &Base,
    offline: bool,
    update: bool,
    progress: &Progress,
) -> Result<Tree> {
    let repo = Repo::open(&cache.folder("trees")?.join(&base.line))?;
    let step = progress.begin("source", &base.line);
    let known = repo.commit("refs/heads/base")?;
    let cached = known.is_some() && (!update || offline);
    let commit = match known {
        Some(commit) if cached => commit,
        _ => {
            step.at(format!("fetching {}", base.package));
            let unpacked = source::fetch(cache, base, offline)?;
            import(&repo, &unpacked, &step)?
        }
    };
    let version = version_at(&repo, &commit)?;
    if !version.starts_with(&format!("{}.", base.line)) {
        return Err(request!(
            "{} holds Linux {version}, not {}: bases.toml names the wrong package",
            base.package,
            base.line
        ));
    }
    step.done(cached);
    Ok(Tree {
        repo,
        base: base.clone(),
        version,
        commit,
        slot: base.line.clone(),
        refused: Vec::new(),
    })
}

fn import(
    repo: &Repo,
    unpacked: &source::Unpacked,
    step: &crate::progress::Doing<'_>,
) -> Result<String> {
    let version = source::version_of(&unpacked.dir)?;
    step.at(format!("importing Linux {version}"));
    let commit = repo.import(&unpacked.dir, &format!("Linux {version}"))?;
    repo.set_ref("refs/heads/base", &commit)?;
    Ok(commit)
}

fn from_tarball(
    cache: &Cache,
    project: &Project,
    file: &Path,
    progress: &Progress,
) -> Result<Tree> {
    let file = file
        .canonicalize()
        .map_err(|e| request!("cannot read the archive {}: {e}", file.display()))?;
    let meta = file.metadata()?;
    let stamp = format!("{}:{}:{:?}", file.display(), meta.len(), meta.modified()?);
    let slot = format!("tarball-{}", Key::new("tarball").with(stamp).hex());
    let repo = Repo::open(&cache.folder("trees")?.join(&slot))?;
    let step = progress.begin("source", &file.display().to_string());
    let known = repo.commit("refs/heads/base")?;
    let cached = known.is_some();
    let commit = match known {
        Some(commit) => commit,
        None => {
            cache.need_space(5_000, "unpacking a kernel")?;
            step.at("unpacking");
            import(&repo, &source::unpack(cache, &file)?, &step)?
        }
    };
    step.done(cached);
    let version = version_at(&repo, &commit)?;
    let base = nearest(project, &version)?;
    Ok(Tree {
        repo,
        base,
        version,
        commit,
        slot,
        refused: Vec::new(),
    })
}

fn from_git(
    cache: &Cache,
    project: &Project,
    dir: &Path,
    rev: &str,
    progress: &Progress,
) -> Result<Tree> {
    let dir = dir
        .canonicalize()
        .map_err(|e| request!("no tree at {}: {e}", dir.display()))?;
    let git = |args: &[&str]| {
        crate::exec::Program::new("git")
            .arg("-C")
            .arg(&dir)
            .args(args)
            .output()
    };
    let objects = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "objects",
    ])?;
    if !objects.status.success() {
        return Err(request!(
            "{} is no git tree: {}",
            dir.display(),
            objects.stderr.trim()
        ));
    }
    let spec = format!("{rev}^{{commit}}");
    let found = git(&[
        "rev-parse",
        "--quiet",
        "--verify",
        "--end-of-options",
        &spec,
    ])?;
    if !found.status.success() {
        return Err(request!("{} has no commit named `{rev}`", dir.display()));
    }
    let commit = found.stdout.trim().to_owned();
    let slot = format!(
        "tree-{}",
        Key::new("tree")
            .with(dir.as_os_str().as_encoded_bytes())
            .hex()
    );
    let step = progress.begin("source", &dir.display().to_string());
    let repo = Repo::open(&cache.folder("trees")?.join(&slot))?;
    // The user's objects are read where they are; what is made goes into the
    // harness's own repository, so that the user's is not written to.
    let alternates = repo.dir().join("objects/info/alternates");
    crate::cache::write_whole(
        &alternates,
        format!("{}\n", objects.stdout.trim()).as_bytes(),
    )?;
    let version = known_version(&repo, &commit)?.ok_or_else(|| {
        request!(
            "{} at `{rev}` is no kernel tree: its Makefile names no version",
            dir.display()
        )
    })?;
    let base = nearest(project, &version)?;
    repo.set_ref("refs/heads/base", &commit)?;
    step.done(true);
    Ok(Tree {
        repo,
        base,
        version,
        commit,
        slot,
        refused: Vec::new(),
    })
}

fn version_at(repo: &Repo, commit: &str) -> Result<String> {
    known_version(repo, commit)?
        .with_context(|| format!("the Makefile of {commit} names no version"))
}

/// The version that a commit's Makefile names; `None` when it names none, which
/// is the commit's fault, as an interrupted git is not.
fn known_version(repo: &Repo, commit: &str) -> Result<Option<String>> {
    let makefile = repo.file(commit, "Makefile")?.unwrap_or_default();
    Ok(source::makefile_version(&makefile))
}

/// The base whose release line is nearest to a version.
fn nearest(project: &Project, version: &str) -> Result<Base> {
    by_distance(project.bases()?, version)
        .into_iter()
        .next()
        .context("bases.toml names no base")
}

/// Bases by how far their release lines are from a version, the nearest first;
/// of two that are as far, the older: what a tree does not have yet is worse.
fn by_distance(mut bases: Vec<Base>, version: &str) -> Vec<Base> {
    // A major version has had 20 releases since 3.x: 5.19 is next to 6.0.
    let place = |line: &str| line_number(line).map_or(0, |(major, minor)| major * 20 + minor);
    let mut parts = version.split('.');
    let mut part = || parts.next().unwrap_or("0");
    let wanted = place(&format!("{}.{}", part(), part()));
    bases.sort_by_key(|base| {
        let at = place(&base.line);
        (at.abs_diff(wanted), at)
    });
    bases
}

impl Tree {
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

    /// Verify that the nearest release line is tried first, also over a change
    /// of the major version, and that versions of any form have a nearest.
    #[test]
    fn nearest_base_first() {
        let base = |line: &str| -> Base {
            toml::from_str(&format!("line = '{line}'\npackage = 'any'")).expect("a base")
        };
        let order = |version: &str| {
            let bases = ["5.10", "6.1", "6.12", "7.3"].map(base).to_vec();
            by_distance(bases, version)
                .into_iter()
                .map(|b| b.line)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(order("6.12.117"), "6.12 6.1 7.3 5.10");
        assert_eq!(order("6.8.1"), "6.12 6.1 7.3 5.10");
        assert_eq!(order("6.6.3-rt"), "6.1 6.12 5.10 7.3");
        assert_eq!(order("5.15.0"), "5.10 6.1 6.12 7.3");
        assert_eq!(order("5.16.0"), "6.1 5.10 6.12 7.3");
        assert_eq!(order("4.19.1"), "5.10 6.1 6.12 7.3");
        assert_eq!(order("7.9.0-rc1"), "7.3 6.12 6.1 5.10");
        for odd in ["", "six", "99999999.1", "6"] {
            assert_eq!(order(odd).split(' ').count(), 4, "{odd}");
        }
    }

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
            let tree = Tree {
                repo,
                base: nearest(&self.project, version).unwrap(),
                version: version.to_owned(),
                commit,
                slot: "tree".into(),
                refused: Vec::new(),
            };
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
