// SPDX-License-Identifier: GPL-2.0-only
//! A selftest as a part of `test_progs`, which that of the release is since 5.13:
//! that program with one test, the BPF objects that it names, the sources that
//! every test links with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    SELFTESTS,
    sources::{Sources, compile},
};
use crate::{exec::Program, progress::Doing, setup};

/// Where a test is, below the selftests.
pub(super) fn source(test: &str) -> String {
    format!("prog_tests/{test}.c")
}

/// What it is called in the folder that the guest gets.
const PROGRAM: &str = "test_progs";

/// Builds it into `dir` and gives a line for each subtest: the name of the test,
/// the subtest's number within it, from 1, and its name.
pub(super) fn build(sources: &Sources, test: &str, dir: &Path, step: &Doing<'_>) -> Result<String> {
    let file = source(test);
    let read = |below: &str| {
        let path = sources.tests.join(below);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (text, makefile) = (read(&file)?, read("Makefile")?);
    let names = subtests(&text);
    if names.is_empty() {
        bail!("{file} names no subtests in a way that is known here");
    }
    step.at("compiling");
    for object in skeletons(&text) {
        skeleton(sources, &object)?;
    }
    let only = sources.out.join("prog_tests");
    fs::create_dir_all(&only).with_context(|| format!("making {}", only.display()))?;
    fs::write(only.join("tests.h"), format!("DEFINE_TEST({test})\n"))
        .context("writing the list of tests")?;
    no_key(sources)?;
    let objects = linked_with(&makefile)
        .iter()
        .map(String::as_str)
        .chain([file.as_str()])
        .map(|source| object(sources, source))
        .collect::<Result<Vec<_>>>()?;
    step.at("linking");
    let link = Program::new("gcc")
        .arg("-rdynamic")
        .args(&objects)
        .arg(sources.out.join("libbpf/libbpf.a"))
        .args(["-lelf", "-lz", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
        .arg(dir.join(PROGRAM));
    compile(&link, PROGRAM)?;
    Ok(numbered(test, &names))
}

fn numbered(test: &str, names: &[String]) -> String {
    names
        .iter()
        .enumerate()
        .map(|(at, name)| format!("{test} {} {name}\n", at + 1))
        .collect()
}

fn skeleton(sources: &Sources, name: &str) -> Result<()> {
    let file = |end: &str| sources.out.join(format!("{name}{end}"));
    sources.bpf_object(name, &file(".bpf.o"))?;
    Program::new(setup::bpftool())
        .args(["gen", "object"])
        .args([file(".linked.o"), file(".bpf.o")])
        .read()
        .with_context(|| format!("linking {name}"))?;
    let header = Program::new(setup::bpftool())
        .args(["gen", "skeleton"])
        .arg(file(".linked.o"))
        .args(["name", name])
        .read()
        .with_context(|| format!("making a skeleton of {name}"))?;
    fs::write(file(".skel.h"), header).context("writing a skeleton")
}

fn object(sources: &Sources, source: &str) -> Result<PathBuf> {
    // The Makefile copies some from elsewhere in the tree.
    let candidates = [
        sources.tests.join(source),
        sources.root.join("kernel/bpf").join(source),
        sources.root.join("tools/bpf/bpftool").join(source),
    ];
    let path = candidates
        .iter()
        .find(|p| p.is_file())
        .with_context(|| format!("{SELFTESTS}/Makefile names {source}, which is not there"))?;
    let stem = Path::new(source).file_stem().unwrap_or_default();
    let object = sources.out.join(stem).with_extension("user.o");
    let mut gcc = Program::new("gcc")
        .args(["-g", "-O1", "-w", "-D_GNU_SOURCE", "-I"])
        .arg(&sources.out);
    for include in [
        ".",
        "../../../lib",
        "../../../include",
        "../../../arch/x86/include",
        "../../../include/uapi",
        "../../../bpf/bpftool",
    ] {
        gcc = gcc.args(["-I", include]);
    }
    let gcc = gcc
        .arg("-I")
        .arg(sources.out.join("include"))
        .arg("-c")
        .arg(path)
        .arg("-o")
        .arg(&object)
        .dir(&sources.tests);
    compile(&gcc, source)?;
    Ok(object)
}

/// Newer releases have a key compiled in and give it to the kernel before any
/// test. Only tests of signatures use it, and a kernel without keyrings refuses
/// it, upon which the program ends without a word: it has none here, and asks for
/// its own process ID instead of giving it away.
const NO_KEY: &str = "\
#include <sys/syscall.h>
#undef __NR_add_key
#define __NR_add_key __NR_getpid
unsigned char test_progs_verification_cert[1];
unsigned int test_progs_verification_cert_len = sizeof(test_progs_verification_cert);
";

fn no_key(sources: &Sources) -> Result<()> {
    let header = sources.out.join("verification_cert.h");
    fs::write(&header, NO_KEY).with_context(|| format!("writing {}", header.display()))
}

/// The names of the subtests, in the order in which the test starts them:
/// `RUN_TEST(tc_redirect_peer, MODE_VETH);` is tc_redirect_peer_veth, and
/// `if (test__start_subtest("loop"))` is loop.
fn subtests(test: &str) -> Vec<String> {
    test.lines()
        .filter_map(|line| {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("if (test__start_subtest(\"") {
                return rest.strip_suffix("\"))").map(str::to_owned);
            }
            let inner = line.strip_prefix("RUN_TEST(")?.strip_suffix(");")?;
            let (name, mode) = match inner.split_once(',') {
                Some((name, mode)) => (name, mode.trim()),
                None => (inner, ""),
            };
            let mode = mode.strip_prefix("MODE_").unwrap_or(mode).to_lowercase();
            Some(
                [name.trim(), &mode]
                    .join("_")
                    .trim_end_matches('_')
                    .to_owned(),
            )
        })
        .collect()
}

/// The BPF objects whose skeletons the test includes.
fn skeletons(test: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line
            .strip_prefix("#include \"")?
            .strip_suffix(".skel.h\"")?;
        Some(name.to_owned())
    };
    test.lines().filter_map(|l| name(l.trim())).collect()
}

/// The C sources that every program of the Makefile is linked with.
fn linked_with(makefile: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in makefile.lines() {
        inside |= line.starts_with("TRUNNER_EXTRA_SOURCES :=");
        if !inside {
            continue;
        }
        let words = line.trim_end_matches('\\').split_whitespace();
        found.extend(words.filter(|w| w.ends_with(".c")).map(str::to_owned));
        if !line.ends_with('\\') {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that subtests are named after what they are called with, in order.
    #[test]
    fn subtests_have_names() {
        let new = "#define RUN_TEST(name, mode) \\\n\tRUN_TEST(a_peer, MODE_VETH);\n\tRUN_TEST(a_peer, MODE_NETKIT);\n\tRUN_TEST(b);\n";
        assert_eq!(subtests(new), ["a_peer_veth", "a_peer_netkit", "b"]);
        assert_eq!(
            numbered("a", &subtests(new)),
            "a 1 a_peer_veth\na 2 a_peer_netkit\na 3 b\n"
        );
        let plain = "\tif (test__start_subtest(\"a_b\"))\n\t\trun();\n\tif (test__start_subtest(\"c\"))\n\t\tc();\n";
        assert_eq!(subtests(plain), ["a_b", "c"]);
        // Only what the text says for certain: the number of one that is
        // overlooked would be another's.
        assert!(subtests("test_tc();\n\tif (test__start_subtest(name))\n").is_empty());
    }

    /// Verify that what is to be compiled is found, over continued lines and no further.
    #[test]
    fn parts_are_found() {
        let test = "#include \"test_progs.h\"\n#include \"test_tc_peer.skel.h\"\n";
        assert_eq!(skeletons(test), ["test_tc_peer"]);
        let makefile =
            "A := x.c\nTRUNNER_EXTRA_SOURCES := a.c\t\\\n\t\t b.h b.c\\\n\t c.c\nB := d.c\n";
        assert_eq!(linked_with(makefile), ["a.c", "b.c", "c.c"]);
    }
}
