// SPDX-License-Identifier: GPL-2.0-only
//! Parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser;
use harness::{
    bench, bisect, cases, check,
    cli::{Cli, Command, Series},
    command, disturb, docs, exec, fail, faults, interrupt, mutate, one, series, stress, verify,
};

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|wrong| {
        let _ = wrong.print();
        std::process::exit(bisect::step::usage_status(wrong.exit_code()));
    });
    match &cli.command {
        Command::Supervise { argv } => return exec::supervise(argv),
        // Its exit statuses are git's, from the first thing that can fail.
        Command::BisectStep(request) => return ExitCode::from(bisect::step::step(request)),
        _ => {}
    }
    let status = interrupt::install().and_then(|()| match &cli.command {
        Command::Verify(request) => verify::verify(request),
        Command::Check(request) => check::check(request),
        Command::Cases(request) => cases::cases(request),
        Command::Mutate(request) => mutate::mutate(request),
        Command::Bench(request) => bench::bench(request),
        Command::Faults(request) => faults::faults(request),
        Command::Disturb(request) => disturb::disturb(request),
        Command::Bisect(request) => bisect::command::bisect(request),
        Command::BisectHistory(request) => bisect::generate::history(request),
        Command::BisectProof(request) => bisect::proof::proof(request),
        Command::Stress(request) => stress::stress(request),
        Command::Doctor(request) => one::doctor(request),
        Command::Build(request) => one::build(request),
        Command::Run(request) => command::run(request),
        Command::Series(Series::Check(request)) => series::check(request),
        Command::Series(Series::Export(request)) => series::export(request),
        Command::Series(Series::Refresh(request)) => series::refresh(request),
        Command::Series(Series::Apply(request)) => series::apply(request),
        Command::Docs(request) => docs::docs(request),
        Command::Clean(request) => one::clean(request),
        Command::Supervise { .. } | Command::BisectStep(_) => unreachable!("handled above"),
    });
    match status {
        Ok(status) => ExitCode::from(fail::at_end(status)),
        Err(error) => fail::report(&error),
    }
}
