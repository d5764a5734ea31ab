// SPDX-License-Identifier: GPL-2.0-only
//! `verify`: from the series to the verdicts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo};

use crate::{
    cli::Verify,
    fail,
    guest::Guest,
    intree,
    kernel::Kernel,
    machine,
    progress::Progress,
    report, request,
    results::{self, CaseResult, Results},
    run::{self, Job},
    scratch::Scratch,
    session::Session,
    splat::Allowlist,
    tree::Tree,
    turn,
};

/// Proves the series and prints what came of it; gives the exit status.
pub fn verify(request: &Verify) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let results = collect(&session, request)?;
    show(&results, request)?;
    Ok(if results.is_acceptable() {
        fail::GOOD
    } else {
        fail::BAD
    })
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

/// Everything up to the results.
pub fn collect(session: &Session, request: &Verify) -> Result<Results> {
    let start = Instant::now();
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let flavors = if request.flavors.is_empty() {
        vec!["default".to_owned()]
    } else {
        request.flavors.clone()
    };
    let console = match &request.results {
        Some(dir) => {
            report::clear(dir)?;
            Consoles::Kept(dir.join("console"))
        }
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
    let mut guests = Vec::new();
    for (tree, _) in &arms_of {
        let guest = if request.in_tree {
            let offline = session.common.offline;
            guest.with_in_tree(&intree::build(
                &session.cache,
                tree,
                offline,
                &session.progress,
            )?)?
        } else {
            guest.clone()
        };
        let all = guest.select(&request.cases)?;
        // Without the helper its programs do not load, which proves nothing more.
        let ours = all.iter().filter(|c| !intree::is_one(c)).cloned().collect();
        guests.push(Suite { guest, all, ours });
    }
    let mut cases: Vec<CaseInfo> = Vec::new();
    for case in guests.iter().flat_map(|g| &g.all) {
        if !cases.iter().any(|c| c.name == case.name) {
            cases.push(case.clone());
        }
    }
    let mut built = Vec::new();
    let mut left_out = Vec::new();
    for ((tree, commits), suite) in arms_of.iter().zip(&guests) {
        for flavor in &flavors {
            if tree.base.without.contains(flavor) {
                let line = &tree.base.line;
                session
                    .progress
                    .note(&format!("{line} cannot have the flavor {flavor}: left out"));
                left_out.push(format!("{line} cannot have the flavor {flavor}"));
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
            request!("nothing to run: {}", left_out.join("; "))
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
    let mut runs = at_once(&jobs, session.guests(), &session.progress)?;
    for time in 1..=request.retry {
        again(&jobs, &mut runs, time, &|name| console.path(name), session)?;
    }
    // A request for some of the cases does not show what all of them need.
    let bases: BTreeSet<&str> = runs.iter().map(|r| r.base.as_str()).collect();
    let findings = if request.cases.is_empty() {
        bases.iter().flat_map(|b| allowed.unmatched(b)).collect()
    } else {
        Vec::new()
    };
    session.progress.save(&session.cache)?;
    Ok(Results {
        version: results::VERSION,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        seconds: start.elapsed().as_secs_f64(),
        command: std::env::args().collect(),
        machine: machine::describe(&choice, &vng),
        cases,
        runs,
        steps: session.progress.steps(),
        allow_flaky: request.allow_flaky,
        findings,
    })
}

/// Runs what came to something bad and has not been good since once more, in a
/// fresh guest for each run, and notes beside the first verdict what it came to.
/// `keep` says where a console of some name is kept.
pub(crate) fn again(
    jobs: &[Job<'_>],
    runs: &mut [results::Run],
    time: u32,
    keep: &dyn Fn(&str) -> Result<PathBuf>,
    session: &Session,
) -> Result<()> {
    let is_open = |c: &CaseResult| !c.verdict.is_good() && !c.is_flaky();
    let mut open = Vec::new();
    for (at, (job, run)) in jobs.iter().zip(runs.iter()).enumerate() {
        let names: BTreeSet<&str> = run
            .cases
            .iter()
            .filter(|c| is_open(c))
            .map(|c| c.name.as_str())
            .collect();
        if names.is_empty() {
            continue;
        }
        let cases: Vec<CaseInfo> = job
            .cases
            .iter()
            .filter(|c| names.contains(c.name.as_str()))
            .cloned()
            .collect();
        let name = job.console.file_stem().unwrap_or_default();
        let name = format!("{}-again-{time}.log", name.to_string_lossy());
        open.push((at, cases, keep(&name)?));
    }
    let more: Vec<Job<'_>> = open
        .iter()
        .map(|(at, cases, console)| Job {
            cases,
            console,
            ..jobs[*at]
        })
        .collect();
    let came = at_once(&more, session.guests(), &session.progress)?;
    for ((at, _, _), came) in open.iter().zip(came) {
        for case in came.cases {
            // What is wrong with the guest as a whole is wrong with each case in it.
            let verdict = if case.verdict.is_good() && !came.why.is_empty() {
                came.verdict
            } else {
                case.verdict
            };
            if let Some(first) = runs[*at].cases.iter_mut().find(|c| c.name == case.name) {
                first.again.push(verdict);
            }
        }
    }
    Ok(())
}

/// What is run on the kernels of one tree.
struct Suite {
    guest: Guest,
    all: Vec<CaseInfo>,
    /// Without the kernel's own.
    ours: Vec<CaseInfo>,
}

impl Suite {
    fn cases(&self, arm: Arm) -> &[CaseInfo] {
        match arm {
            Arm::Baseline => &self.ours,
            Arm::Patched | Arm::Upstream => &self.all,
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

/// Runs the jobs, up to `most` at a time, and gives what came of them in order.
pub fn at_once(jobs: &[Job<'_>], most: usize, progress: &Progress) -> Result<Vec<results::Run>> {
    // The one with the most to do first: the others fit beside it.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(jobs[*at].to_pass()));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for worker in 0..most.clamp(1, jobs.len().max(1)) {
            if worker == 1 {
                turn::until_one_boots();
            }
            scope.spawn(|| {
                while let Some((at, job)) = {
                    let at = order.get(next.fetch_add(1, Ordering::Relaxed));
                    at.and_then(|at| Some((*at, jobs.get(*at)?)))
                } {
                    let job = Job {
                        background: Some(&at) != order.first(),
                        ..job.clone()
                    };
                    let run = run::run(&job, progress);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(at, run);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

enum Consoles {
    Kept(PathBuf),
    Thrown(Scratch),
}

impl Consoles {
    fn path(&self, name: &str) -> Result<PathBuf> {
        let dir = match self {
            Self::Kept(dir) => dir.as_path(),
            Self::Thrown(dir) => dir.path(),
        };
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join(name);
        // Each boot appends; what an earlier invocation left there is not ours.
        let _ = std::fs::remove_file(&path);
        Ok(path)
    }
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
