// SPDX-License-Identifier: GPL-2.0-only
//! The parts of a tree that its selftest is built from, and how they are compiled.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::SELFTESTS;
use crate::{
    exec::{Program, describe},
    progress::Doing,
    tree::Tree,
};

/// What is needed of the tree; what a release does not have is left out.
const PARTS: &[&str] = &[
    "include/uapi",
    "kernel/bpf",
    "scripts",
    "tools/arch",
    "tools/bpf",
    "tools/build",
    "tools/include",
    "tools/lib",
    "tools/perf/perf-sys.h",
    "tools/scripts",
    SELFTESTS,
    "tools/testing/selftests/kselftest.h",
    "tools/testing/selftests/kselftest_harness.h",
    "tools/testing/selftests/lib.mk",
    "tools/testing/selftests/net",
];

/// The parts of a tree, and its libbpf, built.
#[derive(Debug)]
pub(super) struct Sources {
    /// What `/` is in the tree.
    pub(super) root: PathBuf,
    /// [`SELFTESTS`] in it.
    pub(super) tests: PathBuf,
    /// Where objects go; `include` and `libbpf/libbpf.a` are there.
    pub(super) out: PathBuf,
}

/// What of [`PARTS`] a commit has, a line for each, with its hash.
pub(super) fn parts(tree: &Tree, commit: &str) -> Result<String> {
    tree.repo.git(["ls-tree", commit]).args(PARTS).read()
}

impl Sources {
    /// Takes them out of a commit of the tree into the folder `work`.
    pub(super) fn of(tree: &Tree, commit: &str, work: &Path, step: &Doing<'_>) -> Result<Self> {
        let root = work.join("source");
        let sources = Self {
            tests: root.join(SELFTESTS),
            out: work.join("objects"),
            root,
        };
        for dir in [&sources.root, &sources.out] {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        step.at("taking the sources out of the tree");
        sources.extract(tree, commit)?;
        step.at("building libbpf");
        sources.libbpf()?;
        Ok(sources)
    }

    fn extract(&self, tree: &Tree, commit: &str) -> Result<()> {
        let there = parts(tree, commit)?;
        let there = there.lines().filter_map(|l| Some(l.split_once('\t')?.1));
        let tar = self.out.join("parts.tar");
        tree.repo
            .git(["archive", "--format=tar", "--output"])
            .arg(&tar)
            .arg(commit)
            .args(there)
            .read()
            .context("taking the selftest out of the tree")?;
        Program::new("tar")
            .arg("xf")
            .arg(&tar)
            .arg("-C")
            .arg(&self.root)
            .read()
            .context("unpacking the selftest")
            .map(drop)
    }

    fn libbpf(&self) -> Result<()> {
        let objects = self.out.join("libbpf");
        fs::create_dir_all(&objects).with_context(|| format!("making {}", objects.display()))?;
        let make = Program::new("make")
            .args(["--silent", "-C"])
            .arg(self.root.join("tools/lib/bpf"))
            .arg(format!("OUTPUT={}/", objects.display()))
            .arg(format!("DESTDIR={}", self.out.display()))
            .args(["prefix=", "CC=gcc"])
            .arg(format!("-j{}", crate::machine::cpus()))
            .arg(objects.join("libbpf.a"))
            .arg("install_headers");
        compile(&make, "the tree's libbpf").map(drop)
    }

    /// Compiles the BPF program `progs/NAME.c` to `to`.
    pub(super) fn bpf_object(&self, name: &str, to: &Path) -> Result<()> {
        let source = format!("progs/{name}.c");
        let mut clang = Program::new("clang");
        // The host's headers, behind the tree's: asm/types.h is in a folder of
        // its own for each architecture.
        let multiarch = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        for system in [multiarch.as_str(), "/usr/include"] {
            clang = clang.args(["-idirafter", system]);
        }
        let clang = clang
            .args(["-g", "-O2", "-D__TARGET_ARCH_x86", "-mlittle-endian"])
            .args(["--target=bpf", "-mcpu=v3"])
            .arg("-I")
            .arg(self.out.join("include"))
            .args(["-I.", "-I../../../include/uapi", "-c", &source, "-o"])
            .arg(to)
            .dir(&self.tests);
        compile(&clang, &source).map(drop)
    }
}

/// Runs a compiler, or what calls one. Its first complaint is the one to read.
pub(super) fn compile(program: &Program, what: &str) -> Result<String> {
    let done = program.output()?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    bail!(
        "{what}: {} (it ended with {})",
        first_error(&done.stderr),
        describe(done.status)
    )
}

/// The first line that says what is wrong; the last when none does.
fn first_error(said: &str) -> &str {
    let lines = || said.lines().map(str::trim).filter(|l| !l.is_empty());
    lines()
        .find(|l| l.contains("rror:") || l.contains("undefined reference"))
        .or_else(|| lines().next_back())
        .unwrap_or("nothing was said")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that of what a compiler says the first error is shown.
    #[test]
    fn the_first_error_is_shown() {
        let said = "In file included from a.c:1:\na.c:9:1: warning: w\nb.h:2:10: fatal error: 'x.h' file not found\nc.c:1: error: y\n1 error generated.\n";
        assert_eq!(
            first_error(said),
            "b.h:2:10: fatal error: 'x.h' file not found"
        );
        assert_eq!(
            first_error("one\n\nmake: *** [x] Error 2\n"),
            "make: *** [x] Error 2"
        );
        assert_eq!(first_error(" \n"), "nothing was said");
    }
}
