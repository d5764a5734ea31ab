// SPDX-License-Identifier: GPL-2.0-only
//! The command line, as `--help` shows it: a file for each kind of command.

mod bench;
mod bisect;
mod common;
mod one;
mod own;
mod series;
mod verify;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use bench::Bench;
pub use bisect::{Bisect, BisectHistory, BisectProof, BisectStep, HISTORY};
pub use common::{AccelFlag, ArmFlag, Common, Source};
pub use one::{Build, One, RunCommand, Stress};
pub use own::{Cases, Check, Clean, Disturb, Docs, Doctor, Faults, FaultyKernel, Mutate};
pub use series::{Apply, Export, Refresh, Series, SeriesArgs};
pub use verify::Verify;

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
    /// Say which requirement is proved by what; bad when one has no proof
    Cases(Cases),
    /// Break the series on purpose, one requirement at a time, and see that the cases notice
    Mutate(Mutate),
    /// Measure what each way into a container costs, in instructions, and compare kernels
    Bench(Bench),
    /// Test the harness itself: guests that misbehave on purpose, each with the verdict that is due
    Faults(Faults),
    /// Interrupt a second harness in each step, fill its disk, damage its files
    Disturb(Disturb),
    /// Find the commit that broke it, or the patch of a series that makes a case pass or fail
    Bisect(Bisect),
    /// One commit for `git bisect run`: exit status 0 good, 1 bad, 125 skip, 128 cannot tell
    BisectStep(BisectStep),
    /// Make a history to try `bisect` on: the patched tree and commits on top, with two culprits
    #[command(hide = true)]
    BisectHistory(BisectHistory),
    /// Try `bisect` itself, for real, on a history whose culprits are known (nightly; an hour and more)
    BisectProof(BisectProof),
    /// Packets through the helper while devices, namespaces and programs come and go
    Stress(Stress),
    /// Say what this machine lacks and the command that mends it
    Doctor(Doctor),
    /// Build one kernel
    Build(Build),
    /// Run a command in one kernel, as root, with the host's files read-only
    Run(RunCommand),
    /// The kernel patches: check them, export them as mails, take changed commits back, apply them to a tree
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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    /// Verify that no two flags of a command are the same.
    #[test]
    fn flags_are_consistent() {
        super::Cli::command().debug_assert();
    }

    /// Verify that every command in the files for CI and in the README is one.
    #[test]
    fn written_commands_are_commands() {
        for (file, text, least) in [
            ("README.md", include_str!("../../../README.md"), 25),
            (
                "GitHub's",
                include_str!("../../../.github/workflows/redirect-peer.yml"),
                10,
            ),
            ("GitLab's", include_str!("../../../.gitlab-ci.yml"), 10),
            (".ci/run", include_str!("../../../.ci/run"), 1),
        ] {
            let mut commands = 0;
            for line in text.lines() {
                let Some((before, command)) = line.split_once("cargo harness ") else {
                    continue;
                };
                let line = command
                    .replace("${{ matrix.base }}", "6.12")
                    .replace(['\'', '"'], "");
                // Prose names commands between ticks, or says so in the middle of a line.
                let command = line
                    .split(['`', '#', '|', '\\', '\''])
                    .next()
                    .unwrap_or_default();
                let words: Vec<&str> = command.split_whitespace().collect();
                let first = words
                    .first()
                    .is_some_and(|w| w.starts_with(char::is_lowercase));
                let name = before.trim().ends_with("name:");
                if !first || name || before.contains('#') {
                    continue;
                }
                commands += 1;
                let parsed = super::Cli::try_parse_from(["harness"].iter().chain(&words));
                // Of the README some words are left out: only what is there is to be right.
                if let Err(e) = parsed
                    && e.kind() != clap::error::ErrorKind::DisplayHelp
                    && e.kind() != clap::error::ErrorKind::MissingRequiredArgument
                {
                    panic!("{file}: {command}: {e}");
                }
            }
            assert!(commands >= least, "{file} has {commands}");
        }
    }
}
