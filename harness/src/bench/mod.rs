// SPDX-License-Identifier: GPL-2.0-only
//! `bench`: what a transaction costs, in instructions, on each way into a
//! container and on each kernel.
//!
//! The guest has one CPU whose clock is the number of instructions executed
//! (QEMU's icount under TCG), so a busy machine changes nothing. Each kernel is
//! booted twice, and what two boots do not agree on is no basis for an answer.

mod figures;
mod table;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use protocol::Arm;

pub use figures::{Bench, Costs, Measured, VERSION};
pub use table::table;

use crate::{
    accel::Accel,
    boot::{self, Deadlines},
    cli, fail,
    guest::Guest,
    kernel::Kernel,
    machine, request,
    session::Session,
    setup::VirtmeNg,
    vm::{Device, SHARE, Spec},
};

use figures::Answer;

/// Boots of each kernel.
const BOOTS: usize = 2;

/// Measures and compares; gives the exit status.
pub fn bench(request: &cli::Bench) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let found = collect(&session, request)?;
    if let Some(dir) = &request.results {
        let json = serde_json::to_string_pretty(&found)? + "\n";
        crate::cache::write_whole(&dir.join("bench.json"), json.as_bytes())?;
    }
    if request.common.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print!("{}", table(&found));
    }
    Ok(match table::answers(&found).last() {
        Some(Answer::Broken) => fail::BAD,
        Some(Answer::CouldNotTell) => fail::COULD_NOT_TELL,
        Some(Answer::Holds) | None => fail::GOOD,
    })
}

/// docs/bench.md: what `bench` found, with where it ran.
pub fn document(benches: &[Bench]) -> String {
    let mut out = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # What each way into a container costs\n\n\
         Instructions of one CPU for a transaction, both ends on it, counted by QEMU: cost, not latency. How long a\n\
         packet waits for a second softirq pass under load does not show. `~` marks what two boots did not agree on.\n\
         *won back* is (redirect - redirect_peer) / (redirect - host).\n",
    );
    for bench in benches {
        out.push_str(&format!(
            "\nSeen with {}; {}.\n",
            bench.machine.qemu, bench.machine.compiler
        ));
        out.push_str(&table(bench));
    }
    out
}

/// Reads a bench.json.
pub fn load(path: &Path) -> Result<Bench> {
    let text =
        fs::read_to_string(path).map_err(|e| request!("cannot read {}: {e}", path.display()))?;
    let found: Bench = serde_json::from_str(&text)
        .map_err(|e| request!("{} is no bench.json: {e}", path.display()))?;
    if found.version != VERSION {
        return Err(request!(
            "{} has version {}, this harness reads {VERSION}",
            path.display(),
            found.version
        ));
    }
    Ok(found)
}

/// Measures every kernel that is asked for.
fn collect(session: &Session, request: &cli::Bench) -> Result<Bench> {
    let start = Instant::now();
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let mut arms: Vec<Arm> = request.arms.iter().map(|a| (*a).into()).collect();
    if arms.is_empty() {
        arms = vec![Arm::Baseline, Arm::Patched];
    }
    arms.sort();
    arms.dedup();
    let mut kernels = Vec::new();
    for tree in session.trees(&request.source)? {
        for &arm in &arms {
            let commit = session.commit(&tree, arm, request.source.series.as_deref())?;
            let kernel = session.kernel(&tree, arm, "default", &commit)?;
            let step = session
                .progress
                .begin("bench", &format!("{} {}", tree.base.line, arm.word()));
            let mut costs = Costs::new();
            for boot in 1..=BOOTS {
                step.at(format!("boot {boot} of {BOOTS}"));
                for (name, cost) in measure(&vng, &guest, &kernel, &step)? {
                    costs.entry(name).or_default().push(cost);
                }
            }
            step.done(false);
            kernels.push(Measured {
                base: tree.base.line.clone(),
                source: tree.version.clone(),
                arm,
                commit,
                costs,
            });
        }
    }
    session.progress.save(&session.cache)?;
    let choice = crate::accel::Choice {
        accel: Accel::Tcg,
        why: "instructions are counted by software emulation".into(),
    };
    Ok(Bench {
        version: VERSION,
        started,
        seconds: start.elapsed().as_secs_f64(),
        machine: machine::describe(&choice, &vng),
        kernels,
    })
}

/// One boot: each figure that the guest reported.
fn measure(
    vng: &VirtmeNg,
    guest: &Guest,
    kernel: &Kernel,
    step: &crate::progress::Doing<'_>,
) -> Result<BTreeMap<String, f64>> {
    let share = tempfile::Builder::new()
        .prefix("redirect-peer-share-")
        .tempdir()
        .context("making the folder that the guest sees")?;
    guest.share(share.path(), &[])?;
    let script = format!("exec {SHARE}/selftests bench --port auto 2>&1");
    let spec = Spec {
        vng,
        accel: Accel::Tcg,
        image: &kernel.image,
        cpus: 1,
        memory_mib: 1024,
        script: &script,
        share: share.path(),
        devices: vec![Device::instruction_clock(), Device::no_chance()],
    };
    let limit = Duration::from_secs(180);
    let deadlines = Deadlines {
        boot: limit,
        cases: BTreeMap::new(),
        between: limit,
        shutdown: limit,
        crashed: limit,
    };
    let scratch = tempfile::tempdir().context("making a folder for the console")?;
    let seen = boot::watch(&spec, &deadlines, &scratch.path().join("console"), step)?;
    let said = if seen.output.is_empty() {
        String::new()
    } else {
        format!("; it printed: {}", seen.output)
    };
    if let Some((why, _)) = seen.deadline {
        bail!("{why}{said}");
    }
    if let Some(why) = seen.stream_lacks {
        bail!("{why}; {}{said}", seen.ended_by);
    }
    kernel.is_what_ran(seen.build_id.as_deref())?;
    // A kernel that complained does not do the work that is to be measured.
    if let Some(report) = seen.scan.finish().first() {
        bail!("the kernel logged: {}", report.splat.title);
    }
    Ok(seen
        .metrics
        .into_iter()
        .map(|m| (m.name, m.value))
        .collect())
}
