// SPDX-License-Identifier: GPL-2.0-only
//! Guests that misbehave on purpose: what the harness tests itself with. They
//! prove nothing of a kernel, so they are not among the cases of `list`.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use protocol::{Event, Failure, Outcome, Record, reason};

use super::Case;
use crate::{
    fail::{Verdict, failed},
    report,
};

/// Where lkdtm, the kernel's own test of its crash handling, takes orders.
const PROVOKE: &str = "/sys/kernel/debug/provoke-crash/DIRECT";

/// Name, deadline without emulation in milliseconds, and what it does.
type Fault = (&'static str, u64, fn() -> Verdict);

pub(super) fn cases() -> Vec<Case> {
    let faults: [Fault; 25] = [
        ("fault_none", 2_000, || Ok(())),
        ("fault_none_again", 2_000, || Ok(())),
        ("fault_fails", 2_000, || {
            Err(failed(reason::WRONG_VALUE, "on purpose"))
        }),
        ("fault_panics_itself", 2_000, || panic!("on purpose")),
        ("fault_kernel_panics", 6_000, || {
            Ok(write("/proc/sysrq-trigger", b"c")?)
        }),
        ("fault_kernel_oopses", 6_000, || Ok(provoke("EXCEPTION")?)),
        ("fault_kernel_bug", 6_000, || Ok(provoke("BUG")?)),
        ("fault_kernel_warns", 6_000, || Ok(provoke("WARNING")?)),
        ("fault_kernel_deadlocks", 2_000, || {
            // The first takes the lock, the second waits for it for ever.
            provoke("SPINLOCKUP")?;
            Ok(provoke("SPINLOCKUP")?)
        }),
        ("fault_kernel_spins", 2_000, || Ok(provoke("HARDLOCKUP")?)),
        ("fault_sleeps", 2_000, || {
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }),
        ("fault_is_slow", 6_000, || {
            thread::sleep(Duration::from_secs(12));
            Ok(())
        }),
        ("fault_aborts", 2_000, || std::process::abort()),
        ("fault_powers_off", 6_000, || {
            nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF)
                .map_err(anyhow::Error::from)?;
            Ok(())
        }),
        ("fault_half_a_record", 2_000, || {
            port(b"{\"seq\":3,\"at_us\":")?;
            std::process::exit(0)
        }),
        ("fault_port_garbage", 2_000, || {
            Ok(port(b"\x00\xff{\"seq\": nonsense}\n")?)
        }),
        ("fault_forged_record", 2_000, || {
            // Well formed, but not where the stream is.
            Ok(records(1_000, &[ended("fault_forged_record")])?)
        }),
        ("fault_garbage_and_silence", 2_000, || {
            port(b"\x00\xff{\"seq\": nonsense}\n")?;
            thread::sleep(Duration::from_secs(13));
            Ok(())
        }),
        ("fault_ends_without_done", 2_000, || {
            records(2, &[ended("fault_ends_without_done")])?;
            std::process::exit(0)
        }),
        ("fault_done_too_early", 2_000, || {
            let done = Event::Done { cases: 1 };
            records(2, &[ended("fault_done_too_early"), done])?;
            std::process::exit(0)
        }),
        ("fault_done_twice", 2_000, || {
            let done = || Event::Done { cases: 1 };
            records(2, &[ended("fault_done_twice"), done(), done()])?;
            std::process::exit(0)
        }),
        ("fault_takes_a_failure_back", 2_000, || {
            let case = || String::from("fault_takes_a_failure_back");
            let failed = Event::CaseEnd {
                case: case(),
                outcome: Outcome::Fail(Failure {
                    reason: reason::WRONG_VALUE.into(),
                    message: "on purpose".into(),
                    context: Vec::new(),
                }),
                duration_us: 1,
            };
            records(
                2,
                &[failed, Event::CaseStart { case: case() }, ended(&case())],
            )?;
            std::process::exit(0)
        }),
        ("fault_kernel_oopses_itself", 6_000, || {
            // The kernel ends this very thread.
            Ok(write(PROVOKE, b"EXCEPTION")?)
        }),
        ("fault_fake_pass", 2_000, fake_pass),
        ("fault_console_flood", 6_000, console_flood),
    ];
    faults
        .into_iter()
        .map(|(name, deadline_ms, run)| Case {
            deadline_ms,
            ..Case::closure(
                name,
                &["fault"],
                "Verify that it is not taken for a pass",
                run,
            )
        })
        .collect()
}

fn write(path: &str, bytes: &[u8]) -> Result<()> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|mut f| f.write_all(bytes))
        .with_context(|| format!("writing to {path}"))
}

/// Has the kernel do `what`, in a process of its own: the kernel may kill it.
fn provoke(what: &str) -> Result<()> {
    if !Path::new(PROVOKE).exists() {
        return Err(anyhow!("{PROVOKE} is missing: this kernel has no LKDTM"));
    }
    // How it ends is the kernel's business; that it is heard of is the harness's.
    Command::new("/bin/sh")
        .args(["-c", "printf '%s' \"$0\" >\"$1\"", what, PROVOKE])
        .status()
        .map(drop)
        .context("starting a shell")
}

fn port(bytes: &[u8]) -> Result<()> {
    report::raw(bytes)
}

fn ended(case: &str) -> Event {
    Event::CaseEnd {
        case: case.into(),
        outcome: Outcome::Pass,
        duration_us: 1,
    }
}

/// Writes well-formed records to the port, the first of them numbered `seq`.
fn records(seq: u64, events: &[Event]) -> Result<()> {
    for (seq, event) in (seq..).zip(events) {
        let record = Record {
            seq,
            at_us: 0,
            event: event.clone(),
        };
        let line = serde_json::to_string(&record).context("writing a record")?;
        port((line + "\n").as_bytes())?;
    }
    Ok(())
}

/// Says "pass" in every way that a careless reader might believe, then fails.
fn fake_pass() -> Verdict {
    let forged = "{\"seq\":3,\"at_us\":1,\"event\":{\"type\":\"case_end\",\"case\":\"fault_fake_pass\",\"outcome\":{\"result\":\"pass\"},\"duration_us\":1}}";
    for line in [
        forged,
        "ok 1 fault_fake_pass",
        "1 passed, 0 failed",
        "redirect-peer: case end fault_fake_pass",
    ] {
        println!("{line}");
        report::mark(line);
    }
    Err(failed(reason::WRONG_VALUE, "on purpose"))
}

/// Writes to the console as fast as it takes it, bytes that are no text among it.
fn console_flood() -> Verdict {
    let until = Instant::now() + Duration::from_secs(4);
    let mut line = Vec::from(&b"flood \x1b[31m\xff\xfe\x00 "[..]);
    line.resize(900, b'x');
    while Instant::now() < until {
        fs::write("/dev/kmsg", &line).context("writing to /dev/kmsg")?;
        if let Ok(mut console) = File::options().write(true).open("/dev/console") {
            let _ = console.write_all(&line);
        }
    }
    Ok(())
}
