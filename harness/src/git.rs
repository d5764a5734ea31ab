// SPDX-License-Identifier: GPL-2.0-only
//! A kernel tree as commits. Patches are applied to a git index of their own,
//! never to a checkout, so applying a series costs a second and touches no file.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cache::{TEMPORARY, write_whole},
    exec::Program,
    request,
};

/// In a worktree: the commit that was checked out to the end.
const CHECKED_OUT: &str = ".redirect-peer-checkout";

/// Who made the commits and when: the same everywhere, so that the same tree
/// and the same patches are the same commit on every machine.
const IDENTITY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "redirect-peer harness"),
    ("GIT_AUTHOR_EMAIL", "harness@invalid"),
    ("GIT_AUTHOR_DATE", "2000-01-01T00:00:00Z"),
    ("GIT_COMMITTER_NAME", "redirect-peer harness"),
    ("GIT_COMMITTER_EMAIL", "harness@invalid"),
    ("GIT_COMMITTER_DATE", "2000-01-01T00:00:00Z"),
];

/// A repository of the harness's own, in the cache.
#[derive(Debug, Clone)]
pub struct Repo {
    dir: PathBuf,
}

impl Repo {
    /// Opens the repository at `dir`, making a bare one if there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        let repo = Self {
            dir: dir.to_owned(),
        };
        if !dir.join("HEAD").is_file() {
            Program::new("git")
                .args(["init", "--quiet", "--bare"])
                .arg(dir)
                .read()?;
            for (key, value) in [
                // Kernel blobs are read far more often than stored: packing them costs
                // more than it saves here.
                ("core.compression", "0"),
                ("core.looseCompression", "0"),
                ("gc.auto", "0"),
                ("core.autocrlf", "false"),
                ("advice.detachedHead", "false"),
            ] {
                repo.git(["config", key, value]).read()?;
            }
        }
        Ok(repo)
    }

    /// The repository's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A git command on this repository.
    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Program {
        let mut program = Program::new("git").arg("-C").arg(&self.dir).args(args);
        for (name, value) in IDENTITY {
            program = program.env(name, value);
        }
        // Neither the user's configuration nor a repository around the caller.
        program
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
    }

    /// The commit that `rev` names, if it names one here.
    pub fn commit(&self, rev: &str) -> Result<Option<String>> {
        let spec = format!("{rev}^{{commit}}");
        let out = self
            .git([
                "rev-parse",
                "--quiet",
                "--verify",
                "--end-of-options",
                &spec,
            ])
            .output()?;
        Ok(out.success_or_none()?.map(|id| id.trim().to_owned()))
    }

    /// Has `name` (below refs/) stand for `commit`.
    pub fn set_ref(&self, name: &str, commit: &str) -> Result<()> {
        self.git(["update-ref", name, commit]).read().map(drop)
    }

    /// A file's content at a commit; `None` when the commit has no such file.
    pub fn file(&self, commit: &str, path: &str) -> Result<Option<String>> {
        self.git(["cat-file", "blob", &format!("{commit}:{path}")])
            .output()?
            .success_or_none()
    }

    /// A folder for an index and the like; the next run removes it if this one is killed.
    fn scratch(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempdir_in(&self.dir)
            .context("making a scratch index")
    }

    /// Commits everything below `tree` as a commit without parents.
    pub fn import(&self, tree: &Path, subject: &str) -> Result<String> {
        let scratch = self.scratch()?;
        let git = |args: &[&str]| {
            self.git(args)
                .env("GIT_INDEX_FILE", scratch.path().join("index"))
                .env("GIT_DIR", &self.dir)
                .env("GIT_WORK_TREE", tree)
        };
        // The package's files are the truth, whatever its .gitignore says.
        git(&["-C"])
            .arg(tree)
            .args(["add", "--all", "--force", "."])
            .read()?;
        let written = git(&["write-tree"]).read()?;
        let commit = self
            .git(["commit-tree", written.trim(), "-m", subject])
            .read()?;
        Ok(commit.trim().to_owned())
    }

    /// Applies patches on top of `start`, a commit for each, and gives the last
    /// commit. Known results are used again.
    pub fn apply(&self, start: &str, patches: &[PathBuf]) -> Result<String> {
        let mut at = start.to_owned();
        for patch in patches {
            at = self.apply_one(&at, patch)?;
        }
        Ok(at)
    }

    fn apply_one(&self, start: &str, patch: &Path) -> Result<String> {
        let bytes = std::fs::read(patch)
            .map_err(|e| request!("cannot read the patch {}: {e}", patch.display()))?;
        let key = crate::cache::Key::new("apply")
            .with(start)
            .with(&bytes)
            .hex();
        let known = format!("refs/applied/{key}");
        if let Some(commit) = self.commit(&known)? {
            return Ok(commit);
        }
        let scratch = self.scratch()?;
        let message = scratch.path().join("message");
        let diff = scratch.path().join("diff");
        let split = std::fs::File::open(patch)?;
        let info = mailinfo(&message, &diff, split).map_err(|e| {
            request!(
                "{} is no patch made by git format-patch: {e:#}",
                patch.display()
            )
        })?;
        let index = |p: Program| p.env("GIT_INDEX_FILE", scratch.path().join("index"));
        index(self.git(["read-tree", start])).read()?;
        let out = index(
            self.git(["apply", "--cached", "--whitespace=nowarn"])
                .arg(&diff),
        )
        .output()?;
        if !out.status.success() {
            return Err(request!(
                "{}",
                does_not_apply(self, start, patch, &out.stderr)?
            ));
        }
        let tree = index(self.git(["write-tree"])).read()?;
        let text = std::fs::read_to_string(&message).unwrap_or_default();
        let full = format!("{}\n\n{}", info.subject, text.trim_end());
        let commit = self
            .git(["commit-tree", tree.trim(), "-p", start, "-m", &full])
            .env("GIT_AUTHOR_NAME", &info.author)
            .env("GIT_AUTHOR_EMAIL", &info.email)
            .read()?
            .trim()
            .to_owned();
        self.set_ref(&known, &commit)?;
        Ok(commit)
    }

    /// Has the worktree at `dir` show `commit`; files that are the same keep
    /// their times, so that a build does not do them again.
    pub fn checkout(&self, dir: &Path, commit: &str) -> Result<()> {
        // git names the commit before it has written the files: whether it came
        // to its end is for this file to say.
        let whole = dir.join(CHECKED_OUT);
        if std::fs::read_to_string(&whole).is_ok_and(|at| at == commit) {
            return Ok(());
        }
        if whole.exists() {
            std::fs::remove_file(&whole)
                .with_context(|| format!("removing {}", whole.display()))?;
        }
        self.check_out(dir, commit)?;
        write_whole(&whole, commit.as_bytes())
    }

    fn check_out(&self, dir: &Path, commit: &str) -> Result<()> {
        if dir.join(".git").exists() {
            let within = || Program::new("git").arg("-C").arg(dir);
            let lock = within()
                .args(["rev-parse", "--git-path", "index.lock"])
                .output()?;
            if lock.status.success() {
                // Of a git that was killed: nobody else works in this cache now.
                let _ = std::fs::remove_file(dir.join(lock.stdout.trim()));
                within()
                    .args(["checkout", "--quiet", "--force", "--detach", commit])
                    .read()?;
                return Ok(());
            }
            std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        self.git(["worktree", "prune"]).read()?;
        self.git(["worktree", "add", "--quiet", "--force", "--detach"])
            .arg(dir)
            .arg(commit)
            .read()
            .map(drop)
    }
}

