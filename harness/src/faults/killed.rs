// SPDX-License-Identifier: GPL-2.0-only
//! A guest whose QEMU is killed.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use protocol::{Event, Record};

use super::list::At;
use crate::{
    exec,
    results::Run,
    run::{self, Job},
    session::Session,
};

/// Runs a job, and kills its QEMU once, at the moment that `when` names.
pub(super) fn run_and_kill(job: &Job<'_>, when: At, session: &Session) -> Result<Run> {
    let first = job.cases.first().map(|c| c.name.clone());
    let due = |event: &Event| match event {
        Event::CaseStart { case } => when == At::Killed && Some(case) == first.as_ref(),
        Event::Done { .. } => when == At::KilledWhenDone,
        _ => false,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(pid) = qemu_that_said(&job.kernel.image, due) {
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

/// The QEMU that runs `image` below this process, once its guest has said what
/// `due` waits for.
fn qemu_that_said(image: &Path, due: impl Fn(&Event) -> bool) -> Option<Pid> {
    let (pid, line) = qemu(image)?;
    let events = line.split("id=events,path=").nth(1)?.split('\0').next()?;
    let said = fs::read_to_string(events).ok()?;
    let said_it = said
        .lines()
        .any(|l| serde_json::from_str(l).is_ok_and(|record: Record| due(&record.event)));
    said_it.then_some(pid)
}

/// The QEMU that runs `image` below this process, and its words with a NUL behind each.
pub(super) fn qemu(image: &Path) -> Option<(Pid, String)> {
    let image = image.as_os_str().as_encoded_bytes();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|b| *b == 0);
        let qemu = words.next()?.windows(11).any(|w| w == b"qemu-system");
        if !qemu || !words.any(|w| w == image) || !is_below_us(pid) {
            return None;
        }
        Some((
            Pid::from_raw(pid),
            String::from_utf8_lossy(&line).into_owned(),
        ))
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
