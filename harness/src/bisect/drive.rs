// SPDX-License-Identifier: GPL-2.0-only
//! The bisection itself: what is known, what to do next, and whom to ask. The
//! kernels are somebody else's ([`Lab`]), so that this is tested on scripted
//! histories.

use std::time::Instant;

use anyhow::Result;

use super::{
    certainty::{CALIBRATION, Rates, Tally},
    graph::History,
    search::{Answer, Next, next},
    sight::{Boot, Looking, Question},
    state::{End, Known, State},
};

/// A commit that nothing can be told of is booted so often before it is passed over.
const TRIES: usize = 2;
/// How many commits next to one that cannot be tested are tried when a good
/// end is searched for.
const NEARBY: usize = 3;

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

/// Tests both ends and finds what they differ in.
fn ends(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
    let bad = state.asked.bad.clone();
    lab.tell(state, None, "the bad end");
    if let Some(why) = see(state, lab, &bad)? {
        state.end = Some(End::NoDifference(format!(
            "the bad end cannot be tested: {why}"
        )));
        return Ok(());
    }
    if state.good.is_empty() {
        return search_back(state, lab);
    }
    for good in state.good.clone() {
        lab.tell(state, None, "the good end");
        if let Some(why) = see(state, lab, &good)? {
            state.end = Some(End::NoDifference(format!(
                "the good end cannot be tested: {why}"
            )));
            return Ok(());
        }
    }
    let (good, bad_image) = (state.good[0].clone(), image(state, &bad));
    if bad_image.is_some() && bad_image == image(state, &good) {
        state.end = Some(End::NoDifference(
            "both ends are the same kernel, byte for byte: nothing between them affects what is built"
                .into(),
        ));
        return Ok(());
    }
    match question(state, lab, &good) {
        Err(why) => state.end = Some(End::NoDifference(why)),
        Ok(asked) => {
            state.question = Some(asked);
            for good in state.good.clone() {
                let known = state.known(&good);
                if known.answer == Some(Answer::Bad) {
                    state.end = Some(End::NoDifference(format!(
                        "{good:.12} was named good and shows what the bad end shows: {}",
                        known.evidence
                    )));
                }
            }
        }
    }
    Ok(())
}

/// What the bad end and `good` differ in. Of a flaky case the boots that
/// differ are taken: whether they differ often enough is measured later.
fn question(state: &State, lab: &dyn Lab, good: &str) -> Result<Question, String> {
    let limit = state.asked.metric.as_ref().map_or(0.0, |m| m.1);
    let between = |g: &Boot, b: &Boot| Question::between(&g.sight, &b.sight, limit, lab.looking());
    let (goods, bads) = (state.boots(good), state.boots(&state.asked.bad));
    let mut why = "an end was never booted".to_owned();
    for b in &bads {
        for g in &goods {
            match between(g, b) {
                Ok(question) => return Ok(question),
                Err(e) => why = e,
            }
        }
    }
    Err(why)
}

