// SPDX-License-Identifier: GPL-2.0-only
//! What the guest's program writes, and when it does not end.

use std::{
    fs::{self, File},
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use protocol::{Event, Failure, Outcome, Record, reason};

use super::kernel::provoke;
use crate::{
    detectors,
    fail::{Verdict, failed},
    report,
};

/// Writes to the events port.
pub(super) fn port(bytes: &[u8]) -> Result<()> {
    report::raw(bytes)
}

/// Never comes back.
pub(super) fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// By how much the host stretches its deadlines, as it told the kernel: what is
/// slow, or silent for too long, depends on it.
pub(super) fn scaled(time: Duration) -> Result<Duration> {
    let line = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    let scale: u32 = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(protocol::SCALE)?.parse().ok())
        .with_context(|| format!("the kernel was given no {}N", protocol::SCALE))?;
    Ok(time * scale)
}

/// The event that `case` passed.
pub(super) fn ended(case: &str) -> Event {
    Event::CaseEnd {
        case: case.into(),
        outcome: Outcome::Pass,
        duration_us: 1,
    }
}

/// The event that one case ended, and nothing comes after it.
pub(super) fn done() -> Event {
    Event::Done {
        cases: 1,
        detectors: detectors::at_work(),
    }
}

/// Writes well-formed records to the port, the first of them numbered `seq`.
pub(super) fn records(seq: u64, events: &[Event]) -> Result<()> {
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

/// Says that `case` failed, then that it ran again and passed.
pub(super) fn take_a_failure_back(case: &str) -> Result<()> {
    let failed = Event::CaseEnd {
        case: case.into(),
        outcome: Outcome::Fail(Failure {
            reason: reason::WRONG_VALUE.into(),
            message: "on purpose".into(),
            context: Vec::new(),
        }),
        duration_us: 1,
    };
    let again = Event::CaseStart { case: case.into() };
    records(2, &[failed, again, ended(case)])
}

/// Has the program do `what` when it is about to end, which is after `done`.
pub(super) fn when_it_ends(what: extern "C" fn()) -> Verdict {
    // SAFETY: the handler is a function of this program, takes nothing and
    // unwinds into nobody: a panic in an `extern "C"` function aborts.
    match unsafe { libc::atexit(what) } {
        0 => Ok(()),
        _ => Err(failed(reason::SETUP, "no room for a handler at the end")),
    }
}

/// For [`when_it_ends`]: the program, and so the guest, does not end.
pub(super) extern "C" fn never_end() {
    sleep_for_ever()
}

/// For [`when_it_ends`]: as much garbage as comes through the port, for a while.
pub(super) extern "C" fn garbage_at_the_end() {
    let until = Instant::now() + Duration::from_secs(1);
    let line = [b"\x00\xff{\"seq\": ".as_slice(), &[b'x'; 4096], b"\n"].concat();
    while Instant::now() < until && port(&line).is_ok() {}
}

/// Says "pass" in every way that a careless reader might believe, then fails.
pub(super) fn fake_pass() -> Verdict {
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

/// Fails where the host told the kernel so.
pub(super) fn fail_if_told() -> Verdict {
    let line = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    if line.split_whitespace().any(|word| word == protocol::FAIL) {
        return Err(failed(reason::WRONG_VALUE, "on purpose"));
    }
    Ok(())
}

/// Writes to the console itself, past the kernel's log: what is no text, what the
/// host's own marks and the kernel's last words look like, and half a line with an
/// escape that is not finished, which the kernel's warning then follows.
pub(super) fn console_garbage() -> Verdict {
    let mut console = File::options()
        .write(true)
        .open("/dev/console")
        .context("opening the console")?;
    let mut garbage = Vec::new();
    for line in [
        "\0\0\0\r\r",
        "redirect-peer: case end fault_console_garbage\r",
        "redirect-peer: case start fault_none_again",
        "[    1.0] reboot: Power down",
        "reboot: Power down",
        "\u{1b}[2J\u{1b}[1;1H\u{1b}]0;title",
    ] {
        garbage.extend_from_slice(line.as_bytes());
        garbage.extend_from_slice(b"\n\xff\xfe\xc3");
    }
    garbage.extend_from_slice(b"half a line\r\x1b[");
    console
        .write_all(&garbage)
        .context("writing to the console")?;
    Ok(provoke("WARNING")?)
}

/// Writes to the console as fast as it takes it, bytes that are no text among
/// it, until `over` says so.
fn flood_until(over: impl Fn() -> bool) -> Result<()> {
    let mut line = Vec::from(&b"flood \x1b[31m\xff\xfe\x00 "[..]);
    line.resize(900, b'x');
    while !over() {
        fs::write("/dev/kmsg", &line).context("writing to /dev/kmsg")?;
        if let Ok(mut console) = File::options().write(true).open("/dev/console") {
            let _ = console.write_all(&line);
        }
    }
    Ok(())
}

/// Floods the console for four seconds.
pub(super) fn console_flood() -> Verdict {
    let until = Instant::now() + Duration::from_secs(4);
    Ok(flood_until(|| Instant::now() > until)?)
}

/// Floods the console and does not end.
pub(super) fn endless_console_flood() -> Verdict {
    Ok(flood_until(|| false)?)
}

/// Floods the console, and has the kernel warn in the middle of it.
pub(super) fn warning_in_a_flood() -> Verdict {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| flood_until(|| over.load(Ordering::Relaxed)));
        thread::sleep(Duration::from_secs(1));
        let provoked = provoke("WARNING");
        thread::sleep(Duration::from_secs(1));
        over.store(true, Ordering::Relaxed);
        let flooded = flood.join();
        provoked?;
        match flooded {
            Ok(flooded) => Ok(flooded?),
            Err(_) => Err(failed(reason::SETUP, "the flood panicked")),
        }
    })
}
