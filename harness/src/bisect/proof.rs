// SPDX-License-Identifier: GPL-2.0-only
//! `bisect-proof`: `bisect` tried for real, as a user would, on a generated
//! history whose culprits are known. Each trial is a run of this same program.

use std::{fs, path::PathBuf, process::Stdio, time::Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{
    command::latest,
    state::{End, State},
    trials::TRIALS,
};
use crate::{
    cache::Cache,
    cli::{AccelFlag, BisectProof},
    exec::{POLL, Program, Running},
    fail, interrupt, machine,
    progress::seconds,
};

/// What the trials have in common.
pub(super) struct Bench {
    /// The generated repository.
    pub(super) tree: PathBuf,
    pub(super) cache: PathBuf,
    /// Flags for every run.
    pub(super) flags: Vec<String>,
    pub(super) good: String,
    pub(super) bad: String,
    pub(super) drops_check: String,
    pub(super) adds_cost: String,
    /// A commit that touches only documentation.
    pub(super) document: String,
    pub(super) commits: usize,
}

/// `bisect-proof`.
pub fn proof(request: &BisectProof) -> Result<u8> {
    let bench = Bench::new(request)?;
    let mut wrong = 0;
    for trial in &TRIALS {
        let wanted = |words: &String| trial.what.contains(words.as_str());
        if !request.only.as_ref().is_none_or(wanted) {
            continue;
        }
        let start = Instant::now();
        let load = load();
        let came = (trial.run)(&bench);
        interrupt::check()?;
        let took = seconds(start.elapsed().as_secs_f64());
        let load = format!("load {load} before and {} after", self::load());
        match came {
            Ok(figures) => println!("ok   {}: {figures}; {took}, {load}", trial.what),
            Err(error) => {
                wrong += 1;
                println!("FAIL {}: {error:#}; {took}, {load}", trial.what);
            }
        }
    }
    Ok(if wrong == 0 { fail::GOOD } else { fail::BAD })
}

impl Bench {
    fn new(request: &BisectProof) -> Result<Self> {
        let common = &request.common;
        let cache = match &common.cache {
            Some(dir) => dir.clone(),
            None => Cache::default_dir()?,
        };
        fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        let cache = cache.canonicalize()?;
        // The same folder each time: what was built for it is used again.
        let tree = cache.join("bisect-proof/history");
        let mut flags = vec![format!("--cache={}", cache.display())];
        flags.extend(common.jobs.map(|n| format!("--jobs={n}")));
        flags.extend(common.offline.then(|| "--offline".to_owned()));
        match common.accel {
            AccelFlag::Auto => {}
            AccelFlag::Kvm => flags.push("--accel=kvm".into()),
            AccelFlag::Tcg => flags.push("--accel=tcg".into()),
        }
        let mut bench = Self {
            tree,
            cache,
            flags,
            good: String::new(),
            bad: String::new(),
            drops_check: String::new(),
            adds_cost: String::new(),
            document: String::new(),
            commits: request.commits,
        };
        let made = bench
            .harness("bisect-history")
            .arg(&bench.tree)
            .arg(format!("--commits={}", request.commits))
            .arg(format!("--seed={}", request.seed))
            .read()?;
        let named = |name: &str| {
            made.lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '))
                .map(str::to_owned)
                .with_context(|| format!("bisect-history names no `{name}`"))
        };
        (bench.good, bench.bad) = (named("good")?, named("bad")?);
        (bench.drops_check, bench.adds_cost) = (named("drops-check")?, named("adds-cost")?);
        bench.document = named("touches-nothing")?;
        Ok(bench)
    }

    /// This program, with a subcommand and the flags for every run.
    pub(super) fn harness(&self, command: &str) -> Program {
        Program::new(itself()).arg(command).args(&self.flags)
    }

    pub(super) fn bisect(&self, args: &[&str]) -> Program {
        self.harness("bisect")
            .arg("--tree")
            .arg(&self.tree)
            .args(args)
    }

    pub(super) fn git(&self, args: &[&str]) -> Result<String> {
        Program::new("git")
            .arg("-C")
            .arg(&self.tree)
            .args(args)
            .read()
    }

    /// The bisection that was worked on last, if it began after `since`.
    pub(super) fn state(&self, since: u64) -> Result<State> {
        let (dir, state) = latest(&self.cache)?;
        ensure!(
            state.started >= since,
            "{} is of an earlier bisection",
            dir.display()
        );
        Ok(state)
    }

    /// Runs a bisection to its end, and gives its state, its exit status and
    /// what it printed.
    pub(super) fn finish(&self, program: &Program) -> Result<(State, Option<i32>, String)> {
        let out = tempfile::NamedTempFile::new().context("making a temporary file")?;
        let since = machine::now();
        let mut running = program.spawn(out.reopen()?.into(), Stdio::inherit())?;
        let status = wait(&mut running)?;
        let said = fs::read_to_string(out.path()).context("reading what bisect printed")?;
        let state = self.state(since).with_context(|| said.clone())?;
        Ok((state, status.code(), said))
    }

    /// Whether that culprit was found within the boots that are promised; gives
    /// the figures.
    pub(super) fn found(&self, state: &State, culprit: &str, commits: usize) -> Result<String> {
        let Some(End::Found { culprit: found, .. }) = &state.end else {
            bail!(
                "it ended otherwise than by finding a commit: {:?}",
                state.end
            );
        };
        ensure!(
            found == culprit,
            "it found {found:.12}, and the culprit is {culprit:.12}"
        );
        let most = log2(commits) + 3;
        let boots = state.starts();
        ensure!(
            boots <= most,
            "it took {boots} boots, and {most} are promised for {commits} commits"
        );
        // The ends may have had everything to build.
        let steps: Vec<f64> = state.tests.iter().skip(2).map(|t| t.seconds).collect();
        let longest = steps.iter().copied().fold(0.0, f64::max);
        Ok(format!(
            "{found:.12} found among {commits} commits in {boots} boots of at most {most}, {} commits looked at, {} not buildable; a step took {} on average and {} at most",
            state.tests.len(),
            state.tests.iter().filter(|t| t.no_image.is_some()).count(),
            seconds(steps.iter().sum::<f64>() / steps.len().max(1) as f64),
            seconds(longest),
        ))
    }
}

pub(super) fn wait(running: &mut Running) -> Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = running.try_wait()? {
            return Ok(status);
        }
        interrupt::check()?;
        std::thread::sleep(POLL);
    }
}

/// This program, also after a build has replaced its file.
fn itself() -> String {
    format!("/proc/{}/exe", std::process::id())
}

/// How many processes wanted a CPU in the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The least number of halvings that leave one of so many.
pub(super) fn log2(many: usize) -> usize {
    many.max(1).next_power_of_two().trailing_zeros() as usize
}
