// SPDX-License-Identifier: GPL-2.0-only
//! What is told to git, and what people are told.

use std::path::Path;

use harness::{
    bisect::{
        question::{Looking, Question},
        search::Answer,
        show::{self, About, Commits},
        sight::{Boot, CaseSeen, Sight, THE_RUN},
        state::{Asked, End, State},
        step::status,
    },
    damage::Damage,
    verdict::Verdict,
};

use crate::{
    against_git::{git, repository},
    histories::Shape,
};

fn boot(bad: bool) -> Boot {
    let (verdict, mark) = if bad {
        (Verdict::Fail, "not-dropped")
    } else {
        (Verdict::Pass, "")
    };
    let seen = |name: &str, verdict, mark: &str| CaseSeen {
        name: name.into(),
        verdict,
        mark: mark.into(),
        why: mark.into(),
    };
    Boot {
        sight: Sight::Cases(vec![
            seen(THE_RUN, Verdict::Pass, ""),
            seen("a_case", verdict, mark),
        ]),
        starts: 1,
        seconds: 2.0,
        console: "/somewhere/console".into(),
    }
}

/// A bisection of ten commits that found the one at 6, with 7 not buildable.
fn finished(good: &str, ids: &[String]) -> State {
    let mut state = State::new(Asked {
        tree: None,
        base: String::new(),
        series: None,
        on_top: false,
        good: vec![good.to_owned()],
        bad: ids[9].clone(),
        cases: vec![],
        flavor: "default".into(),
        metric: None,
        flaky: false,
    });
    state.question = Question::between(
        &boot(false).sight,
        &boot(true).sight,
        0.0,
        Looking::ForBreakage,
    )
    .ok();
    for (commit, bad, image) in [
        (ids[9].as_str(), true, "i9"),
        (good, false, "g"),
        (&ids[4], false, "i4"),
        (&ids[6], true, "i6"),
        (&ids[5], false, "i5"),
        (&ids[6], true, "i6"),
        (&ids[5], false, "i5"),
    ] {
        let test = state.test_mut(commit);
        test.image = Some(image.into());
        test.boots.push(boot(bad));
    }
    state.test_mut(&ids[7]).no_image = Some("error: `x` undeclared".into());
    state.end = Some(End::Found {
        culprit: ids[6].clone(),
        parents: vec![ids[5].clone()],
    });
    state
}

fn commits(dir: &Path, ids: &[String]) -> Commits {
    ids.iter()
        .map(|id| {
            let about = About {
                subject: git(dir, &["show", "-s", "--format=%s", id])
                    .trim()
                    .to_owned(),
                author: "A Developer <a@b>".into(),
                date: "2026-01-01".into(),
                files: vec!["net/core/filter.c".into()],
            };
            (id.clone(), about)
        })
        .collect()
}

/// Verify that git takes the log, knows every answer from it, and comes to the
/// same culprit.
#[test]
fn git_replays_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (good, ids) = repository(dir, &Shape::line(10));
    let state = finished(&good, &ids);
    let log = dir.join("log");
    std::fs::write(&log, show::git_log(&state, &commits(dir, &ids))).unwrap();
    git(dir, &["checkout", "--quiet", "c"]);
    let said = git(dir, &["bisect", "replay", log.to_str().unwrap()]);
    let known = git(dir, &["bisect", "log"]);
    for (word, id) in [
        ("good", &ids[4]),
        ("good", &ids[5]),
        ("bad", &ids[6]),
        ("skip", &ids[7]),
    ] {
        assert!(
            known.contains(&format!("git bisect {word} {id}")),
            "{known}"
        );
    }
    assert!(
        format!("{said}{known}").contains(&format!("first bad commit: [{}]", ids[6])),
        "{said}{known}"
    );
}

