// SPDX-License-Identifier: GPL-2.0-only
//! The command line, as `--help` shows it.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::Arm;

/// Applies the bpf_redirect_peer() series to a kernel, builds it, boots it,
/// tests it, and says what is true.
#[derive(Debug, Parser)]
#[command(
    name = "cargo harness",
    version,
    after_help = "Exit status: 0 everything is as it should be; 1 at least one bad verdict; \
                  2 the request is wrong; 3 the harness could not tell.\n\n\
                  Begin with `cargo harness verify`: it sets everything up itself."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prove the series: build each arm, boot it, run the cases, print the verdicts
    Verify(Verify),
    /// The project's own tests, everything: what CI runs
    Check(Check),
    /// Break the series on purpose, one requirement at a time, and see that the cases notice
    Mutate(Mutate),
    /// Measure what each way into a container costs, in instructions, and compare kernels
    Bench(Bench),
    /// Test the harness itself: guests that misbehave on purpose, each with the verdict that is due
    Faults(Faults),
    /// Say what this machine lacks and the command that mends it
    Doctor(Doctor),
    /// Build one kernel
    Build(Build),
    /// Run a command in one kernel, as root, with the host's files read-only
    Run(RunCommand),
    /// The kernel patches: list what each base's series holds, or apply it to a tree
    #[command(subcommand)]
    Series(Series),
    /// Make the figures in docs/ from what `verify --results` wrote
    Docs(Docs),
    /// Remove the cache folder
    Clean(Clean),
    /// Run a program that ends when standard input closes (used by the harness itself)
    #[command(name = "supervise", hide = true)]
    Supervise {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
}

/// Flags that every command has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// What executes the guest; `auto` uses KVM only after a trial boot under it
    #[arg(long, value_enum, default_value_t = AccelFlag::Auto, value_name = "A", help_heading = "Common")]
    pub accel: AccelFlag,
    /// Parallel jobs of make [default: the CPUs of this machine]
    #[arg(long, value_name = "N", help_heading = "Common")]
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

impl Verify {
    /// A base with everything else as it is when no flag is given.
    pub fn of_base(base: &str, common: &Common) -> Self {
        Self {
            source: Source::of_base(base),
            arms: Vec::new(),
            flavors: Vec::new(),
            cases: Vec::new(),
            results: None,
            retry: 0,
            allow_flaky: false,
            common: common.clone(),
        }
    }
}

/// `verify`.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// A kernel to compare; may be repeated [default: baseline and patched]
    #[arg(long = "arm", value_enum, value_name = "A")]
    pub arms: Vec<ArmFlag>,
    /// A set of config fragments, vm/config/F.config; may be repeated [default: default]
    #[arg(long = "flavor", value_name = "F")]
    pub flavors: Vec<String>,
    /// Only the cases that match, as in a shell; may be repeated
    #[arg(long = "case", value_name = "GLOB")]
    pub cases: Vec<String>,
    /// Write results.json, reports and consoles to this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Run bad cases again, up to N times, in a fresh guest; one that is good then is marked flaky, and stays bad
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retry: u32,
    /// Exit with 0 although there are flaky cases
    #[arg(long, requires = "retry")]
    pub allow_flaky: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Leave out what boots a kernel
    #[arg(long)]
    pub quick: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `mutate`.
#[derive(Debug, Clone, Args)]
pub struct Mutate {
    /// The release line whose mutations are tried
    #[arg(long, value_name = "B", default_value = "6.12")]
    pub base: String,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Promises: with the arms baseline and patched, packets that are not redirected cost at most 1.001 of the baseline (C1); \
with upstream and patched, redirect_peer costs at most what upstream's does (C2). Each kernel is booted twice; a figure \
that two boots do not agree on is marked ~. Exit status: 0 every promise holds, 1 one is broken, 3 could not tell.\n\n\
A count of instructions is CPU cost. It does not show how long a packet waits for a second softirq pass under load.")]
pub struct Bench {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// A kernel to measure; may be repeated [default: baseline and patched]
    #[arg(long = "arm", value_enum, value_name = "A")]
    pub arms: Vec<ArmFlag>,
    /// Write bench.json to this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
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
    /// Only those that have this in their description
    #[arg(value_name = "WORDS")]
    pub only: Option<String>,
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
    #[arg(long, value_name = "F", default_value = "default")]
    pub flavor: String,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
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

/// `series`.
#[derive(Debug, Clone, Subcommand)]
pub enum Series {
    /// Apply strip and series to a base's tree and say what each commit is
    Check(SeriesArgs),
    /// Apply the series to your tree, on a new branch
    Apply {
        /// The tree.
        #[arg(value_name = "DIR")]
        tree: PathBuf,
        /// The new branch
        #[arg(long, default_value = "redirect-peer")]
        branch: String,
        /// Flags that every command has.
        #[command(flatten)]
        common: Common,
    },
}

/// `series check`.
#[derive(Debug, Clone, Args)]
pub struct SeriesArgs {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `docs`.
#[derive(Debug, Clone, Args)]
pub struct Docs {
    /// Folders that `verify --results DIR` wrote
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// Verify that no two flags of a command are the same.
    #[test]
    fn flags_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
