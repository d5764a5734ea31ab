// SPDX-License-Identifier: GPL-2.0-only
//! The supervisor, as a process: that nothing outlives the harness is its whole point.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

fn gone_within(pid: &str, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        // A process that has ended and waits to be collected has no command line.
        let line = std::fs::read(Path::new("/proc").join(pid).join("cmdline"));
        if line.is_ok_and(|l| l.is_empty()) || !Path::new("/proc").join(pid).exists() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Verify that a grandchild dies when the pipe to the supervisor closes.
#[test]
fn grandchild_dies_with_the_pipe() {
    let mut supervisor = Command::new(HARNESS)
        .args(["supervise", "--", "sh", "-c", "sleep 600 & echo $!; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    BufReader::new(supervisor.stdout.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    let pid = pid.trim();
    assert!(Path::new("/proc").join(pid).exists(), "the grandchild runs");
    drop(supervisor.stdin.take());
    assert!(
        gone_within(pid, Duration::from_secs(5)),
        "process {pid} outlived its supervisor's pipe"
    );
    supervisor.wait().unwrap();
}

/// Verify that everything goes when the supervisor itself is killed, as the
/// kernel does when memory runs out: nobody is left to see the pipe close.
#[test]
fn grandchild_dies_with_the_supervisor() {
    let mut supervisor = Command::new(HARNESS)
        .args(["supervise", "--", "sh", "-c", "sleep 600 & echo $!; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lifeline = supervisor.stdin.take();
    let mut pid = String::new();
    BufReader::new(supervisor.stdout.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    let pid = pid.trim();
    assert!(Path::new("/proc").join(pid).exists(), "the grandchild runs");
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    assert!(
        gone_within(pid, Duration::from_secs(5)),
        "process {pid} outlived its supervisor"
    );
    drop(lifeline);
}

/// Verify that what a program leaves running is ended when the program ends.
#[test]
fn leftovers_end_with_the_program() {
    let mut supervisor = Command::new(HARNESS)
        .args(["supervise", "--", "sh", "-c"])
        .arg("sleep 600 >/dev/null 2>&1 & echo $!")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open: it is the program's end that must end the rest, not the pipe's.
    let lifeline = supervisor.stdin.take();
    let mut pid = String::new();
    BufReader::new(supervisor.stdout.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    supervisor.wait().unwrap();
    assert!(
        !pid.trim().is_empty() && gone_within(pid.trim(), Duration::from_secs(5)),
        "process {pid} was left behind"
    );
    drop(lifeline);
}

/// Verify that a status, and a death by signal, come through.
#[test]
fn status_comes_through() {
    for (script, status) in [("exit 3", 3), ("kill -KILL $$", 137), ("true", 0)] {
        let mut supervisor = Command::new(HARNESS)
            .args(["supervise", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let keep = supervisor.stdin.take();
        assert_eq!(supervisor.wait().unwrap().code(), Some(status), "{script}");
        drop(keep);
    }
}
