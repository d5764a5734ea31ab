// SPDX-License-Identifier: GPL-2.0-only
//! File and line for the functions of a report.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::fingerprint::offsets;
use crate::exec::Program;

/// Looks functions up in one kernel's ELF file, with the programs that the
/// compiler comes with. Reads the file at the first need.
#[derive(Debug)]
pub struct Decoder {
    vmlinux: PathBuf,
    source: PathBuf,
    nm: OsString,
    addr2line: OsString,
    symbols: Option<Symbols>,
}

impl Decoder {
    /// For the kernel with this ELF file, built from the sources in `source`.
    pub fn new(vmlinux: &Path, source: &Path) -> Self {
        Self {
            vmlinux: vmlinux.to_owned(),
            source: source.to_owned(),
            nm: "nm".into(),
            addr2line: "addr2line".into(),
            symbols: None,
        }
    }

    /// Uses these programs instead of `nm` and `addr2line`: for another architecture.
    #[must_use]
    pub fn with_programs(
        mut self,
        nm: impl Into<OsString>,
        addr2line: impl Into<OsString>,
    ) -> Self {
        self.nm = nm.into();
        self.addr2line = addr2line.into();
        self
    }

    /// Appends ` (net/core/dev.c:123)` to each line with a function and an
    /// offset; gives how many were found. A line that cannot be decoded stays as
    /// it is; an error means that none could, and lines are as they were.
    pub fn decode(&mut self, lines: &mut [String]) -> Result<usize> {
        let mut wanted = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let Some((start, plus, end)) = offsets(line).next() else {
                continue;
            };
            if line[end..].contains(" (") {
                continue;
            }
            // A stack trace holds the address behind the call, RIP that of the instruction.
            let is_return = line.starts_with([' ', '\t']) && !line.trim_start().starts_with("RIP");
            wanted.push((
                at,
                line[start..plus].to_owned(),
                line[plus + 3..end].to_owned(),
                is_return,
            ));
        }
        if wanted.is_empty() {
            return Ok(0);
        }
        let symbols = self.symbols()?;
        let found: Vec<(usize, u64)> = wanted
            .iter()
            .filter_map(|(at, name, offset, is_return)| {
                let (offset, size) = offset.split_once("/0x")?;
                let address = symbols.address(name, parse(offset)?, parse(size)?)?;
                Some((
                    *at,
                    address - u64::from(*is_return && !offset.bytes().all(|b| b == b'0')),
                ))
            })
            .collect();
        let places = self.places(found.iter().map(|f| f.1))?;
        let mut decoded = 0;
        for (at, address) in found {
            if let Some(place) = places.get(&address) {
                lines[at].push_str(&format!(" ({place})"));
                decoded += 1;
            }
        }
        Ok(decoded)
    }

    /// The function that holds the code at `address`, as the kernel writes it:
    /// `name+0x12/0x34`.
    pub(super) fn function(&mut self, address: u64) -> Result<Option<String>> {
        Ok(self.symbols()?.function(address))
    }

    fn symbols(&mut self) -> Result<&Symbols> {
        if self.symbols.is_none() {
            let nm = Program::new(&self.nm).arg("-n").arg(&self.vmlinux);
            let text = read(&nm, &self.vmlinux)?;
            self.symbols = Some(Symbols::parse(&text));
        }
        self.symbols
            .as_ref()
            .context("the functions of the kernel have been read")
    }

    /// Where the code at each address came from, innermost function first.
    fn places(&self, addresses: impl Iterator<Item = u64>) -> Result<BTreeMap<u64, String>> {
        let addr2line = Program::new(&self.addr2line)
            .args(["-a", "-i", "-e"])
            .arg(&self.vmlinux)
            .args(addresses.map(|a| format!("{a:#x}")));
        let text = read(&addr2line, &self.vmlinux)?;
        let mut places: BTreeMap<u64, String> = BTreeMap::new();
        let mut address = 0;
        for line in text.lines() {
            if let Some(next) = line
                .strip_prefix("0x")
                .filter(|l| !l.contains(':'))
                .and_then(parse)
            {
                // The same address twice is answered twice.
                places.remove(&next);
                address = next;
            } else if !line.starts_with("??") && !line.ends_with(":?") && !line.ends_with(":0") {
                let line = line.split(" (discriminator").next().unwrap_or(line);
                let place = self.shown(line);
                places
                    .entry(address)
                    .and_modify(|p| {
                        p.push_str(" in ");
                        p.push_str(&place);
                    })
                    .or_insert(place);
            }
        }
        Ok(places)
    }

    /// The path as it is in the kernel tree. An object from ccache may name the
    /// folder in which it was first built.
    fn shown(&self, place: &str) -> String {
        let mut path = PathBuf::new();
        for part in Path::new(place).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if path.file_name().is_some() => {
                    path.pop();
                }
                other => path.push(other),
            }
        }
        if let Ok(inside) = path.strip_prefix(&self.source) {
            return inside.display().to_string();
        }
        let whole = path.display().to_string();
        let file = whole.rsplit_once(':').map_or(&*whole, |(file, _)| file);
        let parts: Vec<_> = Path::new(file).components().collect();
        let elsewhere = (1..parts.len())
            .map(|skip| parts[skip..].iter().collect::<PathBuf>())
            .find(|inside| path.is_absolute() && self.source.join(inside).is_file());
        match elsewhere {
            Some(inside) => format!("{}{}", inside.display(), &whole[file.len()..]),
            None => whole,
        }
    }
}

