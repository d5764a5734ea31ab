// SPDX-License-Identifier: GPL-2.0-only
//! Measures every kernel that is asked for. What one of them does not give is
//! written down, and the others are measured all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::Result;
use protocol::Arm;

use super::{
    again, expected,
    figures::{Asked, BOOTS, Bench, Costs, Measured, VERSION},
    measure::{self, Counted},
    profile::Profile,
};
use crate::{
    accel::{Accel, Choice},
    cache::digest,
    cli, fail,
    guest::Guest,
    kernel::Kernel,
    machine,
    progress::Doing,
    session::Session,
    setup::VirtmeNg,
    tree::Tree,
};

/// What is profiled when no figure is named: into a container by each of the
/// ways that are compared, in one direction, and the limit.
const PROFILED: [&str; 3] = [
    "veth.udp_1.v4.host",
    "veth.udp_1.v4.redirect",
    "veth.udp_1.v4.redirect_peer",
];

/// The arms that are to be measured, and what is to be compared with what.
pub(super) fn asked(request: &cli::Bench) -> (Vec<Arm>, Asked) {
    let mut arms: BTreeSet<Arm> = request.arms.iter().map(|a| Arm::from(*a)).collect();
    let compared = request.compare.iter().flat_map(|c| [c.0, c.1]);
    let mut compare: BTreeSet<Arm> = compared.map(Arm::from).collect();
    let named = !compare.is_empty();
    if arms.is_empty() && !named {
        arms.extend([Arm::Baseline, Arm::Patched, Arm::Upstream]);
    }
    if !named && arms.contains(&Arm::Patched) {
        compare.clone_from(&arms);
    }
    arms.extend(&compare);
    compare.remove(&Arm::Patched);
    let asked = Asked {
        only: request.only.clone(),
        compare: compare.into_iter().collect(),
        named,
    };
    (arms.into_iter().collect(), asked)
}

/// Names of figures to be profiled.
fn profiled(request: &cli::Bench) -> Vec<String> {
    match &request.profile {
        None => Vec::new(),
        Some(names) if names.is_empty() => PROFILED.map(str::to_owned).to_vec(),
        Some(names) => names.clone(),
    }
}

/// What all of it needs.
struct Lab<'a> {
    session: &'a Session,
    vng: VirtmeNg,
    guest: Guest,
}

impl Lab<'_> {
    fn bench<'b>(&'b self, kernel: &'b Kernel) -> measure::Bench<'b> {
        measure::Bench {
            vng: &self.vng,
            guest: &self.guest,
            kernel,
        }
    }
}

/// A line for each base that could not be had.
pub(super) fn missed(session: &Session) -> Vec<String> {
    let missed = session.missed();
    missed
        .iter()
        .map(|one| format!("{}: {}", one.line, one.cause))
        .collect()
}

/// Measures, and hands what there is to `keep` after each kernel: whatever comes
/// afterwards, it is not lost.
pub(super) fn collect(
    session: &Session,
    request: &cli::Bench,
    mut keep: impl FnMut(&Bench) -> Result<()>,
) -> Result<Bench> {
    let start = Instant::now();
    let started = machine::now();
    let (arms, asked) = asked(request);
    let profiled = profiled(request);
    let trees = session.trees(&request.source)?;
    must_exist(&trees, &arms, &asked, &profiled)?;
    let lab = Lab {
        session,
        vng: session.virtme_ng()?,
        guest: Guest::build(&session.project, session.common.offline, &session.progress)?,
    };
    let choice = Choice {
        accel: Accel::Tcg,
        why: "instructions are counted by software emulation".into(),
    };
    let mut found = Bench {
        version: VERSION,
        started,
        seconds: 0.0,
        machine: machine::describe(&choice, &lab.vng),
        guest: digest(&lab.guest.program)?,
        asked,
        whole: false,
        lacks: missed(session),
        kernels: Vec::new(),
    };
    let mut built = Vec::new();
    for tree in &trees {
        for &arm in &arms {
            let series = request.source.series.as_deref();
            let commit = session.commit(tree, arm, series)?;
            let kernel = session.kernel(tree, arm, "default", &commit)?;
            let measured = Measured {
                base: tree.base.line.clone(),
                source: tree.version.clone(),
                arm,
                commit,
                patches: session.project.patch_set(&tree.base.line, series)?,
                costs: Costs::new(),
                alone: Costs::new(),
                profiles: BTreeMap::new(),
            };
            let measured = one(&lab, &kernel, measured, &profiled, &mut found)?;
            found.kernels.push(measured);
            found.seconds = start.elapsed().as_secs_f64();
            keep(&found)?;
            built.push(kernel);
        }
    }
    alone(&lab, &built, &mut found)?;
    session.progress.save(&session.cache)?;
    found.seconds = start.elapsed().as_secs_f64();
    found.whole = true;
    keep(&found)?;
    Ok(found)
}

/// Fails where a name is none of a figure of any of the kernels.
fn must_exist(trees: &[Tree], arms: &[Arm], asked: &Asked, profiled: &[String]) -> Result<()> {
    let of = |asked: &Asked| -> BTreeSet<String> {
        let kernels = trees.iter().flat_map(|t| arms.iter().map(move |a| (t, *a)));
        kernels
            .flat_map(|(t, arm)| expected::figures(&t.version, arm, asked))
            .collect()
    };
    let wrong = |names: &str| {
        crate::request!(
            "no figure of these kernels has a name that begins with {names}; names are PAIR.TRAFFIC.IP.WAY, such as veth.tcp_rr.v4.redirect_peer"
        )
    };
    for only in &asked.only {
        let one = Asked {
            only: vec![only.clone()],
            ..Asked::default()
        };
        if of(&one).is_empty() {
            return Err(wrong(only));
        }
    }
    let all = of(&Asked::default());
    match profiled.iter().find(|name| !all.contains(*name)) {
        // The default names the helper, which a baseline does not have.
        Some(name) if !PROFILED.contains(&name.as_str()) => Err(wrong(name)),
        _ => Ok(()),
    }
}

