// SPDX-License-Identifier: GPL-2.0-only
//! `faults`: the harness tests itself with guests that misbehave on purpose.
//! Each is a real boot with a verdict that is due; any other is a bug here.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use protocol::{Arm, CaseInfo};

use crate::{
    cli, exec, fail,
    guest::Guest,
    request,
    results::Run,
    run::{self, Job},
    session::{DEFAULT_BASE, Session},
    splat::Allowlist,
    verdict::Verdict,
    verify,
    vm::Device,
};

/// The flavor whose kernel can be told to crash.
const FLAVOR: &str = "faulty";

/// Something that goes wrong, and what must be said of it.
#[derive(Debug, Clone)]
struct Fault {
    /// The case in the guest; the well-behaved one when the fault is elsewhere.
    case: &'static str,
    /// What goes wrong, in words.
    what: &'static str,
    /// Where it goes wrong.
    at: At,
    /// What the case must come to.
    verdict: Verdict,
    /// What the run must come to.
    run: Verdict,
    /// What a case after it must come to: another boot must have run it.
    after: Verdict,
    /// Must be in what is said of the run, the case or the kernel's reports.
    says: &'static str,
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the case.
    Case,
    /// The kernel gets this parameter.
    Kernel(&'static str),
    /// QEMU gets this argument.
    Qemu(&'static str),
    /// QEMU is killed while the case runs.
    Killed,
}

const fn fault(
    case: &'static str,
    what: &'static str,
    verdict: Verdict,
    says: &'static str,
) -> Fault {
    Fault {
        case,
        what,
        at: At::Case,
        verdict,
        run: verdict,
        after: Verdict::Pass,
        says,
    }
}

const fn elsewhere(what: &'static str, at: At, run: Verdict, says: &'static str) -> Fault {
    Fault {
        case: "fault_none",
        what,
        at,
        verdict: Verdict::Missing,
        run,
        after: Verdict::Missing,
        says,
    }
}

const FAULTS: &[Fault] = &[
    fault("fault_none", "nothing goes wrong", Verdict::Pass, ""),
    fault("fault_fails", "a case fails", Verdict::Fail, "on purpose"),
    fault(
        "fault_panics_itself",
        "a case panics",
        Verdict::Fail,
        "it panicked: on purpose",
    ),
    fault(
        "fault_fake_pass",
        "a case prints that it passed, and fails",
        Verdict::Fail,
        "on purpose",
    ),
    fault(
        "fault_console_flood",
        "the console is flooded",
        Verdict::Pass,
        "",
    ),
    fault(
        "fault_is_slow",
        "a case takes ten times as long as usual",
        Verdict::Pass,
        "",
    ),
    fault(
        "fault_kernel_warns",
        "the kernel warns, and the case passes",
        Verdict::Splat,
        "WARNING",
    ),
    fault(
        "fault_kernel_oopses",
        "the kernel oopses, and the case passes",
        Verdict::Crash,
        "NULL pointer",
    ),
    fault(
        "fault_kernel_bug",
        "the kernel finds a bug, and the case passes",
        Verdict::Crash,
        "invalid opcode",
    ),
    fault(
        "fault_kernel_panics",
        "the kernel panics",
        Verdict::Crash,
        "sysrq triggered crash",
    ),
    fault(
        "fault_kernel_deadlocks",
        "a CPU waits for a lock for ever",
        Verdict::Hang,
        "in queued_spin_lock_slowpath+",
    ),
    fault(
        "fault_kernel_spins",
        "a CPU spins with interrupts off",
        Verdict::Hang,
        "in lkdtm_HARDLOCKUP+",
    ),
    fault(
        "fault_sleeps",
        "a case never ends",
        Verdict::Hang,
        "task:selftests",
    ),
    fault(
        "fault_aborts",
        "the guest's program is killed by a signal",
        Verdict::Lost,
        "",
    ),
    fault(
        "fault_powers_off",
        "the guest powers off in a case",
        Verdict::Lost,
        "",
    ),
    fault(
        "fault_half_a_record",
        "the guest ends within a record",
        Verdict::Lost,
        "record ",
    ),
    fault(
        "fault_port_garbage",
        "garbage comes over the port",
        Verdict::Lost,
        "record ",
    ),
    fault(
        "fault_forged_record",
        "a record comes out of order",
        Verdict::Lost,
        "record ",
    ),
    fault(
        "fault_garbage_and_silence",
        "garbage comes over the port, then nothing for longer than the deadline",
        Verdict::Lost,
        "record ",
    ),
    Fault {
        verdict: Verdict::Pass,
        ..fault(
            "fault_ends_without_done",
            "the guest ends after a case, without a word",
            Verdict::Lost,
            "no `done`",
        )
    },
    Fault {
        verdict: Verdict::Pass,
        after: Verdict::Missing,
        ..fault(
            "fault_done_too_early",
            "the guest says that it is done before it is",
            Verdict::Lost,
            "or none at its end",
        )
    },
    Fault {
        verdict: Verdict::Pass,
        ..fault(
            "fault_done_twice",
            "the guest says twice that it is done",
            Verdict::Lost,
            "after `done`",
        )
    },
    Fault {
        verdict: Verdict::Fail,
        ..fault(
            "fault_takes_a_failure_back",
            "a case that failed runs again, and passes",
            Verdict::Lost,
            "had run already",
        )
    },
    fault(
        "fault_kernel_oopses_itself",
        "the kernel ends the thread of a case with an oops",
        Verdict::Crash,
        "NULL pointer",
    ),
    Fault {
        at: At::Killed,
        ..fault("fault_sleeps", "QEMU is killed", Verdict::Lost, "no `done`")
    },
    elsewhere(
        "the kernel panics as it boots",
        At::Kernel("rootfstype=none"),
        Verdict::Crash,
        "Unable to mount root",
    ),
    elsewhere(
        "init never starts",
        At::Kernel("rootdelay=100000"),
        Verdict::Hang,
        "before mounting root device",
    ),
    elsewhere(
        "the machine never starts",
        At::Qemu("-S"),
        Verdict::Hang,
        "no progress in boot",
    ),
];

/// `faults`: tries them all, as often as asked; gives the exit status.
pub fn faults(request: &cli::Faults) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let mut wrong = 0;
    for round in 1..=request.times {
        for (what, error) in try_all(&session, request.only.as_deref())? {
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
    let kernel = session.kernel(tree, Arm::Baseline, FLAVOR, &commit)?;
    let choice = session.accel(&vng, &kernel.image)?;
    let allowed = Allowlist::none();
    let scratch = tempfile::tempdir().context("making a folder for consoles")?;
    let chosen: Vec<&Fault> = FAULTS
        .iter()
        .filter(|f| only.is_none_or(|o| f.what.contains(o)))
        .collect();
    if chosen.is_empty() {
        let all: Vec<&str> = FAULTS.iter().map(|f| f.what).collect();
        return Err(request!(
            "no fault is `{}`; they are: {}",
            only.unwrap_or_default(),
            all.join("; ")
        ));
    }
    let plans = chosen
        .iter()
        .enumerate()
        .map(|(at, fault)| Plan::of(fault, &known, scratch.path(), at))
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
            // The deadlines of the default flavor: this kernel is no slower.
            flavor: "default",
            allowed: &allowed,
            console: &plan.console,
            devices: &plan.devices,
            boot_limit: plan.boot_limit,
            words: &[],
            background: false,
        })
        .collect();
    let (quiet, killed): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .zip(chosen)
        .partition(|(_, f)| f.at != At::Killed);
    let mut came = Vec::new();
    let (jobs, faults): (Vec<_>, Vec<_>) = quiet.into_iter().unzip();
    let runs = verify::at_once(&jobs, session.guests(), &session.progress)?;
    came.extend(faults.into_iter().zip(runs));
    // By itself: which QEMU is to be killed must be beyond doubt.
    for (job, fault) in killed {
        came.push((fault, run_and_kill(&job, session)?));
    }
    Ok(came
        .into_iter()
        .map(|(fault, run)| (fault.what, wrong(fault, &run)))
        .collect())
}

/// What is booted for a fault.
struct Plan {
    cases: Vec<CaseInfo>,
    devices: Vec<Device>,
    boot_limit: Duration,
    console: PathBuf,
}

impl Plan {
    fn of(fault: &Fault, known: &[CaseInfo], dir: &Path, at: usize) -> Result<Self> {
        let case = |name: &str| {
            known
                .iter()
                .find(|c| c.name == name)
                .cloned()
                .with_context(|| format!("the guest has no `{name}`"))
        };
        let device = match fault.at {
            At::Kernel(arg) => Some(Device::kernel(&[arg])),
            At::Qemu(arg) => Some(Device {
                qemu: vec![arg.into()],
                kernel: Vec::new(),
            }),
            At::Case | At::Killed => None,
        };
        Ok(Self {
            cases: vec![case(fault.case)?, case("fault_none_again")?],
            devices: device.into_iter().collect(),
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

/// Runs a job, and kills its QEMU once as soon as a case has begun.
fn run_and_kill(job: &Job<'_>, session: &Session) -> Result<Run> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(pid) = qemu_in_a_case(&job.kernel.image, job.cases) {
                    let _ = kill(pid, Signal::SIGKILL);
                    break;
                }
                std::thread::sleep(exec::POLL);
            }
        });
        let run = run::run(job, &session.progress);
        over.store(true, Ordering::Relaxed);
        run
    })
}

