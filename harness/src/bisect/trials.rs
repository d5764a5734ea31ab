// SPDX-License-Identifier: GPL-2.0-only
//! The trials of `bisect-proof`: each a way of searching, and what must come of it.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    command::latest,
    proof::{Bench, log2, wait},
    state::{End, State},
};
use crate::{
    exec::{POLL, Program, describe},
    fail, interrupt, machine,
    project::Project,
    session::DEFAULT_BASE,
};

/// What the commit that drops a check breaks.
const CASE: &str = "dropped_for_peer_down";
/// What the commit that adds instructions makes slower.
const METRIC: &str = "redirect_peer.tcp_rr";
/// A boot may take so long until the trial that waits for it gives up.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A way of searching, and what must come of it.
pub(super) struct Trial {
    pub(super) what: &'static str,
    /// Gives figures, or fails with what is wrong.
    pub(super) run: fn(&Bench) -> Result<String>,
}

pub(super) const TRIALS: [Trial; 8] = [
    Trial {
        what: "--case, with a Ctrl-C and a kill on the way",
        run: by_case,
    },
    Trial {
        what: "--log, replayed by git",
        run: replayed,
    },
    Trial {
        what: "--metric",
        run: by_metric,
    },
    Trial {
        what: "--good left out",
        run: without_good,
    },
    Trial {
        what: "a range that affects nothing",
        run: nothing,
    },
    Trial {
        what: "git bisect run",
        run: by_git,
    },
    Trial {
        what: "--series, the patch that a case needs",
        run: in_series,
    },
    Trial {
        what: "--series, the patch that breaks an earlier one",
        run: broken_in_series,
    },
];

/// Of a case; cut off after the first boot by a Ctrl-C, and after the third as by
/// a machine that goes down. What was seen before must be what is gone on with.
fn by_case(bench: &Bench) -> Result<String> {
    let begin = bench.bisect(&["--good", &bench.good, "--bad", &bench.bad, "--case", CASE]);
    let since = machine::now();
    let first = cut_off(bench, &begin, since, 1, true)?;
    let resume = bench.harness("bisect").arg("--resume");
    let second = cut_off(bench, &resume, since, first.starts() + 2, false)?;
    ensure!(
        begins_with(&second, &first),
        "after the Ctrl-C it did not go on with what it had seen"
    );
    let mut running = resume.spawn(Stdio::null(), Stdio::inherit())?;
    let status = wait(&mut running)?;
    ensure!(status.success(), "it ended with {}", describe(status));
    let state = bench.state(since)?;
    ensure!(
        begins_with(&state, &second),
        "after the kill it did not go on with what it had seen"
    );
    bench.found(&state, &bench.drops_check, bench.commits)
}

/// Runs a bisection until it has booted so often, and gives what it kept on the disk.
fn cut_off(
    bench: &Bench,
    program: &Program,
    since: u64,
    boots: usize,
    gently: bool,
) -> Result<State> {
    let start = Instant::now();
    let mut running = program.spawn(Stdio::null(), Stdio::inherit())?;
    loop {
        if let Some(status) = running.try_wait()? {
            bail!("it ended with {} before it was cut off", describe(status));
        }
        interrupt::check()?;
        ensure!(start.elapsed() < PATIENCE, "no boot came to an end");
        if bench.state(since).is_ok_and(|s| s.starts() >= boots) {
            break;
        }
        std::thread::sleep(POLL);
    }
    if gently {
        // The supervisor between passes no signals on; whoever has the cache
        // says so there.
        let lock = bench.cache.join("lock");
        let pid =
            fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
        let pid = pid.trim().parse().context("the lock names a process")?;
        kill(Pid::from_raw(pid), Signal::SIGINT).context("pressing Ctrl-C")?;
        let status = wait(&mut running)?;
        ensure!(
            status.code() == Some(130),
            "after a Ctrl-C it ended with {}, not 130",
            describe(status)
        );
    } else {
        running.end();
    }
    bench.state(since)
}

/// Whether everything that `earlier` saw is still there, and as it was.
fn begins_with(later: &State, earlier: &State) -> bool {
    earlier.tests.iter().zip(&later.tests).all(|(e, l)| {
        e.commit == l.commit
            && l.boots.starts_with(&e.boots)
            && (e.image.is_none() || e.image == l.image)
    }) && later.tests.len() >= earlier.tests.len()
}

/// By `git bisect replay`, in a clone, of the bisection that was finished last.
fn replayed(bench: &Bench) -> Result<String> {
    let (_, state) = latest(&bench.cache)?;
    let Some(End::Found { culprit, .. }) = &state.end else {
        bail!("the last bisection found nothing");
    };
    let log = bench.harness("bisect").arg("--log").read()?;
    let dir = tempfile::tempdir().context("making a folder for a clone")?;
    let (clone, file) = (dir.path().join("clone"), dir.path().join("log"));
    fs::write(&file, &log).context("writing the log")?;
    bench.git(&["clone", "--quiet", "--bare", "--shared", ".", &text(&clone)])?;
    let git = |args: &[&str]| Program::new("git").arg("-C").arg(&clone).args(args);
    let said = git(&["bisect", "replay", &text(&file)]).read()?;
    let known = git(&["bisect", "log"]).read()?;
    let first = format!("first bad commit: [{culprit}]");
    ensure!(
        known.contains(&first),
        "git does not come to {culprit:.12}: {said}{known}"
    );
    let answers = log.lines().filter(|l| !l.starts_with('#')).count();
    Ok(format!(
        "{answers} lines, and git comes to {culprit:.12} as well"
    ))
}

