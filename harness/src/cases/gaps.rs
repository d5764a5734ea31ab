// SPDX-License-Identifier: GPL-2.0-only
//! What the table lacks: requirements that nothing proves on a base, cases that
//! were never seen to fail, and names that mean nothing.

use anyhow::Result;
use protocol::{Arm, CaseInfo, Expect};

use super::requirements::{NOT_ON, Proof, REQUIREMENTS};
use crate::{guest::glob_matches, mutate::Mutation, request, session::DEFAULT_BASE};

/// The cases that must pass on the patched kernel of a base, and that no mutation
/// makes fail: nobody knows that they can. What must pass on the default base
/// must be seen to fail there: that is what CI tries.
pub(super) fn never_seen_to_fail<'a>(
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
pub(super) fn without_a_case(cases: &[CaseInfo], bases: &[String]) -> Vec<String> {
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
pub(super) fn unknown(cases: &[CaseInfo], mutations: &[Mutation]) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::made_up::{case, mutation, skipped_on};

    /// Verify that a case that no mutation makes fail is named, and one that
    /// need not pass is not.
    #[test]
    fn cases_that_were_never_seen_to_fail() {
        let skipped = skipped_on("c", &[], DEFAULT_BASE);
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
    }

    /// Verify that a requirement is asked for on each base, and that a base
    /// which is declared not to have it has no case that proves it.
    #[test]
    fn each_base_has_its_proof() {
        let bases = ["5.10".to_owned(), "6.12".to_owned()];
        let one = skipped_on("a", &["R1"], "5.10");
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
