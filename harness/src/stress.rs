// SPDX-License-Identifier: GPL-2.0-only
//! `stress`: packets through the helper while devices, namespaces and programs
//! come and go, for as long as is asked for.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use protocol::CaseInfo;

use crate::{
    cli, exec::Program, fail, guest::Guest, machine, report, request, results, run,
    scratch::Scratch, session::Session, splat::Allowlist,
};

/// Boots one kernel, has the guest do it, and prints the verdict and the figures.
pub fn stress(request: &cli::Stress) -> Result<u8> {
    let common = &request.one.common;
    // Before anything that can fail.
    if let Some(dir) = &request.results {
        report::clear(dir)?;
    }
    let session = Session::open(common)?;
    let results = collect(&session, request)?;
    session.progress.save(&session.cache)?;
    if let Some(dir) = &request.results {
        report::write_all(&results, dir)?;
    }
    if common.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        println!("{}", report::table(&results, false, common.verbose));
        for metric in results.runs.iter().flat_map(|r| &r.metrics) {
            println!("{:>10} {:<8} {}", metric.value, metric.unit, metric.name);
        }
        println!(
            "seed {}: it has the same rounds again, which the kernel log names: what happens, in which order, over which \
             devices, and how many packets are sent before and meanwhile; what a packet meets is chance",
            request.seed
        );
    }
    Ok(if results.is_good() {
        fail::GOOD
    } else {
        fail::BAD
    })
}

/// Boots the kernel and has the guest do it: what came of it.
pub fn collect(session: &Session, request: &cli::Stress) -> Result<results::Results> {
    let one = &request.one;
    let start = std::time::Instant::now();
    let started = machine::now();
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, one.common.offline, &session.progress)?;
    let words: Vec<String> = ["stress", "--seed"]
        .map(str::to_owned)
        .into_iter()
        .chain([request.seed.to_string()])
        .chain(["--packets".into(), request.packets.to_string()])
        .collect();
    let cases: Vec<CaseInfo> = serde_json::from_str(
        &Program::new(&guest.program)
            .args(&words)
            .arg("--describe")
            .read()?,
    )
    .context("reading what the selftests say of `stress`")?;
    let trees = session.trees(&one.source)?;
    let [tree] = trees.as_slice() else {
        return Err(request!("`stress` takes one base"));
    };
    let arm = one.arm.into();
    let commit = session.commit(tree, arm, one.source.series.as_deref())?;
    // Without what finds a use after free, wrong locking and leaks, little is shown.
    let flavor = one.flavor.as_deref().unwrap_or("debug");
    let kernel = session.kernel(tree, arm, flavor, &commit)?;
    let choice = session.accel(&vng, &kernel.image)?;
    let consoles = Scratch::new("the console")?;
    let console = match &request.results {
        Some(dir) => dir.join(report::CONSOLES),
        None => consoles.path().to_owned(),
    };
    std::fs::create_dir_all(&console).with_context(|| format!("making {}", console.display()))?;
    let console = console.join("stress.log");
    let _ = std::fs::remove_file(&console);
    let job = run::Job {
        vng: &vng,
        accel: choice.accel,
        kernel: &kernel,
        guest: &guest,
        cases: &cases,
        base: &tree.base.line,
        source: &tree.version,
        arm,
        flavor,
        allowed: &Allowlist::load(
            &std::fs::read_to_string(session.project.path("vm/splats.toml"))
                .context("reading vm/splats.toml")?,
        )?,
        console: &console,
        devices: &[],
        boot_limit: run::BOOT_LIMIT,
        words: &words,
        background: false,
    };
    let run = run::run(&job, &session.progress)?;
    Ok(results::Results {
        version: results::VERSION,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        seconds: start.elapsed().as_secs_f64(),
        command: std::env::args().collect(),
        rev: None,
        machine: machine::describe(&choice, &vng),
        cases,
        runs: vec![run],
        steps: session.progress.steps(),
        allow_flaky: false,
        // One case does not show what all of them need.
        findings: Vec::new(),
        patches: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    /// Verify that whatever goes wrong, what an earlier invocation wrote is gone.
    #[test]
    fn earlier_results_do_not_survive_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("results.json");
        let other = dir.path().join("bench.json");
        // A cache folder that is a file can never be opened.
        let cache = dir.path().join("cache");
        for file in [&old, &other, &cache] {
            std::fs::write(file, "").unwrap();
        }
        let words = [
            "harness".as_ref(),
            "stress".as_ref(),
            "--results".as_ref(),
            dir.path().as_os_str(),
            "--cache".as_ref(),
            cache.as_os_str(),
        ];
        let Command::Stress(request) = <Cli as clap::Parser>::parse_from(words).command else {
            panic!("it is another command");
        };
        assert!(stress(&request).is_err());
        assert!(!old.exists());
        assert!(other.exists(), "what this one does not write is left alone");
    }
}
