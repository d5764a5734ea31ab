// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel logs when something is wrong.
//!
//! A [`Scanner`] reads the console as it comes and gives [`Report`]s, an
//! [`Allowlist`] says which of them are known and harmless, a [`Decoder`] adds
//! file and line to their functions. What a report looks like is data:
//! vm/splats.toml, which is compiled in, so that no missing file turns the
//! check off.

mod allow;
mod decode;
mod fingerprint;
mod kept;
mod line;
mod open;
mod registers;
mod rules;
mod scanner;

use serde::{Deserialize, Serialize};

pub use allow::Allowlist;
pub use decode::Decoder;
pub use line::clean;
pub use open::KMEMLEAK;
pub use scanner::{Notice, Report, Scanner};

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
