// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own selftest of the helper (tools/testing/selftests/bpf), built
//! from the tree under test: what its authors check, beside what we do.
//!
//! Whole, the kernel's selftests take a new compiler, pahole and many minutes.
//! Only one of them is wanted, so only what that one needs is built: as a
//! [`program`] or, in the form that it had until 5.12, as a [`script`].

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
const RECIPE: &str = "3";

/// The file that says what is in the folder. Its lines are what selftests/src/intree
/// reads; it is written last, so that half a build has none.
const LIST: &str = "cases";

/// How the line of a selftest begins that cannot be built, of which the list is
/// the whole then; its name and why follow.
const IMPOSSIBLE: &str = "! ";

/// The form in which a tree has the selftest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Program,
    Script,
}

/// Whether a case is one of the kernel's own selftest.
pub fn is_one(case: &CaseInfo) -> bool {
    case.proves.iter().any(|p| p == "in-tree")
}

/// The folder for `selftests --in-tree` of a tree; made at the first need.
///
/// A selftest that the compilers here cannot build is a case in it that is
/// skipped, undeclared: bad, and said in the compiler's words, while everything
/// else is still run. It is tried anew the next time.
pub fn build(cache: &Cache, tree: &Tree, offline: bool, progress: &Progress) -> Result<PathBuf> {
    let form = if has(tree, program::TEST)? {
        Some(Form::Program)
    } else if has(tree, script::TEST)? {
        Some(Form::Script)
    } else {
        None
    };
    let needs = match form {
        Some(Form::Program) => setup::IN_TREE_PROGRAM,
        Some(Form::Script) => setup::IN_TREE_SCRIPT,
        None => &[],
    };
    setup::also(needs, offline, progress)?;
    let step = progress.begin("in-tree", &tree.base.line);
    let clang = first_line("clang")?;
    let key = Key::new("in-tree")
        .with(RECIPE)
        .with(&tree.commit)
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
        Some(form) => match make(form, tree, &dir, &step) {
            Err(e) if fail::status(&e) == fail::COULD_NOT_TELL => impossible(
                form.name(),
                &format!("it does not build: {e:#} ({clang}, package clang)"),
            ),
            made => made?,
        },
        None => impossible(
            "tc_redirect",
            &format!(
                "{} {} has neither {} nor {}",
                tree.base.line,
                tree.version,
                program::TEST,
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
            Self::Program => "tc_redirect",
            Self::Script => "test_tc_redirect_sh",
        }
    }
}

/// Builds it into `dir` and gives the lines of the list.
fn make(form: Form, tree: &Tree, dir: &Path, step: &Doing<'_>) -> Result<String> {
    let work = dir.join("work");
    let made = Sources::of(tree, &work, step).and_then(|sources| match form {
        Form::Program => program::build(&sources, dir, step),
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

/// Whether the tree's commit has a file.
fn has(tree: &Tree, below: &str) -> Result<bool> {
    let path = format!("{SELFTESTS}/{below}");
    let found = tree
        .repo
        .git(["ls-tree", "--name-only", &tree.commit, &path])
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
