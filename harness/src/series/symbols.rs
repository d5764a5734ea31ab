// SPDX-License-Identifier: GPL-2.0-only
//! What objects define, export and need of others, as nm tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::exec::Program;

/// Objects by their names.
pub type Table = BTreeMap<String, Symbols>;

/// The symbols of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// Whether it becomes part of a module; of the kernel itself otherwise.
    pub module: bool,
    /// What others may refer to.
    pub defines: BTreeSet<String>,
    /// What modules may refer to as well.
    pub exports: BTreeSet<String>,
    /// What others must define.
    pub needs: BTreeSet<String>,
}

/// Something that an object needs and that was not needed, or was there, before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The object.
    pub object: String,
    /// Whether it is part of a module, so that an export is needed.
    pub module: bool,
    /// What it needs.
    pub symbol: String,
}

/// Reads those of `objects` that are in the build folder `out`.
pub fn of(out: &Path, objects: &[String]) -> Result<Table> {
    let mut table = Table::new();
    for object in objects.iter().filter(|o| out.join(o).is_file()) {
        let said = Program::new("nm")
            .arg("--format=posix")
            .arg(out.join(object))
            .read()?;
        let module = is_module(&command(out, object)?);
        let symbols = Symbols {
            module,
            ..parse(&said)
        };
        table.insert(object.clone(), symbols);
    }
    Ok(table)
}

/// The command by which make built an object; it keeps it to compare.
fn command(out: &Path, object: &str) -> Result<String> {
    let (dir, name) = object.rsplit_once('/').unwrap_or(("", object));
    let path = out.join(dir).join(format!(".{name}.cmd"));
    fs::read_to_string(&path).with_context(|| {
        format!(
            "make has not said in {} how it built {name}",
            path.display()
        )
    })
}

fn is_module(command: &str) -> bool {
    command.split_whitespace().any(|word| word == "-DMODULE")
}

/// The lines of `nm --format=posix`: name, type, value, size.
fn parse(said: &str) -> Symbols {
    let mut symbols = Symbols::default();
    for line in said.lines() {
        let mut fields = line.split_whitespace();
        let (Some(name), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        // By how an export is marked up to 6.4, and from then on.
        let exported = ["__ksymtab_", "__export_symbol_"];
        if let Some(name) = exported.iter().find_map(|e| name.strip_prefix(e)) {
            symbols.exports.insert(name.to_owned());
        } else if kind == "U" {
            symbols.needs.insert(name.to_owned());
        } else if kind.starts_with(char::is_uppercase) {
            symbols.defines.insert(name.to_owned());
        }
    }
    symbols
}

/// What objects need now that a patch has to answer for. What any of them needed
/// before was there, unless it was theirs and is gone.
pub fn needed(before: &Table, after: &Table) -> Vec<Need> {
    let of = |table: &Table, module: bool, set: fn(&Symbols) -> &BTreeSet<String>| {
        let all = table.values().filter(|s| !module || s.module);
        all.flat_map(|s| set(s).iter().cloned())
            .collect::<BTreeSet<String>>()
    };
    let mut open = Vec::new();
    for (object, symbols) in after {
        let module = symbols.module;
        let given: fn(&Symbols) -> &BTreeSet<String> = if module {
            |s| &s.exports
        } else {
            |s| &s.defines
        };
        // A module's needs say nothing of what is there: a kernel of its own has them.
        let known = of(before, module, |s| &s.needs);
        let (had, have) = (of(before, false, given), of(after, false, given));
        for symbol in &symbols.needs {
            let lost = had.contains(symbol) && !have.contains(symbol);
            let there = have.contains(symbol) || known.contains(symbol) && !lost;
            if !there && !by_compiler(symbol) {
                open.push(Need {
                    object: object.clone(),
                    module,
                    symbol: symbol.clone(),
                });
            }
        }
    }
    open
}

/// What a compiler refers to by itself: thunks, which have their names from
/// macros and are exported together.
fn by_compiler(symbol: &str) -> bool {
    symbol.starts_with("__x86_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NM: &str = "\
__export_symbol_skb_do_redirect r 0 8
__ksymtab_dev_forward_skb r 10 c
netkit_get_peer_dev U         
weak_one w         
skb_do_redirect T 10 20
local t 30 8
bpf_redirect_info D 0 8
";

    /// Verify that definitions, exports by either mark, and needs are told apart.
    #[test]
    fn nm_is_read() {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(
            parse(NM),
            Symbols {
                module: false,
                defines: set(&["bpf_redirect_info", "skb_do_redirect"]),
                exports: set(&["dev_forward_skb", "skb_do_redirect"]),
                needs: set(&["netkit_get_peer_dev"]),
            }
        );
        assert!(is_module("cmd_x.o := gcc -Wp,x -DMODULE -c x.c"));
        assert!(!is_module("cmd_x.o := gcc -DMODULE_X -c x.c"));
    }

    fn object(module: bool, defines: &[&str], exports: &[&str], needs: &[&str]) -> Symbols {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Symbols {
            module,
            defines: set(defines),
            exports: set(exports),
            needs: set(needs),
        }
    }

    fn open(before: &[(&str, Symbols)], after: &[(&str, Symbols)]) -> Vec<String> {
        let table = |objects: &[(&str, Symbols)]| {
            let pair = |(name, s): &(&str, Symbols)| ((*name).to_owned(), s.clone());
            objects.iter().map(pair).collect::<Table>()
        };
        needed(&table(before), &table(after))
            .into_iter()
            .map(|n| n.symbol)
            .collect()
    }

    /// Verify that a function that nobody was asked for before is, and that one
    /// that another object needed, or has, is not.
    #[test]
    fn new_needs_are_open() {
        let dev = |needs: &[&str]| ("dev.o", object(false, &["netif_rx"], &[], needs));
        let filter = |needs: &[&str]| ("filter.o", object(false, &[], &[], needs));
        let before = [dev(&["kfree"]), filter(&[])];
        assert_eq!(
            open(&before, &[dev(&["kfree"]), filter(&["netkit"])]),
            ["netkit"]
        );
        let known = [dev(&["kfree"]), filter(&["kfree", "netif_rx", "__x86_t"])];
        assert_eq!(open(&before, &known), Vec::<String>::new());
    }

    /// Verify that what is not defined any more is missed by those who need it still.
    #[test]
    fn lost_definitions_are_open() {
        let dev = |defines: &[&str]| ("dev.o", object(false, defines, &[], &[]));
        let filter = || ("filter.o", object(false, &[], &[], &["netif_rx"]));
        let before = [dev(&["netif_rx"]), filter()];
        assert_eq!(open(&before, &[dev(&[]), filter()]), ["netif_rx"]);
        assert_eq!(open(&before, &before), Vec::<String>::new());
    }

    /// Verify that a definition is not enough for a module: it must be exported,
    /// whatever the kernel itself needed before.
    #[test]
    fn modules_need_exports() {
        let dev = |exports: &[&str]| ("dev.o", object(false, &["f"], exports, &["g"]));
        let veth = |needs: &[&str]| ("veth.o", object(true, &[], &[], needs));
        let before = [dev(&[]), veth(&[])];
        assert_eq!(open(&before, &[dev(&[]), veth(&["f", "g"])]), ["f", "g"]);
        assert_eq!(open(&before, &[dev(&["f"]), veth(&["f", "g"])]), ["g"]);
        let lost = [dev(&["f"]), veth(&["f"])];
        assert_eq!(open(&lost, &[dev(&[]), veth(&["f"])]), ["f"]);
    }
}
