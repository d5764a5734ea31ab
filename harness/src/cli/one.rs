// SPDX-License-Identifier: GPL-2.0-only
//! The commands that build or boot one kernel.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

use super::{ArmFlag, Common, Source};

/// Which one kernel.
#[derive(Debug, Clone, Args)]
pub struct One {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// Which arm
    #[arg(long, value_enum, value_name = "A", default_value_t = ArmFlag::Patched)]
    pub arm: ArmFlag,
    /// Which config fragments
    #[arg(
        long,
        value_name = "F",
        help = "Which config fragments [default: default; of `stress`: debug]"
    )]
    pub flavor: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

impl One {
    /// The flavor that was asked for, or the plain one.
    pub fn flavor(&self) -> &str {
        self.flavor.as_deref().unwrap_or("default")
    }
}

/// `stress`.
#[derive(Debug, Clone, Args)]
pub struct Stress {
    /// Which kernel.
    #[command(flatten)]
    pub one: One,
    /// Decides what happens, in which order, and how many packets are sent meanwhile
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// How many packets to send
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub packets: u64,
    /// Write results.json, reports and the console to this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
}

/// `build`.
#[derive(Debug, Clone, Args)]
pub struct Build {
    /// Which kernel.
    #[command(flatten)]
    pub one: One,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunCommand {
    /// Which kernel.
    #[command(flatten)]
    pub one: One,
    /// End the guest after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub limit: u64,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub argv: Vec<OsString>,
}
