// SPDX-License-Identifier: GPL-2.0-only
//! `bench --load`: latencies of many flows on 1, 2 and 4 CPUs, and whether what
//! was published with the original appears.
//!
//! Guest time is the number of instructions that each CPU of the guest executed,
//! none of which is ever idle, so a busy machine changes nothing. QEMU lets them
//! run by turns in one thread; the guest program ends a turn after each
//! transaction, so that all flows are at work at once, and what they were not is
//! no figure.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use protocol::Arm;
use serde::{Deserialize, Serialize};

use super::{
    collect::missed,
    effect::{self, Answer},
    latency::{self, Point},
    measure::{self, Counted},
    turns::Turns,
};
use crate::{
    accel::{Accel, Choice},
    cache::write_whole,
    cli, fail,
    guest::Guest,
    machine,
    report::text as words,
    request,
    results::Machine,
    session::Session,
    vm::SHARE,
};

/// What is written to the folder of results.
pub(super) const DOCUMENT: &str = "load.json";

/// CPUs of the guest, one boot each.
const CPUS: [u32; 3] = [1, 2, 4];

/// What a boot measures, of each traffic and number of flows: 6 rounds are the
/// fewest that give an interval.
pub(super) const TURNS: Turns = Turns {
    ways: &[
        "redirect",
        "redirect_peer",
        "host",
        "redirect_neigh",
        "redirect",
    ],
    rounds: 6,
};

/// What `bench --load` found, as load.json holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Where.
    pub machine: Machine,
    /// One for each kernel and number of CPUs.
    pub(super) boots: Vec<Boot>,
    /// What was not measured, and why: `5.10.262 patched, 2 CPUs: ...`.
    #[serde(default)]
    pub(super) lacks: Vec<String>,
}

/// One boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Boot {
    /// Release line, `6.12`.
    pub(super) base: String,
    /// Full version, `6.12.117`.
    pub(super) source: String,
    /// The arm.
    pub(super) arm: Arm,
    /// The commit that was built.
    pub(super) commit: String,
    /// CPUs of the guest.
    pub(super) cpus: u32,
    /// What was measured. A nanosecond is an instruction of each CPU.
    pub(super) points: Vec<Point>,
}

/// Measures, prints, and gives the exit status: whatever is true is the result,
/// so it is good unless nothing could be told.
pub(super) fn load(session: &Session, request: &cli::Bench) -> Result<u8> {
    let start = Instant::now();
    let started = machine::now();
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let arms: Vec<Arm> = if request.arms.is_empty() {
        vec![Arm::Patched]
    } else {
        request.arms.iter().map(|a| Arm::from(*a)).collect()
    };
    let ways: String = TURNS.order().map(|way| format!(" --way {way}")).collect();
    let script =
        format!("exec {SHARE}/selftests load --port auto --instructions --counters{ways} 2>&1");
    let trees = session.trees(&request.source)?;
    let (mut boots, mut lacks) = (Vec::new(), missed(session));
    for tree in trees {
        for &arm in &arms {
            let commit = session.commit(&tree, arm, request.source.series.as_deref())?;
            let kernel = session.kernel(&tree, arm, "default", &commit)?;
            let bench = measure::Bench {
                vng: &vng,
                guest: &guest,
                kernel: &kernel,
            };
            let step = session
                .progress
                .begin("load", &format!("{} {}", tree.base.line, arm.word()));
            for cpus in CPUS {
                step.at(format!("{cpus} CPUs"));
                let scratch = tempfile::tempdir().context("making a folder for the console")?;
                let console = scratch.path().join("console");
                let found = match bench.boot(&script, cpus, &console, &step)? {
                    Counted::Figures(found) => found,
                    Counted::Nothing(why) => {
                        let of = (
                            &tree.version,
                            arm.word(),
                            words::count(cpus as usize, "CPU"),
                        );
                        lacks.push(format!("{} {}, {}: {why}", of.0, of.1, of.2));
                        continue;
                    }
                };
                let mut points = latency::points(found.iter().map(|(n, v)| (n.as_str(), *v)))?;
                points.sort_by_key(|p| (p.traffic.clone(), p.flows, p.round));
                boots.push(Boot {
                    base: tree.base.line.clone(),
                    source: tree.version.clone(),
                    arm,
                    commit: commit.clone(),
                    cpus,
                    points,
                });
            }
            step.done(false);
        }
    }
    session.progress.save(&session.cache)?;
    let choice = Choice {
        accel: Accel::Tcg,
        why: "instructions are counted by software emulation".into(),
    };
    let found = Load {
        started,
        seconds: start.elapsed().as_secs_f64(),
        machine: machine::describe(&choice, &vng),
        boots,
        lacks,
    };
    let json = serde_json::to_string_pretty(&found)? + "\n";
    if let Some(dir) = &request.results {
        write_whole(&dir.join(DOCUMENT), json.as_bytes())?;
    }
    if request.common.json {
        print!("{json}");
    } else {
        print!("{}", effect::text(&found));
    }
    let unknown = found.boots.iter().any(|b| {
        let mut answers = effect::effects(b).into_iter().map(|e| e.answer());
        answers.len() == 0 || answers.any(|a| matches!(a, Answer::CouldNotTell(_)))
    });
    Ok(if unknown || !found.lacks.is_empty() {
        fail::COULD_NOT_TELL
    } else {
        fail::GOOD
    })
}

/// Reads a load.json.
pub fn load_of(path: &Path) -> Result<Load> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| request!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| request!("{} is no load.json: {e}", path.display()))
}
