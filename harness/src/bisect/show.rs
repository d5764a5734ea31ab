// SPDX-License-Identifier: GPL-2.0-only
//! What came of a bisection, for people, for a mail, and for git.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    question::Question,
    search::Answer,
    sight::{Boot, plural},
    state::{End, State},
};
use crate::progress::seconds;

/// What git says of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// First line of its message.
    pub subject: String,
    /// Name and address.
    pub author: String,
    /// When it was written, ISO 8601.
    pub date: String,
    /// Files that it touches.
    pub files: Vec<String>,
}

/// What is known of each commit that is shown.
pub type Commits = BTreeMap<String, About>;

/// The commits that a report of `state` names.
pub fn named(state: &State) -> Vec<String> {
    let mut all: Vec<String> = state.tests.iter().map(|t| t.commit.clone()).collect();
    all.extend(state.good.iter().cloned());
    all.push(state.asked.bad.clone());
    match &state.end {
        Some(End::Found { culprit, parents }) => {
            all.push(culprit.clone());
            all.extend(parents.iter().cloned());
        }
        Some(End::AnyOf(ids)) => all.extend(ids.iter().cloned()),
        _ => {}
    }
    all.sort();
    all.dedup();
    all
}

fn subject<'a>(commits: &'a Commits, id: &str) -> &'a str {
    commits.get(id).map_or("", |c| c.subject.as_str())
}

/// Text that comes from a tree or a guest: no control characters reach a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The commits that were looked at, a line each, in the order of the tests.
pub fn table(state: &State, commits: &Commits) -> String {
    let mut out = format!(
        "{:<12}  {:<11}  {:>5}  {:>9}  {:<44}  evidence\n",
        "commit", "answer", "boots", "time", "subject"
    );
    for test in &state.tests {
        let known = state.known(&test.commit);
        let word = state.word(known.answer);
        let starts: usize = test.boots.iter().map(|b| b.starts).sum();
        let about: String = clean(subject(commits, &test.commit))
            .chars()
            .take(44)
            .collect();
        let evidence = known.evidence.lines().next().unwrap_or_default();
        let _ = writeln!(
            out,
            "{:<12.12}  {word:<11}  {starts:>5}  {:>9}  {about:<44}  {}",
            test.commit,
            seconds(test.seconds),
            clean(evidence)
        );
    }
    out
}

/// How it ended, in a few sentences, with the culprit and what was seen of it.
pub fn end(state: &State, commits: &Commits) -> String {
    let mut out = String::new();
    match &state.end {
        None => out.push_str("not finished: go on with `cargo harness bisect --resume`\n"),
        Some(End::NoDifference(why)) => {
            let _ = writeln!(out, "there is nothing to search for: {why}");
        }
        Some(End::Contradiction(why)) => {
            let _ = writeln!(out, "could not tell: {why}");
        }
        Some(End::AnyOf(ids)) => {
            out.push_str("it is one of these; those before the last could not be tested:\n");
            for id in ids {
                let _ = writeln!(out, "  {id:.12} {}", clean(subject(commits, id)));
            }
        }
        Some(End::Found { culprit, parents }) => found(&mut out, state, commits, culprit, parents),
    }
    let skipped = |t: &&super::state::Test| t.no_image.is_some();
    let like = |t: &&super::state::Test| t.like.is_some() && t.boots.is_empty();
    let _ = writeln!(
        out,
        "{} looked at, {} booted, {} not buildable, {} answered by another one; {}; {}",
        plural(state.tests.len(), "commit"),
        state.tests.iter().filter(|t| !t.boots.is_empty()).count(),
        state.tests.iter().filter(skipped).count(),
        state.tests.iter().filter(like).count(),
        plural(state.starts(), "boot"),
        seconds(state.seconds),
    );
    out
}

/// What came with the culprit.
fn verb(state: &State) -> &'static str {
    match &state.question {
        Some(Question::Above { .. }) => "is slower",
        _ if state.is_mended() => "begins to pass",
        _ => "begins to fail",
    }
}

fn found(out: &mut String, state: &State, commits: &Commits, culprit: &str, parents: &[String]) {
    let about = commits.get(culprit).cloned().unwrap_or_default();
    let _ = writeln!(
        out,
        "the first commit where it {}:\n\n  commit  {culprit}\n  subject {}\n  author  {}\n  date    {}",
        verb(state),
        clean(&about.subject),
        clean(&about.author),
        clean(&about.date)
    );
    for (at, file) in about.files.iter().take(12).enumerate() {
        let head = if at == 0 { "files  " } else { "       " };
        let _ = writeln!(out, "  {head} {}", clean(file));
    }
    if about.files.len() > 12 {
        let _ = writeln!(out, "          and {} more", about.files.len() - 12);
    }
    let _ = writeln!(out, "\non it, {}:", boots_of(state, culprit));
    shown(out, state, culprit, Answer::Bad);
    for parent in parents {
        let _ = writeln!(
            out,
            "on its parent {parent:.12} ({}), {}:",
            clean(subject(commits, parent)),
            boots_of(state, parent)
        );
        shown(out, state, parent, Answer::Good);
    }
    out.push('\n');
}

