// SPDX-License-Identifier: GPL-2.0-only
//! `cases`: which requirement is proved by what. One without a proof is found
//! here, not by whoever trusts the table.

mod gaps;
#[cfg(test)]
mod made_up;
mod page;
mod requirements;
mod row;

use anyhow::Result;
use clap::CommandFactory;

use self::{
    gaps::{never_seen_to_fail, unknown, without_a_case},
    page::{page, plain},
    row::rows,
};
use crate::{
    cli::{self, Cli},
    fail,
    guest::Guest,
    mutate,
    session::Session,
};

/// The page in docs/ that holds the table.
pub const PAGE: &str = "docs/cases.md";

/// Prints the table; bad when a requirement has no proof.
pub fn cases(request: &cli::Cases) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let (text, missing) = table(&session, request.markdown)?;
    print!("{text}");
    for line in &missing {
        crate::say!("{line}");
    }
    Ok(if missing.is_empty() {
        fail::GOOD
    } else {
        fail::BAD
    })
}

/// What is wrong with the table, for `check`: requirements without a proof, and
/// a page in docs/ that says something else than the cases.
pub fn check(session: &Session) -> Result<Vec<String>> {
    let (text, mut wrong) = table(session, true)?;
    let page = session.project.path(PAGE);
    if std::fs::read_to_string(&page).unwrap_or_default() != text {
        wrong.push(format!(
            "{PAGE} is not what the cases say: cargo harness cases --markdown > {PAGE}"
        ));
    }
    Ok(wrong)
}

fn table(session: &Session, markdown: bool) -> Result<(String, Vec<String>)> {
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let lines = lines(session)?;
    let mut mutations = Vec::new();
    for base in &lines {
        mutations.extend(mutate::mutations(session, base)?);
    }
    unknown(&guest.cases, &mutations)?;
    let commands: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect();
    let rows = rows(&guest.cases, &mutations, &commands);
    let mut missing: Vec<String> = rows
        .iter()
        .filter(|r| !r.covered)
        .map(|r| format!("nothing proves {}: {}", r.id, r.text))
        .collect();
    missing.extend(
        never_seen_to_fail(&guest.cases, &mutations, &lines)
            .map(|case| format!("{case} was never seen to fail: no mutation says that it notices")),
    );
    missing.extend(without_a_case(&guest.cases, &lines));
    let text = if markdown {
        page(&rows, &guest.cases, &mutations)
    } else {
        plain(&rows)
    };
    Ok((text, missing))
}

/// The release lines that a series is kept for.
fn lines(session: &Session) -> Result<Vec<String>> {
    let bases = session.project.bases()?;
    Ok(bases.into_iter().map(|b| b.line).collect())
}
