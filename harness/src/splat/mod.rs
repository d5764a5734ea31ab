// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel logs when something is wrong.

use serde::{Deserialize, Serialize};

/// A report that the kernel logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splat {
    /// `warning`, `kasan`, `lockdep`...
    pub kind: String,
    /// Its first line, without timestamp.
    pub title: String,
    /// The same for the same report: kind and functions, no addresses.
    pub fingerprint: String,
    /// Its lines, decoded where that was possible.
    pub lines: Vec<String>,
    /// How often it was seen.
    pub count: usize,
    /// Whether the kernel could not go on (panic, oops).
    pub fatal: bool,
}
