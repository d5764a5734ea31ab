// SPDX-License-Identifier: GPL-2.0-only
//! Which function the instructions of a transaction belong to, from QEMU's own
//! record of every instruction executed. Pure.
//!
//! The guest repeats a transaction and calls getppid() between two of them, so
//! that the record can be cut where a transaction begins and ends.

use std::{
    collections::{BTreeMap, HashMap},
    io::BufRead,
    path::Path,
};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, ReadCache, SectionKind};

/// Instructions by function, of one transaction.
pub type Profile = BTreeMap<String, u64>;

/// What the guest calls between two transactions.
const MARK: &str = "__x64_sys_getppid";

/// Where the kernel is entered.
const ENTRY: &str = "entry_SYSCALL_64";

/// Instructions of user space.
const USER: &str = "(user space)";

/// Instructions that no symbol covers: programs that the kernel compiled.
const JIT: &str = "(BPF programs)";

/// First address of the kernel's half.
const KERNEL: u64 = 1 << 63;

/// The functions of a kernel, by address.
#[derive(Debug)]
pub(super) struct Symbols {
    /// First address, first address after it, name; sorted.
    all: Vec<(u64, u64, String)>,
    /// Where [`MARK`] begins.
    mark: Option<u64>,
    /// Where [`ENTRY`] begins.
    entry: Option<u64>,
}

impl Symbols {
    /// Reads the functions of a vmlinux.
    pub(super) fn read(vmlinux: &Path) -> Result<Self> {
        let file = std::fs::File::open(vmlinux)
            .with_context(|| format!("opening {}", vmlinux.display()))?;
        let cache = ReadCache::new(file);
        let elf = object::File::parse(&cache)
            .with_context(|| format!("reading {} as an ELF file", vmlinux.display()))?;
        let is_text = |symbol: &object::Symbol<'_, '_, _>| {
            let section = elf.section_by_index(symbol.section_index()?).ok()?;
            (section.kind() == SectionKind::Text).then_some(())
        };
        let found = elf.symbols().filter(|s| is_text(s).is_some()).map(|s| {
            let name = s.name().unwrap_or_default().to_owned();
            (s.address(), s.size(), name)
        });
        let symbols = Self::new(found);
        if symbols.mark.is_none() || symbols.entry.is_none() {
            bail!("{} does not name {MARK} and {ENTRY}", vmlinux.display());
        }
        Ok(symbols)
    }

    /// From addresses, sizes in bytes and names. What has no size reaches to the
    /// next one; of several names for an address the first in the alphabet that
    /// has a size is taken.
    fn new(found: impl Iterator<Item = (u64, u64, String)>) -> Self {
        let mut raw: Vec<_> = found.filter(|(_, _, name)| !name.is_empty()).collect();
        let begins = |name| raw.iter().find(|s| s.2 == name).map(|s| s.0);
        let (mark, entry) = (begins(MARK), begins(ENTRY));
        raw.sort_by(|a, b| (a.0, a.1 == 0, &a.2).cmp(&(b.0, b.1 == 0, &b.2)));
        raw.dedup_by_key(|s| s.0);
        let next: Vec<u64> = raw.iter().skip(1).map(|s| s.0).chain([u64::MAX]).collect();
        let all = raw
            .into_iter()
            .zip(next)
            .map(|((at, size, name), next)| {
                let end = if size == 0 { next } else { next.min(at + size) };
                (at, end, name)
            })
            .collect();
        Self { all, mark, entry }
    }

    /// The name of what is at an address.
    fn name(&self, address: u64) -> &str {
        if address < KERNEL {
            return USER;
        }
        let after = self.all.partition_point(|s| s.0 <= address);
        match after.checked_sub(1).and_then(|i| self.all.get(i)) {
            Some((_, end, name)) if address < *end => name,
            _ => JIT,
        }
    }
}

/// The address in a line of `log exec`, `Trace 0: 0x7f.. [00/ffffffff81000000/..]`;
/// `None` for other lines.
fn address(line: &str) -> Option<u64> {
    let (_, rest) = line.strip_prefix("Trace ")?.split_once('[')?;
    u64::from_str_radix(rest.split('/').nth(1)?, 16).ok()
}

