// SPDX-License-Identifier: GPL-2.0-only
//! kcidb.json: what KernelCI's database takes, schema version 5.3 of kcidb-io. A
//! commit is a checkout, a run a build, its cases are tests. Nothing is sent.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    problems::{in_short, is_bad_itself, of_case, state_of, summary},
    text,
};
use crate::{
    results::{CaseResult, Results, Run},
    verdict::Verdict,
};

const ORIGIN: &str = "redirect_peer";

/// The text of kcidb.json.
pub(super) fn kcidb(results: &Results) -> Result<String> {
    let mut checkouts = Vec::new();
    let mut known = BTreeSet::new();
    let mut builds = Vec::new();
    let mut tests = Vec::new();
    for (at, run) in results.runs.iter().enumerate() {
        let checkout = format!("{ORIGIN}:{}", text::id(&run.commit));
        if known.insert(checkout.clone()) {
            checkouts.push(checkout_of(results, run, &checkout));
        }
        let build = format!("{ORIGIN}:{}-{}-{at}", results.started, text::run_id(run));
        builds.push(build_of(results, run, &build, &checkout));
        for (n, case) in run.cases.iter().enumerate() {
            tests.push(test_of(results, run, case, &build, n));
        }
        for metric in &run.metrics {
            let mut test = test(
                results,
                &build,
                &format!("metric-{}", tests.len()),
                &metric.name,
                "DONE",
            );
            test["number"] = json!({ "value": metric.value, "unit": plain(&metric.unit) });
            tests.push(test);
        }
        if is_bad_itself(run) {
            let mut test = test(results, &build, "run", "the_run_itself", "ERROR");
            test["comment"] = json!(plain(&format!("{}: {}", run.verdict, run.why)));
            excerpt(&mut test, &in_short(state_of(run, None)));
            tests.push(test);
        }
    }
    let all = json!({
        "version": { "major": 5, "minor": 3 },
        "checkouts": checkouts,
        "builds": builds,
        "tests": tests,
    });
    Ok(serde_json::to_string_pretty(&all).context("writing kcidb.json")? + "\n")
}

fn checkout_of(results: &Results, run: &Run, id: &str) -> Value {
    let mut checkout = json!({
        "id": id,
        "origin": ORIGIN,
        "tree_name": format!("linux-{}", text::id(&run.base)),
        "comment": plain(&format!("Linux {}, {}", run.source, run.arm.word())),
        "start_time": text::utc(results.started),
        "valid": true,
    });
    if run.commit.len() == 40
        && run
            .commit
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        checkout["git_commit_hash"] = json!(run.commit);
    }
    checkout
}

fn build_of(results: &Results, run: &Run, id: &str, checkout: &str) -> Value {
    let findings: Vec<String> = results.notes_of(run).iter().map(|n| plain(n)).collect();
    json!({
        "id": id,
        "origin": ORIGIN,
        "checkout_id": checkout,
        "comment": plain(&format!("Linux {}, {}, {}", run.source, run.arm.word(), run.flavor)),
        "start_time": text::utc(results.started),
        "architecture": std::env::consts::ARCH,
        "compiler": plain(&results.machine.compiler),
        "config_name": text::id(&run.flavor),
        "status": "PASS",
        "misc": { "kernel": plain(&run.kernel), "verdict": run.verdict.word(), "findings": findings },
    })
}

fn test_of(results: &Results, run: &Run, case: &CaseResult, build: &str, number: usize) -> Value {
    let mut test = test(
        results,
        build,
        &number.to_string(),
        &case.name,
        status(case.verdict),
    );
    let mut log: Vec<String> = super::problems::context(case);
    log.extend(in_short(state_of(run, Some(case))));
    for splat in of_case(run, case) {
        log.extend(splat.lines.iter().flat_map(|l| text::lines(l)));
    }
    excerpt(&mut test, &log);
    if let Some(us) = case.duration_us {
        test["duration"] = json!(us as f64 / 1e6);
    }
    test["comment"] = json!(plain(&format!("{}: {}", case.verdict, summary(case))));
    test["misc"] =
        json!({ "verdict": case.verdict.word(), "expected": text::expected(&case.expected) });
    test
}

/// The schema's readers keep an excerpt, not a log.
fn excerpt(test: &mut Value, log: &[String]) {
    let excerpt: String = log.join("\n").chars().take(16_000).collect();
    if !excerpt.is_empty() {
        test["log_excerpt"] = json!(excerpt);
    }
}

fn test(results: &Results, build: &str, number: &str, name: &str, status: &str) -> Value {
    // Parts of a path are between dots, and none is empty.
    let name: String = text::id(name)
        .chars()
        .map(|c| if c == '.' { '_' } else { c })
        .collect();
    json!({
        "id": format!("{build}-{number}"),
        "origin": ORIGIN,
        "build_id": build,
        "path": format!("redirect_peer.{name}"),
        "status": status,
        "start_time": text::utc(results.started),
        "environment": { "comment": plain(&format!("QEMU with {} on {}", results.machine.accel, results.machine.cpu)) },
    })
}

/// What happened, in the schema's words.
fn status(verdict: Verdict) -> &'static str {
    match verdict {
        // An expected failure is the harness's own control: the test did what it had to.
        Verdict::Pass | Verdict::ExpectedFail => "PASS",
        Verdict::ExpectedSkip => "SKIP",
        Verdict::Fail
        | Verdict::UnexpectedPass
        | Verdict::Splat
        | Verdict::Crash
        | Verdict::Hang => "FAIL",
        // SKIP would count as good, and it is not.
        Verdict::Lost | Verdict::Skip => "ERROR",
        Verdict::Missing => "MISS",
    }
}

fn plain(text: &str) -> String {
    text::line(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Verify that every test has its build and every build its checkout, that
    /// ids are unique, and that nothing bad is PASS or SKIP.
    #[test]
    fn references_hold() {
        for of in [sample::good(), sample::bad(), sample::hostile()] {
            let all: Value = serde_json::from_str(&kcidb(&of).unwrap()).unwrap();
            let ids = |list: &str, field: &str| -> Vec<String> {
                let list = all[list].as_array().unwrap();
                list.iter()
                    .map(|v| v[field].as_str().unwrap().to_owned())
                    .collect()
            };
            let unique = |list: &str| ids(list, "id").into_iter().collect::<BTreeSet<_>>();
            assert_eq!(unique("tests").len(), ids("tests", "id").len());
            assert_eq!(unique("builds").len(), of.runs.len());
            assert!(
                ids("tests", "build_id")
                    .iter()
                    .all(|b| unique("builds").contains(b))
            );
            assert!(
                ids("builds", "checkout_id")
                    .iter()
                    .all(|c| unique("checkouts").contains(c))
            );
            let bad = of
                .runs
                .iter()
                .flat_map(|r| &r.cases)
                .filter(|c| !c.verdict.is_good())
                .count();
            let extra = of.runs.iter().filter(|r| is_bad_itself(r)).count();
            let statuses = ids("tests", "status");
            let not_good = statuses
                .iter()
                .filter(|s| !["PASS", "SKIP", "DONE"].contains(&s.as_str()))
                .count();
            assert_eq!(not_good, bad + extra);
        }
    }
}