struct MailInfo {
    author: String,
    email: String,
    subject: String,
}

fn mailinfo(message: &Path, diff: &Path, mail: std::fs::File) -> Result<MailInfo> {
    // mailinfo reads standard input, which exec keeps for the lifeline.
    let out = std::process::Command::new("git")
        .arg("mailinfo")
        .args([message, diff])
        .stdin(mail)
        .output()
        .context("starting git")?;
    anyhow::ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let field = |name: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(name).and_then(|l| l.strip_prefix(": ")))
            .map(str::to_owned)
            .with_context(|| format!("it has no {name}"))
    };
    Ok(MailInfo {
        author: field("Author")?,
        email: field("Email")?,
        subject: field("Subject")?,
    })
}

/// What to say about a patch that does not apply: the file and hunk that git
/// names, and the lines that were expected there.
fn does_not_apply(repo: &Repo, start: &str, patch: &Path, stderr: &str) -> Result<String> {
    let version = repo.file(start, "Makefile")?.map_or_else(String::new, |m| {
        crate::source::makefile_version(&m).map_or_else(String::new, |v| format!(" ({v})"))
    });
    let mut text = format!(
        "{} does not apply to {start:.12}{version}:",
        patch.display()
    );
    for line in stderr.lines().filter(|l| l.starts_with("error:")) {
        text.push_str("\n    ");
        text.push_str(line.trim_start_matches("error: "));
    }
    if let Some(at) = stderr
        .lines()
        .find_map(|l| l.strip_prefix("error: patch failed: "))
        && let Some((file, line)) = at.rsplit_once(':')
        && let Some(hunk) = hunk_at(&std::fs::read_to_string(patch)?, file, line)
    {
        text.push_str("\n  the hunk is:");
        for l in hunk.lines().take(14) {
            text.push_str("\n    ");
            text.push_str(l);
        }
    }
    text.push_str("\n  bring the patch up to date with that tree (commit in a branch, then `git format-patch`), or name a tree it was made for with --tree DIR");
    Ok(text)
}

