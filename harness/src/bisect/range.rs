// SPDX-License-Identifier: GPL-2.0-only
//! The commits between the ends, as git lists them.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::git::Repo;

/// A commit of a range.
#[derive(Debug)]
pub(super) struct Commit {
    /// Its name.
    pub(super) id: String,
    /// Its parents, within the range or not.
    pub(super) parents: Vec<String>,
    /// git's letter and the path; `None` for a merge.
    pub(super) changed: Option<Vec<(String, String)>>,
}

/// The commits that `bad` has and `good` have not, parents first.
pub(super) fn read(repo: &Repo, good: &[String], bad: &str) -> Result<Vec<Commit>> {
    let mut args = vec![
        "rev-list",
        "--topo-order",
        "--reverse",
        "--parents",
        bad,
        "--not",
    ];
    args.extend(good.iter().map(String::as_str));
    let list = repo.git(&args).read()?;
    let mut args = vec![
        "log",
        "--format=%x01%H",
        "--name-status",
        "--no-renames",
        bad,
        "--not",
    ];
    args.extend(good.iter().map(String::as_str));
    let log = repo.git(&args).read()?;
    let mut changed: BTreeMap<&str, Vec<(String, String)>> = log
        .split('\u{1}')
        .filter_map(|one| {
            let (id, rest) = one.split_once('\n')?;
            Some((id, rest.lines().filter_map(status_and_path).collect()))
        })
        .collect();
    Ok(list
        .lines()
        .map(|line| {
            let mut ids = line.split(' ').map(str::to_owned);
            let id = ids.next().unwrap_or_default();
            let parents: Vec<String> = ids.collect();
            Commit {
                // git log shows no files for a merge.
                changed: (parents.len() < 2)
                    .then(|| changed.remove(id.as_str()).unwrap_or_default()),
                id,
                parents,
            }
        })
        .collect())
}

/// git's letter and the path, of a line of `--name-status`.
pub(super) fn status_and_path(line: &str) -> Option<(String, String)> {
    let (status, path) = line.split_once('\t')?;
    Some((status.to_owned(), path.to_owned()))
}
