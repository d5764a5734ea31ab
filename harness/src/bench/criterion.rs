// SPDX-License-Identifier: GPL-2.0-only
//! `bench --criterion`: the benches of selftests/benches, which repeat the same
//! transactions by the clock, in the guest or, with `--native`, here.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::Arm;
use serde_json::Value;

use super::measure::plain;
use crate::{
    accel::Accel,
    cli,
    exec::{POLL, Program, describe, tail},
    fail, interrupt,
    scratch::Scratch,
    session::Session,
    vm::{SHARE, Spec},
};

/// All benches of one kernel may take so long.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How thorough Criterion is in a guest, where there may be a hundred figures.
const BRIEFLY: &str = "--noplot --warm-up-time 0.2 --measurement-time 0.5 --sample-size 10";

/// What one bench came to.
#[derive(Debug, PartialEq)]
struct Figure {
    /// `veth.tcp_rr.v4.redirect_peer`.
    name: String,
    /// As Criterion says it: `[1.1 us 1.2 us 1.3 us]`.
    time: String,
}

/// Runs them in each kernel that is asked for.
pub(super) fn in_guests(session: &Session, request: &cli::Bench) -> Result<u8> {
    let chosen = chosen(&request.only)?;
    let program = build(session)?;
    let vng = session.virtme_ng()?;
    let arms: Vec<Arm> = if request.arms.is_empty() {
        vec![Arm::Patched]
    } else {
        request.arms.iter().map(|a| Arm::from(*a)).collect()
    };
    for tree in session.trees(&request.source)? {
        for &arm in &arms {
            let commit = session.commit(&tree, arm, request.source.series.as_deref())?;
            let kernel = session.kernel(&tree, arm, "default", &commit)?;
            let choice = session.accel(&vng, &kernel.image)?;
            let share = Scratch::new("what the guest sees")?;
            fs::copy(&program, share.path().join("paths"))
                .with_context(|| format!("copying {}", program.display()))?;
            // Where a file can be written: the host's are read-only there.
            let command = format!(
                "export CRITERION_HOME=/tmp/criterion\nexec {SHARE}/paths --bench {BRIEFLY} {chosen}\n"
            );
            fs::write(share.path().join("command"), command).context("writing the command")?;
            let step = session
                .progress
                .begin("criterion", &format!("{} {}", tree.base.line, arm.word()));
            let printed = run(&Spec {
                vng: &vng,
                accel: choice.accel,
                image: &kernel.image,
                background: false,
                cpus: 2,
                memory_mib: 1024,
                script: &format!("exec /bin/sh {SHARE}/command 2>&1"),
                share: share.path(),
                devices: Vec::new(),
            })?;
            step.done(false);
            println!(
                "\n{} {}, {}:",
                tree.version,
                arm.word(),
                choice.accel.word()
            );
            show(&printed)?;
            if choice.accel == Accel::Tcg {
                println!(
                    "The guest is executed by software: these times say how fast that is, and are no verdict on the kernel."
                );
            }
        }
    }
    session.progress.save(&session.cache)?;
    Ok(fail::GOOD)
}

/// Runs them on this machine.
pub(super) fn here(session: &Session, request: &cli::Bench) -> Result<u8> {
    let program = build(session)?;
    let scratch = Scratch::new("what Criterion keeps")?;
    let said = scratch.path().join("said");
    let file = File::create(&said).context("making a file for what it prints")?;
    let step = session.progress.begin("criterion", "native");
    let status = Program::new(&program)
        .args(["--bench", "--noplot"])
        .args(pattern(&request.only)?)
        .env("CRITERION_HOME", scratch.path())
        .spawn(file.try_clone()?.into(), file.into())?
        .wait(Some(PATIENCE))?;
    step.done(false);
    let printed = fs::read_to_string(&said).unwrap_or_default();
    if !status.success() {
        bail!("it ended with {}: {}", describe(status), tail(&printed, 15));
    }
    show(&printed)?;
    Ok(fail::GOOD)
}

