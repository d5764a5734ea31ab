// SPDX-License-Identifier: GPL-2.0-only
//! `docs`: the parts of docs/ that are made from results, so that no figure
//! there was written by hand.

use anyhow::Result;

use crate::{cli, fail, project::Project, report};

/// Writes them.
pub fn docs(request: &cli::Docs) -> Result<u8> {
    let mut results = request
        .results
        .iter()
        .map(|dir| report::load(&dir.join("results.json")))
        .collect::<Result<Vec<_>>>()?;
    results.sort_by_key(|r| r.started);
    let to = match &request.to {
        Some(dir) => dir.clone(),
        None => Project::find()?.path("docs"),
    };
    report::write_docs(&results, &to)?;
    println!("wrote figures.md and upstream.md to {}", to.display());
    Ok(fail::GOOD)
}
