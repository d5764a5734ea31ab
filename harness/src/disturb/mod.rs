// SPDX-License-Identifier: GPL-2.0-only
//! `disturb`: a second harness is interrupted in each step, is given full and
//! read-only disks, and what an earlier run made is damaged. Each has something
//! that is due; a pass that should not be one, and anything left behind, is a
//! bug here.

mod damaged;
mod disks;
mod interrupted;
mod left;
mod second;

use anyhow::{Result, bail};

use crate::{
    cli::{self, ArmFlag, Verify},
    fail,
    session::{DEFAULT_BASE, Session},
    verify,
};

/// What one of them came to.
#[derive(Debug)]
pub struct Trial {
    /// What was done, in words.
    pub what: String,
    /// What came of it.
    pub came: Came,
}

/// Whether what came was due.
#[derive(Debug)]
pub enum Came {
    /// It was.
    Due,
    /// What came instead.
    Wrong(String),
    /// Why it could not be tried here: no evidence.
    Untried(String),
}

impl Trial {
    pub(crate) fn new(what: impl Into<String>, wrong: Option<String>) -> Self {
        Self {
            what: what.into(),
            came: wrong.map_or(Came::Due, Came::Wrong),
        }
    }
}

/// `disturb`: tries them and prints what came of each.
pub fn disturb(request: &cli::Disturb) -> Result<u8> {
    let session = Session::open(&request.common)?;
    // Undisturbed, so that everything is there that is to be damaged.
    let mut plain = Verify::of_base(DEFAULT_BASE, &request.common);
    plain.arms = vec![ArmFlag::Patched];
    plain.cases = vec![damaged::CASE.to_owned()];
    let before = verify::collect(&session, &plain)?;
    if !before.is_good() {
        bail!(
            "nothing can be told: {} is not good undisturbed",
            damaged::CASE
        );
    }
    let mut wrong = 0;
    for trial in try_all(&session)? {
        match trial.came {
            Came::Due => println!("ok   {}", trial.what),
            Came::Untried(why) => println!("skip {}: {why}", trial.what),
            Came::Wrong(came) => {
                println!("FAIL {}\n     {came}", trial.what);
                wrong += 1;
            }
        }
    }
    Ok(if wrong == 0 { fail::GOOD } else { fail::BAD })
}

/// Tries all of them, with the patched kernel of the default base, which an earlier
/// run has built.
pub fn try_all(session: &Session) -> Result<Vec<Trial>> {
    let place = second::Place::new(session)?;
    let mut trials = disks::try_all(&place, session)?;
    trials.extend(damaged::try_all(&place, session)?);
    trials.extend(interrupted::try_all(&place, session)?);
    Ok(trials)
}