/// Boots one kernel as often as it takes.
fn one(
    lab: &Lab<'_>,
    kernel: &Kernel,
    mut measured: Measured,
    profiled: &[String],
    found: &mut Bench,
) -> Result<Measured> {
    let what = format!("{} {}", measured.source, measured.arm.word());
    let step = lab.session.progress.begin(
        "bench",
        &format!("{} {}", measured.base, measured.arm.word()),
    );
    let bench = lab.bench(kernel);
    // Where nothing is due, as of the helper on a baseline, nothing is booted.
    if !expected::figures(&measured.source, measured.arm, &found.asked).is_empty() {
        boots(
            bench,
            &found.asked.only,
            &step,
            &mut measured.costs,
            |boot, why| {
                found.lacks.push(format!("{what}, boot {boot}: {why}"));
            },
        )?;
    }
    let all = expected::figures(&measured.source, measured.arm, &Asked::default());
    for figure in profiled.iter().filter(|f| all.contains(*f)) {
        match told(bench.profile(figure, &step))? {
            Ok(profile) => {
                let _: Option<Profile> = measured.profiles.insert(figure.clone(), profile);
            }
            Err(why) => found
                .lacks
                .push(format!("{what}, profile of {figure}: {why}")),
        }
    }
    step.done(false);
    Ok(measured)
}

/// So many boots, each of which adds its figures to `costs`, or says why not.
fn boots(
    bench: measure::Bench<'_>,
    only: &[String],
    step: &Doing<'_>,
    costs: &mut Costs,
    mut lacks: impl FnMut(usize, String),
) -> Result<()> {
    for boot in 1..=BOOTS {
        step.at(format!("boot {boot} of {BOOTS}"));
        match told(bench.figures(only, step))? {
            Ok(Counted::Figures(figures)) => {
                for (name, cost) in figures {
                    costs.entry(name).or_default().push(cost);
                }
            }
            Ok(Counted::Nothing(why)) | Err(why) => lacks(boot, why),
        }
    }
    Ok(())
}

/// What one boot could not tell is no reason to lose what the others did; a
/// wrong request, and a signal, are.
fn told<T>(result: Result<T>) -> Result<Result<T, String>> {
    match result {
        Ok(found) => Ok(Ok(found)),
        Err(error) if fail::status(&error) == fail::COULD_NOT_TELL => Ok(Err(format!("{error:#}"))),
        Err(error) => Err(error),
    }
}

/// Measures by itself what [`again::again`] names, after nothing else.
fn alone(lab: &Lab<'_>, built: &[Kernel], found: &mut Bench) -> Result<()> {
    for ((base, arm), figures) in again::again(found) {
        let is_it = |k: &Measured| k.base == base && k.arm == arm;
        let Some(at) = found.kernels.iter().position(is_it) else {
            continue;
        };
        let bench = lab.bench(&built[at]);
        for figure in figures {
            let what = format!("{base} {} {figure}", arm.word());
            let step = lab.session.progress.begin("bench", &what);
            let mut costs = Costs::new();
            let only = std::slice::from_ref(&figure);
            boots(bench, only, &step, &mut costs, |boot, why| {
                let lack = format!("{what}, by itself, boot {boot}: {why}");
                found.lacks.push(lack);
            })?;
            // What came of it is kept, even if that is nothing.
            let cost = costs.remove(&figure).unwrap_or_default();
            found.kernels[at].alone.insert(figure, cost);
            step.done(false);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn asked_by(args: &[&str]) -> (Vec<Arm>, Vec<Arm>, bool) {
        let line = ["harness", "bench"].iter().chain(args);
        let parsed = cli::Cli::parse_from(line);
        let cli::Command::Bench(request) = parsed.command else {
            panic!("no bench: {args:?}");
        };
        let (arms, asked) = asked(&request);
        (arms, asked.compare, asked.named)
    }

    /// Verify which kernels are measured and compared, and that all of them are
    /// where nothing is said.
    #[test]
    fn arms_and_comparisons() {
        use Arm::{Baseline, Patched, Upstream};
        let all = vec![Baseline, Patched, Upstream];
        for (args, arms, compare, named) in [
            (&[][..], all.clone(), vec![Baseline, Upstream], false),
            (
                &["--compare", "patched,upstream"],
                vec![Patched, Upstream],
                vec![Upstream],
                true,
            ),
            (
                &["--compare", "patched,upstream", "--arm", "baseline"],
                all,
                vec![Upstream],
                true,
            ),
            (&["--arm", "patched"], vec![Patched], vec![], false),
            (&["--arm", "upstream"], vec![Upstream], vec![], false),
            (
                &["--arm", "patched", "--arm", "baseline"],
                vec![Baseline, Patched],
                vec![Baseline],
                false,
            ),
        ] {
            assert_eq!(asked_by(args), (arms, compare, named), "{args:?}");
        }
    }

    /// Verify that what one boot could not tell is written down, and that a
    /// signal and a wrong request end it.
    #[test]
    fn one_boot_is_not_all() {
        let lacking = told::<()>(Err(anyhow::anyhow!("no machine"))).unwrap();
        assert_eq!(lacking, Err("no machine".to_owned()));
        assert!(told::<()>(Err(fail::Interrupted.into())).is_err());
        assert!(told::<()>(Err(crate::request!("no such name"))).is_err());
    }
}
