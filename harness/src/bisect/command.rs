// SPDX-License-Identifier: GPL-2.0-only
//! The commands `bisect` and `bisect-step`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use protocol::Arm;

use super::{
    certainty::{Belief, MOST_BOOTS, Tally, believe},
    drive::{Built, Lab, drive},
    lab::{Kernels, STATE},
    search::Answer,
    show::{self, About, Commits},
    sight,
    state::{Asked, End, State},
};
use crate::{
    cache::Key,
    cli::{Bisect, BisectStep},
    exec::Program,
    fail, request,
    session::{DEFAULT_BASE, Session},
    tree::{self, Origin, Tree},
};

/// `git bisect run` takes this for a commit that cannot be tested.
pub const SKIP: u8 = 125;
/// `git bisect run` stops at this.
pub const STOP: u8 = 128;

/// `bisect`.
pub fn bisect(request: &Bisect) -> Result<u8> {
    let session = Session::open(&request.common)?;
    if request.log {
        let (_, state) = latest(&session)?;
        let tree = tree_of(&session, &state.asked)?;
        print!("{}", show::git_log(&state, &about_all(&tree, &state)?));
        return Ok(fail::GOOD);
    }
    let (dir, mut state) = if request.resume {
        latest(&session)?
    } else {
        begin(&session, request)?
    };
    let tree = tree_of(&session, &state.asked)?;
    if state.end.is_none() {
        let mut lab = Kernels::new(&session, tree.clone(), &state.asked, &dir)?;
        lab.save(&state)?;
        let driven = drive(&mut state, &mut lab);
        session.progress.save(&session.cache)?;
        if driven.is_err() {
            session.progress.note(&format!(
                "bisect: {} commits and {} boots are kept: `cargo harness bisect --resume` goes on",
                state.tests.len(),
                state.starts()
            ));
        }
        driven?;
    }
    report(&session, &tree, &state, &dir)?;
    Ok(match &state.end {
        Some(End::Found { .. }) => fail::GOOD,
        Some(End::NoDifference(_)) => fail::REQUEST,
        _ => fail::COULD_NOT_TELL,
    })
}

/// Prints what came of it, and keeps it beside the state.
fn report(session: &Session, tree: &Tree, state: &State, dir: &Path) -> Result<()> {
    let commits = about_all(tree, state)?;
    let mut text = format!(
        "{}\n{}",
        show::table(state, &commits),
        show::end(state, &commits)
    );
    if let Some(mail) = show::mail(state, &commits) {
        let path = dir.join("mail.txt");
        crate::cache::write_whole(&path, mail.as_bytes())?;
        text.push_str(&format!("a mail about it: {}\n", path.display()));
    }
    let log = dir.join("git-bisect.log");
    crate::cache::write_whole(&log, show::git_log(state, &commits).as_bytes())?;
    text.push_str(&format!(
        "for `git bisect replay`: {} (or `cargo harness bisect --log`)\n",
        log.display()
    ));
    let mut out = std::io::stdout().lock();
    // A reader that has gone away is no reason to change the exit status.
    let _ = if session.common.json {
        writeln!(out, "{}", serde_json::to_string_pretty(state)?)
    } else {
        write!(out, "{text}")
    };
    Ok(())
}

/// The bisection that was worked on last.
fn latest(session: &Session) -> Result<(PathBuf, State)> {
    let dir = session.cache.folder("bisect")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if let Ok(meta) = fs::metadata(path.join(STATE)) {
            found.push((meta.modified()?, path));
        }
    }
    let (_, path) = found.into_iter().max().ok_or_else(|| {
        request!(
            "no bisection was begun in the cache folder {}: begin one with --tree, --bad and --case",
            dir.display()
        )
    })?;
    let state = State::load(&path.join(STATE))?;
    Ok((path, state))
}

