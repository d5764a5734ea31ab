// SPDX-License-Identifier: GPL-2.0-only
//! The strip: that it takes upstream's helper out, all of it, and nothing else.
//! What the series is compared with would otherwise not be what it is said to be.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, bail};

use super::{
    finding::{Finding, Outcome},
    headers::{self, HELPER, UAPI},
};
use crate::{
    exec::{Output, Program, describe},
    git::Repo,
};

/// What the row of the strip is called, whether it applies or not.
pub const SUBJECT: &str = "taking upstream's helper out";

/// What has to do with the helper has one of these in its name, in whatever case.
const NAMES: [&str; 3] = ["redirect_peer", "get_peer_dev", "BPF_F_PEER"];

/// Words that look like it and are somebody else's: what is in them, in whatever case,
/// and in the paths of the files where they are.
const FOREIGN: &[(&str, &str)] = &[("get_peer_devices", "drbd")];

/// What may hold the helper's place in a list without ids.
const PLACEHOLDER: &str = "unused_155";

/// Judges whether a stripped commit has anything left of the helper.
pub fn traces(repo: &Repo, upstream: &str, stripped: &str) -> Result<Outcome> {
    // Where it must be: an expression that does not find it there proves nothing.
    if left(&grep(repo, upstream, &[UAPI])?).is_empty() {
        return Ok(Outcome::Untold {
            why: format!("git grep does not find the helper in {UAPI} before the strip either"),
        });
    }
    Ok(Outcome::of(left(&grep(repo, stripped, &[])?)))
}

/// What git grep finds in a commit: `commit:file`, line and word, with a zero
/// byte after the first two.
fn grep(repo: &Repo, commit: &str, paths: &[&str]) -> Result<String> {
    // An expression in all of a kernel takes a minute; words, seconds.
    let names = NAMES.iter().flat_map(|name| ["-e", name]);
    let files = hits(
        &repo
            .git(["grep", "-z", "--text", "--ignore-case"])
            .args(["--files-with-matches", "--fixed-strings"])
            .args(names)
            .args([commit, "--"])
            .args(paths),
    )?;
    let files: Vec<&str> = files
        .split('\0')
        .filter_map(|hit| hit.split_once(':').map(|(_, file)| file))
        .collect();
    if files.is_empty() {
        return Ok(String::new());
    }
    let word = format!("[a-z0-9_]*({})[a-z0-9_]*", NAMES.join("|"));
    hits(
        &repo
            .git(["--literal-pathspecs", "grep", "-z", "--text"])
            .args(["--ignore-case", "--line-number", "--only-matching", "-E"])
            .args([&word, commit, "--"])
            .args(files),
    )
}

/// What a git grep prints.
fn hits(grep: &Program) -> Result<String> {
    let said = grep.output()?;
    match said.status.code() {
        // It ends with 1 when it finds nothing.
        Some(0 | 1) => Ok(said.stdout),
        _ => bail!(
            "git grep ended with {}: {}",
            describe(said.status),
            said.stderr.trim()
        ),
    }
}

/// The hits that are nobody else's.
fn left(hits: &str) -> Vec<Finding> {
    hits.lines()
        .filter(|l| !l.is_empty())
        .filter_map(|hit| {
            let mut fields = hit.split('\0');
            let place = fields.next().unwrap_or_default();
            let line = fields.next().and_then(|n| n.parse().ok());
            let word = fields.next().unwrap_or(hit);
            let file = place.split_once(':').map_or(place, |(_, f)| f);
            let lower = word.to_ascii_lowercase();
            if FOREIGN
                .iter()
                .any(|(part, whose)| lower.contains(part) && file.contains(whose))
            {
                return None;
            }
            Some(Finding {
                file: file.to_owned(),
                line,
                tool: "git grep".into(),
                text: format!("{word} is left"),
            })
        })
        .collect()
}

/// Judges, with the documentation script of the tree at `src`, whether every
/// other helper of upstream's header is in the stripped one with the same id.
pub fn ids(src: &Path, upstream: &str, stripped: &str) -> Result<Outcome> {
    let Some(script) = headers::script(src) else {
        return Ok(headers::no_script());
    };
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("bpf.h");
    let mut lists = Vec::new();
    for (whose, text) in [("upstream's", upstream), ("the stripped", stripped)] {
        std::fs::write(&file, text)?;
        let said: Output = headers::documentation(src, script, &file, &["--header"])?;
        if !said.status.success() {
            return Ok(Outcome::Untold {
                why: format!("{script} fails on {whose} header: {}", said.stderr.trim()),
            });
        }
        lists.push(headers::declared(&said.stdout));
    }
    let [before, after] = &lists[..] else {
        bail!("two headers give two lists");
    };
    if before.get(HELPER.0) != Some(&HELPER.1) {
        return Ok(Outcome::Untold {
            why: format!("{script} does not give upstream's bpf_{} id 155", HELPER.0),
        });
    }
    Ok(Outcome::of(
        moved(before, after)
            .into_iter()
            .map(|text| Finding {
                file: UAPI.into(),
                line: None,
                tool: script.into(),
                text,
            })
            .collect(),
    ))
}

