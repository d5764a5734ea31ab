// SPDX-License-Identifier: GPL-2.0-only
//! The commands that are about the project itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

/// `check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Leave out what boots a kernel
    #[arg(long)]
    pub quick: bool,
    /// Nothing but the tests that damage what is parsed, each round with other damage, for so long
    #[arg(long, value_name = "MINUTES", conflicts_with = "quick")]
    pub fuzz: Option<u64>,
    /// A trial of the harness itself that cannot be made on this machine counts as failed
    #[arg(long)]
    pub deny_skips: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `cases`.
#[derive(Debug, Clone, Args)]
pub struct Cases {
    /// As the page docs/cases.md
    #[arg(long)]
    pub markdown: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `mutate`.
#[derive(Debug, Clone, Args)]
pub struct Mutate {
    /// A release line whose mutations are tried; may be repeated, `all` for every one [default: 6.12]
    #[arg(long = "base", value_name = "B")]
    pub bases: Vec<String>,
    /// Only the mutations whose file names match, as in a shell: `0024-*`; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `faults`.
#[derive(Debug, Clone, Args)]
pub struct Faults {
    /// How often to try them all
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub times: u32,
    /// The kernel: one that can be told to crash, or one that besides looks for bugs, with what only it finds
    #[arg(long, value_enum, default_value_t = FaultyKernel::Faulty, value_name = "F")]
    pub flavor: FaultyKernel,
    /// Only those that have this in their description
    #[arg(value_name = "WORDS")]
    pub only: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `--flavor` of `faults`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultyKernel {
    /// Can be told to crash.
    Faulty,
    /// And has KASAN, kmemleak, lockdep and reference trackers.
    Debug,
    /// And has KCSAN.
    Kcsan,
}

/// `disturb`.
#[derive(Debug, Clone, Args)]
pub struct Disturb {
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `doctor`.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Install what is missing (as root)
    #[arg(long)]
    pub fix: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `docs`.
#[derive(Debug, Clone, Args)]
pub struct Docs {
    /// Folders that `verify --results DIR` or `bench --results DIR` wrote, with --load, --native or --self or without
    #[arg(value_name = "DIR", required = true)]
    pub results: Vec<PathBuf>,
    /// Where to write [default: docs/ of the project]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// `clean`.
#[derive(Debug, Clone, Args)]
pub struct Clean {
    /// The folder to remove [default: ~/.cache/redirect-peer]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}
