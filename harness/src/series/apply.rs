// SPDX-License-Identifier: GPL-2.0-only
//! `series apply`: the series on a new branch of a tree of yours.
//!
//! Nothing but the branch is made. Neither the checkout nor the index is looked
//! at or touched, so it does not matter what is under way there.

use anyhow::{Context, Result};

use super::commits;
use crate::{
    cli::Apply,
    exec::Program,
    fail, request,
    session::Session,
    tree::{self, Origin},
};

/// Makes the branch, or says which patch failed, in which file and where.
pub fn apply(request: &Apply) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let dir = &request.tree;
    let origin = Origin::Git {
        dir: dir.clone(),
        rev: request.rev.clone(),
    };
    let tree = tree::prepare(
        &session.cache,
        &session.project,
        &origin,
        true,
        false,
        &session.progress,
    )?
    .fitted(
        &session.project,
        request.series.as_deref(),
        &session.progress,
    )?;
    if tree.has_helper()? && !request.strip {
        return Err(request!(
            "Linux {} in {} has bpf_redirect_peer() already: there is nothing to apply (--strip takes it out first, to put this one in its place)",
            tree.version,
            dir.display()
        ));
    }
    let git = || Program::new("git").arg("-C").arg(dir);
    let name = format!("refs/heads/{}", request.branch);
    if !git()
        .args(["check-ref-format", &name])
        .output()?
        .status
        .success()
    {
        return Err(request!("`{}` is no name for a branch", request.branch));
    }
    if git()
        .args(["rev-parse", "--quiet", "--verify", &name])
        .output()?
        .status
        .success()
    {
        return Err(request!(
            "{} has a branch `{}` already: name another with --branch",
            dir.display(),
            request.branch
        ));
    }
    let applied = commits::apply_each(&tree, &session.project, request.series.as_deref())?;
    if let Some((_, error)) = applied.refused {
        let done = applied.patches.len();
        return Err(error.context(format!(
            "of {} patches for {} the first {done} apply to Linux {} in {}; no branch was made",
            applied.of,
            tree.base.line,
            tree.version,
            dir.display()
        )));
    }
    let last = applied
        .patches
        .last()
        .context("a series has a patch at least")?;
    git()
        .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"])
        .arg(tree.repo.dir())
        .arg(format!("{}:{name}", last.commit))
        .read()
        .with_context(|| {
            format!(
                "making the branch `{}` in {}",
                request.branch,
                dir.display()
            )
        })?;
    println!(
        "branch `{}` in {}: Linux {} with the series for {}",
        request.branch,
        dir.display(),
        tree.version,
        tree.base.line
    );
    for patch in &applied.patches {
        println!(
            "  {}/{} {:.12} {}",
            patch.number, applied.of, patch.commit, patch.subject
        );
    }
    Ok(fail::GOOD)
}