/// Boots an end until it is seen; `Some` says why it cannot be tested.
fn see(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<Option<String>> {
    // How often it fails is asked at the ends, so there they are measured first.
    let wanted = if state.flaky { CALIBRATION as usize } else { 1 };
    build(state, lab, commit)?;
    if let Some(why) = state.test(commit).and_then(|t| t.no_image.clone()) {
        return Ok(Some(why));
    }
    while state.boots(commit).len() < wanted {
        boot(state, lab, commit)?;
    }
    Ok(None)
}

fn image(state: &State, commit: &str) -> Option<String> {
    state.test(commit)?.image.clone()
}

/// Goes back from the bad end, twice as far each time, until a commit is good.
fn search_back(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
    let line = lab.line(&state.asked.bad, 1 << 20)?;
    let mut back = 1;
    loop {
        let reached_root = back >= line.len();
        let from = back.min(line.len()).saturating_sub(1);
        for (nearby, commit) in line.iter().skip(from).take(NEARBY).enumerate() {
            let text = format!("{} commits before the bad end", from + nearby + 1);
            lab.tell(state, None, &text);
            if see(state, lab, commit)?.is_some() {
                continue;
            }
            if let Ok(asked) = question(state, lab, commit) {
                state.question = Some(asked);
                state.good = vec![commit.clone()];
                return Ok(());
            }
            break;
        }
        if reached_root {
            state.end = Some(End::NoDifference(format!(
                "no commit was found that differs from the bad end, {} commits back to the oldest one: name a good one with --good",
                line.len()
            )));
            return Ok(());
        }
        back *= 2;
    }
}

/// Measures how often a flaky case fails at either end.
fn calibrate(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
    let bad = state.asked.bad.clone();
    let good = state.good[0].clone();
    for end in [&bad, &good] {
        while state.known(end).tally.boots() < CALIBRATION
            && state.boots(end).len() < 2 * CALIBRATION as usize
        {
            lab.tell(
                state,
                None,
                "the case is flaky: how often does it fail here?",
            );
            boot(state, lab, end)?;
        }
    }
    let (b, g): (Tally, Tally) = (state.known(&bad).tally, state.known(&good).tally);
    match Rates::measured(b, g) {
        Some(rates) => state.rates = Some(rates),
        None => {
            state.end = Some(End::Contradiction(format!(
                "the case is flaky and fails about as often at both ends ({} of {} boots at the bad end, {} of {} at the good one): nothing can be told from it",
                b.bad,
                b.boots(),
                g.bad,
                g.boots()
            )));
        }
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

/// Has a commit answered: by a commit that is the same, or by as many boots as
/// it takes.
fn look(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
    if state.test(commit).is_none()
        && let Some(same) = same_files(state, lab, commit)?
    {
        state.test_mut(commit).like = Some((same, "no file that is built differs".into()));
        lab.save(state)?;
    }
    build(state, lab, commit)?;
    loop {
        let known = state.known(commit);
        match known.answer {
            Some(Answer::CannotTell)
                if known.tally.boots() == 0 && state.boots(commit).len() < TRIES => {}
            Some(_) => return Ok(()),
            None => {}
        }
        boot(state, lab, commit)?;
        if turns_flaky(state, commit) {
            return Ok(());
        }
    }
}

/// A tested commit whose tree is the same as far as the build goes.
fn same_files(state: &State, lab: &mut dyn Lab, commit: &str) -> Result<Option<String>> {
    for tested in state.tests.iter().rev().filter(|t| t.image.is_some()) {
        if lab.same_files(commit, &tested.commit)? {
            return Ok(Some(tested.commit.clone()));
        }
    }
    Ok(None)
}

/// Builds a commit that has not been, unless another one answers for it.
fn build(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
    let test = state.test_mut(commit);
    if test.image.is_none() && test.no_image.is_none() && test.like.is_none() {
        make_image(state, lab, commit)?;
    }
    Ok(())
}

fn make_image(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
    let start = Instant::now();
    let built = lab.build(commit)?;
    let took = start.elapsed().as_secs_f64();
    state.seconds += took;
    match built {
        Built::Not(why) => {
            let test = state.test_mut(commit);
            test.no_image = Some(why);
            test.seconds += took;
        }
        Built::Image(image) => {
            let same = state
                .tests
                .iter()
                .find(|t| t.commit != commit && t.image.as_ref() == Some(&image))
                .map(|t| t.commit.clone());
            let test = state.test_mut(commit);
            test.seconds += took;
            test.image = Some(image);
            test.like = same.map(|of| (of, "the same image".into()));
        }
    }
    lab.save(state)
}

/// Boots a commit once more, building it if need be.
fn boot(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
    let test = state.test_mut(commit);
    if test.image.is_none() && test.no_image.is_none() {
        // What was taken for the same by its files may turn out not to be.
        let taken = test.like.take().map(|like| like.0);
        make_image(state, lab, commit)?;
        if let Some(of) = taken
            && image(state, &of) != image(state, commit)
        {
            state.all_count = true;
        }
    }
    if state.test(commit).is_some_and(|t| t.image.is_none()) {
        return Ok(());
    }
    let start = Instant::now();
    let boot = lab.boot(commit)?;
    let took = start.elapsed().as_secs_f64();
    state.seconds += took;
    let test = state.test_mut(commit);
    test.seconds += took;
    test.boots.push(boot);
    lab.save(state)
}

/// Notices the first time that one kernel both passes and fails.
fn turns_flaky(state: &mut State, commit: &str) -> bool {
    let mixed = !state.flaky && state.known(commit).tally.is_mixed();
    state.flaky |= mixed;
    mixed
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

/// Boots a commit until it was booted twice, or as often as a flaky case
/// takes. `false` when something was seen that changes the search.
fn again(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<bool> {
    let all_count = state.all_count;
    let mut tries = 0;
    loop {
        let known = state.known(commit);
        let own_image = state
            .test(commit)
            .is_some_and(|t| t.image.is_some() || t.no_image.is_some());
        let enough = own_image
            && match known.answer {
                None => false,
                Some(Answer::Skip) => true,
                Some(_) => state.flaky || known.tally.boots() >= 2 || tries >= TRIES,
            };
        if enough {
            return Ok(all_count == state.all_count);
        }
        boot(state, lab, commit)?;
        tries += 1;
        if turns_flaky(state, commit) {
            return Ok(false);
        }
    }
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
