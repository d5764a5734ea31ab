// SPDX-License-Identifier: GPL-2.0-only
//! `series apply` on a tree that looks like a kernel's: only a branch is made,
//! and what does not apply is named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(args)
        .output()
        .expect("git starts");
    assert!(out.status.success(), "git {args:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A tree of 6.12 that never had the helper, and a series of two patches for it.
struct Setting {
    dir: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("the test can do this");
        let tree = dir.path().join("tree");
        for (file, text) in [
            (
                "Makefile",
                "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\nEXTRAVERSION =\n",
            ),
            ("include/uapi/linux/bpf.h", "/* no helper */\n"),
            ("net/core/dev.c", "one\ntwo\nthree\n"),
        ] {
            let path = tree.join(file);
            fs::create_dir_all(path.parent().expect("the test can do this"))
                .expect("the test can do this");
            fs::write(path, text).expect("the test can do this");
        }
        git(&tree, &["init", "-q", "-b", "main"]);
        git(&tree, &["add", "."]);
        git(&tree, &["commit", "-qm", "base"]);
        let setting = Self { dir };
        setting.patch(1, "two", "2");
        setting.patch(2, "2", "II");
        setting
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn patch(&self, number: usize, old: &str, new: &str) {
        let series = self.dir.path().join("series");
        fs::create_dir_all(&series).expect("the test can do this");
        let text = format!(
            "From: A <a@b>\nSubject: [PATCH] net: Change {number}\n\nBody.\n---\n net/core/dev.c | 2 +-\n\ndiff --git a/net/core/dev.c b/net/core/dev.c\n--- a/net/core/dev.c\n+++ b/net/core/dev.c\n@@ -1,3 +1,3 @@\n one\n-{old}\n+{new}\n three\n"
        );
        fs::write(series.join(format!("000{number}-net-Change.patch")), text)
            .expect("the test can do this");
    }

    fn apply(&self, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["series", "apply"])
            .arg(self.tree())
            .arg("--series")
            .arg(self.dir.path().join("series"))
            .arg("--cache")
            .arg(self.dir.path().join("cache"))
            .args(more)
            .output()
            .expect("the harness starts")
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Verify that a branch is made and nothing else: what is under way in the
/// checkout and in the index stays as it is.
#[test]
fn apply_makes_a_branch_and_nothing_else() {
    let s = Setting::new();
    let tree = s.tree();
    fs::write(tree.join("net/core/dev.c"), "in the middle of something\n").unwrap();
    fs::write(tree.join("staged"), "x\n").unwrap();
    git(&tree, &["add", "staged"]);
    let before = (
        git(&tree, &["rev-parse", "HEAD"]),
        git(&tree, &["status", "--porcelain"]),
    );
    let out = s.apply(&[]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let after = (
        git(&tree, &["rev-parse", "HEAD"]),
        git(&tree, &["status", "--porcelain"]),
    );
    assert_eq!(before, after);
    assert_eq!(
        git(&tree, &["show", "redirect-peer:net/core/dev.c"]),
        "one\nII\nthree"
    );
    assert_eq!(
        git(
            &tree,
            &["log", "--reverse", "--format=%s", "main..redirect-peer"]
        ),
        "net: Change 1\nnet: Change 2"
    );
    // A second time there is a branch in the way, and it is left alone.
    let tip = git(&tree, &["rev-parse", "redirect-peer"]);
    let out = s.apply(&[]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("--branch"), "{}", said(&out));
    assert_eq!(git(&tree, &["rev-parse", "redirect-peer"]), tip);
}

/// Verify that the patch, the file, the line and the hunk that do not apply are
/// named, how far the series came, and that no branch is left behind.
#[test]
fn apply_says_what_failed_where() {
    let s = Setting::new();
    s.patch(2, "zwei", "II");
    let out = s.apply(&[]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    for part in [
        "the first 1 apply",
        "0002-net-Change.patch",
        "net/core/dev.c:1",
        "-zwei",
        "no branch was made",
    ] {
        assert!(
            said(&out).contains(part),
            "{part} is missing in: {}",
            said(&out)
        );
    }
    assert_eq!(git(&s.tree(), &["branch", "--list", "redirect-peer"]), "");
}

/// Verify that a tree that has the helper is left alone, with the way out named.
#[test]
fn apply_refuses_a_tree_with_the_helper() {
    let s = Setting::new();
    fs::write(
        s.tree().join("include/uapi/linux/bpf.h"),
        "\tFN(redirect_peer, 155, ##ctx)\t\\\n",
    )
    .unwrap();
    git(&s.tree(), &["commit", "-qam", "upstream's"]);
    let out = s.apply(&[]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("--strip"), "{}", said(&out));
}

/// Verify that a name that git would not take, or take for an option, is refused.
#[test]
fn apply_refuses_a_bad_name() {
    let s = Setting::new();
    let out = s.apply(&["--branch", "a..b"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(
        said(&out).contains("no name for a branch"),
        "{}",
        said(&out)
    );
}
