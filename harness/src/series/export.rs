// SPDX-License-Identifier: GPL-2.0-only
//! `series export`: mails for `git send-email`, with a cover letter whose
//! numbers come from results about exactly these commits.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    commits::{self, Applied},
    costs, cover,
    mail::{Posting, fold},
    only::only,
    refresh::header,
};
use crate::{
    bench, cache::write_whole, cli::Export, exec::Program, fail, project::patches_in, report,
    request, session::Session, tree::Tree,
};

/// Writes the mails and says whom to send them to.
pub fn export(request: &Export) -> Result<u8> {
    if request.posting == 0 {
        return Err(request!("the first posting is --posting 1"));
    }
    if patches_in(&request.dir).is_ok() {
        return Err(request!(
            "{} holds *.patch files already, which would be sent along: name an empty folder",
            request.dir.display()
        ));
    }
    let session = Session::open(&request.common)?;
    let trees = session.trees(&crate::cli::Source::of_base(&request.base))?;
    let tree = trees.first().context("one base is one tree")?;
    let applied = commits::apply_each(tree, &session.project, None)?;
    if let Some((_, error)) = applied.refused {
        return Err(error);
    }
    let posting = Posting {
        version: request.posting,
        of: applied.of,
        destination: request.destination.as_deref().unwrap_or_default(),
    };
    // Everything that may be refused comes before the first file.
    let letter = letter(&session, request, tree, &applied, &posting)?;
    let mut mails = vec![(posting.file("0000-cover-letter.patch"), letter)];
    for patch in &applied.patches {
        let text = read(&patch.path)?;
        let name = patch.path.file_name().unwrap_or_default().to_string_lossy();
        let mail = posting.mail(patch.number, &text).ok_or_else(|| {
            request!(
                "{} is no patch made by git format-patch",
                patch.path.display()
            )
        })?;
        mails.push((posting.file(&name), mail));
    }
    let recipients = recipients(&session, tree, &applied)?;
    for (name, mail) in &mails {
        write_whole(&request.dir.join(name), mail.as_bytes())?;
        println!("{}", request.dir.join(name).display());
    }
    show(&recipients, &request.dir);
    Ok(fail::GOOD)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| request!("cannot read {}: {e}", path.display()))
}

/// The cover letter, as a mail.
fn letter(
    session: &Session,
    request: &Export,
    tree: &Tree,
    applied: &Applied,
    posting: &Posting<'_>,
) -> Result<String> {
    let project = &session.project;
    let first = applied
        .patches
        .first()
        .context("a series has a patch at least")?;
    let tip = applied
        .patches
        .last()
        .context("a series has a patch at least")?;
    let text = read(&project.path("kernel-patches/cover.txt"))?;
    let bases = project.bases()?;
    let lines: Vec<&str> = bases.iter().map(|b| b.line.as_str()).collect();
    let text = only(&text, &tree.base.line, &lines)?;
    let (subject, body) = cover::written(&text)?;
    let changes = read(&project.path("kernel-patches/changes.txt"))?;
    let changes = cover::changes(&changes, posting.version)?;
    let results = report::load(&request.results.join("results.json"))?;
    let base = &tree.base.line;
    let runs = cover::runs_for(&results, base, &applied.baseline, &tip.commit)?;
    let tests = cover::tests(&results, &runs);
    let measured = request.results.join("bench.json");
    let costs = if measured.is_file() {
        costs::costs(&bench::load(&measured)?, base, &tip.commit)?
    } else {
        session.progress.note(&format!(
            "no figures: {} is not there (cargo harness bench --base {base} --results {}); the letter says so",
            measured.display(),
            request.results.display()
        ));
        costs::NOT_MEASURED.to_owned()
    };
    let range = format!("{}..{}", applied.baseline, tip.commit);
    let shortlog = tree.repo.git(["shortlog", &range]).read()?;
    let stat = tree
        .repo
        .git(["diff", "--stat=72", "--summary", "--no-renames"])
        .args([&applied.baseline, &tip.commit])
        .read()?;
    let mail = read(&first.path)?;
    let field = |name: &str| {
        header(&mail, name).with_context(|| format!("{} has no {name}", first.path.display()))
    };
    let last = read(&tip.path)?;
    let mut out =
        String::from("From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n");
    out.push_str(&fold("From", &field("From")?));
    out.push_str(&fold(
        "Date",
        &header(&last, "Date").map_or_else(|| field("Date"), Ok)?,
    ));
    out.push_str(&fold("Subject", &posting.subject(0, subject)));
    out.push('\n');
    for part in [
        body,
        tests.trim_end(),
        costs.trim_end(),
        changes.trim_end(),
        shortlog.trim_end(),
        stat.trim_end_matches('\n'),
        &on_what(tree, applied)?,
    ] {
        if !part.is_empty() {
            out.push_str(part);
            out.push_str("\n\n");
        }
    }
    out.truncate(out.trim_end().len());
    out.push_str("\n-- \n");
    out.push_str(&format!("redirect-peer harness {}\n", results.harness));
    Ok(out)
}

