// SPDX-License-Identifier: GPL-2.0-only
//! `check`: the project's own tests, everything. What CI runs.

mod at_once;
mod count;
mod fuzz;
mod kernels;
mod pages;
mod readers;
mod reviewers;

use std::{io::Write, time::Instant};

use anyhow::{Context, Result};

use self::{count::Count, kernels::kernels};
use crate::{
    cases,
    cli::{Check, FaultyKernel},
    disturb,
    exec::Program,
    fail, faults,
    progress::seconds,
    session::Session,
};

/// Runs everything and closes with one line that counts it.
pub fn check(request: &Check) -> Result<u8> {
    let start = Instant::now();
    let mut session = Session::open(&request.common)?;
    if let Some(minutes) = request.fuzz {
        return fuzz::fuzz(&session, minutes);
    }
    let mut count = Count::default();
    tools(&session, &mut count)?;
    unit_tests(&session, &mut count)?;
    for wrong in requirements(&session, &mut count)? {
        println!("     {wrong}");
    }
    pages::pages(&session, &mut count)?;
    if !request.quick {
        for trial in readers::try_all(&session).context("the readers of the reports")? {
            count.trial("read by others", &trial);
        }
        kernels(&mut session, &request.common, &mut count)?;
        reviewers::reviewers(&session, &mut count).context("checking the series")?;
        for (what, wrong) in
            faults::try_all(&session, FaultyKernel::Faulty, None).context("misbehaving guests")?
        {
            count.one(&format!("misbehaving guest: {what}"), wrong.is_none());
            if let Some(wrong) = wrong {
                println!("     {wrong}");
            }
        }
        for trial in disturb::try_all(&session).context("a harness that is disturbed")? {
            count.trial("disturbed", &trial);
        }
    }
    session.progress.save(&session.cache)?;
    println!("all of it took {}", seconds(start.elapsed().as_secs_f64()));
    let (said, good) = count.close(request.deny_skips);
    println!("{said}");
    let _ = std::io::stdout().flush();
    Ok(if good { fail::GOOD } else { fail::BAD })
}

fn cargo(session: &Session) -> Program {
    Program::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .dir(session.project.path(""))
}

/// Format and lints.
fn tools(session: &Session, count: &mut Count) -> Result<()> {
    let runs: [(&str, &[&str]); 2] = [
        ("cargo fmt --check", &["fmt", "--all", "--check"]),
        (
            "cargo clippy, without a warning",
            &[
                "clippy",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ],
        ),
    ];
    for (name, args) in runs {
        let step = session.progress.begin("check", name);
        let out = cargo(session).args(args).output()?;
        step.done(false);
        if !out.status.success() {
            println!("{}\n{}", out.stdout.trim_end(), out.stderr.trim_end());
        }
        count.one(name, out.status.success());
    }
    Ok(())
}

/// Unit tests, counted as cargo's runner counts them.
fn unit_tests(session: &Session, count: &mut Count) -> Result<()> {
    let step = session.progress.begin("check", "unit tests");
    let out = cargo(session)
        .args([
            "test",
            "--quiet",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ])
        .output()?;
    step.done(false);
    if !count.unit_tests(&out.stdout, out.status.success()) {
        println!("{}\n{}", out.stdout.trim_end(), out.stderr.trim_end());
    }
    Ok(())
}

/// That each requirement has a proof.
fn requirements(session: &Session, count: &mut Count) -> Result<Vec<String>> {
    let wrong = cases::check(session)?;
    count.one("every requirement has a proof", wrong.is_empty());
    Ok(wrong)
}
