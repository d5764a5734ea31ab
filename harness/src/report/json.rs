// SPDX-License-Identifier: GPL-2.0-only
//! results.json, written and read back.

use std::{io::Read, path::Path};

use anyhow::{Context, Result, bail};
use protocol::{Arm, CaseInfo, Expect, Outcome};

use crate::{
    intree,
    results::{self, CaseResult, Results, Run},
    verdict::Verdict,
};

/// A file of results larger than this is none of ours. Bytes.
const LARGEST: u64 = 256 << 20;

/// The text of results.json.
pub(super) fn json(results: &Results) -> Result<String> {
    Ok(serde_json::to_string_pretty(results).context("writing results.json")? + "\n")
}

/// Reads saved results, with suspicion: what contradicts itself is refused.
pub fn load(path: &Path) -> Result<Results> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(LARGEST + 1).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", path.display()))?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "{} is larger than {} MiB: no results are",
            path.display(),
            LARGEST >> 20
        );
    }
    parse(&bytes).with_context(|| {
        format!(
            "{} does not hold results of this version of the harness",
            path.display()
        )
    })
}

pub(super) fn parse(bytes: &[u8]) -> Result<Results> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    // By itself first: another version need not have the other fields.
    let found: Version = serde_json::from_slice(bytes).context("it is damaged")?;
    if found.version != results::VERSION {
        bail!(
            "it is of version {}, this harness reads {}: make them anew",
            found.version,
            results::VERSION
        );
    }
    let results: Results = serde_json::from_slice(bytes).context("it is damaged")?;
    check(&results).context("it contradicts itself")?;
    Ok(results)
}

/// Whether each verdict can have come from what is beside it.
fn check(results: &Results) -> Result<()> {
    for run in &results.runs {
        let name = format!("{} {}", run.base, run.arm.word());
        if run.verdict.is_good() && run.cases.iter().any(|c| !c.verdict.is_good()) {
            bail!(
                "the run {name} is {}, and one of its cases is bad",
                run.verdict
            );
        }
        for case in &run.cases {
            if case.splats.iter().any(|i| *i >= run.splats.len()) {
                bail!(
                    "`{}` of {name} has a report of the kernel that is not there",
                    case.name
                );
            }
            if !can_be(case) {
                bail!("`{}` of {name} cannot be {}", case.name, case.verdict);
            }
        }
        for (i, case) in run.cases.iter().enumerate() {
            if run.cases[..i].iter().any(|c| c.name == case.name) {
                bail!("`{}` is twice in {name}", case.name);
            }
        }
        // What was asked for is there, or it would be missing without a word.
        if let Some(lacking) = results
            .cases
            .iter()
            .find(|c| !has(run, c) && !is_of_another(c, run, results))
        {
            bail!(
                "`{}` was asked for and {name} does not have it",
                lacking.name
            );
        }
    }
    Ok(())
}

fn has(run: &Run, case: &CaseInfo) -> bool {
    run.cases.iter().any(|c| c.name == case.name)
}

/// The kernel's own selftest has other cases in each tree, and is not run where
/// there is no helper: a case of it may lack where no kernel of that source has it.
fn is_of_another(case: &CaseInfo, run: &Run, results: &Results) -> bool {
    let same = |r: &&Run| r.source == run.source && r.arm != Arm::Baseline;
    intree::is_one(case)
        && (run.arm == Arm::Baseline || !results.runs.iter().filter(same).any(|r| has(r, case)))
        && results.runs.iter().any(|r| has(r, case))
}

fn can_be(case: &CaseResult) -> bool {
    match case.verdict {
        Verdict::Pass => {
            case.outcome == Some(Outcome::Pass)
                && case.expected == Expect::Pass
                && case.splats.is_empty()
        }
        Verdict::ExpectedFail => match (&case.expected, &case.outcome) {
            (Expect::Fail { reason }, Some(Outcome::Fail(failure))) => failure.reason == *reason,
            (Expect::Hang, _) => true,
            (Expect::Splat, _) => !case.splats.is_empty(),
            _ => false,
        },
        Verdict::ExpectedSkip => {
            case.expected == Expect::Skip && matches!(case.outcome, Some(Outcome::Skip { .. }))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    const GOOD: &str = include_str!("../../tests/results/good.json");
    const BAD: &str = include_str!("../../tests/results/bad.json");

    /// Verify that what was written is read back the same.
    #[test]
    fn round_trip() {
        for text in [GOOD, BAD] {
            let results = parse(text.as_bytes()).unwrap();
            let again = parse(json(&results).unwrap().as_bytes()).unwrap();
            assert_eq!(json(&results).unwrap(), json(&again).unwrap());
        }
        assert!(parse(GOOD.as_bytes()).unwrap().is_good());
        assert!(!parse(BAD.as_bytes()).unwrap().is_good());
    }

    /// Verify that another version is named, whatever else is in the file.
    #[test]
    fn other_versions_are_refused() {
        let error = parse(br#"{"version": 99}"#).unwrap_err();
        assert!(error.to_string().contains("99"), "{error}");
    }

    /// Verify that a pass without its evidence is refused.
    #[test]
    fn contradictions_are_refused() {
        let good = parse(GOOD.as_bytes()).unwrap();
        let refused = |change: &dyn Fn(&mut Results)| {
            let mut results = good.clone();
            change(&mut results);
            parse(json(&results).unwrap().as_bytes()).is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|r| r.runs[1].cases[0].outcome = None));
        assert!(refused(&|r| r.runs[1].cases[0].verdict = Verdict::Fail));
        assert!(refused(&|r| r.runs[1].cases[0].splats.push(7)));
        assert!(refused(&|r| r.runs[1].cases[0].expected = Expect::Skip));
        assert!(refused(&|r| drop(r.runs[1].cases.pop())));
        assert!(refused(&|r| {
            let case = r.runs[1].cases[0].clone();
            r.runs[1].cases.push(case);
        }));
    }

    /// Verify that a case of the kernel's own selftest may be in one source's tree
    /// only, but not on one kernel of it only.
    #[test]
    fn selftests_of_another_tree_may_lack() {
        let mut results = parse(GOOD.as_bytes()).unwrap();
        let mut own = results.cases[0].clone();
        own.name = "in_tree_x".into();
        own.proves = vec!["in-tree".into()];
        own.expectations.clear();
        results.cases.push(own);
        let read = |r: &Results| parse(json(r).unwrap().as_bytes());
        assert!(read(&results).is_err(), "no kernel has it");
        let mut other = results.runs[1].clone();
        assert_eq!(other.arm, Arm::Patched);
        other.source = "5.10.1".into();
        let mut case = other.cases[0].clone();
        case.name = "in_tree_x".into();
        other.cases.push(case);
        results.runs.push(other.clone());
        assert!(read(&results).is_ok(), "{:#}", read(&results).unwrap_err());
        other.cases.pop();
        other.arm = Arm::Upstream;
        results.runs.push(other);
        assert!(
            read(&results).is_err(),
            "another kernel of that tree has it"
        );
    }

    /// Verify that no damage makes the reader panic or turns bad results good.
    #[test]
    fn damage_never_makes_good() {
        let mut damage = Damage::new();
        for round in 0..3_000 {
            let mut bytes = BAD.as_bytes().to_vec();
            for _ in 0..=round % 4 {
                damage.to(&mut bytes);
            }
            if let Ok(results) = parse(&bytes) {
                assert!(!results.is_good(), "round {round}");
            }
        }
    }
}