/// What the series goes on top of. A commit of a prepared tree exists nowhere
/// else, so it is described and not put into a `base-commit:` line, which robots
/// would look for in vain.
fn on_what(tree: &Tree, applied: &Applied) -> Result<String> {
    Ok(if tree.has_helper()? {
        format!(
            "Base: Linux {} as in Debian's {}, with the helper that it has\ntaken out (kernel-patches/{}/strip).",
            tree.version, tree.base.package, tree.base.line
        )
    } else {
        format!(
            "Base: Linux {}\nbase-commit: {}",
            tree.version, applied.baseline
        )
    })
}

/// Whom the tree's own get_maintainer.pl names: who is asked, and what lists are told.
struct Recipients {
    to: Vec<String>,
    cc: Vec<String>,
}

fn recipients(session: &Session, tree: &Tree, applied: &Applied) -> Result<Recipients> {
    let step = session.progress.begin("recipients", &tree.base.line);
    // What the script reads; with --no-tree it does not ask for the rest.
    let scratch = tempfile::tempdir().context("making a folder for get_maintainer.pl")?;
    for file in ["scripts/get_maintainer.pl", "MAINTAINERS", ".mailmap"] {
        if let Some(text) = tree.repo.file(&applied.baseline, file)? {
            write_whole(&scratch.path().join(file), text.as_bytes())?;
        }
    }
    let ask = |which: &[&str]| -> Result<Vec<String>> {
        let said = Program::new("perl")
            .arg("scripts/get_maintainer.pl")
            .args([
                "--no-git",
                "--no-git-fallback",
                "--no-rolestats",
                "--no-tree",
            ])
            .args(which)
            .args(applied.patches.iter().map(|p| &p.path))
            .dir(scratch.path())
            .read()
            .context("asking the tree's scripts/get_maintainer.pl")?;
        Ok(said.lines().map(str::to_owned).collect())
    };
    let to = ask(&["--m", "--no-r", "--no-l"])?;
    let mut cc = ask(&["--no-m", "--r", "--no-l"])?;
    cc.extend(ask(&["--no-m", "--no-r", "--l"])?);
    cc.retain(|one| !to.contains(one));
    if to.is_empty() && cc.is_empty() {
        return Err(request!(
            "scripts/get_maintainer.pl of Linux {} names nobody for these patches",
            tree.version
        ));
    }
    step.done(false);
    Ok(Recipients { to, cc })
}

fn show(recipients: &Recipients, dir: &Path) {
    println!();
    for (word, list) in [("To", &recipients.to), ("Cc", &recipients.cc)] {
        for one in list {
            println!("{word}: {one}");
        }
    }
    // Mail addresses alone, as names may hold anything.
    let address = |one: &str| {
        one.rsplit_once('<')
            .map_or(one, |(_, a)| a.trim_end_matches('>'))
            .to_owned()
    };
    let mut send = Program::new("git").arg("send-email");
    for one in &recipients.to {
        send = send.arg(format!("--to={}", address(one)));
    }
    for one in &recipients.cc {
        send = send.arg(format!("--cc={}", address(one)));
    }
    println!(
        "\nread the mails, and then: {} {}/*.patch",
        send.line(),
        Program::new(dir).line()
    );
}
