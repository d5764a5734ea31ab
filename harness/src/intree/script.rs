// SPDX-License-Identifier: GPL-2.0-only
//! The selftest in the form that it had until 5.12: a script that sets up the
//! same scene for one BPF object after the other. Each of these is a subtest.
//!
//! The objects have their maps in a form that today's libbpf, and with it `tc`,
//! refuses. The tree's own bpftool, which the script needs anyway, still loads
//! them; selftests/src/intree/tc.rs stands in front of `tc`.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::sources::{Sources, compile};
use crate::{exec::Program, progress::Doing};

/// Below the selftests.
pub(super) const TEST: &str = "test_tc_redirect.sh";

/// Builds its objects into `dir`, beside a script for each, and gives a line for
/// each: `sh` and its name.
pub(super) fn build(sources: &Sources, dir: &Path, step: &Doing<'_>) -> Result<String> {
    let path = sources.tests.join(TEST);
    let whole = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let pieces =
        pieces(&whole).with_context(|| format!("{TEST} is not in the form that is known here"))?;
    step.at("building bpftool");
    bpftool(sources, &dir.join("bpftool"))?;
    step.at("compiling");
    let mut list = String::new();
    for piece in pieces {
        let object = dir.join(format!("{}.o", piece.name));
        sources.bpf_object(piece.name, &object)?;
        let script = dir.join(format!("{}.sh", piece.name));
        fs::write(&script, &piece.text).with_context(|| format!("writing {}", script.display()))?;
        list.push_str(&format!("sh {}\n", piece.name));
    }
    Ok(list)
}

fn bpftool(sources: &Sources, to: &Path) -> Result<()> {
    let out = sources.out.join("bpftool");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let make = Program::new("make")
        .args(["--silent", "-C"])
        .arg(sources.root.join("tools/bpf/bpftool"))
        .arg(format!("OUTPUT={}/", out.display()))
        .args(["CC=gcc", "BPFTOOL_VERSION=in-tree"])
        // What only disassembling and profiling need.
        .args(["feature-libbfd=0", "feature-clang-bpf-co-re=0"])
        .arg(format!("-j{}", crate::machine::cpus()));
    compile(&make, "the tree's bpftool")?;
    fs::copy(out.join("bpftool"), to)
        .map(drop)
        .with_context(|| format!("copying bpftool to {}", to.display()))
}

/// A script with one of the scenes.
#[derive(Debug, PartialEq, Eq)]
struct Piece<'a> {
    /// Of the BPF object.
    name: &'a str,
    text: String,
}

/// The scenes of the script, each behind what all of them need: the functions,
/// the trap that cleans up, `set -e`. `None` where anything else stands at its end,
/// which would be left out without a word.
fn pieces(script: &str) -> Option<Vec<Piece<'_>>> {
    let start = script.find("\nnetns_setup\n")? + 1;
    let (head, scenes) = script.split_at(start);
    let mut pieces = Vec::new();
    let mut tested = 0;
    for line in scenes.lines() {
        if let Some(of) = line.strip_prefix("netns_setup_bpf ") {
            let name = of.split(' ').next()?.strip_suffix(".o")?;
            let fine = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if !fine {
                return None;
            }
            pieces.push(Piece {
                name,
                text: format!("{head}netns_setup\n{line}\nnetns_test_connectivity\n"),
            });
        } else if line == "netns_test_connectivity" {
            tested += 1;
        } else if !["netns_setup", "netns_cleanup", ""].contains(&line) {
            return None;
        }
    }
    (!pieces.is_empty() && pieces.len() == tested).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
#!/bin/bash
netns_setup()
{
\ttrue
}
trap netns_cleanup EXIT
set -e

netns_setup
netns_setup_bpf test_tc_neigh.o
netns_test_connectivity
netns_cleanup
netns_setup
netns_setup_bpf test_tc_neigh_fib.o 1
netns_test_connectivity
";

    /// Verify that each scene comes out with all that stands before the first.
    #[test]
    fn scenes_are_found() {
        let pieces = pieces(SCRIPT).unwrap();
        let names: Vec<&str> = pieces.iter().map(|p| p.name).collect();
        assert_eq!(names, ["test_tc_neigh", "test_tc_neigh_fib"]);
        for piece in &pieces {
            assert!(piece.text.starts_with("#!/bin/bash\nnetns_setup()\n"));
            assert!(piece.text.contains("\nset -e\n"));
        }
        assert!(pieces[1].text.ends_with(
            "\nnetns_setup\nnetns_setup_bpf test_tc_neigh_fib.o 1\nnetns_test_connectivity\n"
        ));
    }

    /// Verify that a script with anything else in it is not run in part.
    #[test]
    fn other_scripts_are_refused() {
        for (from, to) in [
            ("netns_cleanup\nnetns_setup\n", "netns_test_more\n"),
            (
                "neigh_fib.o 1\nnetns_test_connectivity\n",
                "neigh_fib.o 1\n",
            ),
            ("test_tc_neigh.o", "../x.o"),
            ("test_tc_neigh.o", "test_tc_neigh"),
            ("\nnetns_setup\n", "\nnetns_set\n"),
        ] {
            let other = SCRIPT.replace(from, to);
            assert_ne!(other, SCRIPT, "{from}");
            assert_eq!(pieces(&other), None, "{from}");
        }
    }
}