/// A new bisection, and its folder.
fn begin(session: &Session, request: &Bisect) -> Result<(PathBuf, State)> {
    let asked = ask(session, request)?;
    let key = Key::new("bisect").with(serde_json::to_vec(&asked)?).hex();
    let dir = session.cache.folder(format!("bisect/{key}"))?;
    if State::load(&dir.join(STATE)).is_ok_and(|s| s.end.is_none()) {
        session.progress.note(
            "bisect: the same was begun earlier and not finished; it begins anew (--resume would have gone on)",
        );
    }
    fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok((dir, State::new(asked)))
}

/// The request, with every revision as the commit it names now.
fn ask(session: &Session, request: &Bisect) -> Result<Asked> {
    let mut asked = Asked {
        tree: None,
        base: request.base.clone().unwrap_or_else(|| DEFAULT_BASE.into()),
        series: None,
        on_top: false,
        good: Vec::new(),
        bad: String::new(),
        cases: request.cases.clone(),
        flavor: request.flavor.clone(),
        metric: request
            .metric
            .clone()
            .map(|name| (name, request.limit.unwrap_or(0.0) / 100.0)),
        flaky: request.flaky,
    };
    if let Some(series) = request.series.as_ref().and_then(|s| s.as_ref()) {
        let dir = series
            .canonicalize()
            .map_err(|e| request!("cannot read the patches in {}: {e}", series.display()))?;
        asked.series = Some(dir);
    }
    let Some(dir) = &request.tree else {
        let tree = tree_of(session, &asked)?;
        asked.good = vec![tree.arm(&session.project, Arm::Baseline, None)?];
        asked.bad = tree.arm(&session.project, Arm::Patched, asked.series.as_deref())?;
        return Ok(asked);
    };
    let dir = dir
        .canonicalize()
        .map_err(|e| request!("no tree at {}: {e}", dir.display()))?;
    asked.on_top = request.series.is_some();
    asked.bad = rev(&dir, &request.bad)?;
    if let Some(good) = &request.good {
        asked.good = good_ends(session, &dir, &rev(&dir, good)?, &asked.bad)?;
    }
    asked.tree = Some(dir);
    Ok(asked)
}

/// The good end, or where it and the bad end parted.
fn good_ends(session: &Session, dir: &Path, good: &str, bad: &str) -> Result<Vec<String>> {
    if good == bad {
        return Err(request!(
            "--good and --bad name the same commit, {good:.12}: there is nothing between them"
        ));
    }
    let out = git(dir, &["merge-base", "--all", good, bad]).output()?;
    let bases: Vec<String> = out.stdout.lines().map(str::to_owned).collect();
    if bases.is_empty() {
        return Err(request!(
            "{good:.12} and {bad:.12} have no commit in common"
        ));
    }
    if bases == [bad.to_owned()] {
        return Err(request!(
            "the bad end {bad:.12} is an ancestor of the good end {good:.12}: exchange --good and --bad"
        ));
    }
    if bases != [good.to_owned()] {
        session.progress.note(&format!(
            "bisect: {good:.12} is no ancestor of {bad:.12}: the commit where they parted is taken for the good end, and tested like one"
        ));
    }
    Ok(bases)
}

fn git(dir: &Path, args: &[&str]) -> Program {
    Program::new("git").arg("-C").arg(dir).args(args)
}

fn rev(dir: &Path, name: &str) -> Result<String> {
    let spec = format!("{name}^{{commit}}");
    let out = git(
        dir,
        &[
            "rev-parse",
            "--quiet",
            "--verify",
            "--end-of-options",
            &spec,
        ],
    )
    .output()?;
    if !out.status.success() {
        return Err(request!("{} has no commit named `{name}`", dir.display()));
    }
    Ok(out.stdout.trim().to_owned())
}

fn tree_of(session: &Session, asked: &Asked) -> Result<Tree> {
    let origin = match &asked.tree {
        Some(dir) => Origin::Git {
            dir: dir.clone(),
            rev: asked.bad.clone(),
        },
        None => Origin::Package(session.project.base(&asked.base)?),
    };
    tree::prepare(
        &session.cache,
        &session.project,
        &origin,
        session.common.offline,
        false,
        &session.progress,
    )
}

