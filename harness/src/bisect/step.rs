// SPDX-License-Identifier: GPL-2.0-only
//! `bisect-step`: one commit, for those who prefer git's own driver.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Result;

use super::{
    ask::{rev, tree_of},
    certainty::{Belief, MOST_BOOTS, Tally, believe},
    drive::{Built, Lab},
    lab::Kernels,
    search::Answer,
    sight,
    state::Asked,
};
use crate::{cli::BisectStep, fail, interrupt, request, say, session::Session};

/// `git bisect run` takes this for a commit that cannot be tested.
pub const SKIP: u8 = 125;
/// `git bisect run` stops at this.
pub const STOP: u8 = 128;

/// `bisect-step`: one commit, answered as `git bisect run` wants it.
pub fn step(request: &BisectStep) -> u8 {
    guarded(|| {
        interrupt::install()?;
        try_step(request)
    })
}

/// The exit status of an answer. Whatever is wrong with the harness or the
/// request, git must not take it for a bad commit.
fn guarded(answer: impl FnOnce() -> Result<Answer>) -> u8 {
    match catch_unwind(AssertUnwindSafe(answer)) {
        Ok(Ok(answer)) => status(answer),
        Ok(Err(error)) => {
            let _ = fail::report(&error);
            STOP
        }
        Err(_) => {
            say!(
                "error: the harness itself is wrong, as it said above: nothing is known of this commit"
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that git never takes a harness that is at its end for a bad commit.
    #[test]
    fn no_way_to_end_is_an_answer() {
        assert_eq!(guarded(|| Ok(Answer::Good)), 0);
        assert_eq!(guarded(|| Ok(Answer::Bad)), 1);
        assert_eq!(guarded(|| Err(request!("no such tree"))), STOP);
        assert_eq!(guarded(|| panic!("a test panics on purpose")), STOP);
    }
}
