// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own selftest of the helper (tools/testing/selftests/bpf), built
//! from the tree under test: what its authors check, beside what we do.
//!
//! `test_progs` whole takes a new compiler, pahole and many minutes. Only one of
//! its tests is wanted, so only what that one needs is built: the tree's libbpf,
//! the BPF objects that it names, the sources that every test links with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use protocol::CaseInfo;

use crate::{
    cache::{Cache, Key},
    exec::{self, Program},
    progress::Progress,
    setup,
    tree::Tree,
};

/// Below the tree: where the kernel has it.
const SELFTESTS: &str = "tools/testing/selftests/bpf";
const TEST: &str = "prog_tests/tc_redirect.c";

/// The form that it had until 5.12: a script, and objects for `tc` to load.
const SCRIPT: &str = "test_tc_redirect.sh";
const SCRIPT_OBJECT: &str = "progs/test_tc_peer.c";

/// What is needed of the tree; what a release does not have is left out.
const PARTS: &[&str] = &[
    "include/uapi",
    "kernel/bpf",
    "scripts",
    "tools/arch",
    "tools/bpf/bpftool",
    "tools/build",
    "tools/include",
    "tools/lib",
    "tools/scripts",
    SELFTESTS,
    "tools/testing/selftests/kselftest.h",
    "tools/testing/selftests/kselftest_harness.h",
    "tools/testing/selftests/lib.mk",
    "tools/testing/selftests/net",
];

/// Changed whenever the same tree gives another result.
const RECIPE: &str = "1";

/// The file that says what is in the folder. Its lines are what selftests/src/intree.rs
/// reads; it is written last, so that half a build has none.
pub const LIST: &str = "cases";
/// The program in the folder.
pub const PROGRAM: &str = "test_progs";

/// Whether a case is one of the kernel's own selftest.
pub fn is_one(case: &CaseInfo) -> bool {
    case.proves.iter().any(|p| p == "in-tree")
}

/// The folder that holds [`PROGRAM`] and [`LIST`] for a tree; made at the first need.
pub fn build(cache: &Cache, tree: &Tree, offline: bool, progress: &Progress) -> Result<PathBuf> {
    setup::also(&setup::BPFTOOL, offline, progress)?;
    let step = progress.begin("in-tree", &tree.base.line);
    let compiler = Program::new("clang").arg("--version").read()?;
    let key = Key::new("in-tree")
        .with(RECIPE)
        .with(&tree.commit)
        .with(&compiler)
        .hex();
    let dir = cache.path(format!("in-tree/{}-{key}", tree.slot));
    if dir.join(LIST).is_file() {
        step.done(true);
        return Ok(dir);
    }
    cache.need_space(300, "building the kernel's own selftest")?;
    let _ = fs::remove_dir_all(&dir);
    let work = dir.join("source");
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    step.at("taking the sources out of the tree");
    extract(tree, &work)?;
    let build = Build {
        tests: work.join(SELFTESTS),
        root: work.clone(),
        out: dir.join("objects"),
    };
    fs::create_dir_all(&build.out)?;
    let list = if build.tests.join(TEST).is_file() {
        step.at("building libbpf");
        build.libbpf()?;
        step.at("compiling");
        let list = build.program(&dir.join(PROGRAM))?;
        numbered(&list)
    } else if build.tests.join(SCRIPT).is_file() {
        format!("- {SCRIPT} {}\n", build.why_no_script()?)
    } else {
        bail!(
            "{} {} has neither {SELFTESTS}/{TEST} nor {SCRIPT}: there is no selftest of the helper in it",
            tree.base.line,
            tree.version
        );
    };
    // The sources are 50 MB, and what was built needs none of them.
    let _ = fs::remove_dir_all(&work);
    let _ = fs::remove_dir_all(&build.out);
    crate::cache::write_whole(&dir.join(LIST), list.as_bytes())?;
    step.done(false);
    Ok(dir)
}

/// A line for each subtest: its number within the test, from 1, and its name.
fn numbered(names: &[String]) -> String {
    names
        .iter()
        .enumerate()
        .map(|(at, name)| format!("{} {name}\n", at + 1))
        .collect()
}