fn by_metric(bench: &Bench) -> Result<String> {
    let (state, status, said) = bench.finish(&bench.bisect(&[
        "--good",
        &bench.good,
        "--bad",
        &bench.bad,
        "--metric",
        METRIC,
        "--limit",
        "0.5%",
    ]))?;
    ensure!(status == Some(0), "it ended with {status:?}:\n{said}");
    bench.found(&state, &bench.adds_cost, bench.commits)
}

fn without_good(bench: &Bench) -> Result<String> {
    let (state, status, said) =
        bench.finish(&bench.bisect(&["--bad", &bench.bad, "--case", CASE]))?;
    ensure!(status == Some(0), "it ended with {status:?}:\n{said}");
    let Some(End::Found { culprit, .. }) = &state.end else {
        bail!("it found nothing:\n{said}");
    };
    ensure!(
        culprit == &bench.drops_check,
        "it found {culprit:.12}, and the culprit is {:.12}",
        bench.drops_check
    );
    Ok(format!(
        "{culprit:.12} found in {} boots, the good end {:.12} among them",
        state.starts(),
        state.good[0]
    ))
}

/// From a documentation commit's parent to itself: nothing to boot twice for.
fn nothing(bench: &Bench) -> Result<String> {
    let parent = format!("{}^", bench.document);
    let (state, status, said) = bench.finish(&bench.bisect(&[
        "--good",
        &parent,
        "--bad",
        &bench.document,
        "--case",
        CASE,
    ]))?;
    ensure!(
        status == Some(i32::from(fail::REQUEST)) && said.contains("the same kernel"),
        "it ended with {status:?}:\n{said}"
    );
    ensure!(
        state.starts() <= 1,
        "it took {} boots of one kernel",
        state.starts()
    );
    Ok(format!(
        "the same kernel, said after {} boot",
        state.starts()
    ))
}

/// By git's own driver, which asks `bisect-step` about each commit.
fn by_git(bench: &Bench) -> Result<String> {
    bench.git(&["bisect", "start", "--no-checkout", &bench.bad, &bench.good])?;
    let step = bench.harness("bisect-step").args(["--case", CASE]);
    let run = Program::new("sh")
        .arg("-c")
        .arg(format!("exec git bisect run {} 1>&2", step.line()))
        .dir(&bench.tree);
    let mut running = run.spawn(Stdio::null(), Stdio::inherit())?;
    let status = wait(&mut running);
    let log = bench.git(&["bisect", "log"]);
    bench.git(&["bisect", "reset"])?;
    let (status, log) = (status?, log?);
    ensure!(
        log.contains(&format!("first bad commit: [{}]", bench.drops_check)),
        "git ended with {} and\n{log}",
        describe(status)
    );
    let said = |word: &str| {
        let line = format!("git bisect {word} ");
        log.lines().filter(|l| l.starts_with(&line)).count()
    };
    Ok(format!(
        "git found {:.12}: {} good, {} bad, {} skipped",
        bench.drops_check,
        said("good"),
        said("bad"),
        said("skip")
    ))
}

/// Which patch of a series breaks what an earlier one brought: the project's
/// series, and the history's commits as patches on top of it.
fn broken_in_series(bench: &Bench) -> Result<String> {
    let dir = tempfile::tempdir().context("making a folder for patches")?;
    let range = format!("{}..{}", bench.good, bench.bad);
    let out = format!("--output-directory={}", dir.path().display());
    let own = Project::find()?.patches(DEFAULT_BASE, "series")?;
    for patch in &own {
        let name = patch.file_name().context("a patch has a name")?;
        fs::copy(patch, dir.path().join(name))
            .with_context(|| format!("copying {}", patch.display()))?;
    }
    bench.git(&[
        "format-patch",
        "--quiet",
        "--start-number=100",
        &out,
        &range,
    ])?;
    let patches = fs::read_dir(dir.path())?.count();
    let program = bench
        .harness("bisect")
        .args(["--base", DEFAULT_BASE, "--case", CASE, "--series"])
        .arg(dir.path());
    let (state, status, said) = bench.finish(&program)?;
    let subject = bench.git(&["show", "--no-patch", "--format=%s", &bench.drops_check])?;
    ensure!(
        status == Some(0) && said.contains(&format!("subject {subject}")),
        "it ended with {status:?}:\n{said}"
    );
    let most = log2(patches) + 3;
    ensure!(
        state.starts() <= most,
        "it took {} boots, and {most} are promised for {patches} patches",
        state.starts()
    );
    Ok(format!(
        "\"{}\" found among {} and {} patches in {} boots of at most {most}",
        subject.trim(),
        own.len(),
        patches - own.len(),
        state.starts()
    ))
}

/// Which patch of the project's series has a case pass: the one that adds the helper.
fn in_series(bench: &Bench) -> Result<String> {
    let program =
        bench
            .harness("bisect")
            .args(["--base", DEFAULT_BASE, "--series", "--case", "peer_veth*"]);
    let (state, status, said) = bench.finish(&program)?;
    ensure!(
        status == Some(0) && said.contains("subject bpf: Add bpf_redirect_peer()"),
        "it ended with {status:?}:\n{said}"
    );
    Ok(format!(
        "\"bpf: Add bpf_redirect_peer()\" found in {} boots",
        state.starts()
    ))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
