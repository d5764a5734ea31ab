// SPDX-License-Identifier: GPL-2.0-only
//! `list` and `run`.

use std::{
    any::Any, collections::HashSet, fs, path::Path, process::ExitCode, thread, time::Instant,
};

use anyhow::{Context, Result, bail};
use protocol::{CaseInfo, Event, MARK_END, MARK_START, Outcome, VERSION, reason};

use crate::{
    bpf, build_id,
    cases::{self, Case},
    fail::{Stop, Verdict, failed},
    report::{Report, mark},
    traces::Traces,
};

/// `list`.
pub(crate) fn list(json: bool, faults: bool) -> Result<ExitCode> {
    let cases = if faults {
        cases::faults()
    } else {
        cases::all()
    };
    let infos: Vec<CaseInfo> = cases.iter().map(Case::info).collect();
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
pub(crate) fn run(
    named: Vec<String>,
    file: Option<&Path>,
    port: Option<&str>,
    seed: Option<u64>,
) -> Result<ExitCode> {
    let mut chosen = choose(named, file)?;
    if let Some(seed) = seed {
        shuffle(&mut chosen, seed);
    }
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
        build_id: build_id::running(),
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
    let (all, faults) = (cases::all(), cases::faults());
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
    // Waited for after a failure as well: the next case counts on it.
    let clean = before.all_gone();
    outcome(verdict.and(clean))
}

/// The same order for the same seed, on every machine (splitmix64).
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for last in (1..items.len()).rev() {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        items.swap(last, (z % (last as u64 + 1)) as usize);
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
    use super::shuffle;

    /// Verify that a seed gives one order, that another gives another, and
    /// that nothing is lost.
    #[test]
    fn seeds() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
