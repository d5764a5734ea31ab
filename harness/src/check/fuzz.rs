// SPDX-License-Identifier: GPL-2.0-only
//! `check --fuzz`: the tests that damage what is parsed, with other damage each
//! time, and the reports of damaged results read by other programs.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{cargo, count::number_before, readers::Readers};
use crate::{
    damage::{Damage, SEED},
    disturb::Came,
    fail,
    report::sample,
    results::Results,
    session::Session,
};

/// How many damaged results are read by other programs in a round.
const READ: usize = 5;

/// Goes on for `minutes`, one round at least; gives the exit status.
pub(super) fn fuzz(session: &Session, minutes: u64) -> Result<u8> {
    let start = Instant::now();
    let readers = Readers::new(session)?;
    let (mut rounds, mut passed, mut wrong) = (0, 0, Vec::new());
    while rounds == 0 || start.elapsed() < Duration::from_secs(minutes * 60) {
        rounds += 1;
        let seed = random()?;
        let (tests, said) = tests(session, seed)?;
        passed += tests;
        wrong.extend(said);
        let (read, said) = read(&readers, seed)?;
        passed += read;
        wrong.extend(said);
        println!(
            "round {rounds}, {SEED}={seed}: {} wrong so far",
            wrong.len()
        );
    }
    for wrong in &wrong {
        println!("FAIL {wrong}");
    }
    println!("{passed} passed, {} failed", wrong.len());
    Ok(if wrong.is_empty() {
        fail::GOOD
    } else {
        fail::BAD
    })
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}

/// How many damage tests pass with the damage of `seed`, and what is wrong.
fn tests(session: &Session, seed: u64) -> Result<(usize, Option<String>)> {
    let step = session.progress.begin("check", "damage");
    let out = cargo(session)
        .args([
            "test",
            "--quiet",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ])
        .args(["--", "damage"])
        .env(SEED, seed.to_string())
        .output()?;
    step.done(false);
    let lines = out.stdout.lines().filter(|l| l.starts_with("test result:"));
    let passed = lines.filter_map(|l| number_before(l, " passed")).sum();
    let good = out.status.success() && passed > 0;
    Ok((
        passed,
        (!good).then(|| format!("{SEED}={seed}: {}\n{}", out.stdout.trim_end(), out.stderr)),
    ))
}

/// How many reports of results with the damage of `seed` are read as they are, and
/// those that are not.
fn read(readers: &Readers, seed: u64) -> Result<(usize, Vec<String>)> {
    let (mut passed, mut wrong) = (0, Vec::new());
    for (at, results) in damaged(seed)?.into_iter().enumerate() {
        for trial in readers.read(&format!("damaged results {at}"), &results)? {
            match trial.came {
                Came::Due => passed += 1,
                Came::Wrong(came) => {
                    wrong.push(format!("{SEED}={seed}: {}: {came}", trial.what));
                }
                // Said once by `check` itself.
                Came::Untried(_) => {}
            }
        }
    }
    Ok((passed, wrong))
}

/// Results whose texts and verdicts are damaged, and which are results still.
fn damaged(seed: u64) -> Result<Vec<Results>> {
    let whole = serde_json::to_vec(&sample::bad()).context("writing the sample")?;
    let mut damage = Damage::of(seed);
    let mut found = Vec::new();
    // Most damage leaves no results.
    for _ in 0..10_000 {
        let mut bytes = whole.clone();
        for _ in 0..=damage.below(3) {
            damage.to(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        found.extend(serde_json::from_str::<Results>(&text));
        if found.len() == READ {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that damage leaves results to be read, others than the sample, and
    /// the same for the same seed.
    #[test]
    fn there_are_damaged_results() {
        let text = |results: &[Results]| serde_json::to_string(results).unwrap();
        let (one, again) = (damaged(7).unwrap(), damaged(7).unwrap());
        assert_eq!(one.len(), READ);
        assert_eq!(text(&one), text(&again));
        assert_ne!(text(&one), text(&damaged(8).unwrap()));
    }
}
