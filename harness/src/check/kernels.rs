// SPDX-License-Identifier: GPL-2.0-only
//! A verify of the default base, and the series broken on purpose.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use protocol::Arm;

use super::{Count, at_once};
use crate::{
    cli::{ArmFlag, Common, One, Source, Stress, Verify},
    mutate, report,
    results::Results,
    scratch::Scratch,
    session::{DEFAULT_BASE, Session},
    stress,
    verdict::Verdict,
    verify,
};

/// A verify of the default base, and the series broken on purpose.
pub(super) fn kernels(session: &mut Session, common: &Common, count: &mut Count) -> Result<()> {
    let kept = Scratch::new("consoles")?;
    let request = Verify::of_base(DEFAULT_BASE, common);
    let logged = Verify {
        results: Some(kept.path().to_owned()),
        ..request.clone()
    };
    let results = verify::collect(session, &logged).context("verifying the series")?;
    println!(
        "{}\n{}",
        report::table(&results, false, false),
        report::times(&results)
    );
    for run in &results.runs {
        let bad = run.cases.iter().filter(|c| !c.verdict.is_good()).count();
        count.passed += run.cases.len() - bad;
        count.failed += bad;
        // A run that is bad although no case is.
        count.failed += usize::from(bad == 0 && !run.verdict.is_good());
    }
    let expected_skips = results.count(Verdict::ExpectedSkip);
    count.passed -= expected_skips;
    count.skipped += expected_skips;
    if session.guests() > 1 && results.runs.len() > 1 {
        let wrong = at_once::compare(session, &request, &results, kept.path())?;
        count.one(
            "guests at once: the verdicts of one at a time, and logs of their own",
            wrong.is_empty(),
        );
        for wrong in wrong {
            println!("     {wrong}");
        }
    } else {
        count.untried("guests at once: there is room for one, or --jobs 1 asks for no more".into());
    }
    let other = in_another_order(session, &request, &results)?;
    count.one(
        &format!("any order gives the same verdicts: --shuffle {ORDER}"),
        other.is_empty(),
    );
    for line in other {
        println!("     {line}");
    }
    let storm = storm(common);
    let results = stress::collect(session, &storm).context("packets while things come and go")?;
    count.one(
        &format!(
            "{} packets while devices, namespaces and programs come and go: --seed {}",
            storm.packets, storm.seed
        ),
        results.is_good(),
    );
    if !results.is_good() {
        println!("{}", report::table(&results, false, false));
    }
    for mutation in mutate::mutations(session, DEFAULT_BASE)? {
        let came = mutate::try_one(session, &request, &mutation)?;
        count.one(
            &format!(
                "broken on purpose: {}: {} says {}",
                mutation.subject,
                mutation.noticed_by.join(" "),
                mutation.verdict
            ),
            came.is_none(),
        );
        if let Some(came) = came {
            println!("     {came}");
        }
    }
    Ok(())
}

/// As much of a storm as meets every event over every pair by every hook; the debug
/// flavor, which finds more, takes minutes to build.
fn storm(common: &Common) -> Stress {
    Stress {
        one: One {
            source: Source::of_base(DEFAULT_BASE),
            arm: ArmFlag::Patched,
            flavor: Some("default".into()),
            common: common.clone(),
        },
        seed: ORDER,
        packets: 120_000,
        results: None,
    }
}

/// The order of the cases that is tried besides the usual one.
const ORDER: u64 = 155;

/// What the cases come to on the patched kernel in another order, where that is
/// not what they came to before.
fn in_another_order(session: &Session, request: &Verify, before: &Results) -> Result<Vec<String>> {
    let request = Verify {
        shuffle: Some(ORDER),
        arms: vec![ArmFlag::Patched],
        ..request.clone()
    };
    let results =
        verify::collect(session, &request).context("running the cases in another order")?;
    Ok(different(before, &results))
}

/// The cases of the patched kernel whose verdicts are not the same in both, or
/// that are in one of them only.
fn different(before: &Results, after: &Results) -> Vec<String> {
    let verdicts = |results: &Results| -> BTreeMap<String, Verdict> {
        let patched = results.runs.iter().filter(|r| r.arm == Arm::Patched);
        patched
            .flat_map(|r| &r.cases)
            .map(|c| (c.name.clone(), c.verdict))
            .collect()
    };
    let (before, after) = (verdicts(before), verdicts(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let word = |v: Option<&Verdict>| v.map_or("nothing", |v| v.word());
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let (first, then) = (word(before.get(name)), word(after.get(name)));
            format!("{name}: {first} in the usual order, {then} in the other")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a case whose verdict depends on the order is named, and so
    /// is one that is not there any more.
    #[test]
    fn orders_are_compared() {
        let text = include_str!("../../tests/results/good.json");
        let before: Results = serde_json::from_str(text).unwrap();
        assert_eq!(different(&before, &before), Vec::<String>::new());
        let mut after = before.clone();
        let at = after
            .runs
            .iter()
            .position(|r| r.arm == Arm::Patched)
            .unwrap();
        let first = &mut after.runs[at].cases[0];
        first.verdict = match first.verdict {
            Verdict::Pass => Verdict::Fail,
            _ => Verdict::Pass,
        };
        let name = first.name.clone();
        assert!(different(&before, &after)[0].starts_with(&name));
        after.runs[at].cases.remove(0);
        assert!(different(&before, &after)[0].contains("nothing in the other"));
    }
}