/// What differs between two lists of helpers beyond the one that is taken out.
fn moved(before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>) -> Vec<String> {
    let (helper, place) = HELPER;
    let mut wrong = Vec::new();
    if after.contains_key(helper) {
        wrong.push(format!("bpf_{helper} is still there"));
    }
    for (name, id) in before.iter().filter(|(n, _)| *n != helper) {
        match after.get(name) {
            Some(other) if other == id => {}
            Some(other) => wrong.push(format!("bpf_{name} had id {id} and has {other}")),
            None => wrong.push(format!("bpf_{name} with id {id} is gone as well")),
        }
    }
    for (name, id) in after.iter().filter(|(n, _)| !before.contains_key(*n)) {
        if (name.as_str(), *id) != (PLACEHOLDER, place) {
            wrong.push(format!("bpf_{name} with id {id} was not there before"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit with these files.
    fn commit(dir: &Path, files: &[(&str, &str)]) -> (Repo, String) {
        let repo = Repo::open(&dir.join("repo")).unwrap();
        let tree = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = tree.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let commit = repo.import(tree.path(), "c").unwrap();
        (repo, commit)
    }

    const WITH: (&str, &str) = (UAPI, "\tFN(redirect_peer, 155, ##ctx)\n");
    const DRBD: (&str, &str) = (
        "include/linux/drbd_genl.h",
        "GENL_op(DRBD_ADM_GET_PEER_DEVICES, drbd_nl_get_peer_devices_dumpit)\n",
    );

    /// Verify that what is left is found with file, line and word, in any case and
    /// in any file, and that the names of others are not.
    #[test]
    fn what_is_left_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (_, upstream) = commit(dir.path(), &[WITH, DRBD]);
        let (repo, clean) = commit(dir.path(), &[(UAPI, "none\n"), DRBD]);
        assert_eq!(traces(&repo, &upstream, &clean).unwrap(), Outcome::Good);
        let (_, dirty) = commit(
            dir.path(),
            &[
                DRBD,
                ("a:b.c", "x\ny = bpf_f_peer | 1;\n"),
                (
                    "drivers/block/drbd/d.c",
                    "drbd_get_peer_dev, redirect_peer\n",
                ),
                ("n.c", "\0 drbd_get_peer_devices\n"),
            ],
        );
        let Outcome::Found { findings } = traces(&repo, &upstream, &dirty).unwrap() else {
            panic!("nothing was found");
        };
        let seen: Vec<_> = findings
            .iter()
            .map(|f| (f.file.as_str(), f.line, f.text.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a:b.c", Some(2), "bpf_f_peer is left"),
                (
                    "drivers/block/drbd/d.c",
                    Some(1),
                    "drbd_get_peer_dev is left"
                ),
                ("drivers/block/drbd/d.c", Some(1), "redirect_peer is left"),
                ("n.c", Some(1), "drbd_get_peer_devices is left"),
            ]
        );
    }

    /// Verify that an expression that finds nothing where the helper is proves
    /// nothing, and that a git that fails has not found the tree clean.
    #[test]
    fn blind_search_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, clean) = commit(dir.path(), &[(UAPI, "none\n")]);
        assert!(matches!(
            traces(&repo, &clean, &clean).unwrap(),
            Outcome::Untold { .. }
        ));
        let (_, upstream) = commit(dir.path(), &[WITH]);
        assert!(traces(&repo, &upstream, &"0".repeat(40)).is_err());
    }

    fn list(helpers: &[(&str, u32)]) -> BTreeMap<String, u32> {
        helpers.iter().map(|(n, i)| ((*n).into(), *i)).collect()
    }

    /// Verify that the helper alone may go, that its place may be held, and that
    /// a helper that moves, goes or comes is named.
    #[test]
    fn only_the_helper_goes() {
        let before = list(&[("this_cpu_ptr", 154), HELPER, ("task_storage_get", 156)]);
        let of = |after: &[(&str, u32)]| moved(&before, &list(after));
        let rest = [("this_cpu_ptr", 154), ("task_storage_get", 156)];
        assert_eq!(of(&rest), Vec::<String>::new());
        let [first, last] = rest;
        assert_eq!(of(&[first, (PLACEHOLDER, 155), last]), Vec::<String>::new());
        for (after, part) in [
            (
                vec![first, ("task_storage_get", 155)],
                "had id 156 and has 155",
            ),
            (
                vec![first],
                "bpf_task_storage_get with id 156 is gone as well",
            ),
            (vec![first, HELPER, last], "is still there"),
            (
                vec![first, (PLACEHOLDER, 157), last],
                "was not there before",
            ),
            (
                vec![first, ("other", 155), last],
                "bpf_other with id 155 was not",
            ),
        ] {
            let wrong = of(&after);
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            assert!(wrong[0].contains(part), "{wrong:?}");
        }
    }
}
