// SPDX-License-Identifier: GPL-2.0-only
//! The bisection itself: what is known, what to do next, and whom to ask. The
//! kernels are somebody else's ([`Lab`]), so that this is tested on scripted
//! histories.

use anyhow::Result;

use super::{
    boots::{again, look},
    ends::{calibrate, ends},
    graph::History,
    question::Looking,
    search::{Answer, Next, next},
    sight::Boot,
    state::{End, Known, State},
};

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// A hash of everything that is executed: two commits with the same one
    /// are the same kernel.
    Image(String),
    /// It does not build, or patches do not apply to it; why.
    Not(String),
}

/// Where commits are built and booted.
pub trait Lab {
    /// The first parents of a commit, nearest first, `most` at the most.
    fn line(&mut self, of: &str, most: usize) -> Result<Vec<String>>;
    /// The commits that `bad` has and `good` have not. With `all_count` also
    /// those count that touch no file that is built.
    fn history(&mut self, good: &[String], bad: &str, all_count: bool) -> Result<History>;
    /// The parents of a commit.
    fn parents(&mut self, commit: &str) -> Result<Vec<String>>;
    /// Whether the trees of two commits, the second one of which was built,
    /// differ in no file that is built.
    fn same_files(&mut self, commit: &str, built: &str) -> Result<bool>;
    /// Builds a commit.
    fn build(&mut self, commit: &str) -> Result<Built>;
    /// Boots a commit that builds.
    fn boot(&mut self, commit: &str) -> Result<Boot>;
    /// Which changes are looked for.
    fn looking(&self) -> Looking;
    /// Keeps what is known. Called after everything that took time.
    fn save(&mut self, state: &State) -> Result<()>;
    /// Tells whoever waits what comes next; `history` once there is one.
    fn tell(&mut self, state: &State, history: Option<&History>, text: &str);
}

/// Goes on until it is over. An error leaves a state that can be gone on with.
pub fn drive(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
    while state.end.is_none() {
        if state.question.is_none() {
            ends(state, lab)?;
        } else if state.flaky && state.rates.is_none() {
            calibrate(state, lab)?;
        } else {
            step(state, lab)?;
        }
        lab.save(state)?;
    }
    Ok(())
}

/// One commit, or the end.
fn step(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
    let history = lab.history(&state.good, &state.asked.bad, state.all_count)?;
    match next(&history, &state.answers(&history)) {
        Next::Test(at) => {
            let commit = history.id(at).to_owned();
            lab.tell(state, Some(&history), "");
            look(state, lab, &commit)
        }
        Next::Found(at) => {
            let culprit = history.id(at).to_owned();
            verify(state, lab, &history, &culprit)
        }
        Next::AnyOf(all) => {
            let ids = all.iter().map(|at| history.id(*at).to_owned()).collect();
            state.end = Some(End::AnyOf(ids));
            Ok(())
        }
        Next::Nothing if !state.all_count => {
            state.all_count = true;
            Ok(())
        }
        Next::Nothing => {
            state.end = Some(End::Contradiction(
                "every commit between the ends is ruled out by an answer: the failure came and went more than once".into(),
            ));
            Ok(())
        }
    }
}

/// Tests the culprit and each of its parents once more.
fn verify(state: &mut State, lab: &mut dyn Lab, history: &History, culprit: &str) -> Result<()> {
    let parents = lab.parents(culprit)?;
    for commit in std::iter::once(culprit).chain(parents.iter().map(String::as_str)) {
        let role = if commit == culprit {
            "the culprit, once more"
        } else {
            "its parent, once more"
        };
        lab.tell(state, Some(history), role);
        if !again(state, lab, commit)? {
            return Ok(());
        }
        let (known, is_culprit) = (state.known(commit), commit == culprit);
        if !holds(state, history, commit, is_culprit, &known) {
            if state.all_count {
                state.end = Some(End::Contradiction(format!(
                    "{culprit:.12} is the only commit left, but {commit:.12}, tested once more, is {}: {}",
                    known.answer.map_or("undecided", Answer::word),
                    known.evidence
                )));
            }
            // A commit was left out that was thought not to count: it does.
            state.all_count = true;
            return Ok(());
        }
    }
    state.end = Some(End::Found {
        culprit: culprit.to_owned(),
        parents,
    });
    Ok(())
}

/// Whether what was seen once more is what the conclusion needs.
fn holds(state: &State, history: &History, commit: &str, is_culprit: bool, known: &Known) -> bool {
    match known.answer {
        Some(Answer::Bad) => is_culprit,
        Some(Answer::Good) => !is_culprit,
        // A parent that cannot be tested does no harm when a good commit has it.
        Some(Answer::Skip | Answer::CannotTell) if !is_culprit => {
            let left = super::search::candidates(history, &state.answers(history));
            history.find(commit).is_none_or(|at| !left[at])
        }
        _ => false,
    }
}
