// SPDX-License-Identifier: GPL-2.0-only
//! One commit: answered by another one that is the same kernel, or built and
//! booted as often as it takes.

use std::time::Instant;

use anyhow::Result;

use super::{
    drive::{Built, Lab},
    search::Answer,
    state::State,
};

/// A commit that nothing can be told of is booted so often before it is passed over.
const TRIES: usize = 2;
/// Has a commit answered: by a commit that is the same, or by as many boots as
/// it takes.
pub(super) fn look(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
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
pub(super) fn build(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
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
pub(super) fn boot(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<()> {
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

/// Boots a commit until it was booted twice, or as often as a flaky case
/// takes. `false` when something was seen that changes the search.
pub(super) fn again(state: &mut State, lab: &mut dyn Lab, commit: &str) -> Result<bool> {
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

/// The image of a commit that was built.
pub(super) fn image(state: &State, commit: &str) -> Option<String> {
    state.test(commit)?.image.clone()
}
