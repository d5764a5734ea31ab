// SPDX-License-Identifier: GPL-2.0-only
//! What one case on one arm came to. The words are those of the README.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one case on one arm came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Passed, and should have.
    Pass,
    /// Ended badly on an arm where it must, in the declared way.
    ExpectedFail,
    /// An assertion failed, or it failed for another reason than the declared one.
    Fail,
    /// Passed where it must not: the case proves nothing.
    UnexpectedPass,
    /// The kernel logged a report during the case.
    Splat,
    /// Panic or oops.
    Crash,
    /// A deadline passed without progress.
    Hang,
    /// The guest ended without saying that it was done.
    Lost,
    /// Could not run here, and no declaration says so.
    Skip,
    /// Could not run here, as declared for that base.
    ExpectedSkip,
    /// Expected, but never reported.
    Missing,
}

impl Verdict {
    /// All of them, good ones first.
    pub const ALL: [Self; 11] = [
        Self::Pass,
        Self::ExpectedFail,
        Self::ExpectedSkip,
        Self::Fail,
        Self::UnexpectedPass,
        Self::Splat,
        Self::Crash,
        Self::Hang,
        Self::Lost,
        Self::Skip,
        Self::Missing,
    ];

    /// Whether a run with this verdict may still be called good.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Pass | Self::ExpectedFail | Self::ExpectedSkip)
    }

    /// Which of several is to be named: the more it says of the kernel, the more
    /// it weighs. 0 for what is good.
    pub(crate) fn weight(self) -> u8 {
        match self {
            Self::Pass | Self::ExpectedFail | Self::ExpectedSkip => 0,
            Self::Skip => 1,
            Self::UnexpectedPass => 2,
            Self::Fail => 3,
            Self::Missing => 4,
            Self::Lost => 5,
            Self::Splat => 6,
            Self::Hang => 7,
            Self::Crash => 8,
        }
    }

    /// The word used in tables, reports and results.json.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::ExpectedFail => "expected-fail",
            Self::Fail => "fail",
            Self::UnexpectedPass => "unexpected-pass",
            Self::Splat => "splat",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Lost => "lost",
            Self::Skip => "skip",
            Self::ExpectedSkip => "expected-skip",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
