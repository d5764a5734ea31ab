// SPDX-License-Identifier: GPL-2.0-only
//! `list` and `run`.

use std::{
    any::Any,
    collections::HashSet,
    fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::{CaseInfo, Event, MARK_END, MARK_START, Outcome, VERSION, reason};

use crate::{
    bpf,
    cases::{self, Case},
    fail::{Stop, Verdict, failed},
    report::{Report, mark},
};

/// `list`.
pub(crate) fn list(json: bool) -> Result<ExitCode> {
    let infos: Vec<CaseInfo> = cases::all().iter().map(Case::info).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&infos)?);
    } else {
        for info in infos {
            println!(
                "{:<34} {:<22} {}",
                info.name,
                info.proves.join(" "),
                info.summary
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `run`.
pub(crate) fn run(named: Vec<String>, file: Option<&Path>, port: Option<&str>) -> Result<ExitCode> {
    let chosen = choose(named, file)?;
    if !nix::unistd::geteuid().is_root() {
        bail!("running cases makes network namespaces and loads programs: run as root");
    }
    let mut report = match port {
        Some(port) => Report::to_port(port)?,
        None => Report::to_people(),
    };
    bpf::keep_log();
    let kernel = nix::sys::utsname::uname()?
        .release()
        .to_string_lossy()
        .into_owned();
    let names = chosen.iter().map(|c| c.name.clone()).collect();
    report.send(Event::Hello {
        protocol: VERSION,
        kernel,
        cases: names,
    })?;
    for case in &chosen {
        let name = case.name.clone();
        report.send(Event::CaseStart { case: name.clone() })?;
        mark(&format!("{MARK_START}{name}"));
        let start = Instant::now();
        let outcome = one(case);
        mark(&format!("{MARK_END}{name}"));
        let duration_us = start.elapsed().as_micros() as u64;
        report.send(Event::CaseEnd {
            case: name,
            outcome,
            duration_us,
        })?;
    }
    report.send(Event::Done {
        cases: chosen.len() as u64,
    })?;
    Ok(if report.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose(mut named: Vec<String>, file: Option<&Path>) -> Result<Vec<Case>> {
    if let Some(file) = file {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        named.extend(text.lines().filter(|l| !l.is_empty()).map(str::to_owned));
    }
    let all = cases::all();
    let known: HashSet<&str> = all.iter().map(|c| c.name.as_str()).collect();
    if let Some(unknown) = named.iter().find(|n| !known.contains(n.as_str())) {
        bail!("there is no case `{unknown}`: `selftests list` names them all");
    }
    if named.is_empty() {
        return Ok(all);
    }
    // In the order asked for.
    Ok(named
        .iter()
        .filter_map(|n| all.iter().find(|c| c.name == **n).cloned())
        .collect())
}

/// What a case may not leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    programs: usize,
    devices: Vec<String>,
}

impl Traces {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
        let devices = text
            .lines()
            .skip(2)
            .filter_map(|l| l.split(':').next())
            .map(|n| n.trim().to_owned())
            .collect();
        Self {
            programs: bpf::programs(),
            devices,
        }
    }
}

fn one(case: &Case) -> Outcome {
    let before = Traces::now();
    let work = case.run.clone();
    // A thread of its own: it changes namespaces, and may panic.
    let result = thread::Builder::new()
        .name(case.name.chars().take(15).collect())
        .spawn(move || work());
    let verdict = match result.map(thread::JoinHandle::join) {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(panic)) => Err(failed(reason::PANIC, said(panic.as_ref()))),
        Err(e) => Err(failed(reason::SETUP, format!("starting a thread: {e}"))),
    };
    outcome(verdict.and_then(|()| clean(&before)))
}

/// Fails unless everything is as before. A namespace goes in the kernel's own
/// time, and takes its devices and programs along.
fn clean(before: &Traces) -> Verdict {
    let start = Instant::now();
    loop {
        let now = Traces::now();
        // Fewer programs: what an earlier case left has gone meanwhile.
        if now.programs <= before.programs && now.devices == before.devices {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(3) {
            return Err(failed(
                reason::LEFTOVER,
                format!("expected {before:?} afterwards as before, got {now:?}"),
            ));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Ok(()) => Outcome::Pass,
        Err(Stop::Skipped(why)) => Outcome::Skip { why },
        Err(Stop::Failed(failure)) => Outcome::Fail(failure),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without a word"))
}
