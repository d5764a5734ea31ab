// SPDX-License-Identifier: GPL-2.0-only
//! `cases`: which requirement is proved by what. One without a proof is found
//! here, not by whoever trusts the table.

use std::fmt::Write as _;

use anyhow::Result;
use clap::CommandFactory;
use protocol::CaseInfo;

use crate::{
    cli::{self, Cli},
    fail,
    guest::Guest,
    mutate::{self, Mutation},
    request,
    session::{DEFAULT_BASE, Session},
};

/// The page in docs/ that holds the table.
pub const PAGE: &str = "docs/cases.md";

/// What proves a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Cases that declare it.
    Cases,
    /// The series refuses at registration what would break it, which no case
    /// can see of a kernel that is right: a mutation that brings it about.
    Mutation,
    /// A command of the harness that measures it, by name.
    Command(&'static str),
}

/// What is to be proved, what it says, and by what.
const REQUIREMENTS: &[(&str, &str, Proof)] = &[
    (
        "helper",
        "what the helper takes, returns and whom it is for",
        Proof::Cases,
    ),
    ("carry", "how the redirect is carried out", Proof::Cases),
    (
        "R1",
        "the peer's MTU does not limit what it receives",
        Proof::Cases,
    ),
    (
        "R2",
        "packets of an L3 device, given a header, are delivered",
        Proof::Cases,
    ),
    (
        "R3",
        "the peer counts each packet once, the host end none",
        Proof::Cases,
    ),
    (
        "R4",
        "a driver without per-CPU counters cannot crash the kernel",
        Proof::Mutation,
    ),
    (
        "R5",
        "what the host attached to a packet stays on the host",
        Proof::Cases,
    ),
    (
        "R6",
        "the packet type of the host does not matter to the container",
        Proof::Cases,
    ),
    ("R7", "mark and delivery time survive", Proof::Cases),
    (
        "R8",
        "internal flags are no flags of the UAPI",
        Proof::Cases,
    ),
    (
        "R9",
        "the helper is safe where no packet is received or sent",
        Proof::Cases,
    ),
    ("R10", "the loop is bounded", Proof::Cases),
    (
        "R11",
        "a socket of the host does not receive the container's packet",
        Proof::Cases,
    ),
    (
        "R12",
        "callers that cannot take the packet back neither leak it nor act on a stale request",
        Proof::Cases,
    ),
    (
        "R13",
        "the receive queue of the host's device is not the peer's",
        Proof::Cases,
    ),
    ("R14", "drops are visible", Proof::Cases),
    ("R15", "taking things away under load is safe", Proof::Cases),
    (
        "C1",
        "packets that are not redirected cost what they cost before",
        Proof::Command("bench"),
    ),
    (
        "C2",
        "redirect_peer costs no more than upstream's",
        Proof::Command("bench"),
    ),
    ("C3", "the backlog is skipped", Proof::Cases),
    (
        "regression",
        "the helper's siblings do what they did before",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_peer",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_peer_l3",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_peer_egress",
        "the kernel's own tests of BPF_F_EGRESS (7.3)",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_neigh",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_neigh_fib",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
];

/// A requirement and everything that proves it.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    id: &'static str,
    text: &'static str,
    cases: Vec<&'a str>,
    /// Subjects of the mutations that break it, and the case that notices each.
    mutations: Vec<(&'a str, &'a str)>,
    command: Option<&'static str>,
    covered: bool,
}

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
    let mutations = mutate::mutations(session, DEFAULT_BASE)?;
    unknown(&guest.cases, &mutations)?;
    let commands: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect();
    let rows = rows(&guest.cases, &mutations, &commands);
    let missing = rows
        .iter()
        .filter(|r| !r.covered)
        .map(|r| format!("nothing proves {}: {}", r.id, r.text))
        .collect();
    let text = if markdown {
        page(&rows, &guest.cases)
    } else {
        plain(&rows)
    };
    Ok((text, missing))
}