fn boots_of(state: &State, commit: &str) -> String {
    let known = state.known(commit);
    match known.answer {
        Some(Answer::Skip) => format!("not tested: {}", known.evidence),
        _ => format!(
            "{}, {} as at the {} end",
            plural(known.tally.boots() as usize, "boot"),
            known.tally.bad,
            if state.is_mended() { "last" } else { "bad" }
        ),
    }
}

/// What the last boot showed that gave that answer.
fn shown(out: &mut String, state: &State, commit: &str, wanted: Answer) {
    let Some(question) = &state.question else {
        return;
    };
    let boots = state.boots(commit);
    let fits = |b: &&&Boot| question.answer(&b.sight).0 == wanted;
    let Some(boot) = boots.iter().rev().find(fits) else {
        return;
    };
    for line in boot.sight.lines().iter().take(12) {
        let _ = writeln!(out, "    {}", clean(line));
    }
    if !boot.console.is_empty() {
        let _ = writeln!(out, "    console: {}", boot.console);
    }
}

/// A text that can be sent to the author and the list; `None` when nothing
/// that broke was found.
pub fn mail(state: &State, commits: &Commits) -> Option<String> {
    let Some(End::Found { culprit, parents }) = &state.end else {
        return None;
    };
    if state.is_mended() {
        return None;
    }
    let about = commits.get(culprit).cloned().unwrap_or_default();
    let what = match (&state.question, &state.asked.metric) {
        (Some(Question::Above { good, bad, .. }), Some((name, _))) => {
            format!(
                "{name} went from {good} to {bad} instructions ({:+.2} %)",
                (bad / good - 1.0) * 100.0
            )
        }
        (Some(Question::Cases(changes)), _) => {
            let names: Vec<&str> = changes.iter().map(|c| c.bad.name.as_str()).collect();
            let many = names.len();
            let first = names.first().copied().unwrap_or_default();
            let more = if many > 1 {
                format!(" (and {} more)", many - 1)
            } else {
                String::new()
            };
            format!("the case {first}{more} began to fail")
        }
        _ => "it changed".into(),
    };
    let mut out = format!(
        "To: {}\nSubject: [REGRESSION] {}: {}\n\nHi,\n\n{what} with\n\n  {culprit:.12} (\"{}\")\n\n",
        clean(&about.author),
        clean(&about.subject),
        what,
        clean(&about.subject)
    );
    let _ = writeln!(out, "On that commit, {}:\n", boots_in_mail(state, culprit));
    shown_in_mail(&mut out, state, culprit, Answer::Bad);
    for parent in parents {
        let _ = writeln!(
            out,
            "\nOn its parent {parent:.12}, {}:\n",
            boots_in_mail(state, parent)
        );
        shown_in_mail(&mut out, state, parent, Answer::Good);
    }
    let _ = writeln!(
        out,
        "\nFound by bisection between {} and {:.12}, in {}.\n\n{}\n\n#regzbot introduced: {culprit:.12}",
        state
            .good
            .iter()
            .map(|g| format!("{g:.12}"))
            .collect::<Vec<_>>()
            .join(", "),
        state.asked.bad,
        plural(state.starts(), "boot"),
        git_log(state, commits).trim_end()
    );
    Some(out)
}

/// Who gets the mail does not know the words of this program.
fn boots_in_mail(state: &State, commit: &str) -> String {
    let known = state.known(commit);
    let boots = plural(known.tally.boots() as usize, "boot");
    match (known.answer, &state.question) {
        (Some(Answer::Skip), _) => format!("which could not be tested: {}", known.evidence),
        (_, Some(Question::Above { .. })) => boots,
        _ => format!("which failed in {} of {boots}", known.tally.bad),
    }
}

fn shown_in_mail(out: &mut String, state: &State, commit: &str, wanted: Answer) {
    let mut text = String::new();
    shown(&mut text, state, commit, wanted);
    // Where a console is kept on this machine helps nobody else.
    for line in text.lines().filter(|l| !l.starts_with("    console: ")) {
        let _ = writeln!(out, "{line}");
    }
}

/// What `git bisect log` would print: `git bisect replay` takes it.
pub fn git_log(state: &State, commits: &Commits) -> String {
    let mut out =
        String::from("git bisect start\n# status: waiting for both good and bad commits\n");
    let mut say = |word: &str, id: &str| {
        let about = clean(subject(commits, id));
        let _ = writeln!(out, "# {word}: [{id}] {about}\ngit bisect {word} {id}");
    };
    say("bad", &state.asked.bad);
    for good in &state.good {
        say("good", good);
    }
    for test in &state.tests {
        if test.commit == state.asked.bad || state.good.contains(&test.commit) {
            continue;
        }
        match state.known(&test.commit).answer {
            Some(Answer::Good) => say("good", &test.commit),
            Some(Answer::Bad) => say("bad", &test.commit),
            Some(Answer::Skip | Answer::CannotTell) => say("skip", &test.commit),
            None => {}
        }
    }
    if let Some(End::Found { culprit, .. }) = &state.end {
        let about = clean(subject(commits, culprit));
        let _ = writeln!(out, "# first bad commit: [{culprit}] {about}");
    }
    out
}
