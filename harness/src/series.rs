// SPDX-License-Identifier: GPL-2.0-only
//! `series`: the patches themselves.

use std::path::Path;

use anyhow::{Context, Result};
use protocol::Arm;

use crate::{
    cli::{Common, SeriesArgs},
    exec::Program,
    fail, request,
    session::Session,
    tree::{self, Origin},
};

/// `series check`: applies strip and series and says what each commit is.
pub fn check(request: &SeriesArgs) -> Result<u8> {
    let session = Session::open(&request.common)?;
    for tree in session.trees(&request.source)? {
        let arm = |arm| tree.arm(&session.project, arm, request.source.series.as_deref());
        let (baseline, patched) = (arm(Arm::Baseline)?, arm(Arm::Patched)?);
        println!(
            "Linux {}: baseline {baseline:.12}, patched {patched:.12}",
            tree.version
        );
        let log = tree
            .repo
            .git(["log", "--reverse", "--format=  %h %s", "--stat=72"])
            .arg(format!("{baseline}..{patched}"))
            .read()?;
        println!("{log}");
    }
    Ok(fail::GOOD)
}

/// `series apply`: puts the series on a new branch of the user's tree. Nothing
/// but the branch is made: neither the checkout nor the index is touched.
pub fn apply(dir: &Path, branch: &str, common: &Common) -> Result<u8> {
    let session = Session::open(common)?;
    let origin = Origin::Git {
        dir: dir.to_owned(),
        rev: "HEAD".into(),
    };
    let tree = tree::prepare(
        &session.cache,
        &session.project,
        &origin,
        true,
        false,
        &session.progress,
    )?;
    if tree.has_helper()? {
        return Err(request!(
            "Linux {} at {} has bpf_redirect_peer() already: there is nothing to apply",
            tree.version,
            dir.display()
        ));
    }
    let commit = tree.arm(&session.project, Arm::Patched, None)?;
    let name = format!("refs/heads/{branch}");
    let git = || Program::new("git").arg("-C").arg(dir);
    if git()
        .args(["rev-parse", "--quiet", "--verify", &name])
        .output()?
        .status
        .success()
    {
        return Err(request!(
            "{} has a branch `{branch}` already: name another with --branch",
            dir.display()
        ));
    }
    git()
        .args(["fetch", "--quiet", "--no-tags"])
        .arg(tree.repo.dir())
        .arg(format!("{commit}:{name}"))
        .read()
        .with_context(|| format!("making the branch `{branch}` in {}", dir.display()))?;
    println!(
        "branch `{branch}` in {} is Linux {} with the series for {}",
        dir.display(),
        tree.version,
        tree.base.line
    );
    Ok(fail::GOOD)
}
