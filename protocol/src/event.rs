// SPDX-License-Identifier: GPL-2.0-only
//! What the guest says while it runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One line on the port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Position in the stream, from 0, without gaps.
    pub seq: u64,
    /// Guest CLOCK_MONOTONIC, microseconds.
    pub at_us: u64,
    /// What happened.
    pub event: Event,
}

/// What happened in the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The guest is up, and these cases will be run in this order.
    Hello {
        /// [`crate::VERSION`] of the guest.
        protocol: u32,
        /// `uname -r` of the guest.
        kernel: String,
        /// Build ID of the kernel that runs, in hexadecimal digits, from
        /// `/sys/kernel/notes`; `None` when it has none that can be read.
        build_id: Option<String>,
        /// Names of the cases that will be run.
        cases: Vec<String>,
        /// What looks for bugs in this kernel before the first case.
        detectors: BTreeSet<Detector>,
    },
    /// A case begins. Nothing else runs until its `CaseEnd`.
    CaseStart {
        /// The case's name.
        case: String,
    },
    /// The case that was started last is over, its clean-up included.
    CaseEnd {
        /// The case's name.
        case: String,
        /// What it came to.
        outcome: Outcome,
        /// How long it took, clean-up included, microseconds of guest time.
        duration_us: u64,
    },
    /// A figure.
    Metric {
        /// Dotted name, from the general to the special: `redirect_peer.tcp_rr`.
        name: String,
        /// The figure.
        value: f64,
        /// Its unit: `instructions`, `ns`, `packets`.
        unit: String,
    },
    /// Something for whoever reads a failure.
    Log {
        /// One line or several.
        text: String,
    },
    /// The guest has done everything it was asked for and says nothing after this.
    Done {
        /// How many `CaseEnd` events were sent.
        cases: u64,
        /// What still looks for bugs in this kernel after the last one.
        detectors: BTreeSet<Detector>,
    },
}

/// Something in a kernel that finds bugs by itself, and can be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Use after free, out of bounds.
    Kasan,
    /// Data races.
    Kcsan,
    /// Memory that nothing refers to.
    Kmemleak,
    /// Locks in the wrong order.
    Lockdep,
    /// A CPU that schedules nothing.
    SoftLockup,
    /// A CPU that takes no interrupts.
    HardLockup,
    /// A task that waits for ever.
    HungTask,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Kasan,
        Self::Kcsan,
        Self::Kmemleak,
        Self::Lockdep,
        Self::SoftLockup,
        Self::HardLockup,
        Self::HungTask,
    ];

    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kasan => "KASAN",
            Self::Kcsan => "KCSAN",
            Self::Kmemleak => "kmemleak",
            Self::Lockdep => "lockdep",
            Self::SoftLockup => "the soft lockup detector",
            Self::HardLockup => "the hard lockup detector",
            Self::HungTask => "the hung task detector",
        }
    }
}

/// What a case came to, as the guest sees it. Whether that is good is for the
/// host to say: it knows the arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Every assertion held.
    Pass,
    /// An assertion did not hold, or the case could not be set up.
    Fail(Failure),
    /// This kernel or machine lacks what the case needs.
    Skip {
        /// What is lacking.
        why: String,
    },
}

/// Why a case failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// One of [`crate::reason`]: what a declaration can name.
    pub reason: String,
    /// What was expected, what came, in which namespace, on which device.
    pub message: String,
    /// Counters, verifier log, last kernel messages: what helps to see why.
    pub context: Vec<String>,
}
