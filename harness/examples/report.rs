// SPDX-License-Identifier: GPL-2.0-only
//! Writes every report once more from saved results:
//! `cargo run --example report -- RESULTS.json DIR`.

use std::path::Path;

use anyhow::{Context, Result};
use harness::report;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let saved = arguments.next().context("which results.json?")?;
    let dir = arguments
        .next()
        .context("which folder are the reports for?")?;
    let results = report::load(Path::new(&saved))?;
    report::write_all(&results, Path::new(&dir))?;
    print!(
        "{}\n{}",
        report::table(&results, true, false),
        report::times(&results)
    );
    Ok(())
}
