// SPDX-License-Identifier: GPL-2.0-only
//! The same histories and the same answers, given to git: step by step the
//! candidates are the same, and the commit chosen is one that git rates as
//! the best there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use harness::bisect::{
    graph::History,
    search::{Answer, Next, candidates, next},
};

use crate::histories::{Dice, GOOD_END, Shape};

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git starts");
    assert!(
        out.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).expect("git prints text")
}

/// A real repository with that history of empty commits; gives their names.
pub(crate) fn repository(dir: &Path, shape: &Shape) -> (String, Vec<String>) {
    git(dir, &["init", "--quiet", "--initial-branch=c"]);
    let mark = |at: usize| if at == GOOD_END { 1 } else { at + 2 };
    let mut stream = String::from(
        "commit refs/heads/good\nmark :1\ncommitter a <a@b> 1000000000 +0000\ndata 4\ngood\n",
    );
    for (at, parents) in shape.0.iter().enumerate() {
        let mut of: Vec<usize> = parents.clone();
        of.dedup();
        let (first, rest) = of.split_first().expect("every commit has a parent");
        stream += &format!(
            "commit refs/heads/c\nmark :{}\ncommitter a <a@b> {} +0000\ndata 1\nx\nfrom :{}\n",
            mark(at),
            1_000_000_100 + at,
            mark(*first)
        );
        for other in rest {
            stream += &format!("merge :{}\n", mark(*other));
        }
    }
    let marks = dir.join("marks");
    let mut import = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["fast-import", "--quiet", "--force"])
        .arg(format!("--export-marks={}", marks.display()))
        .stdin(Stdio::piped())
        .spawn()
        .expect("git starts");
    import
        .stdin
        .take()
        .expect("it was asked for")
        .write_all(stream.as_bytes())
        .expect("git reads");
    assert!(import.wait().expect("git ends").success());
    let text = std::fs::read_to_string(marks).expect("git wrote the marks");
    let by_mark: BTreeMap<usize, String> = text
        .lines()
        .map(|l| {
            let (mark, id) = l[1..].split_once(' ').expect("a mark and a name");
            (mark.parse().expect("a number"), id.to_owned())
        })
        .collect();
    let ids = (0..shape.len()).map(|at| by_mark[&mark(at)].clone());
    (by_mark[&1].clone(), ids.collect())
}

/// What `git rev-list --bisect-all` says of the commits that are left: how
/// good a choice each of them is.
fn rated_by_git(dir: &Path, bad: &str, good: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let mut args = vec!["rev-list", "--bisect-all", bad, "--not"];
    args.extend(good.iter().map(String::as_str));
    git(dir, &args)
        .lines()
        .map(|line| {
            let id = line.split(' ').next().expect("a name").to_owned();
            let rating = line
                .split("dist=")
                .nth(1)
                .and_then(|r| r.split([')', ',']).next())
                .and_then(|r| r.parse().ok())
                .unwrap_or_else(|| panic!("no rating in `{line}`"));
            (id, rating)
        })
        .collect()
}

/// One search with every step compared.
fn compare(seed: u64, shape: &Shape, culprit: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let (good_end, ids) = repository(dir, shape);
    let name = |at: usize| {
        if at == GOOD_END {
            good_end.clone()
        } else {
            ids[at].clone()
        }
    };
    let history: History = shape.history(name);
    let mut answers = BTreeMap::from([(shape.len() - 1, Answer::Bad)]);
    let mut good = BTreeSet::from([good_end.clone()]);
    let mut bad = ids[shape.len() - 1].clone();
    loop {
        let rated = rated_by_git(dir, &bad, &good);
        let left = candidates(&history, &answers);
        let ours: BTreeSet<&str> = (0..history.len())
            .filter(|at| left[*at])
            .map(|at| history.id(at))
            .collect();
        let theirs: BTreeSet<&str> = rated.keys().map(String::as_str).collect();
        assert_eq!(ours, theirs, "seed {seed}: the candidates differ");
        let best = *rated.values().max().expect("there are candidates");
        match next(&history, &answers) {
            Next::Test(at) => {
                assert_eq!(
                    rated[history.id(at)],
                    best,
                    "seed {seed}: git rates another commit higher"
                );
                if shape.has(at, &[culprit]) {
                    answers.insert(at, Answer::Bad);
                    bad = history.id(at).to_owned();
                } else {
                    answers.insert(at, Answer::Good);
                    good.insert(history.id(at).to_owned());
                }
            }
            Next::Found(at) => {
                assert_eq!(best, 0, "seed {seed}: git would go on");
                assert_eq!(at, culprit, "seed {seed}");
                return;
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

/// Verify that on lines and on histories with merges every step is one that
/// git would take, and the end the same.
#[test]
fn every_step_is_one_of_gits() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let len = 2 + dice.below(40);
        let shape = if seed % 3 == 0 {
            Shape::line(len)
        } else {
            Shape::with_merges(len, &mut dice)
        };
        let culprit = dice.below(len);
        if shape.has(len - 1, &[culprit]) {
            compare(seed, &shape, culprit);
        }
    }
}

/// Verify that `git bisect run` comes to the same end when some commits cannot
/// be tested: the same culprit, or the same commits of which it is one.
#[test]
fn untestable_commits_end_the_same() {
    for seed in 0..12 {
        let mut dice = Dice::new(1000 + seed);
        let shape = Shape::line(6 + dice.below(20));
        let len = shape.len();
        let culprit = dice.below(len);
        let skipped: Vec<bool> = (0..len)
            .map(|at| at + 1 < len && dice.chance(0.25))
            .collect();
        let dir = tempfile::tempdir().expect("a folder");
        let (good_end, ids) = repository(dir.path(), &shape);
        let mut script = String::from("#!/bin/sh\ncase $(git rev-parse BISECT_HEAD) in\n");
        for at in 0..len {
            let status = if skipped[at] {
                125
            } else {
                u8::from(at >= culprit)
            };
            script += &format!("{}) exit {status};;\n", ids[at]);
        }
        script += "esac\nexit 128\n";
        let path = dir.path().join("step");
        std::fs::write(&path, script).expect("writing the script");
        git(
            dir.path(),
            &["bisect", "start", "--no-checkout", &ids[len - 1], &good_end],
        );
        let out = Command::new("git")
            .arg("-C")
            .arg(dir.path())
            .args(["bisect", "run", "sh"])
            .arg(&path)
            .output()
            .expect("git starts");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let name = |at: usize| {
            if at == GOOD_END {
                good_end.clone()
            } else {
                ids[at].clone()
            }
        };
        let history = shape.history(name);
        let mut answers = BTreeMap::from([(len - 1, Answer::Bad)]);
        let end = loop {
            match next(&history, &answers) {
                Next::Test(at) => answers.insert(
                    at,
                    match (skipped[at], at >= culprit) {
                        (true, _) => Answer::Skip,
                        (_, true) => Answer::Bad,
                        _ => Answer::Good,
                    },
                ),
                end => break end,
            };
        };
        match end {
            Next::Found(at) => assert!(
                said.contains(&format!("{} is the first bad commit", ids[at])),
                "seed {seed}: {said}"
            ),
            Next::AnyOf(all) => {
                let list = said
                    .split("could be any of:")
                    .nth(1)
                    .unwrap_or_else(|| panic!("seed {seed}: git found one: {said}"));
                let theirs: BTreeSet<&str> = list.lines().filter(|l| l.len() == 40).collect();
                let ours: BTreeSet<&str> = all.iter().map(|at| history.id(*at)).collect();
                assert_eq!(ours, theirs, "seed {seed}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}