fn parse(hex: &str) -> Option<u64> {
    u64::from_str_radix(hex, 16).ok()
}

/// What `program` prints about the ELF file. An interruption is an error as well.
fn read(program: &Program, vmlinux: &Path) -> Result<String> {
    if !vmlinux.is_file() {
        bail!(
            "{} is not there: the reports are shown without file and line",
            vmlinux.display()
        );
    }
    program
        .read()
        .context("looking functions up in the kernel (package binutils)")
}

/// Functions of a kernel: address and size by name. A static one may be there
/// several times; its size tells which.
#[derive(Debug, Default)]
struct Symbols(HashMap<String, Vec<(u64, u64)>>);

impl Symbols {
    /// Reads the output of `nm -n`.
    fn parse(text: &str) -> Self {
        let mut sorted = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(address), Some(kind), Some(name)) =
                (words.next().and_then(parse), words.next(), words.next())
            {
                sorted.push((address, kind, name));
            }
        }
        let mut symbols: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
        let mut end = u64::MAX;
        for at in (0..sorted.len()).rev() {
            let (address, kind, name) = sorted[at];
            if let Some(next) = sorted.get(at + 1).filter(|n| n.0 != address) {
                end = next.0;
            }
            if matches!(kind, "t" | "T" | "w" | "W") {
                symbols
                    .entry(name.to_owned())
                    .or_default()
                    .push((address, end - address));
            }
        }
        Self(symbols)
    }

    /// `name+0x12/0x34` of the function that holds `address`.
    fn function(&self, address: u64) -> Option<String> {
        let holds = |(start, size): &&(u64, u64)| address >= *start && address - start < *size;
        self.0
            .iter()
            .filter_map(|(name, all)| Some((name, all.iter().find(holds)?)))
            // An alias has another name for the same code.
            .min_by_key(|(name, (start, _))| (address - start, name.as_str()))
            .map(|(name, (start, size))| format!("{name}+{:#x}/{size:#x}", address - start))
    }

    /// The address that `name+offset/size` means, when only one can be meant.
    fn address(&self, name: &str, offset: u64, size: u64) -> Option<u64> {
        let all = self.0.get(name)?;
        let mut fitting = all.iter().filter(|(_, s)| *s == size);
        let (start, _) = match (fitting.next(), fitting.next(), all.as_slice()) {
            (Some(one), None, _) => one,
            (None, _, [one]) if offset < one.1 => one,
            _ => return None,
        };
        start.checked_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const NM: &str = "0000000000001000 T first\n0000000000001040 t twice\n0000000000001080 t twice\n\
                      0000000000001080 T alias\n00000000000010c8 d data\n";

    /// Verify that a place is shown as it is in the tree, also when the object
    /// was first built in another folder, and never as what is not in the tree.
    #[test]
    fn places_are_those_of_the_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("kernel")).unwrap();
        fs::write(tree.path().join("kernel/kthread.c"), "").unwrap();
        let decoder = Decoder::new(Path::new("vmlinux"), tree.path());
        let inside = format!("{}/net/../kernel/kthread.c:389", tree.path().display());
        for (place, shown) in [
            (inside.as_str(), "kernel/kthread.c:389"),
            (
                "/elsewhere/6.12/patched/kernel/kthread.c:389",
                "kernel/kthread.c:389",
            ),
            ("kernel/kthread.c:389", "kernel/kthread.c:389"),
            ("/elsewhere/kernel/no.c:1", "/elsewhere/kernel/no.c:1"),
        ] {
            assert_eq!(decoder.shown(place), shown);
        }
    }

    /// Verify that a name that is there several times is told apart by its size.
    #[test]
    fn symbols_by_size() {
        let symbols = Symbols::parse(NM);
        assert_eq!(symbols.address("first", 0x10, 0x40), Some(0x1010));
        assert_eq!(symbols.address("twice", 0x10, 0x40), Some(0x1050));
        assert_eq!(symbols.address("twice", 0x10, 0x48), Some(0x1090));
        assert_eq!(symbols.address("twice", 0x10, 0x50), None);
        assert_eq!(
            symbols.address("first", 0x10, 0x50),
            Some(0x1010),
            "another build, but only one is meant"
        );
        assert_eq!(symbols.address("data", 0, 1), None);
        let function = |address| symbols.function(address).unwrap_or_default();
        assert_eq!(function(0x1010), "first+0x10/0x40");
        assert_eq!(function(0x1050), "twice+0x10/0x40");
        assert_eq!(function(0x1090), "alias+0x10/0x48");
        assert_eq!(function(0x0fff) + &function(0x10c8), "");
    }

    /// Verify what is appended, and that a call is looked up before the address it returns to.
    #[test]
    fn lines_are_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let nm = program("nm", &format!("#!/bin/sh\ncat <<'E'\n{NM}E\n"));
        let addr2line = program(
            "addr2line",
            "#!/bin/sh\nshift 4\nfor a; do echo $a; case $a in\n\
             0x100f) echo /src/k/.build/../include/net/a.h:3; echo '/src/k/./net/b.c:9 (discriminator 2)';;\n\
             0x1002) echo net/c.c:1;; *) echo '??:0';; esac; done\n",
        );
        let vmlinux = program("vmlinux", "");
        let mut decoder = Decoder::new(&vmlinux, Path::new("/src/k")).with_programs(nm, addr2line);
        let mut lines: Vec<String> = [
            "Call Trace:",
            " first+0x10/0x40",
            "RIP: 0010:first+0x2/0x40",
            " twice+0x1/0x48",
            " gone+0x1/0x2",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(decoder.decode(&mut lines).unwrap(), 2);
        assert_eq!(
            lines[1],
            " first+0x10/0x40 (include/net/a.h:3 in net/b.c:9)"
        );
        assert_eq!(lines[2], "RIP: 0010:first+0x2/0x40 (net/c.c:1)");
        assert_eq!(lines[3], " twice+0x1/0x48");
        let again = lines.clone();
        decoder.decode(&mut lines).unwrap();
        assert_eq!(lines[1], again[1], "decoded twice");
    }

    /// Verify that a missing ELF file is an error and leaves the report as it is.
    #[test]
    fn missing_vmlinux_is_named() {
        let mut lines = vec![" first+0x10/0x40".to_owned()];
        let error = Decoder::new(Path::new("/nowhere/vmlinux"), Path::new("/"))
            .decode(&mut lines)
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/vmlinux"));
        assert_eq!(lines, [" first+0x10/0x40"]);
    }
}
