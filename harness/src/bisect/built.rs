// SPDX-License-Identifier: GPL-2.0-only
//! What of a tree gets into a kernel: the files that a build read, and a hash
//! of what came out that is executed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ReadCache, SectionFlags, elf::SHF_ALLOC};

use crate::cache::Key;

/// Folders whose files no build of a kernel reads, but for Kconfig and make files.
const UNREAD: [&str; 9] = [
    "Documentation/",
    "LICENSES/",
    "samples/",
    "tools/testing/",
    "tools/perf/",
    "tools/power/",
    "tools/net/",
    "tools/virtio/",
    "rust/doctests",
];

/// Files at the top that no build reads.
const UNREAD_FILES: [&str; 8] = [
    "COPYING",
    "CREDITS",
    "MAINTAINERS",
    "README",
    ".mailmap",
    ".clang-format",
    ".editorconfig",
    ".get_maintainer.ignore",
];

/// The files of the source tree that builds have read.
#[derive(Debug, Default)]
pub struct Files {
    read: BTreeSet<String>,
    /// Command files older than this were looked at.
    seen: Option<SystemTime>,
}

impl Files {
    /// From a list saved earlier.
    pub fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self {
            read: text.lines().map(str::to_owned).collect(),
            seen: None,
        }
    }

    /// Saves the list, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let lines: Vec<&str> = self.read.iter().map(String::as_str).collect();
        crate::cache::write_whole(path, lines.join("\n").as_bytes())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// Adds what the build in `out` of the tree at `src` has read, as the
    /// command files say that kbuild leaves beside everything it makes.
    pub fn add(&mut self, out: &Path, src: &Path) -> Result<()> {
        let now = SystemTime::now();
        let mut found = Vec::new();
        command_files(out, &mut found)?;
        for path in found {
            let meta = fs::metadata(&path).and_then(|m| m.modified());
            if self.seen.is_some_and(|s| meta.is_ok_and(|m| m < s)) {
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            for word in text.split_whitespace() {
                if let Some(file) = named(word, src)
                    && !self.read.contains(file)
                {
                    self.read.insert(file.to_owned());
                }
            }
        }
        self.seen = Some(now);
        Ok(())
    }

    /// Whether a change may affect the kernel. `status` is git's letter: `M`,
    /// `A`, `D`... Everything that is not known to be harmless may.
    pub fn matters(&self, status: &str, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        if ["Kconfig", "Makefile", "Kbuild"]
            .iter()
            .any(|n| name.starts_with(n))
        {
            return true;
        }
        if UNREAD.iter().any(|dir| path.starts_with(dir))
            || UNREAD_FILES.contains(&path)
            || name == ".gitignore"
        {
            return false;
        }
        // The tools that a build makes for itself are built otherwise.
        if path.starts_with("tools/") || path.starts_with("scripts/") || self.is_empty() {
            return true;
        }
        let known_by_its_name = match name.rsplit('.').next() {
            Some("c" | "S") => true,
            // A header that comes or goes changes which one is found.
            Some("h") => status == "M",
            _ => false,
        };
        !known_by_its_name || self.read.contains(path)
    }
}

/// The file of the source tree that a word of a command file names.
fn named<'a>(word: &'a str, src: &Path) -> Option<&'a str> {
    let word = word.trim_matches(|c| matches!(c, '"' | '\'' | '\\' | '(' | ')' | ';' | ','));
    let mut path = src
        .to_str()
        .and_then(|src| word.strip_prefix(src))
        .map_or(word, |below| below.trim_start_matches('/'));
    while let Some(below) = path.strip_prefix("../").or_else(|| path.strip_prefix("./")) {
        path = below;
    }
    let plausible = !path.is_empty()
        && !path.starts_with(['-', '/', '$', '@'])
        && path.contains(['.', '/'])
        && !path.contains(['=', '*', '%']);
    plausible.then_some(path)
}

