// SPDX-License-Identifier: GPL-2.0-only
//! `verify`: from the series to the verdicts.

mod again;
mod at_once;
mod consoles;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo};

pub(crate) use self::again::again;
pub use self::at_once::at_once;
use self::consoles::Consoles;
use crate::{
    cli::Verify,
    fail,
    guest::Guest,
    intree,
    kernel::Kernel,
    machine, report, request,
    results::{self, Finding, Results},
    run::{self, Job},
    scratch::Scratch,
    session::Session,
    splat::Allowlist,
    tree::Tree,
};

/// Proves the series and prints what came of it; gives the exit status.
pub fn verify(request: &Verify) -> Result<u8> {
    // Before anything that can fail.
    if let Some(dir) = &request.results {
        report::clear(dir)?;
    }
    let session = Session::open(&request.common)?;
    let (results, failed) = gather(&session, request)?;
    show(&results, request)?;
    match failed {
        Some(error) => Err(error),
        None => Ok(status(&results)),
    }
}

/// The exit status that results have.
fn status(results: &Results) -> u8 {
    if !results.is_acceptable() {
        return fail::BAD;
    }
    if let Some(why) = results.proves_nothing() {
        crate::say!(
            "error: {why}\n  ask for cases that can pass there: `cargo harness cases` says what each needs"
        );
        return fail::COULD_NOT_TELL;
    }
    fail::GOOD
}

/// The arms that a request names.
fn arms(request: &Verify) -> Vec<Arm> {
    if request.arms.is_empty() {
        return vec![Arm::Baseline, Arm::Patched];
    }
    let mut arms: Vec<Arm> = request.arms.iter().map(|a| (*a).into()).collect();
    arms.sort();
    arms.dedup();
    arms
}

/// Everything up to the results; nothing without all of them.
pub fn collect(session: &Session, request: &Verify) -> Result<Results> {
    match gather(session, request)? {
        (_, Some(error)) => Err(error),
        (results, None) => Ok(results),
    }
}

