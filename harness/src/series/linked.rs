// SPDX-License-Identifier: GPL-2.0-only
//! Whether what a patch's objects newly need is there to be linked with, without
//! linking a kernel: the sources that may define it are compiled as well.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::{
    finding::{Finding, Outcome},
    shallow::{Bench, Built, Tool},
    symbols::{self, Need, Table},
    variants::Variant,
};
use crate::exec::{Program, describe};

/// How many sources are tried for one name. One that more of them mention in
/// this way is no function's.
const MOST: usize = 8;

/// Where a name stands in the sources.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    /// Objects whose sources may define it.
    may_define: BTreeSet<String>,
    /// How often it stands anywhere: what stands nowhere is put together by a macro.
    seen: usize,
}

/// Judges what the objects of `after`, compiled in a variant at `commit`, which
/// is checked out, need and did not need in `before`.
pub(super) fn linked(
    bench: &Bench<'_>,
    variant: &Variant,
    commit: &str,
    before: &Built,
    after: &Built,
) -> Result<Outcome> {
    let needs = symbols::needed(&before.symbols, &after.symbols);
    if needs.is_empty() {
        return Ok(Outcome::Good);
    }
    let places = places(bench, &needs)?;
    let wanted: BTreeSet<String> = places
        .values()
        .flat_map(|p| p.may_define.iter().take(MOST).cloned())
        .collect();
    let wanted: Vec<String> = wanted.into_iter().collect();
    let mut others = Built::default();
    if !wanted.is_empty() {
        others = bench.look(Tool::Compiler, variant, commit, &wanted, bench.jobs())?;
    }
    let mut have = after.symbols.clone();
    have.extend(others.symbols);
    let failed = others.messages.iter().find(|m| m.error);
    if let (Some(error), false) = (failed, missing(&needs, &have).is_empty()) {
        return Ok(Outcome::Untold {
            why: format!("{} does not compile: {}", error.file, error.text),
        });
    }
    Ok(judge(&needs, &places, &have))
}

/// Looks for the names in what is checked out.
fn places(bench: &Bench<'_>, needs: &[Need]) -> Result<BTreeMap<String, Place>> {
    let names: BTreeSet<&str> = needs.iter().map(|n| n.symbol.as_str()).collect();
    let mut grep = Program::new("git")
        .args(["grep", "--word-regexp", "--fixed-strings", "-z"])
        .dir(bench.src());
    for name in &names {
        grep = grep.args(["-e", name]);
    }
    let said = grep.args(["--", "*.c", "*.h", "*.S"]).output()?;
    // It ends with 1 when it finds nothing.
    if !matches!(said.status.code(), Some(0 | 1)) {
        bail!(
            "git grep ended with {}: {}",
            describe(said.status),
            said.stderr.trim()
        );
    }
    Ok(read(&said.stdout, &names))
}

/// The lines of `git grep -z`: file, zero byte, line.
fn read(said: &str, names: &BTreeSet<&str>) -> BTreeMap<String, Place> {
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for name in names {
        places.entry((*name).to_owned()).or_default();
    }
    for (file, line) in said.lines().filter_map(|l| l.split_once('\0')) {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.collect::<BTreeSet<_>>() {
            let Some(place) = places.get_mut(word) else {
                continue;
            };
            place.seen += 1;
            place
                .may_define
                .extend(object(file).filter(|_| may_define(line)));
        }
    }
    places
}

/// The object of a source of the kernel for this machine.
fn object(file: &str) -> Option<String> {
    let elsewhere = ["tools/", "samples/", "scripts/", "Documentation/"];
    let foreign = file.starts_with("arch/") && !file.starts_with("arch/x86/");
    if foreign || elsewhere.iter().any(|e| file.starts_with(e)) {
        return None;
    }
    let stem = file.strip_suffix(".c").or(file.strip_suffix(".S"))?;
    Some(format!("{stem}.o"))
}

/// Definitions, and the macros that make or export them, begin in the first column.
fn may_define(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !line.starts_with("extern ")
        && !line.starts_with("static ")
}

/// Those that nothing in `have` answers.
fn missing<'n>(needs: &'n [Need], have: &Table) -> Vec<&'n Need> {
    let folder = |object: &str| object.rsplit_once('/').map(|(dir, _)| dir.to_owned());
    let answered = |need: &Need| {
        have.iter().any(|(object, symbols)| {
            let defines = symbols.defines.contains(&need.symbol);
            if need.module {
                // Of one folder, modules are taken for parts of one.
                symbols.exports.contains(&need.symbol)
                    || defines && symbols.module && folder(object) == folder(&need.object)
            } else {
                defines && !symbols.module
            }
        })
    };
    needs.iter().filter(|n| !answered(n)).collect()
}

