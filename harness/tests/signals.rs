// SPDX-License-Identifier: GPL-2.0-only
//! The harness as a process that is told to end.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{SigHandler, Signal, kill, signal},
    unistd::Pid,
};

/// A cache folder that another run has: who wants it waits.
fn taken() -> (tempfile::TempDir, Flock<File>) {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("layout"), "1").expect("writing");
    let lock = File::create(dir.path().join("lock")).expect("a file");
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e);
    (dir, lock.expect("nobody has it"))
}

fn waiting(cache: &Path, ignore: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(["clean", "--cache"]).arg(cache);
    command.stderr(Stdio::piped());
    // Whoever runs the tests may have been started by nohup.
    let hangup = if ignore {
        SigHandler::SigIgn
    } else {
        SigHandler::SigDfl
    };
    // SAFETY: signal() is async-signal-safe, and nothing else is called.
    unsafe {
        command.pre_exec(move || {
            signal(Signal::SIGHUP, hangup)?;
            Ok(())
        });
    }
    let mut child = command.spawn().expect("it starts");
    // It says that it waits.
    let mut byte = [0];
    let stderr = child.stderr.as_mut().expect("a pipe");
    std::io::Read::read_exact(stderr, &mut byte).expect("it speaks");
    // Into the pause until it looks again.
    thread::sleep(Duration::from_millis(50));
    child
}

fn tell(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("it is there");
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Verify that a closed terminal, of which the kernel and a shell tell at once, is
/// one interruption, after which the harness tidies up.
#[test]
fn a_closed_terminal_is_told_twice() {
    let (dir, _lock) = taken();
    let mut child = waiting(dir.path(), false);
    for _ in 0..3 {
        tell(&child, Signal::SIGHUP);
        thread::sleep(Duration::from_millis(5));
    }
    let status = ended(&mut child).expect("it ends");
    assert_eq!(status.code(), Some(130), "{status}");
}

/// Verify that nohup is heeded.
#[test]
fn an_ignored_hangup_is_ignored() {
    let (dir, lock) = taken();
    let mut child = waiting(dir.path(), true);
    tell(&child, Signal::SIGHUP);
    thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    drop(lock);
    assert!(ended(&mut child).expect("it ends").success());
}
