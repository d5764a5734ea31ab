// SPDX-License-Identifier: GPL-2.0-only
//! The UAPI header: the tree's own documentation script reads it and agrees
//! with it, and the copy below tools/ is the same.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::exec::{Output, Program, tail};

/// The header.
pub const UAPI: &str = "include/uapi/linux/bpf.h";
/// Its copy.
pub const TOOLS_UAPI: &str = "tools/include/uapi/linux/bpf.h";

/// The helper that the series adds, and its id.
pub const HELPER: (&str, u32) = ("redirect_peer", 155);

/// Judges the two headers by their texts after a patch and before it: they
/// must be the same, or differ in nothing but what differed before.
pub fn copies(
    before: (Option<&str>, Option<&str>),
    after: (Option<&str>, Option<&str>),
) -> Outcome {
    let (Some(header), Some(copy)) = after else {
        return Outcome::Untold {
            why: format!("the tree has no {UAPI} or no {TOOLS_UAPI}"),
        };
    };
    if header == copy {
        return Outcome::Good;
    }
    let old = apart(before.0.unwrap_or_default(), before.1.unwrap_or_default());
    let new = apart(header, copy);
    let findings: Vec<Finding> = brought(&old, &new)
        .into_iter()
        .map(|(file, line, text)| Finding {
            file: file.to_owned(),
            line: Some(line),
            tool: "comparison of the UAPI headers".into(),
            text: format!("only in this one of the two: {}", text.trim()),
        })
        .collect();
    Outcome::of(findings)
}

/// Lines that one of the two has more often than the other: file, line, text.
fn apart<'t>(header: &'t str, copy: &'t str) -> Vec<(&'static str, u32, &'t str)> {
    let mut surplus: BTreeMap<&str, i64> = BTreeMap::new();
    for line in header.lines() {
        *surplus.entry(line).or_default() += 1;
    }
    for line in copy.lines() {
        *surplus.entry(line).or_default() -= 1;
    }
    let mut out = Vec::new();
    for (file, text, sign) in [(UAPI, header, 1), (TOOLS_UAPI, copy, -1)] {
        let mut left = surplus.clone();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(n) = left.get_mut(line)
                && *n * sign > 0
            {
                *n -= sign;
                out.push((file, number, line));
            }
        }
    }
    // Every line has its fellow, so that the order is what differs.
    if out.is_empty()
        && let Some((number, (line, _))) = (1..)
            .zip(header.lines().zip(copy.lines()))
            .find(|(_, (a, b))| a != b)
    {
        out.push((UAPI, number, line));
    }
    out
}

/// What is in `new` and was not in `old`, wherever it stood.
fn brought<'t>(
    old: &[(&'static str, u32, &str)],
    new: &[(&'static str, u32, &'t str)],
) -> Vec<(&'static str, u32, &'t str)> {
    let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (file, _, text) in old {
        *known.entry((file, text)).or_default() += 1;
    }
    new.iter()
        .filter(|(file, _, text)| match known.get_mut(&(*file, *text)) {
            Some(n) if *n > 0 => {
                *n -= 1;
                false
            }
            _ => true,
        })
        .copied()
        .collect()
}

/// Judges a checked-out tree's header with the tree's own documentation script:
/// it must read the header, and name every helper with the header's id. The
/// last patch must have the new helper.
pub fn documented(src: &Path, header: &str, last: bool) -> Result<Outcome> {
    let Some(script) = script(src) else {
        return Ok(no_script());
    };
    let finding = |line, text| Finding {
        file: UAPI.into(),
        line,
        tool: script.into(),
        text,
    };
    let mut findings = Vec::new();
    let mut generated = String::new();
    for more in [&[][..], &["--header"]] {
        let said = documentation(src, script, Path::new(UAPI), more)?;
        if said.status.success() {
            generated = said.stdout;
        } else {
            findings.push(finding(
                None,
                format!("it fails: {}", tail(&said.stderr, 3).replace('\n', " | ")),
            ));
        }
    }
    if findings.is_empty() {
        for (line, text) in disagree(&helpers(header), &declared(&generated), last) {
            findings.push(finding(line, text));
        }
    }
    Ok(Outcome::of(findings))
}

const SCRIPTS: [&str; 2] = ["scripts/bpf_doc.py", "scripts/bpf_helpers_doc.py"];

/// The documentation script that the tree at `src` has, as a path in it.
pub(super) fn script(src: &Path) -> Option<&'static str> {
    SCRIPTS.into_iter().find(|s| src.join(s).is_file())
}

/// What a check comes to that needs the script of a tree without one.
pub(super) fn no_script() -> Outcome {
    Outcome::Untold {
        why: format!("the tree has neither {}", SCRIPTS.join(" nor ")),
    }
}

/// Runs the script of the tree at `src` on a header.
pub(super) fn documentation(
    src: &Path,
    script: &str,
    header: &Path,
    more: &[&str],
) -> Result<Output> {
    Program::new("python3")
        .arg(script)
        .arg("--filename")
        .arg(header)
        .args(more)
        .dir(src)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
}

/// A helper of the header: id, and the line that gives it.
type Helpers = BTreeMap<String, (u32, u32)>;

