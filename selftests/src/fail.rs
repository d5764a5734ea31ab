// SPDX-License-Identifier: GPL-2.0-only
//! How a case fails: with a reason that a declaration can name.

use protocol::Failure;

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

/// A failure with a reason out of [`protocol::reason`].
pub(crate) fn failed(reason: &str, message: impl Into<String>) -> Stop {
    Stop::Failed(Failure {
        reason: reason.into(),
        message: message.into(),
        context: Vec::new(),
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
