// SPDX-License-Identifier: GPL-2.0-only
//! `check`: the project's own tests, everything. What CI runs.

mod at_once;
mod fuzz;
mod pages;
mod readers;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::Instant,
};

use anyhow::{Context, Result};
use protocol::Arm;

use crate::{
    cases,
    cli::{ArmFlag, Check, Common, FaultyKernel, Verify},
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
    /// Trials of the harness itself that could not be made here, each with why.
    untried: Vec<String>,
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
    /// A trial of the harness; one that could not be made here is no pass.
    fn trial(&mut self, kind: &str, trial: &Trial) {
        let name = format!("{kind}: {}", trial.what);
        match &trial.came {
            Came::Due => self.one(&name, true),
            Came::Wrong(came) => {
                self.one(&name, false);
                println!("     {came}");
            }
            Came::Untried(why) => self.untried(format!("{name}: {why}")),
        }
    }

    fn untried(&mut self, what: String) {
        println!("skip {what}");
        self.untried.push(what);
    }

    /// What cargo's runner said of the unit tests. None at all are no good sign.
    fn unit_tests(&mut self, said: &str, good: bool) -> bool {
        let (mut passed, mut failed) = (0, 0);
        for line in said.lines().filter(|l| l.starts_with("test result:")) {
            passed += number_before(line, " passed").unwrap_or(0);
            failed += number_before(line, " failed").unwrap_or(0);
            self.skipped += number_before(line, " ignored").unwrap_or(0);
        }
        self.passed += passed;
        let good = good && failed == 0 && passed > 0;
        // A test that does not even build counts as one that failed.
        self.failed += if good { 0 } else { failed.max(1) };
        println!(
            "{} unit tests: {passed} passed, {failed} failed",
            if good { "ok  " } else { "FAIL" }
        );
        good
    }

    /// The last words, and whether all is good; `deny` makes a trial that could
    /// not be made a failure.
    fn close(&self, deny: bool) -> (String, bool) {
        let mut said = String::new();
        for what in &self.untried {
            said.push_str(&format!("not tried here: {what}\n"));
        }
        let skipped = self.skipped + if deny { 0 } else { self.untried.len() };
        let failed = self.failed + if deny { self.untried.len() } else { 0 };
        said.push_str(&format!("{} passed, {failed} failed", self.passed));
        if skipped > 0 {
            said.push_str(&format!(", {skipped} skipped"));
        }
        (said, failed == 0 && self.passed > 0)
    }
}

/// Runs everything and closes with one line that counts it.
pub fn check(request: &Check) -> Result<u8> {
    let start = Instant::now();
    let mut session = Session::open(&request.common)?;
    if let Some(minutes) = request.fuzz {
        return fuzz::fuzz(&session, minutes);
    }
    let mut count = Count::default();
    tools(&session, &mut count)?;
    unit_tests(&session, &mut count)?;
    for wrong in requirements(&session, &mut count)? {
        println!("     {wrong}");
    }
    pages::pages(&session, &mut count)?;
    if !request.quick {
        for trial in readers::try_all(&session).context("the readers of the reports")? {
            count.trial("read by others", &trial);
        }
        kernels(&mut session, &request.common, &mut count)?;
        for (what, wrong) in
            faults::try_all(&session, FaultyKernel::Faulty, None).context("misbehaving guests")?
        {
            count.one(&format!("misbehaving guest: {what}"), wrong.is_none());
            if let Some(wrong) = wrong {
                println!("     {wrong}");
            }
        }
        for trial in disturb::try_all(&session).context("a harness that is disturbed")? {
            count.trial("disturbed", &trial);
        }
    }
    session.progress.save(&session.cache)?;
    println!("all of it took {}", seconds(start.elapsed().as_secs_f64()));
    let (said, good) = count.close(request.deny_skips);
    println!("{said}");
    let _ = std::io::stdout().flush();
    Ok(if good { fail::GOOD } else { fail::BAD })
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
    if !count.unit_tests(&out.stdout, out.status.success()) {
        println!("{}\n{}", out.stdout.trim_end(), out.stderr.trim_end());
    }
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
    use super::{Count, different, number_before};
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

    /// Verify that no unit test at all is a failure, and so is one that did not build.
    #[test]
    fn no_unit_test_is_a_failure() {
        let of = |said: &str, good| {
            let mut count = Count {
                passed: 7,
                ..Count::default()
            };
            let said_so = count.unit_tests(said, good);
            (said_so, count.close(false).1)
        };
        let line = |passed, failed| {
            format!("test result: x. {passed} passed; {failed} failed; 0 ignored\n")
        };
        assert_eq!(of(&line(3, 0), true), (true, true));
        assert_eq!(of(&line(0, 0), true), (false, false));
        assert_eq!(of("", true), (false, false));
        assert_eq!(of(&line(3, 1), true), (false, false));
        assert_eq!(of(&line(3, 0), false), (false, false));
    }

    /// Verify that a trial that was not made is told with its reason at the end,
    /// and is a failure where that was asked for.
    #[test]
    fn what_was_not_tried_is_told() {
        let mut count = Count {
            passed: 2,
            skipped: 1,
            ..Count::default()
        };
        assert_eq!(
            count.close(true),
            ("2 passed, 0 failed, 1 skipped".into(), true)
        );
        count.untried("a full disk: no mounts here".into());
        let (said, good) = count.close(false);
        assert!(good && said.contains("not tried here: a full disk: no mounts here\n"));
        assert!(said.ends_with("2 passed, 0 failed, 2 skipped"), "{said}");
        let (said, good) = count.close(true);
        assert!(
            !good && said.ends_with("2 passed, 1 failed, 1 skipped"),
            "{said}"
        );
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
