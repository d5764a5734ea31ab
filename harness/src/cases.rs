// SPDX-License-Identifier: GPL-2.0-only
//! `cases`: which requirement is proved by what. One without a proof is found
//! here, not by whoever trusts the table.

use std::fmt::Write as _;

use anyhow::Result;
use clap::CommandFactory;
use protocol::{Arm, CaseInfo, Expect, Expectation};

use crate::{
    cli::{self, Cli},
    fail,
    guest::{Guest, glob_matches},
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
        "kernel:tc_redirect_peer_ing",
        "the kernel's own test of that name, of BPF_F_EGRESS (7.3)",
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

/// Requirements that do not exist on some bases, and why.
const NOT_ON: &[(&str, &[&str], &str)] = &[(
    "kernel:tc_redirect_peer_ing",
    &["5.10", "6.1", "6.12"],
    "BPF_F_EGRESS came with 7.3",
)];

/// A requirement and everything that proves it.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    id: &'static str,
    text: &'static str,
    cases: Vec<&'a str>,
    /// Subjects of the mutations that break it, and the cases that notice each.
    mutations: Vec<(&'a str, String)>,
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

/// The cases that must pass on the patched kernel of a base, and that no mutation
/// makes fail: nobody knows that they can. What must pass on the default base
/// must be seen to fail there: that is what CI tries.
fn never_seen_to_fail<'a>(
    cases: &'a [CaseInfo],
    mutations: &'a [Mutation],
    bases: &'a [String],
) -> impl Iterator<Item = &'a str> {
    let must_pass = |c: &CaseInfo, base: &str| *c.expect(Arm::Patched, base).0 == Expect::Pass;
    cases
        .iter()
        .filter(move |c| bases.iter().any(|base| must_pass(c, base)))
        .filter(move |c| {
            !mutations
                .iter()
                .filter(|m| m.base == DEFAULT_BASE || !must_pass(c, DEFAULT_BASE))
                .any(|m| m.is_noticed_by(c))
        })
        .map(|c| c.name.as_str())
}

