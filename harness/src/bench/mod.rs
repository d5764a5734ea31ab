// SPDX-License-Identifier: GPL-2.0-only
//! `bench`: what a transaction costs, in instructions, on each way into a
//! container and on each kernel.
//!
//! The guest has one CPU whose clock is the number of instructions executed
//! (QEMU's icount under TCG), so a busy machine changes nothing. Each kernel is
//! booted twice, and what two boots do not agree on is no basis for an answer.

mod confidence;
mod criterion;
mod document;
mod effect;
mod emulated;
mod figures;
mod itself;
mod latency;
mod load;
pub(crate) mod measure;
mod native;
mod pages;
mod plot;
mod profile;
mod reason;
mod rows;
mod saved;
mod table;
mod theirs;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Instant, SystemTime},
};

use anyhow::Result;
use protocol::Arm;

pub use document::write_docs;
pub use figures::{Bench, Costs, Measured, VERSION};
pub use itself::{Itself, self_of};
pub use load::{Load, load_of};
pub use native::{Native, native_of};
pub use pages::{write_load, write_native, write_readme, write_self};
pub use profile::Profile;
pub use saved::load;
pub use table::{Promise, promises};

use crate::{
    accel::{Accel, Choice},
    cli, fail,
    guest::Guest,
    machine,
    session::Session,
};

use figures::Answer;

/// Boots of each kernel.
const BOOTS: usize = 2;

/// What is profiled when no figure is named: into a container by each of the
/// ways that are compared, and the limit.
const PROFILED: [&str; 4] = [
    "veth.tcp_rr.v4.host",
    "veth.tcp_rr.v4.redirect",
    "veth.tcp_rr.v4.redirect_peer",
    "veth.tcp_rr.v4.local.redirect_peer",
];

/// Measures and compares; gives the exit status.
pub fn bench(request: &cli::Bench) -> Result<u8> {
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
    let found = collect(&session, request)?;
    if let Some(dir) = &request.results {
        let json = serde_json::to_string_pretty(&found)? + "\n";
        crate::cache::write_whole(&dir.join("bench.json"), json.as_bytes())?;
    }
    if let Some(name) = &request.save {
        saved::save(&session.cache, name, &found)?;
    }
    if request.common.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print!("{}", table::table(&found, request.common.verbose));
        if let Some(before) = &before {
            print!("{}", table::against(&found, before));
        }
    }
    let mut answers = table::answers(&found);
    if let Some(before) = &before {
        answers.extend(table::answers_against(&found, before));
    }
    Ok(match answers.iter().max() {
        Some(Answer::Broken) => fail::BAD,
        Some(Answer::CouldNotTell) => fail::COULD_NOT_TELL,
        Some(Answer::Holds) | None => fail::GOOD,
    })
}

/// The arms that are asked for, in the order of [`Arm`].
fn arms(request: &cli::Bench) -> Vec<Arm> {
    let compared = request.compare.iter().flat_map(|c| [c.0, c.1]);
    let mut arms: BTreeSet<Arm> = compared.map(Into::into).collect();
    arms.extend(request.arms.iter().map(|a| Arm::from(*a)));
    if arms.is_empty() {
        arms.extend([Arm::Baseline, Arm::Patched]);
    }
    arms.into_iter().collect()
}

/// Measures every kernel that is asked for.
fn collect(session: &Session, request: &cli::Bench) -> Result<Bench> {
    let start = Instant::now();
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let profiled = match &request.profile {
        None => Vec::new(),
        Some(names) if names.is_empty() => PROFILED.map(str::to_owned).to_vec(),
        Some(names) => names.clone(),
    };
    let mut built = Vec::new();
    let mut kernels = Vec::new();
    for tree in session.trees(&request.source)? {
        for arm in arms(request) {
            let commit = session.commit(&tree, arm, request.source.series.as_deref())?;
            let kernel = session.kernel(&tree, arm, "default", &commit)?;
            let bench = measure::Bench {
                vng: &vng,
                guest: &guest,
                kernel: &kernel,
            };
            let step = session
                .progress
                .begin("bench", &format!("{} {}", tree.base.line, arm.word()));
            let mut costs = Costs::new();
            for boot in 1..=BOOTS {
                step.at(format!("boot {boot} of {BOOTS}"));
                for (name, cost) in bench.figures(&request.only, &step)? {
                    costs.entry(name).or_default().push(cost);
                }
            }
            let mut profiles = BTreeMap::new();
            for figure in &profiled {
                if let Some(profile) = bench.profile(figure, &step)? {
                    profiles.insert(figure.clone(), profile);
                }
            }
            step.done(false);
            if costs.is_empty() {
                return Err(crate::request!(
                    "no figure of {} {} has a name that begins with {}; names are PAIR.TRAFFIC.IP.WAY, such as veth.tcp_rr.v4.redirect_peer",
                    tree.base.line,
                    arm.word(),
                    request.only.join(" or ")
                ));
            }
            kernels.push(Measured {
                base: tree.base.line.clone(),
                source: tree.version.clone(),
                arm,
                commit,
                costs,
                profiles,
            });
            built.push(kernel);
        }
    }
    let choice = Choice {
        accel: Accel::Tcg,
        why: "instructions are counted by software emulation".into(),
    };
    let mut found = Bench {
        version: VERSION,
        started,
        seconds: 0.0,
        machine: machine::describe(&choice, &vng),
        kernels,
    };
    // Where memory happens to be laid out so that each transaction takes the slow
    // path of an allocator, the boots of a kernel may agree on it, and another
    // kernel does not. What does not hold is measured by itself on both kernels,
    // after nothing else, and judged by that: what is the kernel's doing comes again.
    for (base, arm, figure) in table::disputed(&found) {
        let is_it = |k: &Measured| k.base == base && k.arm == arm;
        let Some(at) = found.kernels.iter().position(is_it) else {
            continue;
        };
        let bench = measure::Bench {
            vng: &vng,
            guest: &guest,
            kernel: &built[at],
        };
        let step = session
            .progress
            .begin("bench", &format!("{base} {} {figure}", arm.word()));
        let mut alone = Vec::new();
        for boot in 1..=BOOTS {
            step.at(format!("boot {boot} of {BOOTS}, by itself"));
            let costs = bench.figures(std::slice::from_ref(&figure), &step)?;
            alone.extend(costs.get(&figure).copied());
        }
        if alone.len() == BOOTS {
            found.kernels[at].costs.insert(figure, alone);
        }
        step.done(false);
    }
    session.progress.save(&session.cache)?;
    found.seconds = start.elapsed().as_secs_f64();
    Ok(found)
}
