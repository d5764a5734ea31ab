// SPDX-License-Identifier: GPL-2.0-only
//! What has the kernel misbehave, or say that it does.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use protocol::reason;

use crate::{
    fail::{Verdict, failed},
    link,
    scene::Kmsg,
};

/// Where lkdtm, the kernel's own test of its crash handling, takes orders.
pub(super) const PROVOKE: &str = "/sys/kernel/debug/provoke-crash/DIRECT";

/// How long the kernel may take to notice a task that does not go on, of which it
/// is told that a second is too long.
const NOTICED: Duration = Duration::from_secs(20);

/// The same for a device that is not given back: it says so every ten seconds.
const WAITED_FOR: Duration = Duration::from_secs(60);

/// Writes to one of the kernel's files.
pub(super) fn write(path: &str, bytes: &[u8]) -> Result<()> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|mut f| f.write_all(bytes))
        .with_context(|| format!("writing to {path}"))
}

/// Has the kernel do `what`, in a process of its own: the kernel may kill it.
pub(super) fn provoke(what: &str) -> Result<()> {
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

/// Has one CPU spin with interrupts off; the other notices.
pub(super) fn spin_without_interrupts() -> Verdict {
    write("/proc/sys/kernel/watchdog_thresh", b"1")?;
    Ok(provoke("HARDLOCKUP")?)
}

/// Has one CPU spin with interrupts on, so that it schedules nothing: its own
/// watchdog notices, and RCU, as there is always somebody who waits for it.
pub(super) fn spin_without_scheduling() -> Verdict {
    write("/proc/sys/kernel/watchdog_thresh", b"1")?;
    write(
        "/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
        b"3",
    )?;
    thread::spawn(|| {
        loop {
            // What is closed is freed when RCU allows it.
            drop(File::open("/proc/self/status"));
            thread::sleep(Duration::from_millis(10));
        }
    });
    Ok(provoke("SOFTLOCKUP")?)
}

/// Leaves a task waiting for ever where no signal reaches it, until the kernel
/// has said so, once.
pub(super) fn hang_a_task() -> Verdict {
    write("/proc/sys/kernel/hung_task_warnings", b"1")?;
    write("/proc/sys/kernel/hung_task_timeout_secs", b"1")?;
    let mut kmsg = Kmsg::from_now().context("opening /dev/kmsg")?;
    thread::spawn(|| provoke("HUNG_TASK"));
    notices(&mut kmsg, "blocked for more", NOTICED)?;
    Ok(write("/proc/sys/kernel/hung_task_timeout_secs", b"0")?)
}

/// Keeps a reference to a device that is being removed, until the kernel has said
/// that it waits for it.
pub(super) fn hold_a_device() -> Verdict {
    let index = link::add_dummy("lkdtm")?;
    let mut kmsg = Kmsg::from_now().context("opening /dev/kmsg")?;
    provoke("NETDEV_HOLD")?;
    let removal = thread::spawn(move || link::delete(index));
    let noticed = notices(&mut kmsg, "waiting for lkdtm to become free", WAITED_FOR);
    provoke("NETDEV_PUT")?;
    match removal.join() {
        Ok(removed) => removed?,
        Err(_) => return Err(failed(reason::SETUP, "removing the device panicked")),
    }
    noticed
}

/// Has two CPUs write the same variable for a while.
pub(super) fn race() -> Verdict {
    let other = thread::spawn(|| provoke("DATA_RACE"));
    provoke("DATA_RACE")?;
    match other.join() {
        Ok(raced) => Ok(raced?),
        Err(_) => Err(failed(reason::SETUP, "the other CPU panicked")),
    }
}

/// Waits until the kernel says something that has `words` in it.
fn notices(kmsg: &mut Kmsg, words: &str, within: Duration) -> Verdict {
    let since = Instant::now();
    while since.elapsed() < within {
        if kmsg.said().iter().any(|l| l.contains(words)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(failed(
        reason::SETUP,
        format!("the kernel did not notice: it never said `{words}`"),
    ))
}
