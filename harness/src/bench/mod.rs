// SPDX-License-Identifier: GPL-2.0-only
//! `bench`: what a transaction costs, in instructions, on each way into a
//! container and on each kernel.
//!
//! The guest has one CPU whose clock is the number of instructions executed
//! (QEMU's icount under TCG), so a busy machine changes nothing. Each kernel is
//! booted twice, and what two boots do not agree on is no basis for an answer.

mod again;
mod against;
mod collect;
mod comparison;
mod confidence;
mod criterion;
mod document;
mod effect;
mod emulated;
mod expected;
mod figures;
mod functions;
mod itself;
mod itself_table;
mod latency;
mod letter;
mod load;
pub(crate) mod measure;
mod native;
mod pages;
mod pictures;
mod plot;
mod profile;
mod promise;
mod reason;
mod rows;
mod saved;
mod table;
mod theirs;
mod turns;

use anyhow::Result;

pub use document::write_docs;
pub use figures::{Asked, Bench, Costs, Measured, VERSION};
pub use itself::{Itself, self_of};
pub use letter::{Promise, promises};
pub use load::{Load, load_of};
pub use native::{Native, native_of};
pub use pages::{write_load, write_native, write_readme, write_self};
pub use pictures::{Picture, pictures};
pub use profile::Profile;

pub use saved::load;

use crate::{cache::remove, cli, fail, report, session::Session};

use promise::Answer;

/// What is written to the folder of results.
const DOCUMENT: &str = "bench.json";

/// The file that a request writes to its folder of results.
fn document(request: &cli::Bench) -> &'static str {
    match request {
        cli::Bench { native: true, .. } => native::DOCUMENT,
        cli::Bench { load: true, .. } => load::DOCUMENT,
        cli::Bench { itself: true, .. } => itself::DOCUMENT,
        _ => DOCUMENT,
    }
}

/// Measures and compares; gives the exit status.
pub fn bench(request: &cli::Bench) -> Result<u8> {
    // Before anything that can fail: an earlier one's is not to be taken for this one's.
    if let Some(dir) = &request.results {
        remove(&dir.join(document(request)))?;
    }
    if request.native {
        // Where it proves nothing, nothing is set up either.
        let hypervisor = native::hypervisor()?;
        if request.criterion {
            return criterion::here(&Session::open(&request.common)?, request);
        }
        if !request.only.is_empty() {
            return Err(crate::request!(
                "--native measures all ways by turns: --only chooses with --criterion"
            ));
        }
        return native::native(&Session::open(&request.common)?, request, hypervisor);
    }
    let session = Session::open(&request.common)?;
    if request.criterion {
        return criterion::in_guests(&session, request);
    }
    if request.load {
        return load::load(&session, request);
    }
    if request.itself {
        return itself::itself(&session, request);
    }
    // Wrong names are said before anything is measured.
    let before = match &request.against {
        Some(name) => Some(saved::named(&session.cache, name)?),
        None => None,
    };
    if let Some(name) = &request.save {
        saved::check(name)?;
    }
    let found = collect::collect(&session, request, |so_far| {
        let Some(dir) = &request.results else {
            return Ok(());
        };
        let json = serde_json::to_string_pretty(so_far)? + "\n";
        crate::cache::write_whole(&dir.join(DOCUMENT), json.as_bytes())
    })?;
    if let Some(name) = &request.save {
        saved::save(&session.cache, name, &found)?;
    }
    if request.common.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print!("{}", table::table(&found, request.common.verbose));
        if let Some(before) = &before {
            print!("{}", against::against(&found, before));
        }
    }
    if let Some(dir) = &request.results {
        report::show_pictures(dir)?;
    }
    let mut answers = promise::answers(&found);
    if let Some(before) = &before {
        answers.extend(against::answers(&found, before));
    }
    Ok(status(&answers))
}

/// The exit status that goes with answers. Without a comparison there are none,
/// and all that was asked for was measured.
fn status(answers: &[Answer]) -> u8 {
    match answers.iter().max() {
        Some(Answer::Broken) => fail::BAD,
        Some(Answer::CouldNotTell) => fail::COULD_NOT_TELL,
        Some(Answer::Holds) | None => fail::GOOD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    /// Verify that whatever goes wrong, what an earlier invocation wrote is gone.
    #[test]
    fn earlier_results_do_not_survive_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("bench.json");
        let other = dir.path().join("load.json");
        // A cache folder that is a file can never be opened.
        let cache = dir.path().join("cache");
        for file in [&old, &other, &cache] {
            std::fs::write(file, "").unwrap();
        }
        let words = [
            "harness".as_ref(),
            "bench".as_ref(),
            "--results".as_ref(),
            dir.path().as_os_str(),
            "--cache".as_ref(),
            cache.as_os_str(),
        ];
        let Command::Bench(request) = <Cli as clap::Parser>::parse_from(words).command else {
            panic!("it is another command");
        };
        assert!(bench(&request).is_err());
        assert!(!old.exists());
        assert!(other.exists(), "what this one does not write is left alone");
    }
}
