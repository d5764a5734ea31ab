// SPDX-License-Identifier: GPL-2.0-only
//! The command `bisect`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    ask::{ask, tree_of},
    drive::{Lab, drive},
    lab::{Kernels, STATE},
    show::{self, About, Commits},
    sight::plural,
    state::{End, State},
};
use crate::{cache::Key, cli::Bisect, fail, request, session::Session, tree::Tree};

/// `bisect`.
pub fn bisect(request: &Bisect) -> Result<u8> {
    let session = Session::open(&request.common)?;
    if request.log {
        let (_, state) = latest(&session.cache.path(""))?;
        let tree = tree_of(&session, &state.asked)?;
        print!("{}", show::git_log(&state, &about_all(&tree, &state)?));
        return Ok(fail::GOOD);
    }
    let (dir, mut state) = if request.resume {
        latest(&session.cache.path(""))?
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
                "bisect: {} and {} are kept: `cargo harness bisect --resume` goes on",
                plural(state.tests.len(), "commit"),
                plural(state.starts(), "boot")
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

/// The bisection that was worked on last in a cache folder, and its own folder.
pub(super) fn latest(cache: &Path) -> Result<(PathBuf, State)> {
    let dir = cache.join("bisect");
    let mut found = Vec::new();
    // Without the folder none was ever begun.
    for entry in fs::read_dir(&dir).into_iter().flatten() {
        let path = entry
            .with_context(|| format!("reading {}", dir.display()))?
            .path();
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
