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
    let catch = |signal: Signal, flags| {
        let action = SigAction::new(SigHandler::Handler(note), flags, SigSet::empty());
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("catching {signal}"))
    };
    // A second one ends the process at once: the flag may be looked at late.
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        catch(signal, SaFlags::SA_RESETHAND)?;
    }
    // Nobody asked twice when a terminal is closed: the kernel tells whoever is in
    // front, a shell tells its jobs, and its own end tells them once more.
    let before = catch(Signal::SIGHUP, SaFlags::empty())?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        // Started by nohup: it is to go on.
        // SAFETY: ignoring a signal runs no code.
        unsafe { sigaction(Signal::SIGHUP, &before) }.context("ignoring a closed terminal")?;
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