/// Verify that the table, the end and the mail name what they must, and that
/// nothing in a subject reaches the terminal as a control character.
#[test]
fn people_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (good, ids) = repository(dir.path(), &Shape::line(10));
    let state = finished(&good, &ids);
    let mut commits = commits(dir.path(), &ids);
    commits.get_mut(&ids[6]).unwrap().subject = "net: Break\u{1b}[31m it".into();
    let (table, end) = (show::table(&state, &commits), show::end(&state, &commits));
    let mail = show::mail(&state, &commits).unwrap();
    assert_eq!(table.lines().count(), 1 + 6, "{table}");
    for part in ["skip", "`x` undeclared", "not-dropped", "2 boots"] {
        assert!(table.contains(part), "{part} is missing in: {table}");
    }
    for part in [
        ids[6].as_str(),
        "A Developer",
        "net/core/filter.c",
        "a_case: fail: not-dropped",
        "a_case: pass",
        "/somewhere/console",
    ] {
        assert!(end.contains(part), "{part} is missing in: {end}");
    }
    for part in [
        "To: A Developer",
        "Subject: [REGRESSION]",
        "a_case: pass",
        "git bisect bad",
    ] {
        assert!(mail.contains(part), "{part} is missing in: {mail}");
    }
    assert!(!mail.contains("/somewhere/console"), "{mail}");
    assert!(!format!("{table}{end}{mail}").contains('\u{1b}'));
}

/// Verify that git gets the numbers that it defines.
#[test]
fn numbers_for_git() {
    assert_eq!(status(Answer::Good), 0);
    assert_eq!(status(Answer::Bad), 1);
    assert_eq!(status(Answer::Skip), 125);
    assert_eq!(status(Answer::CannotTell), 128);
}

/// Verify that neither a mistyped flag nor a tree that is not there looks like
/// a bad commit to git.
#[test]
fn wrong_request_stops_git() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let run = |args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("bisect-step")
            .args(args)
            .arg("--cache")
            .arg(&cache)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(run(&["--case", "x", "--no-such-flag"]), Some(128));
    assert_eq!(run(&["--case", "x", "--tree", "/no/such/tree"]), Some(128));
    assert_eq!(run(&[]), Some(128));
}

/// Verify that a bisection whose ends are the wrong way round, or that does not
/// exist, is a wrong request.
#[test]
fn wrong_requests() {
    let dir = tempfile::tempdir().unwrap();
    let (good, ids) = repository(dir.path(), &Shape::line(3));
    let cache = dir.path().join("cache");
    let run = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("bisect")
            .args(args)
            .arg("--cache")
            .arg(&cache)
            .output()
            .unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let tree = dir.path().to_str().unwrap();
    for (args, part) in [
        (vec!["--resume"], "no bisection was begun"),
        (vec!["--log"], "no bisection was begun"),
        (
            vec!["--tree", tree, "--good", &ids[2], "--bad", &good],
            "exchange",
        ),
        (
            vec!["--tree", tree, "--good", &ids[2], "--bad", &ids[2]],
            "same commit",
        ),
        (
            vec!["--tree", tree, "--good", "nosuch", "--bad", &ids[2]],
            "no commit named",
        ),
        (
            vec!["--tree", tree, "--good", &good, "--bad", &ids[2]],
            "no kernel tree",
        ),
        (vec![], "--tree"),
        (
            vec!["--base", "6.12", "--metric", "x", "--limit", "much"],
            "no percentage",
        ),
    ] {
        let (status, said) = run(&args);
        assert_eq!(status, Some(2), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

/// Verify that a damaged saved bisection is refused, or read as what it now says,
/// and that nothing of it brings what is made of it down.
#[test]
fn damaged_bisections_do_no_harm() {
    let ids: Vec<String> = (0..10).map(|n| format!("{n:040x}")).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    finished("g00d", &ids).save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut read = 0;
    Damage::texts(3_000, &text, |damaged| {
        std::fs::write(&path, damaged).unwrap();
        let Ok(state) = State::load(&path) else {
            return;
        };
        read += 1;
        for test in &state.tests {
            state.known(&test.commit);
        }
        state.word(Some(Answer::Bad));
        state.starts();
    });
    assert!(read > 0, "damage that nothing survives shows nothing");
}
