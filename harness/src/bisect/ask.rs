// SPDX-License-Identifier: GPL-2.0-only
//! From a request to what is to be done: revisions become commits.

use std::path::Path;

use anyhow::Result;
use protocol::Arm;

use super::{meter::figure, state::Asked};
use crate::{
    cli::Bisect,
    exec::Program,
    request,
    session::{DEFAULT_BASE, Session},
    tree::{self, Origin, Tree},
};

/// The request, with every revision as the commit it names now.
pub(super) fn ask(session: &Session, request: &Bisect) -> Result<Asked> {
    let mut asked = Asked {
        tree: None,
        base: request.base.clone().unwrap_or_else(|| DEFAULT_BASE.into()),
        series: None,
        on_top: false,
        good: Vec::new(),
        bad: String::new(),
        cases: request.cases.clone(),
        flavor: request.flavor.clone(),
        metric: match &request.metric {
            Some(name) => Some((figure(name)?, request.limit.unwrap_or(0.0) / 100.0)),
            None => None,
        },
        flaky: request.flaky,
    };
    if let Some(series) = request.series.as_ref().and_then(|s| s.as_ref()) {
        let dir = series
            .canonicalize()
            .map_err(|e| request!("cannot read the patches in {}: {e}", series.display()))?;
        asked.series = Some(dir);
    }
    let Some(dir) = &request.tree else {
        let tree = tree_of(session, &asked)?;
        asked.good = vec![tree.arm(&session.project, Arm::Baseline, None)?];
        asked.bad = tree.arm(&session.project, Arm::Patched, asked.series.as_deref())?;
        return Ok(asked);
    };
    let dir = dir
        .canonicalize()
        .map_err(|e| request!("no tree at {}: {e}", dir.display()))?;
    asked.on_top = request.series.is_some();
    asked.bad = rev(&dir, &request.bad)?;
    if let Some(good) = &request.good {
        asked.good = good_ends(session, &dir, &rev(&dir, good)?, &asked.bad)?;
    }
    asked.tree = Some(dir);
    Ok(asked)
}

/// The good end, or where it and the bad end parted.
fn good_ends(session: &Session, dir: &Path, good: &str, bad: &str) -> Result<Vec<String>> {
    if good == bad {
        return Err(request!(
            "--good and --bad name the same commit, {good:.12}: there is nothing between them"
        ));
    }
    let out = git(dir, &["merge-base", "--all", good, bad]).output()?;
    let bases: Vec<String> = out.stdout.lines().map(str::to_owned).collect();
    if bases.is_empty() {
        return Err(request!(
            "{good:.12} and {bad:.12} have no commit in common"
        ));
    }
    if bases == [bad.to_owned()] {
        return Err(request!(
            "the bad end {bad:.12} is an ancestor of the good end {good:.12}: exchange --good and --bad"
        ));
    }
    if bases != [good.to_owned()] {
        session.progress.note(&format!(
            "bisect: {good:.12} is no ancestor of {bad:.12}: the commit where they parted is taken for the good end, and tested like one"
        ));
    }
    Ok(bases)
}

fn git(dir: &Path, args: &[&str]) -> Program {
    Program::new("git").arg("-C").arg(dir).args(args)
}

pub(super) fn rev(dir: &Path, name: &str) -> Result<String> {
    let spec = format!("{name}^{{commit}}");
    let out = git(
        dir,
        &[
            "rev-parse",
            "--quiet",
            "--verify",
            "--end-of-options",
            &spec,
        ],
    )
    .output()?;
    if !out.status.success() {
        return Err(request!("{} has no commit named `{name}`", dir.display()));
    }
    Ok(out.stdout.trim().to_owned())
}

/// The tree of a bisection.
pub(super) fn tree_of(session: &Session, asked: &Asked) -> Result<Tree> {
    let origin = match &asked.tree {
        Some(dir) => Origin::Git {
            dir: dir.clone(),
            rev: asked.bad.clone(),
        },
        None => Origin::Package(session.project.base(&asked.base)?),
    };
    tree::prepare(
        &session.cache,
        &session.project,
        &origin,
        session.common.offline,
        false,
        &session.progress,
    )
}