/// The helpers that a UAPI header lists: with their ids where it gives them,
/// by their place where it does not.
fn helpers(header: &str) -> Helpers {
    let mut found = Helpers::new();
    let mut next = 0;
    let lines = (1..)
        .zip(header.lines())
        .skip_while(|(_, l)| !l.starts_with("#define") || !l.contains("_BPF_FUNC_MAPPER("));
    for (number, line) in lines.skip(1) {
        let Some(inside) = line.trim().strip_prefix("FN(") else {
            if line.trim().starts_with("/*") {
                continue;
            }
            break;
        };
        let mut fields = inside
            .split(')')
            .next()
            .unwrap_or_default()
            .split(',')
            .map(str::trim);
        let name = fields.next().unwrap_or_default().to_owned();
        let id = fields.next().and_then(|f| f.parse().ok()).unwrap_or(next);
        next = id + 1;
        if name != "unspec" {
            found.insert(name, (id, number));
        }
    }
    found
}

/// The helpers that a generated header declares, with their ids:
/// `static long (*bpf_x)(__u32 a) = (void *) 5;`.
pub(super) fn declared(generated: &str) -> BTreeMap<String, u32> {
    generated
        .lines()
        .filter_map(|l| {
            let (head, id) = l.strip_suffix(';')?.rsplit_once("= (void *)")?;
            // Not the first `bpf_` of the line: it may return a struct bpf_sock *.
            let pointer = head.split_once("(*")?.1.trim_start();
            let pointer = pointer.strip_prefix("const ").unwrap_or(pointer);
            let name = pointer.strip_prefix("bpf_")?.split(')').next()?;
            Some((name.to_owned(), id.trim().parse().ok()?))
        })
        .collect()
}

/// What header and script do not agree on: line of the header, and what it is.
fn disagree(
    header: &Helpers,
    generated: &BTreeMap<String, u32>,
    last: bool,
) -> Vec<(Option<u32>, String)> {
    let mut wrong = Vec::new();
    for (name, (id, line)) in header {
        match generated.get(name) {
            Some(other) if other == id => {}
            Some(other) => wrong.push((
                Some(*line),
                format!("bpf_{name} has id {id} here and {other} in what the script generates"),
            )),
            None => wrong.push((
                Some(*line),
                format!("bpf_{name} is not in what the script generates"),
            )),
        }
    }
    for name in generated.keys().filter(|n| !header.contains_key(*n)) {
        wrong.push((
            None,
            format!("bpf_{name} is described, and the list of helpers does not have it"),
        ));
    }
    let (name, id) = HELPER;
    let has = header.get(name).map(|(id, _)| *id);
    if last && has != Some(id) {
        let has = has.map_or("no id".to_owned(), |n| format!("id {n}"));
        wrong.push((
            None,
            format!("after the last patch bpf_{name} has {has}; it must have {id}"),
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(outcome: &Outcome) -> usize {
        match outcome {
            Outcome::Good => 0,
            Outcome::Found { findings } => findings.len(),
            other => panic!("{other:?}"),
        }
    }

    /// Verify that the copies may differ in what differed before, and in nothing else.
    #[test]
    fn copies_must_not_come_apart() {
        let pair = |a, b| (Some(a), Some(b));
        assert_eq!(
            found(&copies(pair("a\n", "a\n"), pair("a\nb\n", "a\nb\n"))),
            0
        );
        assert_eq!(
            found(&copies(pair("a\n", "a\nx\n"), pair("b\na\n", "b\na\nx\n"))),
            0
        );
        let missed = copies(pair("a\n", "a\n"), pair("a\nb\n", "a\n"));
        let Outcome::Found { findings } = &missed else {
            panic!("{missed:?}")
        };
        assert_eq!(
            (findings[0].file.as_str(), findings[0].line),
            (UAPI, Some(2))
        );
        assert_eq!(
            found(&copies(pair("a\n", "a\n"), pair("a\nb\n", "b\na\n"))),
            1,
            "another order is a difference"
        );
    }

    const IDS: &str = "#define ___BPF_FUNC_MAPPER(FN, ctx...)\t\\\n\tFN(unspec, 0, ##ctx)\t\\\n\tFN(one, 1, ##ctx)\t\\\n\tFN(redirect_peer, 155, ##ctx)\t\\\n\t/* end */\n\n";
    const PLACES: &str = "#define __BPF_FUNC_MAPPER(FN)\t\\\n\tFN(unspec),\t\\\n\tFN(one),\t\\\n\tFN(two),\t\\\n\t/* */\n";
    const GENERATED: &str = "static struct bpf_sock *(*bpf_one)(void *map) = (void *) 1;\n\nstatic long (* const bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *) 155;\n";

    /// Verify that ids are read where they are given and counted where they are not.
    #[test]
    fn both_forms_of_the_list_are_read() {
        assert_eq!(helpers(IDS)["redirect_peer"], (155, 4));
        assert_eq!(helpers(PLACES)["two"], (2, 4));
    }

    /// Verify that a helper without description, with another id, or not there
    /// at all after the last patch is found.
    #[test]
    fn disagreements_are_found() {
        let generated = declared(GENERATED);
        assert_eq!(disagree(&helpers(IDS), &generated, true), []);
        assert_eq!(disagree(&helpers(PLACES), &generated, false).len(), 2);
        let mut other = generated.clone();
        other.insert("redirect_peer".into(), 156);
        assert_eq!(disagree(&helpers(IDS), &other, true).len(), 1);
        let without = IDS.replace("FN(redirect_peer, 155, ##ctx)", "FN(two, 2, ##ctx)");
        assert_eq!(disagree(&helpers(&without), &generated, false).len(), 2);
        assert_eq!(disagree(&helpers(&without), &generated, true).len(), 3);
    }
}
