// SPDX-License-Identifier: GPL-2.0-only
//! Whether saved verdicts follow from what was seen and declared. A file can be
//! edited, damaged, or put together from two: each verdict is made again by the
//! function that made it, and nothing is believed that does not agree.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use protocol::{Arm, CaseInfo, Expect};

use crate::{
    intree,
    judge::{Seen, judge, run_verdict},
    post_mortem::was_busy,
    results::{CaseResult, Results, Run, STATE_OF},
    verdict::Verdict,
};

/// Fails on the first verdict that does not follow; names its run and case.
pub(super) fn check(results: &Results) -> Result<()> {
    // What excuses a bad case was asked for.
    if results.allow_flaky && !results.command.iter().any(|w| w == "--allow-flaky") {
        bail!("it excuses flaky cases, and its command has no --allow-flaky");
    }
    let mut asked = HashMap::new();
    for info in &results.cases {
        asked.entry(info.name.as_str()).or_insert(info);
    }
    let have: Vec<HashSet<&str>> = results
        .runs
        .iter()
        .map(|run| run.cases.iter().map(|c| c.name.as_str()).collect())
        .collect();
    let mut known = HashSet::new();
    for (at, run) in results.runs.iter().enumerate() {
        let name = name(run);
        // Two runs of one kernel would each excuse the other.
        if !known.insert(name.clone()) {
            bail!("the run {name} is there twice");
        }
        let hung = hung(run);
        let mut there = HashSet::new();
        for case in &run.cases {
            if !there.insert(case.name.as_str()) {
                bail!("`{}` is twice in {name}", case.name);
            }
            let Some(info) = asked.get(case.name.as_str()) else {
                bail!("`{}` of {name} was not asked for", case.name);
            };
            follows(info, case, run, hung.get(case.name.as_str()).copied())?;
        }
        // What was asked for is there, or it would be missing without a word.
        let lacks = |c: &&CaseInfo| {
            !there.contains(c.name.as_str()) && !is_of_another(c, at, results, &have)
        };
        if let Some(lacking) = results.cases.iter().find(lacks) {
            bail!(
                "`{}` was asked for and {name} does not have it",
                lacking.name
            );
        }
        the_run(run)?;
    }
    Ok(())
}

/// `6.12 patched`, with its flavor where that is not the usual one.
fn name(run: &Run) -> String {
    let flavor = match run.flavor.as_str() {
        "default" => String::new(),
        other => format!(" {other}"),
    };
    format!("{} {}{flavor}", run.base, run.arm.word())
}

/// Whether the verdict of a case is what [`judge`] makes of what is saved of it.
fn follows(info: &CaseInfo, case: &CaseResult, run: &Run, hung: Option<bool>) -> Result<()> {
    let name = format!("`{}` of {}", case.name, name(run));
    let (declared, _) = info.expect(run.arm, &run.base);
    if *declared != case.expected {
        bail!(
            "{name}: what it says it had to come to is not what is declared for {}",
            run.arm.word()
        );
    }
    if let Some(wrong) = case.again.iter().find(|v| !can_end(declared, **v)) {
        bail!("{name} was run again, and cannot have come to {wrong}");
    }
    let mut seen = Seen {
        outcome: case.outcome.clone(),
        deadline_passed: hung.is_some(),
        busy: hung == Some(true),
        ..Seen::default()
    };
    for at in &case.splats {
        let Some(splat) = run.splats.get(*at) else {
            bail!("{name} has a report of the kernel that is not there");
        };
        seen.reports.push(splat.clone());
    }
    // Whether it started is not saved: it tells `lost` from `missing`.
    let made = [true, false].map(|started| {
        let seen = Seen {
            started,
            ..seen.clone()
        };
        judge(info, run.arm, &run.base, &seen).0
    });
    // A report that came during several cases is saved once, as the worst that it
    // was: which of them it ended is not known, only that each is bad.
    let both_bad = !case.verdict.is_good() && made.iter().all(|v| !v.is_good());
    if made.contains(&case.verdict) || (both_bad && !case.splats.is_empty()) {
        return Ok(());
    }
    bail!(
        "{name} is called {}, and what was seen of it makes it {}",
        case.verdict,
        made[0]
    )
}