/// Has cargo build the benches; the program.
fn build(session: &Session) -> Result<PathBuf> {
    let step = session.progress.begin("criterion", "build");
    let project = &session.project;
    let mut cargo = Program::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["bench", "--no-run", "--quiet", "--locked"])
        .args(["--package", "selftests", "--bench", "paths"])
        .args(["--message-format", "json", "--target-dir"])
        .arg(project.path("target"))
        .dir(project.path(""));
    if session.common.offline {
        cargo = cargo.arg("--offline");
    }
    let out = cargo.output()?;
    if !out.status.success() {
        bail!("the benches do not build:\n{}", tail(&out.stderr, 30));
    }
    let program = executable(&out.stdout).context("cargo did not say where the benches are")?;
    step.done(false);
    Ok(program)
}

/// The program that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(Path::new(message.get("executable")?.as_str()?).to_owned())
    };
    messages.lines().rev().find_map(program)
}

/// A pattern for figures whose names begin so; none for all of them.
fn pattern(only: &[String]) -> Result<Option<String>> {
    let names: Vec<String> = only
        .iter()
        .map(|name| Ok(plain(name)?.replace('.', "\\.")))
        .collect::<Result<_>>()?;
    Ok((!names.is_empty()).then(|| format!("^({})", names.join("|"))))
}

/// The same as a word of the guest's shell: names have no quotes.
fn chosen(only: &[String]) -> Result<String> {
    Ok(pattern(only)?.map_or_else(String::new, |p| format!("'{p}'")))
}

/// Boots it and waits: what its script printed.
fn run(spec: &Spec<'_>) -> Result<String> {
    let mut vm = spec.boot()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = vm.try_wait()? {
            break status;
        }
        interrupt::check()?;
        if start.elapsed() > PATIENCE {
            bail!("the benches did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(POLL);
    };
    let output = vm.output();
    vm.end()?;
    let printed = fs::read_to_string(&output).unwrap_or_default();
    if !status.success() {
        bail!(
            "the benches ended with {}; they printed: {}",
            describe(status),
            tail(&printed, 15)
        );
    }
    Ok(printed)
}

/// Prints what Criterion found.
fn show(printed: &str) -> Result<()> {
    let found = figures(printed);
    if found.is_empty() {
        bail!("Criterion found nothing; it printed: {}", tail(printed, 15));
    }
    for figure in found {
        println!("{:<40} {}", figure.name, figure.time);
    }
    Ok(())
}

/// What Criterion says of each: on a line of its own where the name is long.
fn figures(printed: &str) -> Vec<Figure> {
    let mut found = Vec::new();
    let mut before = "";
    for line in printed.lines().map(str::trim) {
        if let Some((name, time)) = line.split_once("time:") {
            let name = if name.is_empty() { before } else { name.trim() };
            found.push(Figure {
                name: name.to_owned(),
                time: time.trim().to_owned(),
            });
        }
        before = line;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that figures are found in what Criterion 0.8 prints.
    #[test]
    fn what_criterion_prints() {
        let printed = "Benchmarking veth.tcp_rr.v4.host\n\
            Benchmarking veth.tcp_rr.v4.host: Warming up for 200.00 ms\n\
            veth.tcp_rr.v4.host     time:   [1.1 us 1.2 us 1.3 us]\n\n\
            veth.tcp_rr.v4.redirect_peer\n                        time:   [2.1 us 2.2 us 2.3 us]\n\
            Found 1 outliers among 10 measurements (10.00%)\n";
        let found = figures(printed);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "veth.tcp_rr.v4.host");
        assert_eq!(found[0].time, "[1.1 us 1.2 us 1.3 us]");
        assert_eq!(found[1].name, "veth.tcp_rr.v4.redirect_peer");
    }

    /// Verify that the program is found in cargo's messages.
    #[test]
    fn what_cargo_says() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/release/deps/paths-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some("/t/release/deps/paths-1".into()));
        assert_eq!(executable(""), None);
    }

    /// Verify that names choose by how they begin, and are no shell.
    #[test]
    fn names_choose() {
        let only = ["veth.tcp_rr".to_owned(), "netkit".to_owned()];
        assert_eq!(chosen(&only).unwrap(), r"'^(veth\.tcp_rr|netkit)'");
        assert_eq!(chosen(&[]).unwrap(), "");
        assert!(chosen(&["a';reboot".to_owned()]).is_err());
    }
}
