// SPDX-License-Identifier: GPL-2.0-only
//! What the guest says while it runs.

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
    },
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
