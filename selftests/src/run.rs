// SPDX-License-Identifier: GPL-2.0-only
//! `list` and `run`.

use std::{
    any::Any, collections::HashSet, fs, path::Path, process::ExitCode, sync::PoisonError, thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use protocol::{Arm, CaseInfo, Event, Expect, Expectation, MARK_END, MARK_START, Outcome, reason};

use crate::{
    bpf,
    cases::{self, Case},
    fail::{Stop, Verdict, failed},
    intree,
    leaks::{self, Span},
    report::{Report, mark},
    scene::Kmsg,
    seed::Seed,
    traces::Traces,
};

/// `list`.
pub(crate) fn list(json: bool, faults: bool, in_tree: Option<&Path>) -> Result<ExitCode> {
    let cases = match in_tree {
        Some(dir) => intree::cases(dir)?,
        None if faults => cases::faults(),
        None => cases::all(),
    };
    let infos: Vec<CaseInfo> = cases.iter().map(Case::info).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&infos)?);
    } else {
        for info in infos {
            println!(
                "{:<38} {:<32} {}",
                info.name,
                info.proves.join(" "),
                info.summary
            );
            for e in &info.expectations {
                println!("{:<38} {}", "", elsewhere(e));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a case must end otherwise than by a pass: `on upstream of 5.10: fail
/// with wrong-count: why`.
fn elsewhere(e: &Expectation) -> String {
    let arm = e.arm.map_or("any arm", Arm::word);
    let bases = if e.bases.is_empty() {
        "any base".to_owned()
    } else {
        e.bases.join(", ")
    };
    let how = match &e.expect {
        Expect::Pass => "pass".to_owned(),
        Expect::Fail { reason } => format!("fail with {reason}"),
        Expect::Hang => "hang".to_owned(),
        Expect::Splat => "a report of the kernel".to_owned(),
        Expect::Skip => "skip".to_owned(),
    };
    format!("  on {arm} of {bases}: {how}: {}", e.why)
}

/// `run`.
pub(crate) fn run(
    mut chosen: Vec<Case>,
    port: Option<&str>,
    seed: Option<u64>,
    even_if_it_hangs: bool,
) -> Result<ExitCode> {
    if let Some(seed) = seed {
        Seed(seed).shuffle(&mut chosen);
    }
    // A guest may hang: the harness ends it. The machine of somebody who runs
    // this by hand may not, and has work on it.
    if port.is_none() && !even_if_it_hangs {
        chosen = chosen.into_iter().map(unless_it_hangs).collect();
    }
    all(&chosen, port, || Ok(Vec::new()))
}

/// The case, unless a kernel without the series would never come back from it.
fn unless_it_hangs(case: Case) -> Case {
    if case.may_hang() {
        case.left_out(
            "a kernel that does not bound the loop hangs here for ever: --even-if-it-hangs runs it",
        )
    } else {
        case
    }
}

/// `stress`.
pub(crate) fn stress(
    seed: u64,
    packets: u64,
    describe: bool,
    port: Option<&str>,
) -> Result<ExitCode> {
    let (case, tally) = cases::stress::case(seed, packets);
    if describe {
        println!("{}", serde_json::to_string(&[case.info()])?);
        return Ok(ExitCode::SUCCESS);
    }
    all(&[case], port, || {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let figure = |name: String, value: u64, unit: &str| Event::Metric {
            name,
            value: value as f64,
            unit: unit.into(),
        };
        let mut events = vec![figure("stress.sent".into(), tally.sent, "packets")];
        for (reason, count) in tally.freed {
            let name = format!("stress.freed.{}", reason.to_lowercase());
            events.push(figure(name, count, "packets"));
        }
        for (what, count) in tally.done {
            events.push(figure(format!("stress.done.{what}"), count, "times"));
        }
        Ok(events)
    })
}

/// Runs cases one after the other; `figures` are sent when they are over.
fn all(
    chosen: &[Case],
    port: Option<&str>,
    figures: impl FnOnce() -> Result<Vec<Event>>,
) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("running cases makes network namespaces and loads programs: run as root");
    }
    let mut report = Report::open(port)?;
    bpf::keep_log();
    leaks::prepare()?;
    leaks::forget()?;
    report.hello(chosen.iter().map(|c| c.name.clone()).collect())?;
    let mut spans = Vec::new();
    for case in chosen {
        let before = leaks::now()?;
        let name = case.name.clone();
        report.send(Event::CaseStart { case: name.clone() })?;
        mark(&format!("{MARK_START}{name}"));
        let start = Instant::now();
        let outcome = one(case);
        mark(&format!("{MARK_END}{name}"));
        spans.extend(Span::since(before, &name)?);
        let duration_us = start.elapsed().as_micros() as u64;
        report.send(Event::CaseEnd {
            case: name,
            outcome,
            duration_us,
        })?;
    }
    leaks::look(&spans)?;
    for figure in figures()? {
        report.send(figure)?;
    }
    report.done(chosen.len() as u64)?;
    Ok(if report.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The cases that are named, in that order; all, those of the kernel's own
/// selftest in `in_tree` included, where none is.
pub(crate) fn choose(
    mut named: Vec<String>,
    file: Option<&Path>,
    in_tree: Option<&Path>,
) -> Result<Vec<Case>> {
    if let Some(file) = file {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        named.extend(text.lines().filter(|l| !l.is_empty()).map(str::to_owned));
    }
    let (mut all, faults) = (cases::all(), cases::faults());
    if let Some(dir) = in_tree {
        all.extend(intree::cases(dir)?);
    }
    let known: HashSet<&str> = all.iter().chain(&faults).map(|c| c.name.as_str()).collect();
    if let Some(unknown) = named.iter().find(|n| !known.contains(n.as_str())) {
        bail!("there is no case `{unknown}`: `selftests list` names them all");
    }
    if named.is_empty() {
        return Ok(all);
    }
    // In the order asked for.
    Ok(named
        .iter()
        .filter_map(|n| all.iter().chain(&faults).find(|c| c.name == **n).cloned())
        .collect())
}

fn one(case: &Case) -> Outcome {
    let mut kmsg = Kmsg::from_now();
    let before = match Traces::now() {
        Ok(before) => before,
        Err(e) => return outcome(Err(e.into())),
    };
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
    // Waited for after a failure as well: the next case counts on it. What is
    // left behind is the worse of the two, since it is no declared failure.
    let verdict = match (verdict, before.all_gone()) {
        (verdict, Ok(())) => verdict,
        (Err(Stop::Failed(first)), Err(left)) => {
            Err(left.with(format!("before that: {}: {}", first.reason, first.message)))
        }
        (_, Err(left)) => Err(left),
    };
    outcome(verdict.map_err(|stop| {
        let said = kmsg.as_mut().map(Kmsg::said).unwrap_or_default();
        if said.is_empty() {
            stop
        } else {
            stop.with(format!("the kernel said:\n{}", said.join("\n")))
        }
    }))
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
