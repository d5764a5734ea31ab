// SPDX-License-Identifier: GPL-2.0-only
//! What the programs that read our reports make of them: the kernel's own parser
//! of KTAP, and KernelCI's own judge of what its database takes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    disturb::{Came, Trial},
    exec::{Program, describe, tail},
    fail,
    report::{self, sample},
    results::Results,
    scratch::Scratch,
    session::{DEFAULT_BASE, Session},
    setup,
    verdict::Verdict,
};

/// Where the parser is in a kernel tree; it wants to be below such a path.
const KUNIT: &str = "tools/testing/kunit";

/// How a line of the parser that sums up begins, behind the time.
const SUMMARY: &str = "Testing complete. ";

/// Says nothing and succeeds where the database would take the file `argv[1]`.
const VALIDATE: &str = "import json, sys\n\
    from kcidb_io import schema\n\
    data = json.load(open(sys.argv[1]))\n\
    schema.V5_3.validate_exactly(data)\n\
    schema.LATEST.validate(data)\n";

/// The readers, as far as they can be had here.
pub(super) struct Readers {
    /// Has the kernel's parser and what it is given.
    dir: Scratch,
    /// A Python with kcidb-io, or why there is none.
    kcidb: Result<PathBuf, String>,
}

/// What a reader makes of a case.
type Read = BTreeMap<(String, String), Vec<&'static str>>;

/// Has them read results that are good, bad and hostile.
pub(super) fn try_all(session: &Session) -> Result<Vec<Trial>> {
    let readers = Readers::new(session)?;
    let mut trials = Vec::new();
    for (what, results) in [
        ("good results", sample::good()),
        ("bad results", sample::bad()),
        ("hostile results", sample::hostile()),
        ("no results", none()),
    ] {
        trials.extend(readers.read(what, &results)?);
    }
    trials.push(readers.refuses()?);
    Ok(trials)
}

fn none() -> Results {
    let mut results = sample::good();
    results.runs.clear();
    results
}

impl Readers {
    /// Takes the parser out of the prepared tree of the default base.
    pub(super) fn new(session: &Session) -> Result<Self> {
        let dir = Scratch::new("what reads reports")?;
        let trees = session.trees(&crate::cli::Source::of_base(DEFAULT_BASE))?;
        let tree = trees.first().context("a base has a tree")?;
        let archive = dir.path().join("kunit.tar");
        tree.repo
            .git(["archive", "--output"])
            .arg(&archive)
            .args([tree.commit.as_str(), KUNIT])
            .read()
            .context("taking the KTAP parser out of the tree")?;
        Program::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(dir.path())
            .read()?;
        let kcidb = setup::kcidb_io(
            &session.cache,
            &session.project,
            session.common.offline,
            &session.progress,
        );
        Ok(Self {
            dir,
            kcidb: kcidb.map_err(|e| format!("{e:#}")),
        })
    }

    /// Has both read the reports of `results`.
    pub(super) fn read(&self, what: &str, results: &Results) -> Result<Vec<Trial>> {
        let dir = self.dir.path().join("reports");
        fs::create_dir_all(&dir).context("making a folder for reports")?;
        report::write_all(results, &dir)?;
        Ok(vec![
            Trial::new(
                format!("kunit.py parse reads {what} as they are"),
                self.kunit(results, &dir.join("results.ktap"))?,
            ),
            Trial {
                what: format!("kcidb-io takes {what}"),
                came: match self.validate(&dir.join("kcidb.json"))? {
                    Ok(said) => said.map_or(Came::Due, Came::Wrong),
                    Err(why) => Came::Untried(why),
                },
            },
        ])
    }

