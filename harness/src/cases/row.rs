// SPDX-License-Identifier: GPL-2.0-only
//! A line of the table: a requirement and everything that proves it.

use protocol::CaseInfo;

use super::requirements::{Proof, REQUIREMENTS};
use crate::mutate::Mutation;

/// A requirement and everything that proves it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub id: &'static str,
    pub text: &'static str,
    pub cases: Vec<&'a str>,
    /// Subjects of the mutations that break it, and the cases that notice each.
    pub mutations: Vec<(&'a str, String)>,
    pub command: Option<&'static str>,
    pub covered: bool,
}

/// The rows of the table, in the order of the requirements.
pub(super) fn rows<'a>(
    cases: &'a [CaseInfo],
    mutations: &'a [Mutation],
    commands: &[String],
) -> Vec<Row<'a>> {
    REQUIREMENTS
        .iter()
        .map(|&(id, text, proof)| {
            let cases: Vec<&str> = cases
                .iter()
                .filter(|c| c.proves.iter().any(|p| p == id))
                .map(|c| c.name.as_str())
                .collect();
            let mutations: Vec<_> = mutations
                .iter()
                .filter(|m| m.breaks.iter().any(|b| b == id))
                .map(|m| (m.subject.as_str(), m.noticed_by.join(" ")))
                .collect();
            let command = match proof {
                Proof::Command(name) => commands.iter().any(|c| c == name).then_some(name),
                Proof::Cases | Proof::Mutation => None,
            };
            let covered = match proof {
                Proof::Cases => !cases.is_empty(),
                Proof::Mutation => !mutations.is_empty(),
                Proof::Command(_) => command.is_some(),
            };
            Row {
                id,
                text,
                cases,
                mutations,
                command,
                covered,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::made_up::{case, mutation};

    fn covered(rows: &[Row<'_>], id: &str) -> bool {
        rows.iter().any(|r| r.id == id && r.covered)
    }

    /// Verify that a requirement is covered by what it asks for and by nothing else.
    #[test]
    fn coverage() {
        let cases = [case("a", &["R1", "C1"])];
        let mutations = [mutation("R4", "a"), mutation("R2", "a")];
        let without = rows(&cases, &mutations, &[]);
        for (id, wanted) in [("R1", true), ("R2", false), ("R4", true), ("C1", false)] {
            assert_eq!(covered(&without, id), wanted, "{id}");
        }
        assert!(covered(&rows(&cases, &mutations, &["bench".into()]), "C1"));
    }
}
