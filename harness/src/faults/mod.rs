// SPDX-License-Identifier: GPL-2.0-only
//! `faults`: the harness tests itself with guests that misbehave on purpose.
//! Each is a real boot with a verdict that is due; any other is a bug here.

mod found;
mod killed;
mod list;
mod slowed;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo};

use self::list::{At, Fault};
use crate::{
    cli::{self, FaultyKernel},
    fail,
    guest::Guest,
    request,
    results::Run,
    run::{self, Job},
    scratch::Scratch,
    session::{DEFAULT_BASE, Session},
    splat::Allowlist,
    verdict::Verdict,
    verify,
    vm::Device,
};

/// Below the project: what has a kernel do what LKDTM does not. Only where it is
/// needed, as it would have the plain one built again.
const PATCH: &str = "vm/faulty.patch";

/// `faults`: tries them all, as often as asked; gives the exit status.
pub fn faults(request: &cli::Faults) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let mut wrong = 0;
    for round in 1..=request.times {
        for (what, error) in try_all(&session, request.flavor, request.only.as_deref())? {
            match error {
                None => println!("ok    {what}"),
                Some(error) => {
                    wrong += 1;
                    println!("WRONG {what}: {error}");
                }
            }
        }
        if request.times > 1 {
            println!("round {round} of {}: {wrong} wrong so far", request.times);
        }
    }
    Ok(if wrong == 0 { fail::GOOD } else { fail::BAD })
}

/// Tries each fault once; gives what it was and, where another verdict came
/// than is due, what came. `only` leaves out those whose words it is not among.
pub fn try_all(
    session: &Session,
    kind: FaultyKernel,
    only: Option<&str>,
) -> Result<Vec<(&'static str, Option<String>)>> {
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let known = guest.faults()?;
    let base = session.project.base(DEFAULT_BASE)?;
    let source = cli::Source::of_base(DEFAULT_BASE);
    let trees = session.trees(&source)?;
    let tree = trees.first().context("a base has a tree")?;
    let commit = session.commit(tree, Arm::Baseline, None)?;
    let patch = session.project.path(PATCH);
    // The first is built, the second decides about deadlines and memory: LKDTM by
    // itself makes no kernel slower.
    let (commit, flavor, pace) = match kind {
        FaultyKernel::Faulty => (commit, "faulty", "default"),
        FaultyKernel::Debug => (tree.repo.apply(&commit, &[patch])?, "debug+faulty", "debug"),
        FaultyKernel::Kcsan => (tree.repo.apply(&commit, &[patch])?, "kcsan+faulty", "kcsan"),
    };
    let kernel = session.kernel(tree, Arm::Baseline, flavor, &commit)?;
    let choice = session.accel(&vng, &kernel.image)?;
    let allowed = Allowlist::none();
    let scratch = Scratch::new("consoles")?;
    let chosen: Vec<&Fault> = found::on(kind)
        .iter()
        .filter(|f| only.is_none_or(|o| f.what.contains(o)))
        .collect();
    if chosen.is_empty() {
        let all: Vec<&str> = found::on(kind).iter().map(|f| f.what).collect();
        return Err(request!(
            "no fault is `{}`; they are: {}",
            only.unwrap_or_default(),
            all.join("; ")
        ));
    }
    let plans = chosen
        .iter()
        .enumerate()
        .map(|(at, fault)| Plan::of(fault, &known, choice.accel.scale(), scratch.path(), at))
        .collect::<Result<Vec<_>>>()?;
    let jobs: Vec<Job<'_>> = plans
        .iter()
        .map(|plan| Job {
            vng: &vng,
            accel: choice.accel,
            kernel: &kernel,
            guest: &guest,
            cases: &plan.cases,
            base: &base.line,
            source: &tree.version,
            arm: Arm::Baseline,
            flavor: pace,
            allowed: &allowed,
            console: &plan.console,
            devices: &plan.devices,
            boot_limit: plan.boot_limit,
            words: &[],
            background: false,
        })
        .collect();
    let (quiet, alone): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .zip(chosen)
        .partition(|(_, f)| matches!(f.at, At::Case | At::Kernel(_) | At::Qemu(_)));
    let mut came = Vec::new();
    let (jobs, faults): (Vec<_>, Vec<_>) = quiet.into_iter().unzip();
    let runs = verify::at_once(&jobs, session.guests(), &session.progress)?;
    came.extend(faults.into_iter().zip(runs));
    // By itself: which QEMU is to be killed must be beyond doubt.
    for (job, fault) in alone {
        let run = match fault.at {
            At::Slowed => slowed::run_slowly(&job, &session.progress)?,
            At::Retried(_) => retried(&job, session)?,
            _ => killed::run_and_kill(&job, fault.at, session)?,
        };
        came.push((fault, run));
    }
    Ok(came
        .into_iter()
        .map(|(fault, run)| (fault.what, wrong(fault, &run)))
        .collect())
}

