// SPDX-License-Identifier: GPL-2.0-only
//! `series refresh`: commits on top of a base's prepared tree become the
//! patches of kernel-patches/ again. An unchanged series gives the same bytes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use protocol::Arm;

use crate::{
    cache::write_whole, cli::Refresh, fail, git::Repo, project::patches_in, request,
    session::Session, tree::Tree,
};

/// The branch of a prepared tree that is taken back unless another is named.
const BRANCH: &str = "series";

/// Takes the commits back and says which patches are new, changed or gone.
pub fn refresh(request: &Refresh) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let trees = session.trees(&crate::cli::Source::of_base(&request.base))?;
    let tree = trees.first().context("one base is one tree")?;
    let baseline = tree.arm(&session.project, Arm::Baseline, None)?;
    let rev = request.rev.as_deref().unwrap_or(BRANCH);
    let Some(tip) = tree.repo.commit(rev)? else {
        return Err(request!("{}", how_to_begin(&session, tree, rev)));
    };
    let dir = session
        .project
        .path("kernel-patches")
        .join(&request.base)
        .join("series");
    let old = read(&dir)?;
    let new = patches(&tree.repo, &baseline, &tip, &old)?;
    for line in write(&dir, &old, &new)? {
        println!("{line}");
    }
    Ok(fail::GOOD)
}

/// What to do where there is no branch to take commits from yet.
fn how_to_begin(session: &Session, tree: &Tree, rev: &str) -> String {
    let tip = tree
        .arm(&session.project, Arm::Patched, None)
        .or_else(|_| tree.arm(&session.project, Arm::Baseline, None))
        .unwrap_or_else(|_| "BASELINE".into());
    format!(
        "the prepared tree of {} has no commit named `{rev}`: make a checkout with\n    git -C {} worktree add -b {BRANCH} ~/series-{} {tip:.12}\n  commit there (git rebase -i to change a patch), and run this again",
        tree.base.line,
        tree.repo.dir().display(),
        tree.base.line,
    )
}

/// Patches by file name.
type Files = BTreeMap<String, Vec<u8>>;

fn read(dir: &Path) -> Result<Files> {
    let Ok(paths) = patches_in(dir) else {
        return Ok(Files::new());
    };
    paths
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            Ok((name_of(&path), bytes))
        })
        .collect()
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The commits after `baseline` up to `tip` as patch files. The bytes depend on
/// the commits and on `old`, which has the dates, and on nothing else.
fn patches(repo: &Repo, baseline: &str, tip: &str, old: &Files) -> Result<Files> {
    let range = format!("{baseline}..{tip}");
    let below = repo
        .git(["merge-base", "--is-ancestor", baseline, tip])
        .output()?;
    if !below.status.success() {
        return Err(request!(
            "{tip:.12} is not on top of the baseline {baseline:.12}: rebase it (git rebase --onto {baseline:.12} OLD-BASELINE), as the source package may have been updated"
        ));
    }
    let merges = repo.git(["rev-list", "--merges", &range]).read()?;
    if let Some(merge) = merges.lines().next() {
        return Err(request!(
            "{merge:.12} is a merge: a series is a straight line of commits (git rebase)"
        ));
    }
    let scratch = tempfile::tempdir().context("making a folder for patches")?;
    // A bare repository does not read the tree's .gitattributes, by which a hunk
    // is headed by its function and not by a label in it.
    let attributes = tempfile::NamedTempFile::new().context("making a temporary file")?;
    fs::write(
        attributes.path(),
        "*.c diff=cpp\n*.h diff=cpp\n*.py diff=python\n",
    )?;
    let mut setting = OsString::from("core.attributesFile=");
    setting.push(attributes.path());
    let said = repo
        .git(["-c"])
        .arg(setting)
        // Whatever would make the bytes depend on the machine, on the version of
        // git, or on how many objects the repository has.
        .args([
            "-c",
            "core.abbrev=12",
            "-c",
            "diff.indentHeuristic=true",
            "-c",
            "core.quotePath=true",
            "-c",
            "i18n.logOutputEncoding=UTF-8",
            "format-patch",
            "--quiet",
            "--zero-commit",
            "--no-signature",
            "--no-numbered",
            "--no-renames",
            "--no-ext-diff",
            "--no-attach",
            "--no-thread",
            "--no-base",
            "--no-cover-letter",
            "--no-notes",
            "--diff-algorithm=myers",
            "--unified=3",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--output-directory",
        ])
        .arg(scratch.path())
        .arg(&range)
        .output()?;
    said.success()?;
    let made = patches_in(scratch.path()).map_err(|_| {
        request!("{tip:.12} is the baseline itself: there is no commit on top of it")
    })?;
    let dates: BTreeMap<String, String> = old
        .values()
        .filter_map(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            Some((header(&text, "Subject")?, header(&text, "Date")?))
        })
        .collect();
    made.into_iter()
        .map(|path| Ok((name_of(&path), dated(&path, &dates)?)))
        .collect()
}