fn judge(needs: &[Need], places: &BTreeMap<String, Place>, have: &Table) -> Outcome {
    let mut findings = Vec::new();
    for need in missing(needs, have) {
        let (seen, sources) = places
            .get(&need.symbol)
            .map_or((0, 0), |p| (p.seen, p.may_define.len()));
        if seen == 0 || sources > MOST {
            return Outcome::Untold {
                why: format!(
                    "{} needs {}, and {}",
                    need.object,
                    need.symbol,
                    if seen == 0 {
                        "no source has that name: a macro makes it".to_owned()
                    } else {
                        format!("{sources} sources may define it")
                    }
                ),
            };
        }
        let (whose, does) = if need.module {
            ("the module", "exports")
        } else {
            ("the kernel", "defines")
        };
        findings.push(Finding {
            file: need.object.replace(".o", ".c"),
            line: None,
            tool: "nm".into(),
            text: format!(
                "{whose} needs {}, and nothing that is compiled there {does} it",
                need.symbol
            ),
        });
    }
    Outcome::of(findings)
}

#[cfg(test)]
mod tests {
    use super::{super::symbols::Symbols, *};

    fn need(module: bool) -> Need {
        Need {
            object: "drivers/net/veth.o".into(),
            module,
            symbol: "f".into(),
        }
    }

    fn have(object: &str, module: bool, defines: bool, exports: bool) -> Table {
        let set = |is: bool| is.then(|| "f".to_owned()).into_iter().collect();
        let symbols = Symbols {
            module,
            defines: set(defines),
            exports: set(exports),
            needs: BTreeSet::new(),
        };
        Table::from([(object.to_owned(), symbols)])
    }

    /// Verify what answers a need: for the kernel a definition in it, for a
    /// module an export, or a definition in a module beside it.
    #[test]
    fn needs_are_answered() {
        let core = "net/core/dev.o";
        let none = |module, have: &Table| missing(&[need(module)], have).len();
        assert_eq!(none(false, &have(core, false, true, false)), 0);
        assert_eq!(none(false, &have(core, true, true, true)), 1);
        assert_eq!(none(true, &have(core, false, true, false)), 1);
        assert_eq!(none(true, &have(core, false, true, true)), 0);
        assert_eq!(none(true, &have("drivers/net/x.o", true, true, false)), 0);
        assert_eq!(none(true, &have(core, true, true, false)), 1);
    }

    /// Verify that definitions are told from uses, declarations and other machines'.
    #[test]
    fn sources_are_found() {
        let names = BTreeSet::from(["f", "g"]);
        let said = "net/a.c\0int f(int x)\nnet/b.c\0\tf(1);\nnet/c.c\0EXPORT_SYMBOL(f);\n\
                    arch/arm/d.c\0int f(int x)\narch/x86/e.S\0SYM_FUNC_START(f)\n\
                    net/h.c\0extern int f(int);\ninclude/f.h\0int f(int x);\n";
        let places = read(said, &names);
        let objects: Vec<&String> = places["f"].may_define.iter().collect();
        assert_eq!(objects, ["arch/x86/e.o", "net/a.o", "net/c.o"]);
        assert_eq!(places["f"].seen, 7);
        assert_eq!(places["g"], Place::default());
    }

    /// Verify that what is missing is a finding, and that a name that no source
    /// has, or that too many may define, is not taken for one.
    #[test]
    fn missing_is_found() {
        let place = |seen, sources: usize| {
            let may_define = (0..sources).map(|n| format!("{n}.o")).collect();
            BTreeMap::from([("f".to_owned(), Place { may_define, seen })])
        };
        let Outcome::Found { findings } = judge(&[need(true)], &place(1, 0), &Table::new()) else {
            panic!("it is missing");
        };
        assert_eq!(findings[0].file, "drivers/net/veth.c");
        assert!(findings[0].text.contains("exports"), "{findings:?}");
        for place in [place(0, 0), place(20, MOST + 1)] {
            let outcome = judge(&[need(false)], &place, &Table::new());
            assert!(matches!(outcome, Outcome::Untold { .. }), "{outcome:?}");
        }
        let there = have("net/core/dev.o", false, true, false);
        assert_eq!(judge(&[need(false)], &place(1, 1), &there), Outcome::Good);
    }
}