    /// What kunit.py makes of `ktap` that is not what `results` say.
    fn kunit(&self, results: &Results, ktap: &Path) -> Result<Option<String>> {
        let json = self.dir.path().join("read.json");
        let _ = fs::remove_file(&json);
        let mut option = std::ffi::OsString::from("--json=");
        option.push(&json);
        let out = Program::new("python3")
            .arg(self.dir.path().join(KUNIT).join("kunit.py"))
            .arg("parse")
            .arg(option)
            .arg(ktap)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()?;
        let Ok(text) = fs::read_to_string(&json) else {
            return Ok(Some(format!(
                "it gave nothing and ended with {}: {}",
                describe(out.status),
                tail(&(out.stdout + &out.stderr), 10)
            )));
        };
        let read = serde_json::from_str(&text).context("what kunit.py wrote")?;
        let due = if results.is_good() {
            fail::GOOD
        } else {
            fail::BAD
        };
        let mut wrong = different(&said(results), &as_read(&read));
        if out.status.code() != Some(due.into()) {
            wrong.push(format!(
                "status {due} is due, and it ended with {}",
                describe(out.status)
            ));
        }
        let summary = out.stdout.lines().find(|l| l.contains(SUMMARY));
        match summary {
            None => wrong.push("it does not sum up".into()),
            // Lines that it could not make sense of.
            Some(line) if line.contains("errors: ") || line.contains("crashed: ") => {
                wrong.push(line.to_owned());
            }
            Some(_) => {}
        }
        wrong.truncate(10);
        Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// What kcidb-io has against a file; the error is why it was not asked.
    fn validate(&self, file: &Path) -> Result<Result<Option<String>, String>> {
        let python = match &self.kcidb {
            Ok(python) => python,
            Err(why) => return Ok(Err(why.clone())),
        };
        let out = Program::new(python)
            .args(["-I", "-c", VALIDATE])
            .arg(file)
            .output()?;
        Ok(Ok(
            (!out.status.success()).then(|| tail(&out.stderr, 15).to_owned())
        ))
    }

    /// That kcidb-io says no at all, as it would in silence without its helpers.
    fn refuses(&self) -> Result<Trial> {
        let file = self.dir.path().join("wrong.json");
        let wrong = json!({
            "version": { "major": 5, "minor": 3 },
            "checkouts": [{ "id": "a:b", "origin": "a", "start_time": "yesterday" }],
        });
        fs::write(&file, wrong.to_string()).context("writing a wrong report")?;
        Ok(Trial {
            what: "kcidb-io refuses a date that is none".into(),
            came: match self.validate(&file)? {
                Ok(Some(why)) if why.contains("yesterday") => Came::Due,
                Ok(said) => Came::Wrong(said.unwrap_or_else(|| "it takes it".into())),
                Err(why) => Came::Untried(why),
            },
        })
    }
}

/// What a reader is to make of `results`, from the verdicts alone.
fn said(results: &Results) -> Read {
    let mut said = Read::new();
    let mut add = |group: &str, name: &str, status| {
        said.entry((group.to_owned(), name.to_owned()))
            .or_default()
            .push(status);
    };
    if results.runs.is_empty() {
        add("", "nothing-was-run", "FAIL");
    }
    for run in &results.runs {
        let group = report::text::run_id(run);
        for case in &run.cases {
            let status = match case.verdict {
                Verdict::ExpectedSkip => "SKIP",
                v if v.is_good() => "PASS",
                _ => "FAIL",
            };
            add(&group, &report::text::id(&case.name), status);
        }
        if report::is_bad_itself(run) {
            add(&group, "the-run-itself", "FAIL");
        }
    }
    said
}

/// The same, of what kunit.py wrote.
fn as_read(read: &Value) -> Read {
    let mut all = Read::new();
    let mut groups = vec![("", read)];
    while let Some((group, of)) = groups.pop() {
        let list = |name: &str| of[name].as_array().map_or(&[][..], Vec::as_slice);
        for case in list("test_cases") {
            let name = case["name"].as_str().unwrap_or_default();
            let status = match case["status"].as_str() {
                Some("PASS") => "PASS",
                Some("SKIP") => "SKIP",
                Some("FAIL") => "FAIL",
                _ => "something else",
            };
            all.entry((group.to_owned(), name.to_owned()))
                .or_default()
                .push(status);
        }
        groups.extend(
            list("sub_groups")
                .iter()
                .map(|g| (g["name"].as_str().unwrap_or_default(), g)),
        );
    }
    // Runs of the same name are read in whatever order.
    all.values_mut().for_each(|v| v.sort_unstable());
    all
}

fn different(said: &Read, read: &Read) -> Vec<String> {
    let mut said = said.clone();
    said.values_mut().for_each(|v| v.sort_unstable());
    let mut wrong = Vec::new();
    for (at @ (group, name), status) in &said {
        let came = read.get(at).map_or(&[][..], Vec::as_slice);
        if came != status.as_slice() {
            wrong.push(format!("{group} {name} is {status:?}, read as {came:?}"));
        }
    }
    let more = read.keys().filter(|at| !said.contains_key(*at));
    wrong.extend(more.map(|(group, name)| format!("{group} {name} is read, and is not there")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: &str) -> Value {
        json!({ "name": "KUnit Test Group", "test_cases": [], "sub_groups": [
            { "name": "a", "sub_groups": [], "test_cases": [
                { "name": "one", "status": "PASS" }, { "name": "two", "status": status },
            ]},
        ]})
    }

    /// Verify that a case that is read as another one, not at all or besides is told.
    #[test]
    fn another_reading_is_told() {
        let right = as_read(&written("FAIL"));
        assert_eq!(right.len(), 2);
        assert!(different(&right, &right).is_empty());
        let wrong = different(&right, &as_read(&written("PASS")));
        assert!(wrong.len() == 1 && wrong[0].contains("a two"), "{wrong:?}");
        let mut less = right.clone();
        less.remove(&("a".to_owned(), "one".to_owned()));
        assert_eq!(different(&right, &less).len(), 1);
        assert_eq!(different(&less, &right).len(), 1);
    }

    /// Verify that bad cases, and a run that is bad itself, are due as bad.
    #[test]
    fn bad_is_due_as_bad() {
        let count = |results: &Results, status: &str| {
            let said = said(results);
            let all = said.values().flatten();
            all.filter(|s| **s == status).count()
        };
        assert_eq!(count(&sample::good(), "FAIL"), 0);
        let bad = sample::bad();
        let cases = bad.runs.iter().flat_map(|r| &r.cases);
        let itself = bad.runs.iter().filter(|r| report::is_bad_itself(r)).count();
        assert_eq!(
            count(&bad, "FAIL"),
            cases.filter(|c| !c.verdict.is_good()).count() + itself
        );
        assert_eq!(count(&none(), "FAIL"), 1);
    }
}
