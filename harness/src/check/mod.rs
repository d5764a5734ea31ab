// SPDX-License-Identifier: GPL-2.0-only
//! `check`: the project's own tests, everything. What CI runs.

mod at_once;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::Instant,
};

use anyhow::{Context, Result};
use protocol::Arm;

use crate::{
    cases,
    cli::{ArmFlag, Check, Common, Verify},
    disturb::{self, Came, Trial},
    exec::Program,
    fail, faults, mutate,
    progress::seconds,
    report,
    results::Results,
    scratch::Scratch,
    session::{DEFAULT_BASE, Session},
    verdict::Verdict,
    verify,
};

/// What has been counted so far.
#[derive(Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    fn one(&mut self, name: &str, good: bool) {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        println!("{} {name}", if good { "ok  " } else { "FAIL" });
    }
}

impl Count {
    /// A disturbance; one that could not be tried here is no pass.
    fn trial(&mut self, trial: &Trial) {
        let name = format!("disturbed: {}", trial.what);
        match &trial.came {
            Came::Due => self.one(&name, true),
            Came::Wrong(came) => {
                self.one(&name, false);
                println!("     {came}");
            }
            Came::Untried(why) => {
                self.skipped += 1;
                println!("skip {name}: {why}");
            }
        }
    }
}

/// Runs everything and closes with one line that counts it.
pub fn check(request: &Check) -> Result<u8> {
    let start = Instant::now();
    let mut session = Session::open(&request.common)?;
    let mut count = Count::default();
    tools(&session, &mut count)?;
    unit_tests(&session, &mut count)?;
    for wrong in requirements(&session, &mut count)? {
        println!("     {wrong}");
    }
    if !request.quick {
        kernels(&mut session, &request.common, &mut count)?;
        for (what, wrong) in faults::try_all(&session, None).context("misbehaving guests")? {
            count.one(&format!("misbehaving guest: {what}"), wrong.is_none());
            if let Some(wrong) = wrong {
                println!("     {wrong}");
            }
        }
        for trial in disturb::try_all(&session).context("a harness that is disturbed")? {
            count.trial(&trial);
        }
    }
    session.progress.save(&session.cache)?;
    println!("all of it took {}", seconds(start.elapsed().as_secs_f64()));
    let skipped = if count.skipped == 0 {
        String::new()
    } else {
        format!(", {} skipped", count.skipped)
    };
    println!("{} passed, {} failed{skipped}", count.passed, count.failed);
    let _ = std::io::stdout().flush();
    Ok(if count.failed == 0 && count.passed > 0 {
        fail::GOOD
    } else {
        fail::BAD
    })
}

fn cargo(session: &Session) -> Program {
    Program::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .dir(session.project.path(""))
}

/// Format and lints.
fn tools(session: &Session, count: &mut Count) -> Result<()> {
    let runs: [(&str, &[&str]); 2] = [
        ("cargo fmt --check", &["fmt", "--all", "--check"]),
        (
            "cargo clippy, without a warning",
            &[
                "clippy",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ],
        ),
    ];
    for (name, args) in runs {
        let step = session.progress.begin("check", name);
        let out = cargo(session).args(args).output()?;
        step.done(false);
        if !out.status.success() {
            println!("{}\n{}", out.stdout.trim_end(), out.stderr.trim_end());
        }
        count.one(name, out.status.success());
    }
    Ok(())
}

/// Unit tests, counted as cargo's runner counts them.
fn unit_tests(session: &Session, count: &mut Count) -> Result<()> {
    let step = session.progress.begin("check", "unit tests");
    let out = cargo(session)
        .args([
            "test",
            "--quiet",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ])
        .output()?;
    step.done(false);
    let (mut passed, mut failed) = (0, 0);
    for line in out.stdout.lines().filter(|l| l.starts_with("test result:")) {
        passed += number_before(line, " passed").unwrap_or(0);
        failed += number_before(line, " failed").unwrap_or(0);
        count.skipped += number_before(line, " ignored").unwrap_or(0);
    }
    count.passed += passed;
    count.failed += failed;
    if !out.status.success() {
        println!("{}\n{}", out.stdout.trim_end(), out.stderr.trim_end());
        // A test that does not even build counts as one that failed.
        count.failed += usize::from(failed == 0);
    }
    println!(
        "{} unit tests: {passed} passed, {failed} failed",
        if out.status.success() { "ok  " } else { "FAIL" }
    );
    Ok(())
}

/// That each requirement has a proof.
fn requirements(session: &Session, count: &mut Count) -> Result<Vec<String>> {
    let wrong = cases::check(session)?;
    count.one("every requirement has a proof", wrong.is_empty());
    Ok(wrong)
}

fn number_before(line: &str, word: &str) -> Option<usize> {
    line.split(word)
        .next()?
        .rsplit([' ', ';'])
        .next()?
        .parse()
        .ok()
}

/// A verify of the default base, and the series broken on purpose.
fn kernels(session: &mut Session, common: &Common, count: &mut Count) -> Result<()> {
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
        count.skipped += 1;
        println!("skip guests at once: there is room for one, or --jobs 1 asks for no more");
    }
    let other = in_another_order(session, &request, &results)?;
    count.one(
        &format!("any order gives the same verdicts: --shuffle {ORDER}"),
        other.is_empty(),
    );
    for line in other {
        println!("     {line}");
    }
    for mutation in mutate::mutations(session, DEFAULT_BASE)? {
        let came = mutate::try_one(session, &request, DEFAULT_BASE, &mutation)?;
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
    use super::{different, number_before};
    use crate::{results::Results, verdict::Verdict};

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
            .position(|r| r.arm == protocol::Arm::Patched)
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

    /// Verify that cargo's own count is read right.
    #[test]
    fn counts_are_read() {
        let line = "test result: ok. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(number_before(line, " passed"), Some(12));
        assert_eq!(number_before(line, " failed"), Some(3));
        assert_eq!(number_before(line, " ignored"), Some(1));
    }
}