fn extract(tree: &Tree, to: &Path) -> Result<()> {
    let there = tree
        .repo
        .git(["ls-tree", "--name-only", &tree.commit])
        .args(PARTS)
        .read()?;
    let tar = to.join("parts.tar");
    tree.repo
        .git(["archive", "--format=tar", "--output"])
        .arg(&tar)
        .arg(&tree.commit)
        .args(there.lines())
        .read()
        .context("taking the selftest out of the tree")?;
    Program::new("tar")
        .arg("xf")
        .arg(&tar)
        .arg("-C")
        .arg(to)
        .read()
        .context("unpacking the selftest")?;
    fs::remove_file(&tar).with_context(|| format!("removing {}", tar.display()))
}

struct Build {
    /// The parts of the tree.
    root: PathBuf,
    /// [`SELFTESTS`] in it.
    tests: PathBuf,
    /// Where objects go.
    out: PathBuf,
}

impl Build {
    fn libbpf(&self) -> Result<()> {
        let objects = self.out.join("libbpf");
        fs::create_dir_all(&objects)?;
        Program::new("make")
            .args(["--silent", "-C"])
            .arg(self.root.join("tools/lib/bpf"))
            .arg(format!("OUTPUT={}/", objects.display()))
            .arg(format!("DESTDIR={}", self.out.display()))
            .args(["prefix=", "CC=gcc"])
            .arg(format!("-j{}", crate::machine::cpus()))
            .arg(objects.join("libbpf.a"))
            .arg("install_headers")
            .read()
            .context("building the tree's libbpf for its own selftest")
            .map(drop)
    }

