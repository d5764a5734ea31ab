// SPDX-License-Identifier: GPL-2.0-only
//! `series check` on a tree that is built by make and gcc as a kernel is, and
//! is small enough for a test: each check sees what it is there for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const MAKEFILE: &str = "\
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 1
EXTRAVERSION =

allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(O)/.config
\t@sed -n 's/^\\(CONFIG_[A-Z0-9_]*\\)=y$$/#define \\1 1/p' $(O)/.config > $(O)/autoconf.h

prepare:
\t@true

# What make builds into a module it compiles with -DMODULE, and it keeps its commands.
module = $(if $(filter veth,$*),$(shell grep -q '^CONFIG_VETH=m' $(O)/.config && echo -DMODULE))

net/core/%.o: net/core/%.c FORCE
\t@mkdir -p $(O)/net/core
\t@$(CC) -Wall -I include -include $(O)/autoconf.h $(module) -c -o $(O)/$@ $<
\t@echo 'cmd_$@ := $(CC) $(module) -c $<' > $(O)/net/core/.$*.o.cmd
\t$(if $(filter 2,$(C)),@$(CHECK) -I include -include $(O)/autoconf.h $<)
FORCE:
";

/// PREEMPT_RT and NETKIT are left out: this line does not have them.
const KCONFIG: &str =
    "config NET_CLS_ACT\nconfig NET_INGRESS\nconfig VETH\nconfig IPV6\nconfig RETPOLINE\n";

const CHECKPATCH: &str = "\
open(my $f, '<', $ARGV[-1]) or die;
exit 0 if grep { /^Signed-off-by: / } <$f>;
print \"ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)\\n\";
exit 1;
";

const BPF_DOC: &str = r"
import re, sys
text = open(sys.argv[sys.argv.index('--filename') + 1]).read()
ids = dict(re.findall(r'FN\((\w+), (\d+)', text))
if '--header' in sys.argv:
    for name in re.findall(r'\* long bpf_(\w+)\(', text):
        print('static long (*bpf_%s)(void) = (void *) %s;' % (name, ids[name]))
";

const HEADER: &str = "\
/*
 * long bpf_one(void)
 */
#define ___BPF_FUNC_MAPPER(FN, ctx...) \\
\tFN(unspec, 0, ##ctx) \\
\tFN(one, 1, ##ctx) \\
\t/* */
";

const UAPI: &str = "include/uapi/linux/bpf.h";
const TOOLS: &str = "tools/include/uapi/linux/bpf.h";
const DEV: &str = "net/core/dev.c";
const VETH: &str = "net/core/veth.c";

const SIGNED: &str = "\n\nBody.\n\nSigned-off-by: A <a@b>";

fn git(dir: &Path, args: &[&str]) {
    let out = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=A", "-c", "user.email=a@b"])
        .args(args)
        .output()
        .expect("git starts");
    assert!(out.status.success(), "git {args:?}: {out:?}");
}

fn write(tree: &Path, file: &str, text: &str) {
    let path = tree.join(file);
    fs::create_dir_all(path.parent().expect("the test can do this")).expect("the test can do this");
    fs::write(path, text).expect("the test can do this");
}

/// A message, and the files that the commit changes.
type Commit<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// The small tree with these commits on top of the tag `base`, and their patches
/// beside it: where both are.
fn prepared(dir: &Path, commits: &[Commit<'_>]) -> (PathBuf, PathBuf) {
    let tree = dir.join("tree");
    for (file, text) in [
        ("Makefile", MAKEFILE),
        ("net/Kconfig", KCONFIG),
        ("scripts/checkpatch.pl", CHECKPATCH),
        ("scripts/bpf_doc.py", BPF_DOC),
        (UAPI, HEADER),
        (TOOLS, HEADER),
        (DEV, "int one(void);\nint one(void)\n{\n\treturn 1;\n}\n"),
        (VETH, "int veth;\n"),
    ] {
        write(&tree, file, text);
    }
    git(&tree, &["init", "-q", "-b", "main"]);
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "base"]);
    git(&tree, &["tag", "base"]);
    git(&tree, &["checkout", "-qb", "series"]);
    for (message, files) in commits {
        for (file, text) in *files {
            write(&tree, file, text);
        }
        git(&tree, &["commit", "-qam", message]);
    }
    let series = dir.join("series");
    git(
        &tree,
        &[
            "format-patch",
            "-q",
            "-o",
            series.to_str().expect("the test can do this"),
            "base",
        ],
    );
    (tree, series)
}

/// Checks a series of commits on the small tree: exit status, and what was printed.
fn check(commits: &[Commit<'_>], spoil: impl Fn(&Path)) -> (Option<i32>, Value) {
    let dir = tempfile::tempdir().expect("the test can do this");
    let (tree, series) = prepared(dir.path(), commits);
    spoil(&series);
    let out = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args([
            "series",
            "check",
            "--quick",
            "--json",
            "--offline",
            "--rev",
            "base",
            "--tree",
        ])
        .arg(&tree)
        .arg("--series")
        .arg(&series)
        .arg("--cache")
        .arg(dir.path().join("cache"))
        .output()
        .expect("the harness starts");
    let said = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code(), said)
}

/// What a check of a patch came to.
fn cell<'v>(said: &'v Value, patch: usize, check: &str) -> &'v Value {
    said["rows"][patch - 1]["cells"]
        .as_array()
        .expect("the test can do this")
        .iter()
        .find(|c| c["check"] == check)
        .map(|c| &c["outcome"])
        .unwrap_or_else(|| panic!("patch {patch} has no {check} in {said:#}"))
}

