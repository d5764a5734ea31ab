// SPDX-License-Identifier: GPL-2.0-only
//! Where the CPUs of a guest that hung were, out of QEMU's `info registers -a`.

use anyhow::Result;

use super::Decoder;

impl Decoder {
    /// A line for each CPU in `registers`: `CPU#0 in name+0x12/0x34 (file:line)`.
    /// Empty when there are no registers in it; an error when functions cannot
    /// be looked up.
    pub fn cpus(&mut self, registers: &[String]) -> Result<Vec<String>> {
        let mut cpu = "CPU";
        let mut found = Vec::new();
        for line in registers {
            if line.starts_with("CPU#") {
                cpu = line.trim();
            }
            let Some(rip) = line.strip_prefix("RIP=") else {
                continue;
            };
            let (address, rest) = rip.split_once(' ').unwrap_or((rip, ""));
            let idle = if rest.contains("HLT=1") {
                ", halted"
            } else {
                ""
            };
            let place = match u64::from_str_radix(address, 16) {
                Ok(address) => self
                    .function(address)?
                    .unwrap_or_else(|| format!("{address:#x}, outside the kernel")),
                Err(_) => format!("an address that is none: {address}"),
            };
            found.push((format!("RIP {cpu} in {place}"), idle));
        }
        let (mut lines, idle): (Vec<String>, Vec<&str>) = found.into_iter().unzip();
        // `RIP` in front says that it is the instruction itself, not what a call returns to.
        self.decode(&mut lines)?;
        Ok(lines
            .iter()
            .zip(idle)
            .map(|(line, idle)| format!("{}{idle}", line.trim_start_matches("RIP ")))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    /// Verify that each CPU is named with the function it was in, and that
    /// a place outside the kernel is said to be one.
    #[test]
    fn each_cpu_is_placed() {
        let dir = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let nm = program(
            "nm",
            "#!/bin/sh\necho 'ffffffff81000000 T idle'; echo 'ffffffff81000040 T spin'; echo 'ffffffff81000080 T end'\n",
        );
        let addr2line = program(
            "addr2line",
            "#!/bin/sh\nshift 4\nfor a; do echo $a; echo k/l.c:7; done\n",
        );
        let vmlinux = program("vmlinux", "");
        let mut decoder = Decoder::new(&vmlinux, Path::new("/src")).with_programs(nm, addr2line);
        let registers: Vec<String> = [
            "CPU#0",
            "RAX=0000000000000000 RBX=0000000000000000",
            "RIP=ffffffff81000044 RFL=00000046 [---Z-P-] CPL=0 HLT=0",
            "CPU#1",
            "RIP=ffffffff81000001 RFL=00000246 [---Z-P-] CPL=0 HLT=1",
            "CPU#2",
            "RIP=00007f0000000000 RFL=00000246 [---Z-P-] CPL=3 HLT=0",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(
            decoder.cpus(&registers).unwrap(),
            [
                "CPU#0 in spin+0x4/0x40 (k/l.c:7)",
                "CPU#1 in idle+0x1/0x40 (k/l.c:7), halted",
                "CPU#2 in 0x7f0000000000, outside the kernel",
            ]
        );
        assert!(decoder.cpus(&["no registers".into()]).unwrap().is_empty());
    }
}