/// Everything up to the results, and why a run of them could not be had, if one
/// could not.
fn gather(session: &Session, request: &Verify) -> Result<(Results, Option<anyhow::Error>)> {
    let start = Instant::now();
    let started = machine::now();
    let flavors = if request.flavors.is_empty() {
        vec!["default".to_owned()]
    } else {
        request.flavors.clone()
    };
    let console = match &request.results {
        Some(dir) => Consoles::Kept(dir.join(report::CONSOLES)),
        None => Consoles::Thrown(Scratch::new("consoles")?),
    };
    let (guest, trees) = std::thread::scope(|scope| {
        // Cargo waits for the registry and for its last crates, and the source for
        // the archive and one git process: together they take as long as either.
        let guest = scope.spawn(|| {
            let (project, progress) = (&session.project, &session.progress);
            let guest = Guest {
                shuffle: request.shuffle,
                patience: request.patience,
                ..Guest::build(project, session.common.offline, progress)?
            };
            // A request that names no case is the cheaper mistake to mend: it
            // comes before any tree. What the kernel's own selftest has is in a tree.
            if !request.in_tree {
                guest.select(&request.cases)?;
            }
            anyhow::Ok(guest)
        });
        let trees = session.trees(&request.source);
        match guest.join() {
            Ok(guest) => (guest, trees),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    let guest = guest?;
    let trees = trees?;
    let vng = session.virtme_ng()?;
    let allowed = session.project.path("vm/splats.toml");
    let allowed = Allowlist::load(
        &std::fs::read_to_string(&allowed)
            .with_context(|| format!("reading {}", allowed.display()))?,
    )?;
    // Every commit before any build: a series that does not apply to the last
    // tree is known within seconds.
    let mut arms_of = Vec::new();
    for tree in trees {
        let commits = arms(request)
            .into_iter()
            .map(|arm| {
                let commit = session.commit(&tree, arm, request.source.series.as_deref())?;
                Ok((arm, commit))
            })
            .collect::<Result<Vec<_>>>()?;
        arms_of.push((tree, commits));
    }
    let rev = arms_of.first().filter(|_| request.source.tree.is_some());
    let rev = rev.map(|(tree, _)| tree.commit.clone());
    let mut guests = Vec::new();
    for (tree, commits) in &arms_of {
        let mut guest = guest.clone();
        if request.in_tree {
            for dir in in_tree(session, tree, commits)? {
                guest = guest.with_in_tree(&dir)?;
            }
        }
        let patched = guest.select(&request.cases)?;
        let without = |what: fn(&CaseInfo) -> bool| {
            let others = patched.iter().filter(|c| !what(c));
            others.cloned().collect()
        };
        guests.push(Suite {
            upstream: without(intree::is_of_series),
            // Without the helper its programs do not load, which proves nothing more.
            baseline: without(intree::is_one),
            guest,
            patched,
        });
    }
    let mut cases: Vec<CaseInfo> = Vec::new();
    for case in guests.iter().flat_map(|g| &g.patched) {
        if !cases.iter().any(|c| c.name == case.name) {
            cases.push(case.clone());
        }
    }
    let mut built = Vec::new();
    let mut left_out: Vec<Finding> = session
        .missed()
        .into_iter()
        .map(|one| Finding {
            what: format!("{}: no kernel of it was run", one.cause),
            base: one.line,
        })
        .collect();
    for ((tree, commits), suite) in arms_of.iter().zip(&guests) {
        for flavor in &flavors {
            if tree.base.without.contains(flavor) {
                let line = &tree.base.line;
                let what =
                    format!("{line} cannot have the flavor {flavor}: no such kernel was run");
                session.progress.note(&what);
                left_out.push(Finding {
                    base: line.clone(),
                    what,
                });
                continue;
            }
            for (arm, commit) in commits {
                if suite.cases(*arm).is_empty() {
                    continue;
                }
                let kernel = session.kernel(tree, *arm, flavor, commit)?;
                let name = format!("{}-{}-{flavor}.log", tree.slot, arm.word());
                built.push(Built {
                    suite,
                    tree,
                    arm: *arm,
                    flavor,
                    kernel,
                    console: console.path(&name)?,
                });
            }
        }
    }
    let first = built.first().ok_or_else(|| {
        if left_out.is_empty() {
            request!(
                "nothing to run: the kernel's own selftest is run on patched and upstream, as baseline has no helper"
            )
        } else {
            let why: Vec<&str> = left_out.iter().map(|f| f.what.as_str()).collect();
            request!("nothing to run: {}", why.join("; "))
        }
    })?;
    let choice = session.accel(&vng, &first.kernel.image)?;
    let jobs: Vec<Job<'_>> = built
        .iter()
        .map(|b| Job {
            vng: &vng,
            accel: choice.accel,
            kernel: &b.kernel,
            guest: &b.suite.guest,
            cases: b.suite.cases(b.arm),
            base: &b.tree.base.line,
            source: &b.tree.version,
            arm: b.arm,
            flavor: b.flavor,
            allowed: &allowed,
            console: &b.console,
            devices: &[],
            boot_limit: run::BOOT_LIMIT,
            words: &[],
            background: false,
        })
        .collect();
    let came = at_once::each(&jobs, session.guests(), &session.progress);
    let (mut runs, failed) = at_once::with_lost(&jobs, came)?;
    for time in 1..=request.retry {
        again(&jobs, &mut runs, time, &|name| console.path(name), session)?;
    }
    // A request for some of the cases does not show what all of them need.
    let bases: BTreeSet<&str> = runs.iter().map(|r| r.base.as_str()).collect();
    let mut patches = BTreeMap::new();
    for (tree, _) in &arms_of {
        let set = session
            .project
            .patch_set(&tree.base.line, request.source.series.as_deref())?;
        patches.insert(tree.base.line.clone(), set);
    }
    let mut findings = left_out;
    if request.cases.is_empty() {
        findings.extend(bases.iter().flat_map(|b| allowed.unmatched(b)));
    }
    session.progress.save(&session.cache)?;
    let results = Results {
        version: results::VERSION,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        seconds: start.elapsed().as_secs_f64(),
        command: std::env::args().collect(),
        rev,
        machine: machine::describe(&choice, &vng),
        cases,
        runs,
        steps: session.progress.steps(),
        allow_flaky: request.allow_flaky,
        findings,
        patches,
    };
    Ok((results, failed))
}

/// The folders of the kernel's own selftests: that of the release, and that of the
/// series where it has one and is run.
fn in_tree(session: &Session, tree: &Tree, commits: &[(Arm, String)]) -> Result<Vec<PathBuf>> {
    let (cache, progress) = (&session.cache, &session.progress);
    let offline = session.common.offline;
    let mut dirs = vec![intree::of_release(cache, tree, offline, progress)?];
    if let Some((_, patched)) = commits.iter().find(|(arm, _)| *arm == Arm::Patched) {
        dirs.extend(intree::of_series(cache, tree, patched, offline, progress)?);
    }
    Ok(dirs)
}

/// What is run on the kernels of one tree, arm by arm.
struct Suite {
    guest: Guest,
    baseline: Vec<CaseInfo>,
    /// All that there is.
    patched: Vec<CaseInfo>,
    upstream: Vec<CaseInfo>,
}

impl Suite {
    fn cases(&self, arm: Arm) -> &[CaseInfo] {
        match arm {
            Arm::Baseline => &self.baseline,
            Arm::Patched => &self.patched,
            Arm::Upstream => &self.upstream,
        }
    }
}

/// A kernel that is ready to be run.
struct Built<'a> {
    suite: &'a Suite,
    tree: &'a Tree,
    arm: Arm,
    flavor: &'a str,
    kernel: Kernel,
    console: PathBuf,
}

fn show(results: &Results, request: &Verify) -> Result<()> {
    use std::io::{IsTerminal, Write};
    if let Some(dir) = &request.results {
        report::write_all(results, dir)?;
    }
    let mut out = std::io::stdout().lock();
    // A reader that has gone away is no reason to change the exit status.
    let _ = if request.common.json {
        writeln!(out, "{}", serde_json::to_string_pretty(results)?)
    } else {
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let table = report::table(results, colour, request.common.verbose);
        writeln!(out, "{table}\n{}", report::times(results))
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Command},
        verdict::Verdict,
    };

    fn request(words: &[&str]) -> Verify {
        let words = ["harness", "verify"].iter().chain(words);
        match <Cli as clap::Parser>::parse_from(words).command {
            Command::Verify(request) => request,
            other => panic!("{other:?}"),
        }
    }

    /// Verify that whatever goes wrong, what an earlier invocation wrote is gone:
    /// nobody may take it for this one's.
    #[test]
    fn earlier_results_do_not_survive_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let results = dir.path().join("out");
        let console = results.join("console");
        std::fs::create_dir_all(&console).unwrap();
        let old = [
            results.join("results.json"),
            console.join("6.12-patched-default.log"),
        ];
        let foreign = console.join("notes.txt");
        for file in old.iter().chain([&foreign]) {
            std::fs::write(file, "old").unwrap();
        }
        // A cache folder that is a file can never be opened.
        let cache = dir.path().join("cache");
        std::fs::write(&cache, "").unwrap();
        let words = ["--results", "--cache"].into_iter();
        let paths = [&results, &cache].map(|p| p.to_str().unwrap());
        let words: Vec<&str> = words.zip(paths).flat_map(|(a, b)| [a, b]).collect();
        assert!(verify(&request(&words)).is_err());
        assert!(old.iter().all(|f| !f.exists()));
        assert!(foreign.exists(), "what is not ours is left alone");
    }

    /// Verify that nothing bad is not enough: something must have been shown, and
    /// of the series where a kernel with it was run.
    #[test]
    fn nothing_shown_is_not_good() {
        let read = |text: &str| -> Results { serde_json::from_str(text).unwrap() };
        let good = read(include_str!("../../tests/results/good.json"));
        assert_eq!(status(&good), fail::GOOD);
        let bad = read(include_str!("../../tests/results/bad.json"));
        assert_eq!(status(&bad), fail::BAD);
        let all = |verdict, arm| {
            let mut results = good.clone();
            for run in results.runs.iter_mut().filter(|r| r.arm == arm) {
                run.cases.iter_mut().for_each(|c| c.verdict = verdict);
            }
            results
        };
        let skipped = all(Verdict::ExpectedSkip, Arm::Patched);
        assert_eq!(status(&skipped), fail::COULD_NOT_TELL);
        let failed = all(Verdict::ExpectedFail, Arm::Patched);
        assert_eq!(status(&failed), fail::COULD_NOT_TELL);
        // A baseline by itself says that the cases notice what is not there.
        let mut control = good.clone();
        control.runs.retain(|r| r.arm == Arm::Baseline);
        assert_eq!(status(&control), fail::GOOD);
        let mut control = all(Verdict::ExpectedSkip, Arm::Baseline);
        control.runs.retain(|r| r.arm == Arm::Baseline);
        assert_eq!(status(&control), fail::COULD_NOT_TELL);
    }
}