fn command_files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            command_files(&path, found)?;
        } else if name.ends_with(".cmd") {
            found.push(path);
        }
    }
    Ok(())
}

/// A hash of everything of the kernel in `out` that is executed or read when
/// it runs: not of line numbers for the debugger, nor of the build ID, which is
/// a hash of those as well.
pub fn identity(out: &Path) -> Result<String> {
    let vmlinux = out.join("vmlinux");
    let file =
        fs::File::open(&vmlinux).with_context(|| format!("opening {}", vmlinux.display()))?;
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache)
        .with_context(|| format!("reading {} as an ELF file", vmlinux.display()))?;
    let mut key = Key::new("executed");
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        let name = section.name().unwrap_or_default();
        if sh_flags.0 & SHF_ALLOC.0 == 0 || name == ".notes" {
            continue;
        }
        key = key
            .with(name)
            .with(section.address().to_le_bytes())
            .with(section.size().to_le_bytes())
            .with(
                section
                    .data()
                    .with_context(|| format!("reading {name} of {}", vmlinux.display()))?,
            );
    }
    // What runs before vmlinux does, without the packed vmlinux itself.
    let boot = out.join("arch/x86/boot");
    let mut before = vec![boot.join("setup.bin")];
    for entry in fs::read_dir(boot.join("compressed"))
        .with_context(|| format!("reading {}", boot.display()))?
    {
        let path = entry?.path();
        let is_object = path.extension().is_some_and(|e| e == "o");
        if is_object && path.file_name().is_some_and(|n| n != "piggy.o") {
            before.push(path);
        }
    }
    before.sort();
    for path in before {
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        key = key
            .with(path.file_name().unwrap_or_default().as_encoded_bytes())
            .with(bytes);
    }
    Ok(key.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("src/out");
        fs::create_dir_all(out.join("net/core")).unwrap();
        let src = dir.path().join("src");
        let text = format!(
            "savedcmd_net/core/filter.o := gcc -I../include -o net/core/filter.o ../net/core/filter.c\n\
             source_net/core/filter.o := ../net/core/filter.c\n\
             deps_net/core/filter.o := \\\n  $(wildcard include/config/X) \\\n  ../include/linux/bpf.h \\\n  {}/include/linux/skbuff.h \\\n",
            src.display()
        );
        fs::write(out.join("net/core/.filter.o.cmd"), text).unwrap();
        let mut files = Files::default();
        files.add(&out, &src).unwrap();
        files
    }

    /// Verify that a source file matters when the build has read it, however it
    /// is named there, and that what is not known to be harmless matters.
    #[test]
    fn what_matters() {
        let files = files();
        for (status, path, wanted) in [
            ("M", "net/core/filter.c", true),
            ("M", "include/linux/bpf.h", true),
            ("M", "include/linux/skbuff.h", true),
            ("M", "drivers/net/tun.c", false),
            ("A", "drivers/net/tun.c", false),
            ("M", "include/linux/if_tun.h", false),
            ("A", "include/linux/if_tun.h", true),
            ("M", "Documentation/networking/tun.rst", false),
            ("M", "Documentation/Kconfig", true),
            ("M", "MAINTAINERS", false),
            ("M", "drivers/net/Makefile", true),
            ("M", "arch/x86/entry/syscalls/syscall_64.tbl", true),
            ("M", "scripts/checkpatch.pl", true),
            ("M", "tools/objtool/check.c", true),
            ("M", "tools/testing/selftests/bpf/x.c", false),
            ("M", "\"net/core/odd\\nname.c\"", true),
        ] {
            assert_eq!(files.matters(status, path), wanted, "{status} {path}");
        }
    }

    /// Verify that without a build everything that a compiler may read matters.
    #[test]
    fn nothing_known() {
        let none = Files::default();
        assert!(none.matters("M", "drivers/net/tun.c"));
        assert!(!none.matters("M", "Documentation/x.rst"));
    }
}