fn found(said: &Value, patch: usize, check: &str) -> (String, u64, String) {
    let outcome = cell(said, patch, check);
    assert_eq!(outcome["outcome"], "found", "{check}: {outcome:#}");
    let first = &outcome["findings"][0];
    (
        first["file"]
            .as_str()
            .expect("the test can do this")
            .to_owned(),
        first["line"].as_u64().unwrap_or(0),
        first["text"]
            .as_str()
            .expect("the test can do this")
            .to_owned(),
    )
}

fn helper(description: &str) -> String {
    HEADER
        .replace(" */\n#define", &format!("{description} */\n#define"))
        .replace("\t/* */", "\tFN(redirect_peer, 155, ##ctx) \\\n\t/* */")
}

/// Verify that a series that is as it should be is found good by every check
/// that the machine can make, and that what the tree lacks is said to be lacking.
#[test]
fn good_series_is_good() {
    let header = helper(" * long bpf_redirect_peer(u32 ifindex, u64 flags)\n");
    let dev = "int one(void);\nint one(void)\n{\n\treturn 2;\n}\n";
    let (_, said) = check(
        &[
            (&format!("net: One{SIGNED}"), &[(DEV, dev)]),
            (
                &format!("bpf: Two{SIGNED}"),
                &[(UAPI, &header), (TOOLS, &header)],
            ),
        ],
        |_| {},
    );
    for patch in [1, 2] {
        for check in [
            "applies",
            "checkpatch",
            "UAPI copies",
            "bpf_doc",
            "W=1",
            "clang",
            "NET_CLS_ACT=n",
            "NET_INGRESS=n",
            "VETH=m",
            "IPV6=n",
            "RETPOLINE",
        ] {
            let outcome = cell(&said, patch, check);
            assert_eq!(outcome["outcome"], "good", "{patch} {check}: {outcome:#}");
        }
        for check in ["NETKIT=n", "PREEMPT_RT"] {
            assert_eq!(cell(&said, patch, check)["outcome"], "not-here", "{check}");
        }
    }
}

/// Verify that each check finds what it is there for, in its file and line, and
/// that a patch is not blamed for what the one before it did.
#[test]
fn each_check_can_fail() {
    let unused = "int one(void);\nint one(void)\n{\n\tint unused;\n\treturn 2;\n}\n";
    let guarded = "int one(void);\n#ifdef CONFIG_NET_CLS_ACT\nstatic int two(void) { return 2; }\n#endif\nint one(void)\n{\n\tint unused;\n\treturn two();\n}\n";
    let header = helper("");
    let (status, said) = check(
        &[
            ("net: Without a sign-off", &[(DEV, unused)]),
            (
                &format!("bpf: Two{SIGNED}"),
                &[(DEV, guarded), (UAPI, &header)],
            ),
        ],
        |_| {},
    );
    assert_eq!(status, Some(1), "{said:#}");
    for check in ["W=1", "clang"] {
        let (file, line, text) = found(&said, 1, check);
        assert_eq!((file.as_str(), line), (DEV, 4), "{check}");
        assert!(text.contains("unused"), "{text}");
        assert_eq!(cell(&said, 2, check)["outcome"], "good", "{check}");
    }
    assert!(found(&said, 1, "checkpatch").2.contains("MISSING_SIGN_OFF"));
    assert_eq!(cell(&said, 2, "checkpatch")["outcome"], "good");
    for check in ["NET_CLS_ACT=n", "NET_INGRESS=n"] {
        let (file, line, text) = found(&said, 2, check);
        assert_eq!((file.as_str(), line), (DEV, 8), "{check}");
        assert!(text.contains("two"), "{text}");
    }
    let (file, line, text) = found(&said, 2, "UAPI copies");
    assert_eq!((file.as_str(), line), (UAPI, 7), "{text}");
    let (_, line, text) = found(&said, 2, "bpf_doc");
    assert!(text.contains("bpf_redirect_peer is not in"), "{text}");
    assert_eq!(line, 7);
    assert_eq!(cell(&said, 1, "UAPI copies")["outcome"], "good");
}