/// A patch as it is kept: the commits of a prepared tree all have the same
/// date, so that they are the same everywhere, and the patch keeps its own.
fn dated(path: &PathBuf, dates: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let same = || -> Option<String> {
        let new = header(&text, "Date")?;
        if !new.contains("1 Jan 2000 00:00:00 +0000") {
            return None;
        }
        let old = dates.get(&header(&text, "Subject")?)?;
        Some(text.replacen(&format!("\nDate: {new}\n"), &format!("\nDate: {old}\n"), 1))
    };
    Ok(same().unwrap_or(text).into_bytes())
}

/// A header of a mail, unfolded.
pub(super) fn header(mail: &str, name: &str) -> Option<String> {
    let head = mail.split("\n\n").next()?;
    let mut lines = head
        .lines()
        .skip_while(|l| l.strip_prefix(name).is_none_or(|l| !l.starts_with(": ")));
    let mut value = lines.next()?.split_once(": ")?.1.to_owned();
    for more in lines.take_while(|l| l.starts_with(' ')) {
        value.push_str(more);
    }
    Some(value)
}

/// Makes `dir` hold `new` and no other patch; gives what happened to each.
fn write(dir: &Path, old: &Files, new: &Files) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for (name, bytes) in new {
        let word = match old.get(name) {
            Some(known) if known == bytes => "same    ",
            Some(_) => "changed ",
            None => "new     ",
        };
        if word != "same    " {
            write_whole(&dir.join(name), bytes)?;
        }
        said.push(format!("{word}{name}"));
    }
    for name in old.keys().filter(|n| !new.contains_key(*n)) {
        let path = dir.join(name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        said.push(format!("gone    {name}"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(repo: &Repo, dir: &Path, parent: &str, text: &str, message: &str) -> String {
        let tree = dir.join("tree");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("file"), text).unwrap();
        let imported = repo.import(&tree, "x").unwrap();
        repo.git(["commit-tree", &format!("{imported}^{{tree}}"), "-p", parent])
            .args(["-m", message])
            .env(
                "GIT_AUTHOR_NAME",
                "An Author With Such A Long Name That It Is Folded",
            )
            .env("GIT_AUTHOR_EMAIL", "an.author@long-name.example.org")
            .env("GIT_AUTHOR_DATE", "2026-11-23T03:10:23Z")
            .read()
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Verify that patches that are applied and taken back are the same bytes,
    /// that a changed commit changes its patch and no other, and that one that
    /// is gone is removed.
    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("repo")).unwrap();
        fs::create_dir_all(dir.path().join("tree")).unwrap();
        fs::write(dir.path().join("tree/file"), "1\n2\n3\n4\n5\n6\n7\n8\n9\n").unwrap();
        let base = repo.import(&dir.path().join("tree"), "base").unwrap();
        let one = commit(
            &repo,
            dir.path(),
            &base,
            "one\n2\n3\n4\n5\n6\n7\n8\n9\n",
            "net: A subject that is long enough to be folded into two lines by git\n\nBody.",
        );
        let two = commit(
            &repo,
            dir.path(),
            &one,
            "one\n2\n3\n4\n5\n6\n7\n8\nnine\n",
            "net: Second\n\nBody.",
        );
        let series = dir.path().join("series");
        let first = patches(&repo, &base, &two, &Files::new()).unwrap();
        write(&series, &Files::new(), &first).unwrap();
        assert_eq!(first.len(), 2);

        let applied = repo.apply(&base, &patches_in(&series).unwrap()).unwrap();
        let again = patches(&repo, &base, &applied, &read(&series).unwrap()).unwrap();
        assert_eq!(first, again, "an unchanged series gives other bytes");

        let at = repo.commit(&format!("{applied}~1")).unwrap().unwrap();
        let other = commit(
            &repo,
            dir.path(),
            &at,
            "one\n2\n3\n4\n5\n6\n7\n8\nNINE\n",
            "net: Second\n\nBody.",
        );
        let changed = patches(&repo, &base, &other, &first).unwrap();
        let said = write(&series, &first, &changed).unwrap();
        assert!(said[0].starts_with("same"), "{said:?}");
        assert!(said[1].starts_with("changed"), "{said:?}");
        let said = write(&series, &changed, &Files::new()).unwrap();
        assert_eq!(said.len(), 2);
        assert!(patches_in(&series).is_err());
    }

    /// Verify that a hunk is headed by the function that it is in, not by a label.
    #[test]
    fn hunks_are_headed_by_functions() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("repo")).unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        let text = |last: u32| {
            format!(
                "int f(void)\n{{\n\tgoto out;\nout:\n\t1;\n\t2;\n\t3;\n\t4;\n\treturn {last};\n}}\n"
            )
        };
        fs::write(tree.join("a.c"), text(5)).unwrap();
        let base = repo.import(&tree, "base").unwrap();
        fs::write(tree.join("a.c"), text(6)).unwrap();
        let imported = repo.import(&tree, "x").unwrap();
        let tip = repo
            .git(["commit-tree", &format!("{imported}^{{tree}}"), "-p", &base])
            .args(["-m", "x"])
            .read()
            .unwrap();
        let made = patches(&repo, &base, tip.trim(), &Files::new()).unwrap();
        let text = String::from_utf8_lossy(made.values().next().unwrap()).into_owned();
        assert!(text.contains("@@ int f(void)"), "{text}");
    }

    /// Verify that commits that are not on top of the baseline, and none at
    /// all, are refused rather than written over the series.
    #[test]
    fn what_is_no_series_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("repo")).unwrap();
        fs::create_dir_all(dir.path().join("tree")).unwrap();
        fs::write(dir.path().join("tree/file"), "a\n").unwrap();
        let base = repo.import(&dir.path().join("tree"), "base").unwrap();
        fs::write(dir.path().join("tree/file"), "b\n").unwrap();
        let stranger = repo.import(&dir.path().join("tree"), "other").unwrap();
        for (tip, says) in [(&stranger, "not on top"), (&base, "no commit on top")] {
            let error = patches(&repo, &base, tip, &Files::new()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(fail::status(&error), fail::REQUEST);
        }
    }

    /// Verify that a folded header is read whole, and that a body is none.
    #[test]
    fn headers_are_unfolded() {
        let mail = "From 0\nSubject: [PATCH] net: Let a tc redirect send a packet into another receive\n round\nDate: today\n\nSubject: no\nTo: no\n";
        assert_eq!(
            header(mail, "Subject").unwrap(),
            "[PATCH] net: Let a tc redirect send a packet into another receive round"
        );
        assert_eq!(header(mail, "To"), None);
    }
}
