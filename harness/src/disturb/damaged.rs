// SPDX-License-Identifier: GPL-2.0-only
//! What an earlier run made, damaged: noticed, named, made anew, and the verdict
//! is the same as before.

use std::fs;

use anyhow::{Context, Result};

use super::{Trial, second::Place};
use crate::{
    fail,
    session::{DEFAULT_BASE, Session},
};

/// A case that is over soon.
pub(super) const CASE: &str = "allowed_for_sched_act";

/// Takes the second half of a file away.
fn halve(path: &std::path::Path) -> Result<()> {
    let halve = || -> std::io::Result<()> {
        let file = fs::File::options().write(true).open(path)?;
        file.set_len(file.metadata()?.len() / 2)
    };
    halve().with_context(|| format!("damaging {}", path.display()))
}

pub(super) fn try_all(place: &Place, session: &Session) -> Result<Vec<Trial>> {
    let step = session.progress.begin("disturb", "damage");
    let verify = ["verify", "--arm", "patched", "--case", CASE];
    let image = session
        .cache
        .path("src")
        .join(DEFAULT_BASE)
        .join("patched/.build-default/arch/x86/boot/bzImage");
    let guest = session.project.path("target/guest/selftests");
    let mut trials = Vec::new();
    for (what, file) in [
        ("a damaged kernel image", image),
        ("a damaged guest program", guest),
    ] {
        step.at(what);
        halve(&file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let wrong = place
            .start(&[], &verify)?
            .must_end(fail::GOOD, &[&name, "is damaged", "made anew"])?;
        trials.push(Trial::new(what, wrong));
    }
    step.done(false);
    Ok(trials)
}
