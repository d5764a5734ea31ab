// SPDX-License-Identifier: GPL-2.0-only
//! `docs`: the parts of docs/ that are made from results, so that no figure
//! there was written by hand.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{bench, cli, fail, project::Project, report};

/// What `bench` writes.
const MEASURED: [&str; 4] = ["bench.json", "load.json", "native.json", "self.json"];

/// Writes them.
pub fn docs(request: &cli::Docs) -> Result<u8> {
    let dirs = &request.results;
    let [costs, loads, natives, selves] = MEASURED;
    let benches = all(dirs, costs, bench::load, |b| b.started)?;
    let loads = all(dirs, loads, bench::load_of, |l| l.started)?;
    let natives = all(dirs, natives, bench::native_of, |n| n.started)?;
    let selves = all(dirs, selves, bench::self_of, |i| i.started)?;
    let mut results = Vec::new();
    for dir in dirs {
        let verify = dir.join("results.json");
        // None of them there: the error names the file that `verify` writes.
        if verify.is_file() || !MEASURED.iter().any(|name| dir.join(name).is_file()) {
            results.push(report::load(&verify)?);
        }
    }
    results.sort_by_key(|r| r.started);
    let to = match &request.to {
        Some(dir) => dir.clone(),
        None => Project::find()?.path("docs"),
    };
    let said = |what: &str| println!("wrote {what} to {}", to.display());
    if !results.is_empty() {
        report::write_docs(&results, &to)?;
        said("figures.md and upstream.md");
    }
    if !benches.is_empty() {
        bench::write_docs(&benches, &to)?;
        said("performance.md and its pictures");
    }
    if !loads.is_empty() {
        bench::write_load(&loads, &to)?;
        said("load.md and its pictures");
    }
    if !natives.is_empty() {
        bench::write_native(&natives, &to)?;
        said("native.md");
    }
    if let Some(last) = selves.last() {
        bench::write_self(&selves, &to)?;
        said("speed.md");
        // Elsewhere there is no README.md of ours.
        if request.to.is_none() {
            let readme = Project::find()?.path("README.md");
            bench::write_readme(last, &readme)?;
            println!("wrote how long it takes to {}", readme.display());
        }
    }
    Ok(fail::GOOD)
}

/// The files of this name in any of the folders, the oldest first.
fn all<T>(
    dirs: &[PathBuf],
    name: &str,
    read: fn(&Path) -> Result<T>,
    started: fn(&T) -> u64,
) -> Result<Vec<T>> {
    let paths = dirs.iter().map(|dir| dir.join(name));
    let mut found = paths
        .filter(|path| path.is_file())
        .map(|path| read(&path))
        .collect::<Result<Vec<T>>>()?;
    found.sort_by_key(started);
    Ok(found)
}
