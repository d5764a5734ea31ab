// SPDX-License-Identifier: GPL-2.0-only
//! The CPUs that a measurement is pinned to.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

const ALL: &str = "/sys/devices/system/cpu";

/// The CPUs that this process may use.
pub(super) fn usable() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking which CPUs may be used")?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect())
}

/// Has this thread run on one CPU only.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to CPU {cpu}"))
}

/// Starts the CPUs that the kernel left out when it booted (`maxcpus=1`).
///
/// Where QEMU runs CPUs by turns and counts their instructions, one that waits
/// for another must say so (PAUSE, HLT), or it goes on until QEMU's next timer,
/// and the other gets nothing of that time (accel/tcg/tcg-accel-ops-rr.c of QEMU
/// 7.2). Up to 6.4 the kernel waits for a CPU that starts by calling schedule()
/// over and over (arch/x86/kernel/smpboot.c, `do_boot_cpu()`), and never boots.
/// So there is somebody to schedule here, who says so all the time.
pub(super) fn start_all() -> Result<()> {
    let left_out = left_out()?;
    let waiting = AtomicBool::new(!left_out.is_empty());
    thread::scope(|scope| {
        scope.spawn(|| {
            while waiting.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let started = left_out.iter().try_for_each(|switch| {
            fs::write(switch, "1").with_context(|| format!("writing 1 to {}", switch.display()))
        });
        waiting.store(false, Ordering::Relaxed);
        started
    })
}

/// The switches that are off. The first CPU has none.
fn left_out() -> Result<Vec<PathBuf>> {
    let mut switches = Vec::new();
    for entry in fs::read_dir(ALL).with_context(|| format!("reading {ALL}"))? {
        let switch = entry?.path().join("online");
        if fs::read_to_string(&switch).is_ok_and(|s| s.trim() == "0") {
            switches.push(switch);
        }
    }
    switches.sort();
    Ok(switches)
}