/// Whether the verdict of a run is what its cases and the kernel's reports make it.
fn the_run(run: &Run) -> Result<()> {
    let name = name(run);
    let cases: Vec<Verdict> = run.cases.iter().map(|c| c.verdict).collect();
    let outside = super::problems::outside(run);
    if !outside.is_empty() && (run.verdict.is_good() || run.why.is_empty()) {
        bail!("the kernel logged something during no case of {name}, and the run does not say so");
    }
    let made = run_verdict(&cases, None);
    // Why is said of what is wrong with the run itself, and of nothing else.
    if !run.why.is_empty() && run.verdict.is_good() {
        bail!(
            "the run {name} is called {}, and says what is wrong: {}",
            run.verdict,
            run.why
        );
    }
    if run.why.is_empty() && run.verdict != made {
        bail!(
            "the run {name} is called {}, and its cases make it {made}",
            run.verdict
        );
    }
    Ok(())
}

/// The cases because of which the state of the guest was kept, as they did not go
/// on, and whether a CPU was at work then.
fn hung(run: &Run) -> HashMap<&str, bool> {
    let mut hung = HashMap::new();
    let states = run
        .post_mortem
        .chunk_by(|_, next| !next.starts_with(STATE_OF));
    for state in states {
        let of = state[0].strip_prefix(STATE_OF);
        if let Some((case, _)) = of.and_then(|l| l.split_once(": ")) {
            hung.entry(case).or_insert_with(|| was_busy(state));
        }
    }
    hung
}

/// Whether any outcome of a case that is declared so has this verdict.
fn can_end(declared: &Expect, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass => *declared == Expect::Pass,
        Verdict::ExpectedSkip => *declared == Expect::Skip,
        Verdict::ExpectedFail => !matches!(declared, Expect::Pass | Expect::Skip),
        Verdict::UnexpectedPass => *declared != Expect::Pass,
        _ => true,
    }
}

/// The kernel's own selftests have other cases in each tree, and are not run where
/// there is no helper: a case of them may lack where no kernel of that source has
/// it, and one that came with the series lacks upstream.
fn is_of_another(case: &CaseInfo, at: usize, results: &Results, have: &[HashSet<&str>]) -> bool {
    let run = &results.runs[at];
    let have = || {
        let all = results.runs.iter().zip(have);
        all.filter(|(_, names)| names.contains(case.name.as_str()))
    };
    let of_same = |r: &Run| {
        r.source == run.source
            && r.arm != Arm::Baseline
            && (r.arm == run.arm || !intree::is_of_series(case))
    };
    intree::is_one(case)
        && (run.arm == Arm::Baseline || !have().any(|(r, _)| of_same(r)))
        && have().next().is_some()
}

#[cfg(test)]
mod tests {
    use protocol::{Expectation, Failure, Outcome};

    use super::*;
    use crate::report::sample;

    fn refused(change: impl FnOnce(&mut Results)) -> Option<String> {
        let mut results = sample::good();
        change(&mut results);
        check(&results).err().map(|e| e.to_string())
    }

    fn failed() -> Option<Outcome> {
        Some(Outcome::Fail(Failure {
            reason: "wrong-count".into(),
            message: String::new(),
            context: vec![],
        }))
    }

    /// Verify that each piece of what a verdict rests on is looked at.
    #[test]
    fn each_piece_of_evidence_counts() {
        assert_eq!(refused(|_| {}), None);
        let said = refused(|r| r.runs[1].cases[0].outcome = failed()).unwrap();
        assert!(
            said.contains("`delivers_to_peer` of 6.12 patched is called pass")
                && said.contains("makes it fail"),
            "{said}"
        );
        assert!(refused(|r| r.runs[1].cases[0].outcome = None).is_some());
        assert!(refused(|r| r.runs[1].cases[0].verdict = Verdict::Fail).is_some());
        assert!(refused(|r| r.runs[1].cases[0].splats.push(7)).is_some());
        assert!(refused(|r| r.runs[1].cases[0].expected = Expect::Skip).is_some());
        assert!(refused(|r| drop(r.runs[1].cases.pop())).is_some());
        assert!(refused(|r| drop(r.cases.pop())).is_some());
        assert!(
            refused(|r| {
                let case = r.runs[1].cases[0].clone();
                r.runs[1].cases.push(case);
            })
            .is_some()
        );
        assert!(refused(|r| r.runs.push(r.runs[1].clone())).is_some());
        assert!(refused(|r| r.runs[1].verdict = Verdict::ExpectedSkip).is_some());
        assert!(refused(|r| r.runs[1].why = "the guest was lost".into()).is_some());
        assert!(refused(|r| r.allow_flaky = true).is_some());
        assert!(refused(|r| r.runs[1].cases[0].again = vec![Verdict::ExpectedFail]).is_some());
        // A guest whose state was kept has hung.
        let state = format!("{STATE_OF}delivers_to_peer: no progress");
        assert!(refused(|r| r.runs[1].post_mortem.push(state)).is_some());
    }

