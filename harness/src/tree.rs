// SPDX-License-Identifier: GPL-2.0-only
//! The tree that a series is proved on, and its arms as commits.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::Arm;

use crate::{
    cache::{Cache, Key},
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

/// The base whose release line is nearest to a version: the newest one that is
/// not newer, or the oldest.
fn nearest(project: &Project, version: &str) -> Result<Base> {
    let mut parts = version.split('.');
    let line = format!(
        "{}.{}",
        parts.next().unwrap_or("0"),
        parts.next().unwrap_or("0")
    );
    let wanted = line_number(&line);
    let bases = project.bases()?;
    let first = bases.first().cloned().context("bases.toml names no base")?;
    Ok(bases
        .into_iter()
        .rfind(|b| line_number(&b.line) <= wanted)
        .unwrap_or(first))
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
                .context("taking upstream's helper out")?
        } else {
            self.commit.clone()
        };
        if arm == Arm::Baseline {
            return Ok(baseline);
        }
        let series = match series {
            Some(dir) => patches_in(dir)?,
            None => project.patches(&self.base.line, "series")?,
        };
        self.repo
            .apply(&baseline, &series)
            .context("applying the series")
    }
}
