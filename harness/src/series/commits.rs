// SPDX-License-Identifier: GPL-2.0-only
//! A series as commits on its baseline, one for each patch, and what each touches.

use std::path::{Path, PathBuf};

use anyhow::Result;
use protocol::Arm;

use crate::{
    project::{Project, patches_in},
    tree::Tree,
};

/// One patch of a series, applied.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Its place, from 1; 0 stands for the strip, whose patches are one here.
    pub number: usize,
    /// The file it came from.
    pub path: PathBuf,
    /// The commit it became.
    pub commit: String,
    /// The commit before it.
    pub parent: String,
    /// First line of its message.
    pub subject: String,
    /// The files it changes, as paths in the tree.
    pub files: Vec<String>,
}

/// How far a series applies.
#[derive(Debug)]
pub struct Applied {
    /// What the series goes on top of.
    pub baseline: String,
    /// What was taken out to get there, where upstream has the helper.
    pub strip: Option<Patch>,
    /// The patches that apply, in order.
    pub patches: Vec<Patch>,
    /// How many there are.
    pub of: usize,
    /// The first one that does not apply, and why.
    pub refused: Option<(PathBuf, anyhow::Error)>,
}

/// Applies the project's series for a tree, or the one in `series`, patch by patch.
/// Fails when there is no baseline to put it on.
pub fn apply_each(tree: &Tree, project: &Project, series: Option<&Path>) -> Result<Applied> {
    let baseline = tree.arm(project, Arm::Baseline, None)?;
    let files = match series {
        Some(dir) => patches_in(dir)?,
        None => project.patches(&tree.base.line, "series")?,
    };
    let mut applied = Applied {
        baseline: baseline.clone(),
        strip: strip(tree, project, &baseline)?,
        patches: Vec::new(),
        of: files.len(),
        refused: None,
    };
    let mut at = baseline;
    for (index, path) in files.into_iter().enumerate() {
        let commit = match tree.repo.apply(&at, std::slice::from_ref(&path)) {
            Ok(commit) => commit,
            Err(error) if crate::fail::status(&error) == crate::fail::REQUEST => {
                applied.refused = Some((path, error));
                break;
            }
            Err(error) => return Err(error),
        };
        let subject = subject(tree, &commit)?;
        let files = touched(tree, &at, &commit)?;
        applied.patches.push(Patch {
            number: index + 1,
            path,
            parent: std::mem::replace(&mut at, commit.clone()),
            commit,
            subject,
            files,
        });
    }
    Ok(applied)
}

/// The strip of a tree, as one patch; `None` where there was nothing to take out.
fn strip(tree: &Tree, project: &Project, baseline: &str) -> Result<Option<Patch>> {
    if !tree.has_helper()? {
        return Ok(None);
    }
    let path = project.path(format!("kernel-patches/{}/strip", tree.base.line));
    Ok(Some(Patch {
        number: 0,
        path,
        commit: baseline.to_owned(),
        parent: tree.commit.clone(),
        subject: super::strip::SUBJECT.to_owned(),
        files: touched(tree, &tree.commit, baseline)?,
    }))
}

fn subject(tree: &Tree, commit: &str) -> Result<String> {
    let line = tree.repo.git(["log", "-1", "--format=%s", commit]).read()?;
    Ok(line.trim().to_owned())
}

/// The files that differ between two commits.
fn touched(tree: &Tree, from: &str, to: &str) -> Result<Vec<String>> {
    let names = tree
        .repo
        .git(["diff", "--name-only", "--no-renames", from, to])
        .read()?;
    Ok(names.lines().map(str::to_owned).collect())
}
