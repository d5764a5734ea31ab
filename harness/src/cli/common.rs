// SPDX-License-Identifier: GPL-2.0-only
//! What several commands have in common.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use protocol::Arm;

/// Flags that every command has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// What executes the guest; `auto` uses KVM only after a trial boot under it
    #[arg(long, value_enum, default_value_t = AccelFlag::Auto, value_name = "A", help_heading = "Common")]
    pub accel: AccelFlag,
    /// Parallel jobs of make, and guests at once [default: the CPUs of this machine; guests as its memory allows]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Common")]
    pub jobs: Option<usize>,
    /// The folder for everything the harness makes [default: ~/.cache/redirect-peer]
    #[arg(long, value_name = "DIR", help_heading = "Common")]
    pub cache: Option<PathBuf>,
    /// Fetch nothing
    #[arg(long, help_heading = "Common")]
    pub offline: bool,
    /// Print results.json instead of tables
    #[arg(long, help_heading = "Common")]
    pub json: bool,
    /// Show the reasons of expected failures too
    #[arg(short, long, help_heading = "Common")]
    pub verbose: bool,
}

/// With none at a time, nothing would ever be done.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1; leave it out for as many as fit".into()),
        Ok(number) => Ok(number),
        Err(e) => Err(format!("{e}")),
    }
}

/// `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccelFlag {
    /// KVM where a kernel boots under it, software emulation elsewhere.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// `--arm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArmFlag {
    /// The base, stripped of upstream's helper.
    Baseline,
    /// The baseline and the series.
    Patched,
    /// The base untouched.
    Upstream,
}

impl From<ArmFlag> for Arm {
    fn from(flag: ArmFlag) -> Self {
        match flag {
            ArmFlag::Baseline => Self::Baseline,
            ArmFlag::Patched => Self::Patched,
            ArmFlag::Upstream => Self::Upstream,
        }
    }
}

/// Which kernel source.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// A release line, from its Debian source package; may be repeated, `all` for every one [default: 6.12]
    #[arg(long = "base", value_name = "B")]
    pub bases: Vec<String>,
    /// Your own kernel git tree instead; its checkout is not touched
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bases", "tarball"])]
    pub tree: Option<PathBuf>,
    /// What to use of --tree
    #[arg(long, value_name = "REV", default_value = "HEAD", requires = "tree")]
    pub rev: String,
    /// A kernel archive instead, as kernel.org has them
    #[arg(long, value_name = "FILE", conflicts_with = "bases")]
    pub tarball: Option<PathBuf>,
    /// Look for a newer source package although one is in the cache
    #[arg(long)]
    pub update: bool,
    /// A folder of *.patch files to use instead of the project's series
    #[arg(long, value_name = "DIR")]
    pub series: Option<PathBuf>,
}

impl Source {
    /// A base, from its package, with its own series.
    pub fn of_base(base: &str) -> Self {
        Self {
            bases: vec![base.to_owned()],
            tree: None,
            rev: "HEAD".into(),
            tarball: None,
            update: false,
            series: None,
        }
    }
}