    /// Builds the program and gives the names of its subtests, in their order.
    fn program(&self, to: &Path) -> Result<Vec<String>> {
        let path = self.tests.join(TEST);
        let test =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let names = subtests(&test);
        if names.is_empty() {
            bail!("{TEST} names no subtests in a way that is known here");
        }
        for object in skeletons(&test) {
            self.skeleton(&object)?;
        }
        let only = self.out.join("prog_tests");
        fs::create_dir_all(&only)?;
        fs::write(only.join("tests.h"), "DEFINE_TEST(tc_redirect)\n")?;
        let makefile = fs::read_to_string(self.tests.join("Makefile"))
            .context("reading the selftests' Makefile")?;
        self.certificate(&makefile)?;
        let mut objects = Vec::new();
        for source in sources(&makefile).iter().map(String::as_str).chain([TEST]) {
            objects.push(self.object(source)?);
        }
        Program::new("gcc")
            .arg("-rdynamic")
            .args(&objects)
            .arg(self.out.join("libbpf/libbpf.a"))
            .args(["-lelf", "-lz", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
            .arg(to)
            .read()
            .context("linking the kernel's own selftest")?;
        Ok(names)
    }

    fn bpf_object(&self, source: &str, to: &Path) -> Result<()> {
        let mut clang = Program::new("clang");
        // The host's headers, behind the tree's: asm/types.h is in a folder of
        // its own for each architecture.
        let multiarch = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        for system in [multiarch.as_str(), "/usr/include"] {
            clang = clang.args(["-idirafter", system]);
        }
        clang
            .args(["-g", "-O2", "-D__TARGET_ARCH_x86", "-mlittle-endian"])
            .args(["--target=bpf", "-mcpu=v3"])
            .arg("-I")
            .arg(self.out.join("include"))
            .args(["-I.", "-I../../../include/uapi", "-c", source, "-o"])
            .arg(to)
            .dir(&self.tests)
            .read()
            .with_context(|| format!("compiling {SELFTESTS}/{source}"))
            .map(drop)
    }

    fn skeleton(&self, name: &str) -> Result<()> {
        let file = |end: &str| self.out.join(format!("{name}{end}"));
        self.bpf_object(&format!("progs/{name}.c"), &file(".bpf.o"))?;
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

    fn object(&self, source: &str) -> Result<PathBuf> {
        let candidates = [
            self.tests.join(source),
            self.root.join("kernel/bpf").join(source),
            self.root.join("tools/bpf/bpftool").join(source),
        ];
        let path = candidates
            .iter()
            .find(|p| p.is_file())
            .with_context(|| format!("{SELFTESTS}/Makefile names {source}, which is not there"))?;
        let stem = Path::new(source).file_stem().unwrap_or_default();
        let object = self.out.join(stem).with_extension("user.o");
        let mut gcc = Program::new("gcc")
            .args(["-g", "-O1", "-w", "-D_GNU_SOURCE", "-I"])
            .arg(&self.out);
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
        gcc.arg("-I")
            .arg(self.out.join("include"))
            .arg("-c")
            .arg(path)
            .arg("-o")
            .arg(&object)
            .dir(&self.tests)
            .read()
            .with_context(|| format!("compiling {SELFTESTS}/{source}"))?;
        Ok(object)
    }

    /// Newer releases have a key of their own compiled in, made as the Makefile says.
    fn certificate(&self, makefile: &str) -> Result<()> {
        const HEADER: &str = "verification_cert.h";
        if !makefile.contains(HEADER) {
            return Ok(());
        }
        Program::new(self.tests.join("verify_sig_setup.sh"))
            .arg("genkey")
            .arg(&self.out)
            .read()
            .context("making a key for the kernel's own selftest")?;
        let key = self.out.join("signing_key.der");
        let key = fs::read(&key).with_context(|| format!("reading {}", key.display()))?;
        let bytes: Vec<String> = key.iter().map(u8::to_string).collect();
        let text = format!(
            "unsigned char test_progs_verification_cert[] = {{ {} }};\nunsigned int test_progs_verification_cert_len = {};\n",
            bytes.join(", "),
            key.len()
        );
        fs::write(self.out.join(HEADER), text).context("writing the selftest's key")
    }

    /// Why the script cannot be run here, in libbpf's own words.
    fn why_no_script(&self) -> Result<String> {
        self.libbpf()?;
        let object = self.out.join("script.bpf.o");
        self.bpf_object(SCRIPT_OBJECT, &object)?;
        let out = Program::new(setup::bpftool())
            .args(["gen", "skeleton"])
            .arg(&object)
            .output()?;
        let said = &out.stderr;
        if out.status.success() {
            bail!(
                "the objects of {SELFTESTS}/{SCRIPT} can be loaded, but nothing here runs that script yet"
            );
        }
        let said = said.lines().find(|l| l.contains("legacy")).with_context(|| {
            format!(
                "{SELFTESTS}/{SCRIPT_OBJECT} cannot be loaded, for a reason that is not known here: {}",
                exec::tail(&out.stderr, 3)
            )
        })?;
        Ok(format!(
            "tc loads its objects by libbpf, which refuses them: {}",
            said.trim()
        ))
    }
}

/// The names of the subtests, in the order in which the test starts them:
/// `RUN_TEST(tc_redirect_peer, MODE_VETH);` is tc_redirect_peer_veth.
fn subtests(test: &str) -> Vec<String> {
    test.lines()
        .filter_map(|line| {
            let inner = line.trim().strip_prefix("RUN_TEST(")?.strip_suffix(");")?;
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
fn sources(makefile: &str) -> Vec<String> {
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
            numbered(&subtests(new)),
            "1 a_peer_veth\n2 a_peer_netkit\n3 b\n"
        );
        assert!(subtests("test_tc();\n").is_empty());
    }

    /// Verify that what is to be compiled is found, over continued lines and no further.
    #[test]
    fn parts_are_found() {
        let test = "#include \"test_progs.h\"\n#include \"test_tc_peer.skel.h\"\n";
        assert_eq!(skeletons(test), ["test_tc_peer"]);
        let makefile =
            "A := x.c\nTRUNNER_EXTRA_SOURCES := a.c\t\\\n\t\t b.h b.c\\\n\t c.c\nB := d.c\n";
        assert_eq!(sources(makefile), ["a.c", "b.c", "c.c"]);
    }
}
