// SPDX-License-Identifier: GPL-2.0-only
//! Wrong requests: one clear message, exit status 2, nothing lost.

use std::{path::Path, process::Command};

/// Runs the harness with a cache of its own; gives its status and what it complained about.
fn harness(cache: &Path, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(args)
        .arg("--cache")
        .arg(cache)
        .output()
        .expect("the harness starts");
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

fn git(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
    assert!(
        Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(identity)
            .args(args)
            .status()
            .expect("git starts")
            .success()
    );
}

/// Verify that a tree that is no kernel, one that is no git tree and one that
/// does not exist are each named as what they are.
#[test]
fn tree_that_is_no_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let tree = dir.path().join("tree");
    let build = |tree: &Path| harness(&cache, &["build", "--tree", tree.to_str().unwrap()]);
    let (status, said) = build(&tree);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("no tree at"), "{said}");
    std::fs::create_dir(&tree).unwrap();
    let (status, said) = build(&tree);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("is no git tree"), "{said}");
    git(dir.path(), &["init", "-q", "tree"]);
    std::fs::write(tree.join("README"), "no kernel").unwrap();
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "x"]);
    let (status, said) = build(&tree);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("is no kernel tree"), "{said}");
}

/// Verify that nothing is fetched under --offline, and that the way out is named.
#[test]
fn offline_and_nothing_cached() {
    let dir = tempfile::tempdir().unwrap();
    let (status, said) = harness(&dir.path().join("cache"), &["build", "--offline"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--tree DIR"), "{said}");
}

/// Verify that a missing compiler is named, with the command that installs it.
#[test]
fn compiler_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for folder in std::env::split_paths(&path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() != "gcc" {
                let _ = std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()));
            }
        }
    }
    let out = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["build", "--offline", "--cache"])
        .arg(dir.path().join("cache"))
        .env("PATH", &bin)
        .output()
        .expect("the harness starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    for part in ["lacks", "gcc", "apt-get install"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
}

/// Verify that a folder that cannot be written to is named, with the way out.
#[test]
fn cache_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (status, said) = harness(&file.join("cache"), &["build", "--offline"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--cache DIR"), "{said}");
}

/// Verify that a base without a series is refused with the list of those that have one.
#[test]
fn unknown_base() {
    let dir = tempfile::tempdir().unwrap();
    let (status, said) = harness(&dir.path().join("cache"), &["build", "--base", "4.4"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("6.12"), "{said}");
}

/// Verify that only a folder that the harness made is removed by `clean`.
#[test]
fn clean_removes_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis"), "").unwrap();
    let (status, said) = harness(dir.path(), &["clean"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(dir.path().join("thesis").exists());
}

/// Verify that a second run on the same cache says whom it waits for, and goes
/// on when the first one ends.
#[test]
fn second_run_waits() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let cache = harness::cache::Cache::open(dir.path()).unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["build", "--offline", "--cache"])
        .arg(dir.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    // Kept open: what it says later must not fail for want of a reader.
    let mut stderr = BufReader::new(second.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(
        said.contains(&format!("waiting for process {}", std::process::id())),
        "{said}"
    );
    drop(cache);
    assert_eq!(second.wait().unwrap().code(), Some(2));
}

/// Verify that no jobs at all is refused before anything is begun, and is not
/// taken for one.
#[test]
fn no_jobs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    for jobs in ["0", "-1", "many"] {
        let (status, said) = harness(&cache, &["verify", &format!("--jobs={jobs}")]);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("--jobs"), "{said}");
    }
    let (_, said) = harness(&cache, &["verify", "--jobs", "0"]);
    assert!(said.contains("must be at least 1"), "{said}");
    assert!(!cache.exists(), "something was begun");
}
