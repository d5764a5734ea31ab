// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own selftests of the helper (tools/testing/selftests/bpf), built
//! from the tree under test: what its authors check, beside what we do. One comes
//! with the release, another with the series.
//!
//! Whole, the kernel's selftests take a new compiler, pahole and many minutes.
//! Only these are wanted, so only what each of them needs is built: as a
//! [`program`] or, in the form that one had until 5.12, as a [`script`].

mod program;
mod script;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use protocol::CaseInfo;

use crate::{
    cache::{Cache, Key},
    exec::Program,
    fail, kernel,
    progress::{Doing, Progress},
    setup,
    tree::Tree,
};
use sources::Sources;

/// Below the tree: where the kernel has it.
const SELFTESTS: &str = "tools/testing/selftests/bpf";

/// Changed whenever the same tree gives another result.
const RECIPE: &str = "4";

/// The file that says what is in the folder. Its lines are what selftests/src/intree
/// reads; it is written last, so that half a build has none.
const LIST: &str = "cases";

/// How the line of a selftest begins that cannot be built, of which the list is
/// the whole then; its name and why follow.
const IMPOSSIBLE: &str = "! ";

/// The test of test_progs that releases have.
const OF_RELEASE: &str = "tc_redirect";

/// The test of test_progs that a series may bring.
const OF_SERIES: &str = "redirect_peer";

/// The form in which a tree has a selftest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A test of test_progs.
    Program(&'static str),
    Script,
}

/// Whether a case is one of the kernel's own selftests.
pub fn is_one(case: &CaseInfo) -> bool {
    case.proves.iter().any(|p| p == "in-tree")
}

/// Whether it is one that came with the series, which no other kernel is run with.
pub fn is_of_series(case: &CaseInfo) -> bool {
    is_one(case) && case.proves.iter().any(|p| p == "series")
}

/// The folder for `selftests --in-tree` of the release's selftest; made at the
/// first need.
///
/// A selftest that the compilers here cannot build is a case in it that is
/// skipped, undeclared: bad, and said in the compiler's words, while everything
/// else is still run. It is tried anew the next time.
pub fn of_release(
    cache: &Cache,
    tree: &Tree,
    offline: bool,
    progress: &Progress,
) -> Result<PathBuf> {
    let form = if has(tree, &tree.commit, &program::source(OF_RELEASE))? {
        Some(Form::Program(OF_RELEASE))
    } else if has(tree, &tree.commit, script::TEST)? {
        Some(Form::Script)
    } else {
        None
    };
    build(cache, tree, &tree.commit, form, offline, progress)
}

/// The same of the selftest that the series brings, whose last commit is `patched`;
/// `None` where it brings none.
pub fn of_series(
    cache: &Cache,
    tree: &Tree,
    patched: &str,
    offline: bool,
    progress: &Progress,
) -> Result<Option<PathBuf>> {
    if !has(tree, patched, &program::source(OF_SERIES))? {
        return Ok(None);
    }
    let form = Some(Form::Program(OF_SERIES));
    build(cache, tree, patched, form, offline, progress).map(Some)
}

fn build(
    cache: &Cache,
    tree: &Tree,
    commit: &str,
    form: Option<Form>,
    offline: bool,
    progress: &Progress,
) -> Result<PathBuf> {
    let needs = match form {
        Some(Form::Program(_)) => setup::IN_TREE_PROGRAM,
        Some(Form::Script) => setup::IN_TREE_SCRIPT,
        None => &[],
    };
    setup::also(needs, offline, progress)?;
    let name = form.map_or(OF_RELEASE, Form::name);
    let step = progress.begin("in-tree", &format!("{} {name}", tree.base.line));
    let clang = first_line("clang")?;
    let key = Key::new("in-tree")
        .with(RECIPE)
        .with(name)
        // A commit that changes none of these gives the same selftest.
        .with(sources::parts(tree, commit)?)
        .with(&clang)
        .with(kernel::compiler()?)
        .hex();
    let dir = cache.path(format!("in-tree/{}-{key}", tree.slot));
    let list = dir.join(LIST);
    if fs::read_to_string(&list).is_ok_and(|l| !l.starts_with(IMPOSSIBLE)) {
        step.done(true);
        return Ok(dir);
    }
    cache.need_space(300, "building the kernel's own selftest")?;
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let lines = match form {
        Some(form) => match make(form, tree, commit, &dir, &step) {
            Err(e) if fail::status(&e) == fail::COULD_NOT_TELL => impossible(
                name,
                &format!("it does not build: {e:#} ({clang}, package clang)"),
            ),
            made => made?,
        },
        None => impossible(
            name,
            &format!(
                "{} {} has neither {} nor {}",
                tree.base.line,
                tree.version,
                program::source(OF_RELEASE),
                script::TEST
            ),
        ),
    };
    crate::cache::write_whole(&list, lines.as_bytes())?;
    step.done(false);
    Ok(dir)
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Program(test) => test,
            Self::Script => "test_tc_redirect_sh",
        }
    }
}

/// Builds it into `dir` and gives the lines of the list.
fn make(form: Form, tree: &Tree, commit: &str, dir: &Path, step: &Doing<'_>) -> Result<String> {
    let work = dir.join("work");
    let made = Sources::of(tree, commit, &work, step).and_then(|sources| match form {
        Form::Program(test) => program::build(&sources, test, dir, step),
        Form::Script => script::build(&sources, dir, step),
    });
    // The sources are 50 MB, and what was built needs none of them.
    fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
    made
}

/// The list of a selftest that cannot be run: one line, whatever `why` holds.
fn impossible(name: &str, why: &str) -> String {
    let why: Vec<&str> = why.split_whitespace().collect();
    format!("{IMPOSSIBLE}{name} {}\n", why.join(" "))
}

/// Whether a commit of the tree has a file.
fn has(tree: &Tree, commit: &str, below: &str) -> Result<bool> {
    let path = format!("{SELFTESTS}/{below}");
    let found = tree
        .repo
        .git(["ls-tree", "--name-only", commit, &path])
        .read()?;
    Ok(!found.trim().is_empty())
}

fn first_line(program: &str) -> Result<String> {
    let text = Program::new(program).arg("--version").read()?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that what a compiler says, of however many lines, is one line of the list.
    #[test]
    fn a_reason_is_one_line() {
        let list = impossible("tc_redirect", "a.c:1: error: x\n\tfour\n");
        assert_eq!(list, "! tc_redirect a.c:1: error: x four\n");
    }
}