/// Cuts a record into transactions, each with its instructions by function. What
/// comes before the first mark and after the last is no whole transaction.
pub(super) fn transactions(record: impl BufRead, symbols: &Symbols) -> Result<Vec<Profile>> {
    let mut names: HashMap<u64, &str> = HashMap::new();
    let mut whole: Vec<Profile> = Vec::new();
    // The transaction so far, and the system call that it is in: which may turn
    // out to be the mark, and then belongs to no transaction.
    let mut so_far: Option<HashMap<&str, u64>> = None;
    let mut call: HashMap<&str, u64> = HashMap::new();
    let mut in_mark = false;
    for line in record.lines() {
        let Some(at) = address(&line.context("reading QEMU's record")?) else {
            continue;
        };
        let name = *names.entry(at).or_insert_with(|| symbols.name(at));
        if symbols.mark == Some(at) {
            if let Some(done) = so_far.take() {
                whole.push(done.into_iter().map(|(n, c)| (n.to_owned(), c)).collect());
            }
            call.clear();
            in_mark = true;
        } else if in_mark {
            if name == USER {
                in_mark = false;
                so_far = Some(HashMap::from([(USER, 1)]));
            }
        } else {
            if symbols.entry == Some(at)
                && let Some(so_far) = &mut so_far
            {
                for (name, count) in call.drain() {
                    *so_far.entry(name).or_default() += count;
                }
            }
            *call.entry(name).or_default() += 1;
        }
    }
    Ok(whole)
}

/// The transaction in the middle when they are sorted by what they cost. It is a
/// real one, so that its functions add up to its cost.
pub(super) fn typical(mut all: Vec<Profile>) -> Option<Profile> {
    all.sort_by_key(|p| p.values().sum::<u64>());
    let middle = all.len() / 2;
    (middle < all.len()).then(|| all.swap_remove(middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let at = |a: u64| KERNEL + a;
        Symbols::new(
            [
                (at(0x100), 0x10, "b_alias"),
                (at(0x100), 0x10, ENTRY),
                (at(0x100), 0, "__start"),
                (at(0x200), 0x10, MARK),
                (at(0x300), 0, "tail"),
                (at(0x400), 0x10, "last"),
            ]
            .map(|(a, s, n)| (a, s, n.to_owned()))
            .into_iter(),
        )
    }

    fn record(addresses: &[u64]) -> String {
        addresses
            .iter()
            .map(|a| format!("Trace 0: 0x7f00 [00000000/{a:016x}/00c0b3/ff000001] \n"))
            .collect()
    }

    /// Verify that an address belongs to the function that covers it, and to no
    /// function beyond its end.
    #[test]
    fn addresses_have_names() {
        let s = symbols();
        // Whatever else is there has no say in where a record is cut.
        assert_eq!(
            (s.entry, s.mark),
            (Some(KERNEL + 0x100), Some(KERNEL + 0x200))
        );
        for (address, name) in [
            (0x40_0000, USER),
            (KERNEL, JIT),
            (KERNEL + 0x10f, "b_alias"),
            (KERNEL + 0x110, JIT),
            (KERNEL + 0x3ff, "tail"),
            (KERNEL + 0x40f, "last"),
            (KERNEL + 0x410, JIT),
        ] {
            assert_eq!(s.name(address), name, "{address:x}");
        }
    }

    /// Verify that a record is cut at the marks, that the marks themselves count
    /// for nothing, and that half transactions are left out.
    #[test]
    fn records_are_cut() {
        let entry = ("entry", KERNEL + 0x100);
        let s = Symbols::new(
            [
                (entry.1, 0x10, ENTRY),
                (KERNEL + 0x200, 0x10, MARK),
                (KERNEL + 0x400, 0x10, "work"),
            ]
            .map(|(a, s, n)| (a, s, n.to_owned()))
            .into_iter(),
        );
        let (user, work, mark) = (0x1000, KERNEL + 0x400, KERNEL + 0x200);
        let transaction = [user, entry.1, work, work + 4, user];
        let between = [entry.1, mark, mark + 4, KERNEL + 0x405];
        let mut all = vec![work, user];
        for _ in 0..3 {
            all.extend(between);
            all.extend(transaction);
        }
        let cut = transactions(record(&all).as_bytes(), &s).unwrap();
        assert_eq!(cut.len(), 2);
        for one in cut {
            assert_eq!(one[USER], 2);
            assert_eq!(one[ENTRY], 1);
            assert_eq!(one["work"], 2);
            assert!(!one.contains_key(MARK));
        }
    }

    /// Verify that lines which record no instruction are passed over.
    #[test]
    fn other_lines_are_no_instructions() {
        assert_eq!(address("Linking TBs 0x1 index 0 -> 0x2"), None);
        assert_eq!(address("Trace 0: 0x7f00"), None);
        assert_eq!(
            address("Trace 0: 0x7f [0/ffffffff81000000/0/0] x"),
            Some(0xffff_ffff_8100_0000)
        );
    }

    /// Verify that the transaction in the middle is given whole.
    #[test]
    fn the_middle_one_is_typical() {
        let of = |n| Profile::from([("f".to_owned(), n)]);
        assert_eq!(typical(vec![of(9), of(1), of(5)]), Some(of(5)));
        assert_eq!(typical(vec![]), None);
    }
}