/// Verify that a function that a configuration does not have, and one that is not
/// exported to the module that needs it, are found by what needs them; and that
/// both are good once they are there.
#[test]
fn what_is_not_there_is_found() {
    let dev = |more: &str| {
        format!(
            "int two(void);\n#ifdef CONFIG_NET_CLS_ACT\nint two(void)\n{{\n\treturn 2;\n}}\n#endif\nint one(void);\nint one(void)\n{{\n\treturn 1;\n}}\n{more}"
        )
    };
    let veth = |what: &str| {
        format!("int {what}(void);\nint veth(void);\nint veth(void)\n{{\n\treturn {what}();\n}}\n")
    };
    // As EXPORT_SYMBOL() does it.
    let exported = dev("const int __ksymtab_one = 1;\n");
    let (status, said) = check(
        &[
            (
                &format!("net: Needs two{SIGNED}"),
                &[(DEV, &dev("")), (VETH, &veth("two"))],
            ),
            (&format!("net: Needs one{SIGNED}"), &[(VETH, &veth("one"))]),
            (&format!("net: Exports one{SIGNED}"), &[(DEV, &exported)]),
        ],
        |_| {},
    );
    assert_eq!(status, Some(1), "{said:#}");
    let (file, _, text) = found(&said, 1, "NET_CLS_ACT=n");
    assert_eq!(file, VETH);
    assert!(
        text.contains("needs two") && text.contains("defines"),
        "{text}"
    );
    assert_eq!(cell(&said, 1, "IPV6=n")["outcome"], "good");
    let (file, _, text) = found(&said, 2, "VETH=m");
    assert_eq!(file, VETH);
    assert!(
        text.contains("needs one") && text.contains("exports"),
        "{text}"
    );
    for check in ["NET_CLS_ACT=n", "IPV6=n"] {
        assert_eq!(cell(&said, 2, check)["outcome"], "good", "{check}");
    }
    let (_, said) = check(
        &[(
            &format!("net: Both{SIGNED}"),
            &[(DEV, &exported), (VETH, &veth("one"))],
        )],
        |_| {},
    );
    assert_eq!(cell(&said, 1, "VETH=m")["outcome"], "good", "{said:#}");
}

/// Verify that a patch that does not apply is a wrong request, named with file
/// and line, and that the patches before it are checked all the same.
#[test]
fn patch_that_does_not_apply() {
    let two = "int one(void);\nint one(void)\n{\n\treturn 2;\n}\n";
    let three = "int one(void);\nint one(void)\n{\n\treturn 3;\n}\n";
    let spoil = |series: &Path| {
        let path: PathBuf = series.join("0002-net-Two.patch");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("-\treturn 2;", "-\treturn 4;")).unwrap();
    };
    let (status, said) = check(
        &[
            (&format!("net: One{SIGNED}"), &[(DEV, two)]),
            (&format!("net: Two{SIGNED}"), &[(DEV, three)]),
        ],
        spoil,
    );
    assert_eq!(status, Some(2), "{said:#}");
    assert_eq!(cell(&said, 1, "W=1")["outcome"], "good");
    let (file, line, text) = found(&said, 2, "applies");
    assert_eq!((file.as_str(), line), (DEV, 1), "{text}");
    assert!(text.contains("0002-net-Two.patch"), "{text}");
}

/// Verify that a base whose package is gone is named with what works instead and
/// leaves the other bases, and that what is good of those is not good of all.
#[test]
fn base_that_is_gone_leaves_the_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let two = "int one(void);\nint one(void)\n{\n\treturn 2;\n}\n";
    let header = helper(" * long bpf_redirect_peer(u32 ifindex, u64 flags)\n");
    let message = format!("net: One{SIGNED}");
    let files = [(DEV, two), (UAPI, &header), (TOOLS, &header)];
    let (tree, series) = prepared(dir.path(), &[(&message, &files)]);
    let cache = dir.path().join("cache");
    drop(harness::cache::Cache::open(&cache).unwrap());
    fs::create_dir_all(cache.join("trees")).unwrap();
    let known = cache.join("trees/6.12");
    git(
        &tree,
        &["clone", "-q", "--bare", ".", known.to_str().unwrap()],
    );
    git(&known, &["branch", "base", "tags/base"]);
    let apt = dir.path().join("apt-get");
    let script = "#!/bin/sh\ncase \"$*\" in\n*download*) echo 'E: Unable to locate package x' >&2; exit 100;;\n*indextargets*) echo 'http://mirror.invalid/debian-security bullseye-security x';;\nesac\n";
    fs::write(&apt, script).unwrap();
    fs::set_permissions(&apt, fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = std::ffi::OsString::from(dir.path());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let out = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["series", "check", "--quick", "--json"])
        .args(["--base", "5.10", "--base", "6.12", "--series"])
        .arg(&series)
        .arg("--cache")
        .arg(&cache)
        .env("PATH", path)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{stderr}");
    for part in ["base 5.10 cannot be had", "--tarball FILE", "--tree DIR"] {
        assert_eq!(stderr.matches(part).count(), 1, "{part}: {stderr}");
    }
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(cell(&said, 1, "W=1")["outcome"], "good");
    assert_eq!(said["missed"].as_array().unwrap().len(), 1, "{said:#}");
}
