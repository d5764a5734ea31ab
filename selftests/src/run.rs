// SPDX-License-Identifier: GPL-2.0-only
//! `run` and `stress`.

use std::{
    any::Any,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::PoisonError,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use protocol::{Event, MARK_END, MARK_START, Outcome, reason};

use crate::{
    bpf,
    cases::{self, Case},
    fail::{Stop, Verdict, failed},
    intree,
    leaks::{self, Span},
    memory::Whole,
    report::{Report, mark},
    scene::Kmsg,
    seed::Seed,
    traces::{Machine, NOT_COMPARED, Traces},
};

/// `run`.
pub(crate) fn run(
    mut chosen: Vec<Case>,
    port: Option<&str>,
    seed: Option<u64>,
    even_if_dangerous: bool,
) -> Result<ExitCode> {
    if let Some(seed) = seed {
        Seed(seed).shuffle(&mut chosen);
    }
    // A guest may come to harm: the harness ends it. The machine of somebody who
    // runs this by hand has work on it.
    if port.is_none() && !even_if_dangerous {
        chosen = chosen.into_iter().map(unless_dangerous).collect();
    }
    all(&chosen, port, || Ok(Vec::new()))
}

/// The case, unless it does harm to some kernels.
fn unless_dangerous(case: Case) -> Case {
    match case.danger() {
        Some(why) => case.left_out(format!("{why} (--even-if-dangerous runs it)")),
        None => case,
    }
}

/// `stress`.
pub(crate) fn stress(
    seed: u64,
    packets: u64,
    describe: bool,
    port: Option<&str>,
    even_if_dangerous: bool,
) -> Result<ExitCode> {
    let (case, tally) = cases::stress::case(seed, packets);
    if describe {
        println!("{}", serde_json::to_string(&[case.info()])?);
        return Ok(ExitCode::SUCCESS);
    }
    if let (None, false, Some(why)) = (port, even_if_dangerous, case.danger()) {
        bail!("{why}: `cargo harness stress` does it in a guest, --even-if-dangerous does it here");
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
        for (what, count) in tally.meanwhile {
            events.push(figure(format!("stress.during.{what}"), count, "packets"));
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
    let machine = if port.is_some() {
        Machine::Guest
    } else {
        // Devices, sockets and ids of namespaces are this process's own there.
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace for the cases")?;
        Machine::Shared
    };
    let mut report = Report::open(port)?;
    bpf::keep_log();
    leaks::prepare()?;
    let leaked = leaks::Before::now(machine)?;
    report.hello(chosen.iter().map(|c| c.name.clone()).collect())?;
    if machine == Machine::Shared {
        report.send(Event::Log {
            text: NOT_COMPARED.into(),
        })?;
    }
    let whole = (machine == Machine::Guest).then(Whole::start).transpose()?;
    let mut spans = Vec::new();
    let mut left = None;
    for case in chosen {
        let before = leaks::now()?;
        let name = case.name.clone();
        report.send(Event::CaseStart { case: name.clone() })?;
        mark(&format!("{MARK_START}{name}"));
        let start = Instant::now();
        let outcome = one(case, machine);
        mark(&format!("{MARK_END}{name}"));
        spans.extend(Span::since(before, &name)?);
        let duration_us = start.elapsed().as_micros() as u64;
        if matches!(&outcome, Outcome::Fail(f) if f.reason == reason::LEFTOVER) {
            left = Some(name.clone());
        }
        report.send(Event::CaseEnd {
            case: name,
            outcome,
            duration_us,
        })?;
    }
    let leaks = leaks::look(&spans, &leaked)?;
    report.leaks(&leaks);
    match (whole, left) {
        // It was said once, of the case that did it.
        (Some(_), Some(case)) => report.send(Event::Log {
            text: format!("the memory of the whole run was not compared: {case} left some behind"),
        })?,
        (Some(whole), None) => {
            if let Some(grown) = whole.end()? {
                report.send(Event::Metric {
                    name: "left_in_memory".into(),
                    value: grown as f64,
                    unit: "KiB".into(),
                })?;
            }
        }
        (None, _) => {}
    }
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
/// selftests in the folders `in_tree` included, where none is.
pub(crate) fn choose(
    mut named: Vec<String>,
    file: Option<&Path>,
    in_tree: &[PathBuf],
) -> Result<Vec<Case>> {
    if let Some(file) = file {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        named.extend(text.lines().filter(|l| !l.is_empty()).map(str::to_owned));
    }
    let (mut all, faults) = (cases::all(), cases::faults());
    for dir in in_tree {
        all.extend(intree::cases(dir)?);
    }
    let known: HashSet<&str> = all.iter().chain(&faults).map(|c| c.name.as_str()).collect();
    if let Some(unknown) = named.iter().find(|n| !known.contains(n.as_str())) {
        bail!("there is no case `{unknown}`: `selftests --list` names them all");
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

fn one(case: &Case, machine: Machine) -> Outcome {
    let mut kmsg = Kmsg::from_now();
    let before = match Traces::now(machine) {
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
    let verdict = both(verdict, before.all_gone());
    outcome(verdict.map_err(|stop| {
        let said = kmsg.as_mut().map(Kmsg::said).unwrap_or_default();
        if said.is_empty() {
            stop
        } else {
            stop.with(format!("the kernel said:\n{}", said.join("\n")))
        }
    }))
}

/// What a case came to that was over like `first` and then left behind what
/// `then` says: the latter, with all that is known of the former.
fn both(first: Verdict, then: Verdict) -> Verdict {
    match (first, then) {
        (first, Ok(())) => first,
        (Err(Stop::Failed(first)), Err(left)) => {
            let before = format!("before that: {}: {}", first.reason, first.message);
            Err(first
                .context
                .into_iter()
                .fold(left.with(before), Stop::with))
        }
        (_, Err(left)) => Err(left),
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

#[cfg(test)]
mod tests {
    use protocol::{Outcome, reason};

    use super::{both, outcome, unless_dangerous};
    use crate::{
        cases,
        fail::{Stop, failed},
    };

    /// Verify that what is left behind does not take away what is known of the
    /// failure before it.
    #[test]
    fn both_failures_are_told() {
        let first = failed(reason::NOT_DELIVERED, "nothing came").with("ns_dst: dst rx 0");
        let left = || Err(failed(reason::LEFTOVER, "a device"));
        let Err(Stop::Failed(told)) = both(Err(first), left()) else {
            panic!("two failures make one");
        };
        assert_eq!(told.reason, reason::LEFTOVER);
        assert_eq!(
            told.context,
            [
                "before that: not-delivered: nothing came",
                "ns_dst: dst rx 0"
            ]
        );
        assert!(both(Ok(()), left()).is_err() && both(Ok(()), Ok(())).is_ok());
        assert!(both(Err(Stop::Skipped("w".into())), left()).is_err());
    }

    /// Verify that a case that may hang or crash the machine is not even begun by
    /// hand, and says why: here it would panic, as a case that misbehaves on purpose.
    #[test]
    fn dangerous_cases_are_left_out() {
        let panics = cases::faults()
            .into_iter()
            .find(|c| c.name == "fault_panics_itself")
            .unwrap();
        let case = unless_dangerous(panics);
        match outcome((case.run)()) {
            Outcome::Skip { why } => assert!(why.contains("--even-if-dangerous"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
