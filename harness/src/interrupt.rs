// SPDX-License-Identifier: GPL-2.0-only
//! Ctrl-C, SIGTERM and a closed terminal: noticed, so that everything that was
//! started can be ended and every temporary file removed on the way out.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::fail::Interrupted;

static SEEN: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: i32) {
    SEEN.store(true, Ordering::Relaxed);
}

/// Has the signals noted from now on instead of ending the process.
pub fn install() -> Result<()> {
    // A second signal ends the process at once: the flag may be looked at late.
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESETHAND,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("catching {signal}"))?;
    }
    Ok(())
}

/// Fails once a signal has been seen. Called by everything that waits.
pub fn check() -> Result<()> {
    if SEEN.load(Ordering::Relaxed) {
        Err(Interrupted.into())
    } else {
        Ok(())
    }
}
