// SPDX-License-Identifier: GPL-2.0-only
//! The tc selftests of bpf_redirect_peer().
//!
//! `list` says what each case promises; `run` runs them, in the guest or as
//! root on the running kernel, each in network namespaces of its own.

mod bench;
mod bpf;
mod build_id;
mod cases;
mod detectors;
mod fail;
mod intree;
mod ipvs;
mod leaks;
mod link;
mod list;
mod memory;
mod netlink;
mod netns;
mod probe;
mod report;
mod run;
mod scene;
mod seed;
mod tc;
mod topology;
mod tracefs;
mod traces;
mod xfrm;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

pub use self::bench::paths;

/// The tc selftests of bpf_redirect_peer().
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
struct Cli {
    /// The same as `list`
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print each case: what it proves, where it must pass, how it ends elsewhere
    List {
        /// As JSON, with everything that it promises
        #[arg(long)]
        json: bool,
        /// Those that misbehave on purpose instead, with which the harness tests itself
        #[arg(long)]
        faults: bool,
        /// Those of the kernel's own selftest instead, as the host has built it in this folder; may be repeated
        #[arg(long, value_name = "DIR", conflicts_with = "faults")]
        in_tree: Vec<PathBuf>,
    },
    /// Measure each way into a container, as root: instructions where the clock counts them
    Bench(bench::Args),
    /// Measure how long transactions take when many flows share each CPU, as root
    Load(bench::LoadArgs),
    /// Run cases, as root
    Run {
        /// Only this case; may be repeated
        #[arg(long = "case", value_name = "NAME")]
        cases: Vec<String>,
        /// Only the cases in this file, one a line
        #[arg(long, value_name = "FILE")]
        cases_file: Option<PathBuf>,
        /// Has the kernel's own selftest, built in this folder, among its cases; may be repeated
        #[arg(long, value_name = "DIR")]
        in_tree: Vec<PathBuf>,
        /// Report over a virtio-serial port (`auto`: find it by its name) instead of standard output
        #[arg(long, value_name = "PORT")]
        port: Option<String>,
        /// In an order that this number decides
        #[arg(long, value_name = "SEED")]
        shuffle: Option<u64>,
        /// Wait only so long for what must come, in milliseconds: for a kernel on which most cases fail
        #[arg(long, value_name = "MS")]
        patience: Option<u64>,
        /// Without --port: run also what hangs, oopses or leaks on some kernels
        #[arg(long)]
        even_if_dangerous: bool,
    },
    /// What the kernel's own selftest of 5.10 gets as `tc`
    #[command(hide = true)]
    Tc(intree::TcArgs),
    /// Send packets through the helper while everything around it comes and goes, as root
    Stress {
        /// Decides what happens, in which order, over which devices, and how many packets are sent before and meanwhile
        #[arg(long, value_name = "SEED", default_value_t = 1)]
        seed: u64,
        /// How many packets to send
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        packets: u64,
        /// Only say what it promises, as `list --json` does
        #[arg(long)]
        describe: bool,
        /// As for `run`
        #[arg(long, value_name = "PORT")]
        port: Option<String>,
        /// As for `run`: without --port, needed
        #[arg(long)]
        even_if_dangerous: bool,
    },
}

/// What the program does: parses its arguments and dispatches.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // `--list` is a command of its own, and no command at all prints the help.
    let listed = cli.list.then_some(Command::List {
        json: false,
        faults: false,
        in_tree: Vec::new(),
    });
    let Some(command) = cli.command.or(listed) else {
        eprintln!("error: no command: `selftests --help` names them");
        return ExitCode::from(2);
    };
    let result = match command {
        Command::List {
            json,
            faults,
            in_tree,
        } => list::list(json, faults, &in_tree),
        Command::Bench(args) => bench::bench(&args),
        Command::Load(args) => bench::load(&args),
        Command::Tc(args) => intree::tc(&args),
        Command::Run {
            cases,
            cases_file,
            in_tree,
            port,
            shuffle,
            patience,
            even_if_dangerous,
        } => run::choose(cases, cases_file.as_deref(), &in_tree).and_then(|chosen| {
            patience.into_iter().for_each(fail::wait_only);
            run::run(chosen, port.as_deref(), shuffle, even_if_dangerous)
        }),
        Command::Stress {
            seed,
            packets,
            describe,
            port,
            even_if_dangerous,
        } => run::stress(seed, packets, describe, port.as_deref(), even_if_dangerous),
    };
    result.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::from(3)
    })
}