    /// Verify that a declaration is held against what was seen, not only against
    /// what the case says was expected of it.
    #[test]
    fn declarations_are_looked_at() {
        let declare = |r: &mut Results, expect: Expect| {
            r.cases[0].expectations.insert(
                0,
                Expectation {
                    arm: Some(Arm::Patched),
                    bases: vec![],
                    expect: expect.clone(),
                    why: String::new(),
                },
            );
            r.runs[1].cases[0].expected = expect;
        };
        let report = Expect::Splat {
            kind: "warning".into(),
            says: String::new(),
        };
        for expect in [Expect::Hang, report, Expect::Skip] {
            let said = refused(|r| {
                declare(r, expect.clone());
                r.runs[1].cases[0].verdict = Verdict::ExpectedFail;
            });
            assert!(said.is_some(), "{expect:?}");
        }
    }

    /// Verify that results with very many cases are looked at within a time that
    /// somebody waits.
    #[test]
    fn many_cases_take_no_long_time() {
        let mut results = sample::good();
        let (info, case) = (results.cases[0].clone(), results.runs[1].cases[0].clone());
        results.cases.clear();
        for run in &mut results.runs {
            run.cases.clear();
        }
        results.runs.remove(0);
        for n in 0..20_000 {
            let name = format!("{}_with_a_long_name_{n}", info.name);
            let mut info = info.clone();
            info.name.clone_from(&name);
            results.cases.push(info);
            let mut case = case.clone();
            case.name = name;
            results.runs[0].cases.push(case);
        }
        let start = std::time::Instant::now();
        check(&results).unwrap();
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    /// Verify that a hang that was declared is one only while the saved state says
    /// that a CPU was at work.
    #[test]
    fn a_declared_hang_needs_its_state() {
        let bad = sample::bad();
        check(&bad).unwrap();
        for halted in [false, true] {
            let mut changed = bad.clone();
            for run in changed.runs.iter_mut().filter(|r| r.arm == Arm::Upstream) {
                assert!(run.post_mortem.iter().any(|l| l.contains("HLT=0")));
                if halted {
                    for line in &mut run.post_mortem {
                        *line = line.replace("HLT=0", "HLT=1");
                    }
                } else {
                    run.post_mortem.retain(|l| !l.starts_with("RIP="));
                }
            }
            let said = check(&changed).unwrap_err().to_string();
            assert!(said.contains("hang"), "{said}");
        }
    }

    /// Verify that a report of the kernel cannot be taken off the case during which
    /// it came.
    #[test]
    fn reports_cannot_be_taken_away() {
        let mut bad = sample::bad();
        let run = bad.runs.iter_mut().find(|r| !r.splats.is_empty()).unwrap();
        for case in &mut run.cases {
            case.splats.clear();
        }
        assert!(check(&bad).is_err());
    }

    /// Verify that a case of the kernel's own selftest may be in one source's tree
    /// only, but not on one kernel of it only.
    #[test]
    fn selftests_of_another_tree_may_lack() {
        let mut results = sample::good();
        let mut own = results.cases[0].clone();
        own.name = "in_tree_x".into();
        own.proves = vec!["in-tree".into()];
        own.expectations.clear();
        results.cases.push(own);
        assert!(check(&results).is_err(), "no kernel has it");
        let mut other = results.runs[1].clone();
        assert_eq!(other.arm, Arm::Patched);
        other.base = "5.10".into();
        other.source = "5.10.1".into();
        let mut case = other.cases[0].clone();
        case.name = "in_tree_x".into();
        other.cases.push(case);
        for case in &mut other.cases {
            case.expected = Expect::Pass;
            case.outcome = Some(Outcome::Pass);
            case.verdict = Verdict::Pass;
        }
        // What other kernels lack is not what this is about.
        results.cases.iter_mut().for_each(|c| {
            c.expectations.retain(|e| e.arm == Some(Arm::Baseline));
        });
        results.runs.push(other.clone());
        check(&results).unwrap();
        other.cases.pop();
        let mut upstream = other.clone();
        upstream.arm = Arm::Upstream;
        results.runs.push(upstream);
        let said = check(&results).unwrap_err().to_string();
        assert!(said.contains("in_tree_x"), "{said}");
        // Unless it came with the series, all of whose kernels have it.
        results
            .cases
            .last_mut()
            .unwrap()
            .proves
            .push("series".into());
        check(&results).unwrap();
        other.flavor = "debug".into();
        results.runs.push(other);
        let said = check(&results).unwrap_err().to_string();
        assert!(said.contains("in_tree_x"), "{said}");
    }
}
