// SPDX-License-Identifier: GPL-2.0-only
//! A tree from where it comes from: a package, an archive, or the user's own git.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Origin, Tree, known_version, nearest::nearest};
use crate::{
    cache::{Cache, Key},
    git::Repo,
    progress::Progress,
    project::{Base, Project},
    request, source,
};

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
    Ok(Tree::new(
        repo,
        base.clone(),
        version,
        commit,
        base.line.clone(),
    ))
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
    Ok(Tree::new(repo, base, version, commit, slot))
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
    Ok(Tree::new(repo, base, version, commit, slot))
}

fn version_at(repo: &Repo, commit: &str) -> Result<String> {
    known_version(repo, commit)?
        .with_context(|| format!("the Makefile of {commit} names no version"))
}
