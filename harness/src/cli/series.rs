// SPDX-License-Identifier: GPL-2.0-only
//! `series`: the kernel patches.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Common, Source};

/// `series`.
#[derive(Debug, Clone, Subcommand)]
pub enum Series {
    /// Judge every patch as a reviewer would: does it apply, compile in each configuration, keep to the style, boot
    Check(SeriesArgs),
    /// Make mails of a base's series, with a cover letter, for `git send-email`
    Export(Export),
    /// Take commits made on top of a base's prepared tree back into kernel-patches/
    Refresh(Refresh),
    /// Apply the series to your tree, on a new branch; its checkout is not touched
    Apply(Apply),
}

/// `series export`.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// Where to write the mails; no *.patch file may be there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The release line whose series is exported
    #[arg(long, value_name = "B", default_value = "6.12")]
    pub base: String,
    /// What `verify --results` (and `bench --results`) wrote: the letter's numbers
    #[arg(long, value_name = "DIR")]
    pub results: PathBuf,
    /// Which posting this is: `[PATCH v2 1/3]`
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub posting: u32,
    /// The tree that is asked to take it: `[PATCH bpf-next 1/3]`
    #[arg(long = "for", value_name = "TREE")]
    pub destination: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `series refresh`.
#[derive(Debug, Clone, Args)]
pub struct Refresh {
    /// The release line whose series is refreshed
    #[arg(long, value_name = "B", default_value = "6.12")]
    pub base: String,
    /// The last commit of the series, in the prepared tree [default: its branch `series`]
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `series apply`.
#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// Your kernel git tree
    #[arg(value_name = "DIR")]
    pub tree: PathBuf,
    /// What to apply it on
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub rev: String,
    /// The new branch
    #[arg(long, value_name = "NAME", default_value = "redirect-peer")]
    pub branch: String,
    /// Take upstream's own helper out first, where the tree has it
    #[arg(long)]
    pub strip: bool,
    /// A folder of *.patch files to use instead of the project's series
    #[arg(long, value_name = "DIR")]
    pub series: Option<PathBuf>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `series check`.
#[derive(Debug, Clone, Args)]
pub struct SeriesArgs {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// Leave out what builds a whole kernel and boots it
    #[arg(long)]
    pub quick: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}
