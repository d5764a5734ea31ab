// SPDX-License-Identifier: GPL-2.0-only
//! Memory that nothing refers to any more, where the kernel can look for it
//! (CONFIG_DEBUG_KMEMLEAK).

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::report::mark;

const DEBUGFS: &str = "/sys/kernel/debug";
const FILE: &str = "/sys/kernel/debug/kmemleak";

/// What was allocated this recently is not reported: MSECS_MIN_AGE of mm/kmemleak.c.
const YOUNG: Duration = Duration::from_millis(5_500);

/// Whether this kernel can look for leaks.
pub(crate) fn can_be_found() -> bool {
    Path::new(FILE).exists()
}

/// Mounts debugfs where that was not done yet, so that [`can_be_found`] tells.
pub(crate) fn prepare() {
    if !Path::new(DEBUGFS).join("tracing").exists() && !can_be_found() {
        // A kernel without debugfs has no kmemleak either.
        let _ = mount(
            Some("debugfs"),
            DEBUGFS,
            Some("debugfs"),
            MsFlags::empty(),
            None::<&str>,
        );
    }
}

/// Forgets what leaked before the first case: it is not theirs.
pub(crate) fn forget() -> Result<()> {
    if can_be_found() {
        write("scan")?;
        write("clear")?;
    }
    Ok(())
}

/// Looks for leaks. The kernel logs how many it found, upon which the host
/// reports them; what they are goes to the log as well.
pub(crate) fn look() -> Result<()> {
    if !can_be_found() {
        return Ok(());
    }
    thread::sleep(YOUNG);
    // A pointer that was on its way from one object to another during a scan
    // looks like a leak, and is found again by the next.
    for _ in 0..3 {
        write("scan")?;
    }
    let found = fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
    for line in found.lines().take(100) {
        mark(line);
    }
    Ok(())
}

fn write(what: &str) -> Result<()> {
    fs::write(FILE, what).with_context(|| format!("writing {what} to {FILE}"))
}
