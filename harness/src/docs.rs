// SPDX-License-Identifier: GPL-2.0-only
//! `docs`: the parts of docs/ that are made from results, so that no figure
//! there was written by hand.

use anyhow::Result;

use crate::{bench, cli, fail, project::Project, report};

/// Writes them.
pub fn docs(request: &cli::Docs) -> Result<u8> {
    let (mut results, mut benches, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    for dir in &request.results {
        let [verify, measured, load] =
            ["results.json", "bench.json", "load.json"].map(|f| dir.join(f));
        if measured.is_file() {
            benches.push(bench::load(&measured)?);
        }
        if load.is_file() {
            loads.push(bench::load_of(&load)?);
        }
        // None of them there: the error names the file that `verify` writes.
        if verify.is_file() || !(measured.is_file() || load.is_file()) {
            results.push(report::load(&verify)?);
        }
    }
    results.sort_by_key(|r| r.started);
    benches.sort_by_key(|b| b.started);
    loads.sort_by_key(|l| l.started);
    let to = match &request.to {
        Some(dir) => dir.clone(),
        None => Project::find()?.path("docs"),
    };
    if !results.is_empty() {
        report::write_docs(&results, &to)?;
        println!("wrote figures.md and upstream.md to {}", to.display());
    }
    if !benches.is_empty() {
        bench::write_docs(&benches, &to)?;
        println!("wrote performance.md and its pictures to {}", to.display());
    }
    if !loads.is_empty() {
        bench::write_load(&loads, &to)?;
        println!("wrote load.md and its pictures to {}", to.display());
    }
    Ok(fail::GOOD)
}