/// The hunk of `file` that begins at line `line` of the old file.
fn hunk_at(patch: &str, file: &str, line: &str) -> Option<String> {
    let part = patch
        .split("\ndiff --git ")
        .find(|p| p.contains(&format!("\n--- a/{file}\n")))?;
    let mut hunks = part.split("\n@@ ").skip(1);
    hunks
        .find(|h| {
            h.strip_prefix('-')
                .is_some_and(|h| h.split([',', ' ']).next() == Some(line))
        })
        .map(|h| format!("@@ {h}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    fn repo_with(dir: &Path, content: &str) -> (Repo, String) {
        let repo = Repo::open(&dir.join("repo")).unwrap();
        let tree = dir.join("tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("file"), content).unwrap();
        let commit = repo.import(&tree, "base").unwrap();
        (repo, commit)
    }

    fn patch(dir: &Path, old: &str, new: &str) -> PathBuf {
        let path = dir.join("0001-change.patch");
        let text = format!(
            "From: A <a@b>\nSubject: [PATCH] change\n\nBody.\n---\n file | 2 +-\n\ndiff --git a/file b/file\n--- a/file\n+++ b/file\n@@ -1,3 +1,3 @@\n one\n-{old}\n+{new}\n three\n-- \n2.1\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Verify that a patch becomes a commit, and the same one on every machine.
    #[test]
    fn applies_the_same_everywhere() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let commits: Vec<String> = [&a, &b]
            .into_iter()
            .map(|d| {
                let (repo, base) = repo_with(d.path(), "one\ntwo\nthree\n");
                repo.apply(&base, &[patch(d.path(), "two", "2")]).unwrap()
            })
            .collect();
        assert_eq!(commits[0], commits[1]);
        let repo = Repo::open(&a.path().join("repo")).unwrap();
        assert_eq!(
            repo.file(&commits[0], "file").unwrap().unwrap(),
            "one\n2\nthree\n"
        );
    }

    /// Verify that a patch that does not apply is a wrong request that names
    /// the patch, the file and the hunk.
    #[test]
    fn names_what_does_not_apply() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, base) = repo_with(dir.path(), "one\nzwei\nthree\n");
        let error = repo
            .apply(&base, &[patch(dir.path(), "two", "2")])
            .unwrap_err();
        assert_eq!(crate::fail::status(&error), crate::fail::REQUEST);
        let text = error.to_string();
        for part in ["0001-change.patch", "file:1", "-two"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    /// Verify that no hunk of a damaged patch is shown under another one's place.
    #[test]
    fn damaged_patches_do_no_harm() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -3,2 +3,2 @@ f\n-a\n+b\n@@ -90 +90 @@\n-c\n+d\n";
        let text = format!("Subject: s\n\n---\n{}", text.replace("diff", "\ndiff"));
        assert!(hunk_at(&text, "x", "90").is_some());
        Damage::texts(3_000, &text, |damaged| {
            for line in ["3", "90", ""] {
                if let Some(hunk) = hunk_at(damaged, "x", line) {
                    assert!(hunk.starts_with(&format!("@@ -{line}")), "{hunk}");
                }
            }
        });
    }

    /// Verify that a checkout that was killed half-way is finished by the next,
    /// although git names the commit already and has left a lock behind.
    #[test]
    fn half_a_checkout_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, commit) = repo_with(dir.path(), "one\n");
        let at = dir.path().join("worktree");
        repo.checkout(&at, &commit).unwrap();
        let written = std::fs::metadata(at.join("file"))
            .unwrap()
            .modified()
            .unwrap();
        repo.checkout(&at, &commit).unwrap();
        let again = std::fs::metadata(at.join("file"))
            .unwrap()
            .modified()
            .unwrap();
        assert_eq!(written, again, "what is the same keeps its time");

        std::fs::remove_file(at.join(CHECKED_OUT)).unwrap();
        std::fs::remove_file(at.join("file")).unwrap();
        let git = std::fs::read_to_string(at.join(".git")).unwrap();
        let git = git.trim().strip_prefix("gitdir: ").unwrap();
        std::fs::write(Path::new(git).join("index.lock"), "").unwrap();
        repo.checkout(&at, &commit).unwrap();
        assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "one\n");
    }
}