/// Runs a job, and what of it is bad once more, as `--retry 1` does, but without
/// the last of its devices.
fn retried(job: &Job<'_>, session: &Session) -> Result<Run> {
    let jobs = [job.clone()];
    let mut runs = verify::at_once(&jobs, 1, &session.progress)?;
    let (_, devices) = job.devices.split_last().context("a fault has a device")?;
    let jobs = [Job {
        devices,
        ..job.clone()
    }];
    let keep = |name: &str| Ok(job.console.with_file_name(name));
    verify::again(&jobs, &mut runs, 1, &keep, session)?;
    runs.pop().context("a job has a run")
}

/// What is booted for a fault.
struct Plan {
    cases: Vec<CaseInfo>,
    devices: Vec<Device>,
    boot_limit: Duration,
    console: PathBuf,
}

impl Plan {
    fn of(fault: &Fault, known: &[CaseInfo], scale: u32, dir: &Path, at: usize) -> Result<Self> {
        let case = |name: &str| {
            known
                .iter()
                .find(|c| c.name == name)
                .cloned()
                .with_context(|| format!("the guest has no `{name}`"))
        };
        let mut devices = vec![Device::kernel(&[&format!("{}{scale}", protocol::SCALE)])];
        match fault.at {
            At::Kernel(arg) | At::Retried(arg) => devices.push(Device::kernel(&[arg])),
            At::Qemu(arg) => devices.push(Device {
                qemu: vec![arg.into()],
                kernel: Vec::new(),
            }),
            At::Case | At::Killed | At::KilledWhenDone | At::Slowed => {}
        }
        Ok(Self {
            cases: vec![case(fault.case)?, case("fault_none_again")?],
            devices,
            // Where it must hang, nothing is gained by waiting long.
            boot_limit: match (fault.at, fault.run) {
                (At::Qemu(_), _) => Duration::from_secs(2),
                (At::Kernel(_), Verdict::Hang) => Duration::from_secs(6),
                _ => run::BOOT_LIMIT,
            },
            console: dir.join(format!("{at}.log")),
        })
    }
}

/// What is not as it is due, if anything.
fn wrong(fault: &Fault, run: &Run) -> Option<String> {
    let mut said: Vec<&str> = vec![&run.why];
    said.extend(run.cases.iter().map(|c| c.why.as_str()));
    said.extend(run.splats.iter().map(|s| s.title.as_str()));
    said.extend(run.post_mortem.iter().map(String::as_str));
    let due = [
        ("the run", fault.run, Some(run.verdict)),
        (
            "the case",
            fault.verdict,
            run.cases.first().map(|c| c.verdict),
        ),
        (
            "the case after it",
            fault.after,
            run.cases.get(1).map(|c| c.verdict),
        ),
    ];
    let mut wrong: Vec<String> = due
        .iter()
        .filter(|(_, due, came)| Some(*due) != *came)
        .map(|(what, due, came)| match came {
            Some(came) => format!("{what} came to {came} where {due} is due"),
            None => format!("{what} is not there where {due} is due"),
        })
        .collect();
    let again = run.cases.first().map_or(&[][..], |c| &c.again);
    if again != fault.again {
        wrong.push(format!(
            "run again it came to {again:?} where {:?} is due",
            fault.again
        ));
    }
    for says in fault.says {
        if !said.iter().any(|s| s.contains(says)) {
            wrong.push(format!("nothing says `{says}`"));
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let whys: Vec<&str> = said.into_iter().filter(|s| !s.is_empty()).take(4).collect();
    Some(format!(
        "{}; it was said: {}",
        wrong.join(", "),
        whys.join(" | ")
    ))
}
