// SPDX-License-Identifier: GPL-2.0-only
//! `verify`: from the series to the verdicts.

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo};

use crate::{
    accel::Choice,
    cli::Verify,
    fail,
    guest::Guest,
    kernel::Kernel,
    machine, report,
    results::{self, Results},
    run::{self, Job},
    session::Session,
    setup::VirtmeNg,
    splat::Allowlist,
    tree::Tree,
};

/// Proves the series and prints what came of it; gives the exit status.
pub fn verify(request: &Verify) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let results = collect(&session, request)?;
    show(&results, request)?;
    Ok(if results.is_good() {
        fail::GOOD
    } else {
        fail::BAD
    })
}

/// The arms that a request names.
fn arms(request: &Verify) -> Vec<Arm> {
    if request.arms.is_empty() {
        return vec![Arm::Baseline, Arm::Patched];
    }
    let mut arms: Vec<Arm> = request.arms.iter().map(|a| (*a).into()).collect();
    arms.sort();
    arms.dedup();
    arms
}

/// Everything up to the results.
pub fn collect(session: &Session, request: &Verify) -> Result<Results> {
    let start = Instant::now();
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let flavors = if request.flavors.is_empty() {
        vec!["default".to_owned()]
    } else {
        request.flavors.clone()
    };
    let console = match &request.results {
        Some(dir) => Consoles::Kept(dir.join("console")),
        None => Consoles::Thrown(tempfile::tempdir().context("making a folder for consoles")?),
    };
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let cases = guest.select(&request.cases)?;
    let allowed = session.project.path("vm/splats.toml");
    let allowed = Allowlist::load(
        &std::fs::read_to_string(&allowed)
            .with_context(|| format!("reading {}", allowed.display()))?,
    )?;
    let mut choice: Option<Choice> = None;
    let mut runs = Vec::new();
    for tree in session.trees(&request.source)? {
        for flavor in &flavors {
            for arm in arms(request) {
                let kernel =
                    session.kernel(&tree, arm, flavor, request.source.series.as_deref())?;
                let choice = match &choice {
                    Some(choice) => choice,
                    None => choice.insert(session.accel(&vng, &kernel.image)?),
                };
                let ready = Ready {
                    vng: &vng,
                    guest: &guest,
                    cases: &cases,
                    allowed: &allowed,
                    choice,
                };
                let name = format!("{}-{}-{flavor}.log", tree.slot, arm.word());
                runs.push(one(
                    session,
                    &ready,
                    &tree,
                    arm,
                    flavor,
                    &kernel,
                    &console.path(&name)?,
                )?);
            }
        }
    }
    let choice = choice.context("no arm was run")?;
    session.progress.save(&session.cache)?;
    Ok(Results {
        version: results::VERSION,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        seconds: start.elapsed().as_secs_f64(),
        command: std::env::args().collect(),
        machine: machine::describe(&choice, &vng),
        cases,
        runs,
        steps: session.progress.steps(),
    })
}

struct Ready<'a> {
    vng: &'a VirtmeNg,
    guest: &'a Guest,
    cases: &'a [CaseInfo],
    allowed: &'a Allowlist,
    choice: &'a Choice,
}

fn one(
    session: &Session,
    ready: &Ready<'_>,
    tree: &Tree,
    arm: Arm,
    flavor: &str,
    kernel: &Kernel,
    console: &Path,
) -> Result<results::Run> {
    let job = Job {
        vng: ready.vng,
        accel: ready.choice.accel,
        kernel,
        guest: ready.guest,
        cases: ready.cases,
        base: &tree.base.line,
        source: &tree.version,
        arm,
        flavor,
        allowed: ready.allowed,
        console,
    };
    run::run(&job, &session.progress)
}

enum Consoles {
    Kept(std::path::PathBuf),
    Thrown(tempfile::TempDir),
}

impl Consoles {
    fn path(&self, name: &str) -> Result<std::path::PathBuf> {
        let dir = match self {
            Self::Kept(dir) => dir.as_path(),
            Self::Thrown(dir) => dir.path(),
        };
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join(name);
        // Each boot appends; what an earlier invocation left there is not ours.
        let _ = std::fs::remove_file(&path);
        Ok(path)
    }
}

fn show(results: &Results, request: &Verify) -> Result<()> {
    use std::io::{IsTerminal, Write};
    if let Some(dir) = &request.results {
        report::write_all(results, dir)?;
    }
    let mut out = std::io::stdout().lock();
    // A reader that has gone away is no reason to change the exit status.
    let _ = if request.common.json {
        writeln!(out, "{}", serde_json::to_string_pretty(results)?)
    } else {
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let table = report::table(results, colour, request.common.verbose);
        writeln!(out, "{table}\n{}", report::times(results))
    };
    Ok(())
}
