// SPDX-License-Identifier: GPL-2.0-only
//! The ends of a bisection: what they differ in, where the good one is when
//! nobody knows, and how often a flaky case fails at either.

use anyhow::Result;

use super::{
    boots::{boot, build, image},
    certainty::{CALIBRATION, Rates, Tally},
    drive::Lab,
    question::Question,
    search::Answer,
    sight::{Boot, Sight},
    state::{End, State},
};

/// How many commits next to one that cannot be tested are tried when a good
/// end is searched for.
const NEARBY: usize = 3;

/// Tests both ends and finds what they differ in.
pub(super) fn ends(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
    let bad = state.asked.bad.clone();
    // Going on with it, there may be nothing left to be done about an end.
    if state.boots(&bad).is_empty() {
        lab.tell(state, None, "the bad end");
    }
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
        if state.boots(&good).is_empty() {
            lab.tell(state, None, "the good end");
        }
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
    let unmeasured = |b: &&Boot| matches!(b.sight, Sight::Cases(_));
    if state.asked.metric.is_some() && state.boots(commit).iter().all(unmeasured) {
        return Ok(state.boots(commit).last().map(|b| b.sight.brief()));
    }
    Ok(None)
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
pub(super) fn calibrate(state: &mut State, lab: &mut dyn Lab) -> Result<()> {
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