fn about_all(tree: &Tree, state: &State) -> Result<Commits> {
    show::named(state)
        .into_iter()
        .map(|id| {
            let about = about(tree, &id)?;
            Ok((id, about))
        })
        .collect()
}

fn about(tree: &Tree, id: &str) -> Result<About> {
    let text = tree
        .repo
        .git([
            "show",
            "--no-renames",
            "--name-only",
            "--format=%s%n%an <%ae>%n%aI",
            id,
        ])
        .read()?;
    let mut lines = text.lines().map(str::to_owned);
    let mut line = || lines.next().unwrap_or_default();
    Ok(About {
        subject: line(),
        author: line(),
        date: line(),
        files: lines.filter(|l| !l.is_empty()).collect(),
    })
}

/// `bisect-step`: one commit, answered as `git bisect run` wants it.
pub fn step(request: &BisectStep) -> u8 {
    match try_step(request) {
        Ok(answer) => status(answer),
        Err(error) => {
            // Whatever is wrong with the harness or the request, git must not
            // take it for a bad commit.
            let _ = fail::report(&error);
            STOP
        }
    }
}

/// The exit status that git knows the answer by.
pub fn status(answer: Answer) -> u8 {
    match answer {
        Answer::Good => 0,
        Answer::Bad => 1,
        Answer::Skip => SKIP,
        Answer::CannotTell => STOP,
    }
}

/// The exit status of a command line that cannot be parsed: git must not take a
/// mistyped flag of `bisect-step` for a bad commit.
pub fn usage_status(status: i32) -> i32 {
    let of_step = std::env::args_os()
        .nth(1)
        .is_some_and(|a| a == "bisect-step");
    if of_step && status != 0 {
        i32::from(STOP)
    } else {
        status
    }
}

fn try_step(request: &BisectStep) -> Result<Answer> {
    let session = Session::open(&request.common)?;
    let dir = request
        .tree
        .canonicalize()
        .map_err(|e| request!("no tree at {}: {e}", request.tree.display()))?;
    // Where git bisect is, whether it checks commits out or not.
    let commit = match &request.rev {
        Some(name) => rev(&dir, name)?,
        None => rev(&dir, "BISECT_HEAD").or_else(|_| rev(&dir, "HEAD"))?,
    };
    let asked = Asked {
        tree: Some(dir),
        base: String::new(),
        series: request.series.clone().flatten(),
        on_top: request.series.is_some(),
        good: Vec::new(),
        bad: commit.clone(),
        cases: request.cases.clone(),
        flavor: request.flavor.clone(),
        metric: None,
        flaky: false,
    };
    let tree = tree_of(&session, &asked)?;
    let dir = session.cache.folder("bisect-step")?;
    let mut lab = Kernels::new(&session, tree, &asked, &dir)?;
    let say = |answer: Answer, text: &str| {
        println!("{commit:.12} {}: {text}", answer.word());
        Ok(answer)
    };
    if let Built::Not(why) = lab.build(&commit)? {
        return say(Answer::Skip, &why);
    }
    let mut tally = Tally::default();
    loop {
        let boot = lab.boot(&commit)?;
        let (answer, text) = sight::alone(&boot.sight);
        match answer {
            Answer::Bad => tally.bad += 1,
            Answer::Good => tally.good += 1,
            Answer::Skip | Answer::CannotTell => return say(answer, &text),
        }
        // A bad answer takes a second boot; one of each, and nothing is said.
        match believe(tally, None) {
            Belief::Good(_) => return say(Answer::Good, &text),
            Belief::Bad(_) if tally.bad > 1 => {
                return say(Answer::Bad, &format!("{text}; {} boots", tally.bad));
            }
            Belief::Bad(_) if tally.boots() < MOST_BOOTS => {}
            _ => {
                return say(
                    Answer::CannotTell,
                    &format!(
                        "{} of {} boots were bad: the case is flaky; `cargo harness bisect --flaky` measures how much",
                        tally.bad,
                        tally.boots()
                    ),
                );
            }
        }
    }
}