/// Requirements that no case proves on the patched kernel of a base, unless
/// [`NOT_ON`] says why.
fn without_a_case(cases: &[CaseInfo], bases: &[String]) -> Vec<String> {
    let mut missing = Vec::new();
    for (id, text, _) in REQUIREMENTS.iter().filter(|r| r.2 == Proof::Cases) {
        for base in bases {
            let proves = |c: &&CaseInfo| {
                c.proves.iter().any(|p| p == id)
                    && matches!(c.expect(Arm::Patched, base).0, Expect::Pass)
            };
            let declared = NOT_ON
                .iter()
                .any(|n| n.0 == *id && n.1.contains(&base.as_str()));
            match (cases.iter().any(|c| proves(&c)), declared) {
                (false, false) => missing.push(format!("nothing proves {id} on {base}: {text}")),
                (true, true) => missing.push(format!(
                    "{id} is proved on {base} although it is said that it cannot be there"
                )),
                _ => {}
            }
        }
    }
    missing
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
        // Any case whose name matches and that runs there.
        let is_case = |glob: &&String| {
            let passes = |c: &CaseInfo| *c.expect(Arm::Patched, &mutation.base).0 == Expect::Pass;
            let matches = |c: &&CaseInfo| glob_matches(glob, &c.name);
            cases.iter().filter(matches).any(passes)
        };
        if let Some(glob) = mutation.noticed_by.iter().find(|glob| !is_case(glob)) {
            return Err(request!(
                "{patch} is to be noticed by `{glob}`, which is no case that must pass on {}",
                mutation.base
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

fn page(rows: &[Row<'_>], cases: &[CaseInfo], mutations: &[Mutation]) -> String {
    let mut out = String::from(
        "# What proves which requirement\n\n\
         Made by `cargo harness cases --markdown`; `cargo harness check` fails where it says something else than the cases, \
         and where a requirement has no proof. `kernel:` is a test of the kernel's own that the cases match. The last column \
         is what breaks it on purpose (kernel-patches/LINE/mutations), and the case that notices.\n\n\
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
        "\n## The cases\n\nA case passes on every arm and base unless the fourth column says otherwise. The last one has the \
         mutations that make it fail: their numbers, of {DEFAULT_BASE} unless another line is named.\n\n\
         | case | proves | | elsewhere than by a pass | seen to fail by |\n|---|---|---|---|---|\n"
    );
    for case in cases {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            case.name,
            case.proves.join(", "),
            case.summary.replace('|', "\\|"),
            elsewhere(case),
            seen_to_fail_by(case, mutations)
        );
    }
    out
}

/// On which arms and bases a case ends otherwise than by a pass, and how.
fn elsewhere(case: &CaseInfo) -> String {
    let one = |e: &Expectation| {
        let arm = e.arm.map_or("all arms", Arm::word);
        let bases = if e.bases.is_empty() {
            String::new()
        } else {
            format!(" of {}", e.bases.join(", "))
        };
        let how = match &e.expect {
            Expect::Pass => "passes".to_owned(),
            Expect::Fail { reason } => format!("fails: {reason}"),
            Expect::Hang => "hangs".to_owned(),
            Expect::Splat { kind, says } => {
                format!("makes the kernel log a {kind} that says `{says}`")
            }
            Expect::Crash { says } => format!("brings the kernel down, which says `{says}`"),
            Expect::Skip => "is skipped".to_owned(),
        };
        format!("{arm}{bases}: {how}")
    };
    let all: Vec<String> = case.expectations.iter().map(one).collect();
    all.join("; ")
}

/// The numbers of the mutations that a case notices.
fn seen_to_fail_by(case: &CaseInfo, mutations: &[Mutation]) -> String {
    let number = |m: &Mutation| {
        let number = m.patch.file_name()?.to_str()?.split('-').next()?;
        Some(if m.base == DEFAULT_BASE {
            number.to_owned()
        } else {
            format!("{} {number}", m.base)
        })
    };
    let numbers: Vec<String> = mutations
        .iter()
        .filter(|m| m.is_noticed_by(case))
        .filter_map(number)
        .collect();
    numbers.join(", ")
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
            waits_ms: 0,
        }
    }

    fn mutation(breaks: &str, case: &str) -> Mutation {
        Mutation {
            base: DEFAULT_BASE.into(),
            patch: PathBuf::from("0001-p.patch"),
            subject: "Leave out x".into(),
            noticed_by: vec![case.into()],
            verdict: "fail".into(),
            reasons: vec![],
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
        assert!(page(&without, &cases, &mutations).contains(
            "| R2 | packets of an L3 device, given a header, are delivered | **nothing** |"
        ));
    }

    /// Verify that a case that no mutation makes fail is named, and one that
    /// need not pass is not.
    #[test]
    fn cases_that_were_never_seen_to_fail() {
        let mut skipped = case("c", &[]);
        skipped.expectations.push(Expectation {
            arm: None,
            bases: vec![DEFAULT_BASE.into()],
            expect: Expect::Skip,
            why: "w".into(),
        });
        let cases = [case("a", &[]), case("b", &[]), skipped];
        let mut mutations = vec![mutation("R1", "a*")];
        let bases = [DEFAULT_BASE.to_owned(), "7.3".to_owned()];
        let unseen = |mutations: &[Mutation], bases: &[String]| -> Vec<String> {
            let unseen = never_seen_to_fail(&cases, mutations, bases);
            unseen.map(str::to_owned).collect()
        };
        assert_eq!(unseen(&mutations, &bases[..1]), ["b"]);
        assert_eq!(unseen(&mutations, &bases), ["b", "c"]);
        // Elsewhere is good enough for what the default base skips, only.
        let mut others = mutation("R1", "?");
        others.base = "7.3".into();
        mutations.push(others);
        assert_eq!(unseen(&mutations, &bases), ["b"]);
        assert_eq!(seen_to_fail_by(&cases[2], &mutations), "7.3 0001");
        assert_eq!(seen_to_fail_by(&cases[0], &mutations), "0001, 7.3 0001");
        assert_eq!(seen_to_fail_by(&cases[2], &[mutation("R1", "c")]), "");
        assert_eq!(
            elsewhere(&cases[2]),
            format!("all arms of {DEFAULT_BASE}: is skipped")
        );
    }

    /// Verify that a requirement is asked for on each base, and that a base
    /// which is declared not to have it has no case that proves it.
    #[test]
    fn each_base_has_its_proof() {
        let on = |base: &str| Expectation {
            arm: None,
            bases: vec![base.into()],
            expect: Expect::Skip,
            why: "w".into(),
        };
        let bases = ["5.10".to_owned(), "6.12".to_owned()];
        let mut one = case("a", &["R1"]);
        one.expectations.push(on("5.10"));
        let missing = without_a_case(&[one], &bases);
        let of = |what: &str| missing.iter().any(|m| m.starts_with(what));
        assert!(of("nothing proves R1 on 5.10"));
        assert!(!of("nothing proves R1 on 6.12"));
        assert!(!of("nothing proves kernel:tc_redirect_peer_ing"));
        let too_much = case("b", &["kernel:tc_redirect_peer_ing"]);
        let missing = without_a_case(&[too_much], &bases[1..]);
        assert!(missing.iter().any(|m| m.contains("is proved on 6.12")));
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
