// SPDX-License-Identifier: GPL-2.0-only
//! How a case fails: with a reason that a declaration can name.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use protocol::{Failure, reason as why};

use crate::scene;

/// A case that did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed.
    Failed(Failure),
    /// This kernel lacks what it needs.
    Skipped(String),
}

/// What a case comes to.
pub(crate) type Verdict = Result<(), Stop>;

/// A failure with a reason out of [`protocol::reason`], and with the counters of
/// every namespace of the case, which are gone a moment later: unless a program
/// was refused or taken, which has nothing to do with packets.
pub(crate) fn failed(reason: &str, message: impl Into<String>) -> Stop {
    let of_programs = [why::HELPER_UNKNOWN, why::REFUSED, why::WRONGLY_ACCEPTED];
    Stop::Failed(Failure {
        reason: reason.into(),
        message: message.into(),
        context: if of_programs.contains(&reason) {
            Vec::new()
        } else {
            scene::counters()
        },
    })
}

impl Stop {
    /// Adds what helps to see why.
    pub(crate) fn with(mut self, context: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.context.push(context.into());
        }
        self
    }
}

/// What is not an assertion is a case that could not be set up.
impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        failed(protocol::reason::SETUP, format!("{error:#}"))
    }
}

/// How long something that must come may take. It takes microseconds; the rest
/// is for a machine that is so busy that a CPU of the guest stands still.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// The longest that a case waits in all: for a connection, for what comes over
/// it, and for what it leaves to go. Its deadline is longer than this, or a case
/// that failed is taken for one that hangs.
pub(crate) const WAITS: Duration = LONG.saturating_mul(3);

static PATIENCE_MS: AtomicU64 = AtomicU64::new(LONG.as_millis() as u64);

/// How long what must come is waited for.
pub(crate) fn patience() -> Duration {
    Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed))
}

/// Waits only so long from now on: where most cases are known to fail, all of
/// them would wait to the end.
pub(crate) fn wait_only(ms: u64) {
    PATIENCE_MS.store(ms, Ordering::Relaxed);
}

/// Fails with `reason` unless what `got` gives becomes `expected`. A packet may
/// still be on its way when the call that sent it is over: the softirq may have
/// been left to ksoftirqd, or to a CPU that stands still.
pub(crate) fn becomes<T: PartialEq + std::fmt::Debug>(
    reason: &str,
    what: &str,
    got: impl Fn() -> T,
    expected: T,
) -> Verdict {
    let start = Instant::now();
    loop {
        let now = got();
        if now == expected || start.elapsed() > patience() {
            return same(reason, what, now, expected);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Fails with `reason` unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    reason: &str,
    what: &str,
    got: T,
    expected: T,
) -> Verdict {
    if got == expected {
        return Ok(());
    }
    Err(failed(
        reason,
        format!("{what}: expected {expected:?}, got {got:?}"),
    ))
}
