// SPDX-License-Identifier: GPL-2.0-only
//! A guest that is slow as a whole, as on a machine that others keep busy.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::killed::qemu;
use crate::{
    exec,
    progress::Progress,
    results::Run,
    run::{self, Job},
};

/// How long it goes on, and how long it then stands still: a tenth of the time.
const GOES: Duration = Duration::from_millis(20);
const STANDS: Duration = Duration::from_millis(180);

/// Runs a job whose QEMU gets a tenth of the time.
pub(super) fn run_slowly(job: &Job<'_>, progress: &Progress) -> Result<Run> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                match qemu(&job.kernel.image) {
                    Some((pid, _)) => slow_down(pid, &over),
                    None => thread::sleep(exec::POLL),
                }
            }
        });
        let run = run::run(job, progress);
        over.store(true, Ordering::Relaxed);
        run
    })
}

/// Until it is gone or nobody waits for it any more. It never stays stopped: what
/// is stopped does not end when it is asked to.
fn slow_down(pid: Pid, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) && kill(pid, Signal::SIGSTOP).is_ok() {
        thread::sleep(STANDS);
        let gone = kill(pid, Signal::SIGCONT).is_err();
        if gone {
            return;
        }
        thread::sleep(GOES);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, time::Instant};

    use super::*;

    /// Verify that a process gets about a tenth of the time, and is left running.
    #[test]
    fn a_tenth_of_the_time() {
        let mut busy = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(busy.id() as i32);
        let over = AtomicBool::new(false);
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| slow_down(pid, &over));
            thread::sleep(Duration::from_secs(2));
            over.store(true, Ordering::Relaxed);
        });
        let passed = start.elapsed().as_secs_f64();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert_ne!(fields[0], "T", "it was left stopped");
        // Of a machine that others keep busy it may get less; a tick is 10 ms.
        assert!(ticks / 100.0 < passed * 0.25, "{ticks} ticks in {passed} s");
    }
}