/// Fails when a case or a mutation names what is no requirement, or no case.
fn unknown(cases: &[CaseInfo], mutations: &[Mutation]) -> Result<()> {
    let known = |id: &str| REQUIREMENTS.iter().any(|r| r.0 == id);
    for case in cases {
        if let Some(id) = case.proves.iter().find(|id| !known(id)) {
            return Err(request!(
                "case {} proves `{id}`, which is no requirement",
                case.name
            ));
        }
    }
    for mutation in mutations {
        let patch = mutation.patch.display();
        if let Some(id) = mutation.breaks.iter().find(|id| !known(id)) {
            return Err(request!("{patch} breaks `{id}`, which is no requirement"));
        }
        if !cases.iter().any(|c| c.name == mutation.case) {
            return Err(request!(
                "{patch} is to be noticed by `{}`, which is no case",
                mutation.case
            ));
        }
    }
    Ok(())
}

fn rows<'a>(cases: &'a [CaseInfo], mutations: &'a [Mutation], commands: &[String]) -> Vec<Row<'a>> {
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
                .map(|m| (m.subject.as_str(), m.case.as_str()))
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

fn plain(rows: &[Row<'_>]) -> String {
    rows.iter().fold(String::new(), |mut out, row| {
        let mark = if row.covered { "ok  " } else { "NONE" };
        let _ = writeln!(out, "{mark} {:<30} {}", row.id, row.text);
        for case in &row.cases {
            let _ = writeln!(out, "         {case}");
        }
        for (subject, case) in &row.mutations {
            let _ = writeln!(out, "         broken on purpose: {subject} ({case})");
        }
        if let Some(command) = row.command {
            let _ = writeln!(out, "         measured by `cargo harness {command}`");
        }
        out
    })
}

fn page(rows: &[Row<'_>], cases: &[CaseInfo]) -> String {
    let mut out = String::from(
        "# What proves which requirement\n\n\
         Made by `cargo harness cases --markdown`; `cargo harness check` fails where it says something else than the cases, \
         and where a requirement has no proof. `kernel:` is a test of the kernel's own that the cases match. The last column \
         is what [breaks it on purpose](../kernel-patches/6.12/mutations), and the case that notices.\n\n\
         | requirement | | proved by | broken on purpose: noticed by |\n|---|---|---|---|\n",
    );
    for row in rows {
        let mut proofs: Vec<String> = row.cases.iter().map(|c| format!("`{c}`")).collect();
        proofs.extend(row.command.map(|c| format!("`cargo harness {c}`")));
        if proofs.is_empty() {
            proofs.push(
                if row.covered {
                    "&#8594;"
                } else {
                    "**nothing**"
                }
                .into(),
            );
        }
        let broken: Vec<String> = row
            .mutations
            .iter()
            .map(|(subject, case)| format!("{subject}: `{case}`"))
            .collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            row.id,
            row.text,
            proofs.join(", "),
            broken.join("; ")
        );
    }
    let _ = write!(
        out,
        "\n## The cases\n\n| case | proves | |\n|---|---|---|\n"
    );
    for case in cases {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            case.name,
            case.proves.join(", "),
            case.summary.replace('|', "\\|")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn case(name: &str, proves: &[&str]) -> CaseInfo {
        CaseInfo {
            name: name.into(),
            summary: "Verify that".into(),
            proves: proves.iter().map(|p| (*p).to_owned()).collect(),
            expectations: vec![],
            deadline_ms: 1,
        }
    }

    fn mutation(breaks: &str, case: &str) -> Mutation {
        Mutation {
            patch: PathBuf::from("p"),
            subject: "Leave out x".into(),
            case: case.into(),
            verdict: "fail".into(),
            breaks: vec![breaks.into()],
        }
    }

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
        assert!(page(&without, &cases).contains(
            "| R2 | packets of an L3 device, given a header, are delivered | **nothing** |"
        ));
    }

    /// Verify that a name that means nothing is an error: a slip of the pen
    /// would otherwise look like a requirement that has fewer proofs.
    #[test]
    fn slips() {
        let good = [case("a", &["R1"])];
        assert!(unknown(&good, &[mutation("R4", "a")]).is_ok());
        assert!(unknown(&[case("a", &["R16"])], &[]).is_err());
        assert!(unknown(&good, &[mutation("R0", "a")]).is_err());
        assert!(unknown(&good, &[mutation("R4", "b")]).is_err());
    }
}
