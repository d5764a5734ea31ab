// SPDX-License-Identifier: GPL-2.0-only
//! ccache for kernel builds, where it is installed.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cache::{Cache, write_whole},
    exec::Program,
    source,
};

/// What a kernel build finds before the real one.
const SCRIPT: &str = include_str!("../../vm/host-bin/ccache");

/// A ccache that can be trusted with a kernel.
#[derive(Debug, Clone)]
pub(crate) struct Ccache {
    /// The real one.
    real: PathBuf,
    /// Has the script, and comes first in PATH.
    bin: PathBuf,
    /// Its objects.
    objects: PathBuf,
}

impl Ccache {
    /// The one that is installed, with its objects in the cache folder.
    pub(crate) fn find(cache: &Cache) -> Result<Option<Self>> {
        let Some(real) = source::program("ccache") else {
            return Ok(None);
        };
        let bin = cache.path("host-bin");
        let script = bin.join("ccache");
        if !fs::read_to_string(&script).is_ok_and(|s| s == SCRIPT) {
            write_whole(&script, SCRIPT.as_bytes())?;
        }
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {} executable", script.display()))?;
        Ok(Some(Self {
            real,
            bin,
            objects: cache.path("ccache"),
        }))
    }

    /// Has `make` compile with `compiler` through ccache. The command line is the
    /// same wherever the cache folder is: kbuild compiles anew when it changes.
    pub(crate) fn wrap(&self, make: Program, compiler: &str) -> Program {
        make.arg(format!("CC=ccache {compiler}"))
            .env("PATH", first_in_path(&self.bin))
            .env("REAL_CCACHE", &self.real)
            .env("CCACHE_DIR", &self.objects)
            .env("CCACHE_DEPEND", "1")
            .env("CCACHE_NOHASHDIR", "1")
            .env("CCACHE_SLOPPINESS", "time_macros")
            .env("CCACHE_MAXSIZE", "5G")
    }
}

fn first_in_path(dir: &Path) -> OsString {
    let mut path = OsString::from(dir);
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Verify that the script keeps from ccache what includes files behind the
    /// preprocessor's back, and nothing else that is compiled.
    #[test]
    fn incbin_is_no_business_of_ccache() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let program = |name: &str| {
            let path = file(name, &format!("#!/bin/sh\necho {name}\n"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let script = file("script", SCRIPT);
        let (real, gcc) = (program("real"), program("gcc"));
        for (source, text, who) in [
            ("plain.c", "int x;", "real"),
            ("a file.c", "int x;", "real"),
            ("configs.c", "asm(\".incbin \\\"x\\\"\");", "gcc"),
            ("piggy.S", "", "gcc"),
        ] {
            let out = Command::new("sh")
                .arg(&script)
                .arg(&gcc)
                .args(["-c", "-o", "x.o"])
                .arg(file(source, text))
                .env("REAL_CCACHE", &real)
                .output()
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&out.stdout).trim(),
                who,
                "{source}: {out:?}"
            );
        }
    }
}