/// The QEMU that runs `image` below this process, once its guest has begun a case.
fn qemu_in_a_case(image: &Path, cases: &[CaseInfo]) -> Option<Pid> {
    let first = &cases.first()?.name;
    let image = image.as_os_str().as_encoded_bytes();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|b| *b == 0);
        let qemu = words.next()?.windows(11).any(|w| w == b"qemu-system");
        if !qemu || !words.any(|w| w == image) || !is_below_us(pid) {
            return None;
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        let events = text.split("id=events,path=").nth(1)?.split('\0').next()?;
        let said = fs::read_to_string(events).ok()?;
        let begun = said.lines().any(|l| {
            matches!(
                serde_json::from_str(l),
                Ok(protocol::Record { event: protocol::Event::CaseStart { case }, .. }) if case == *first
            )
        });
        begun.then_some(Pid::from_raw(pid))
    })
}

fn is_below_us(mut pid: i32) -> bool {
    let us = std::process::id() as i32;
    while pid > 1 {
        if pid == us {
            return true;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(") ")
            .next()
            .and_then(|s| s.split(' ').nth(1)?.parse().ok());
        match parent {
            Some(parent) => pid = parent,
            None => return false,
        }
    }
    false
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
    if !said.iter().any(|s| s.contains(fault.says)) {
        wrong.push(format!("nothing says `{}`", fault.says));
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
