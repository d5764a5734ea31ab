// SPDX-License-Identifier: GPL-2.0-only
//! A base's source: Debian's source package of the release line, fetched by apt
//! from the machine's own mirror with its signatures verified.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    cache::Cache,
    exec::{Output, Program, was_killed},
    project::Base,
    request,
    unfetched::{self, Cause, Unfetched},
};

/// An unpacked source tree, gone when dropped.
#[derive(Debug)]
pub struct Unpacked {
    _scratch: tempfile::TempDir,
    /// Its top folder.
    pub dir: PathBuf,
}

/// How apt is to be called: with the machine's own state, or with a private one
/// that leaves the machine's alone and needs no privileges.
#[derive(Debug, Clone)]
struct Apt {
    options: Vec<String>,
}

/// Fetches and unpacks the newest package of a base; an [`Unfetched`] says why it
/// cannot be had.
pub fn fetch(cache: &Cache, base: &Base, offline: bool) -> Result<Unpacked> {
    let package = base.package.clone();
    if offline {
        return Err(unfetched(base, Cause::Offline { package }));
    }
    if !has("apt-get") {
        return Err(unfetched(base, Cause::NoApt { package }));
    }
    cache.need_space(5_000, "unpacking a kernel")?;
    let deb = download(cache, base)?;
    unpack_deb(cache, &deb)
}

fn unfetched(base: &Base, cause: Cause) -> anyhow::Error {
    let line = base.line.clone();
    anyhow::Error::new(Unfetched { line, cause })
}

/// Unpacks a kernel archive as kernel.org and Debian have them.
pub fn unpack(cache: &Cache, archive: &Path) -> Result<Unpacked> {
    let scratch = tempfile::tempdir_in(cache.folder("tmp")?).context("making a scratch folder")?;
    Program::new("tar")
        .arg("-C")
        .arg(scratch.path())
        .args(["--no-same-owner", "-xf"])
        .arg(archive)
        .read()
        .map_err(|e| request!("cannot unpack {}: {e:#}", archive.display()))?;
    let mut tops = fs::read_dir(scratch.path())?.collect::<std::io::Result<Vec<_>>>()?;
    let (Some(top), true) = (tops.pop(), tops.is_empty()) else {
        return Err(request!(
            "{} does not hold one folder: it is no kernel archive",
            archive.display()
        ));
    };
    let dir = top.path();
    version_of(&dir)?;
    Ok(Unpacked {
        _scratch: scratch,
        dir,
    })
}

/// `6.12.117` out of a kernel tree's Makefile.
pub fn version_of(tree: &Path) -> Result<String> {
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap_or_default();
    makefile_version(&makefile).ok_or_else(|| {
        request!(
            "{} is no kernel tree: its Makefile names no version",
            tree.display()
        )
    })
}

/// `6.12.117` out of a kernel's Makefile.
pub fn makefile_version(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile.lines().take(12).find_map(|l| {
            let (key, value) = l.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let (major, minor) = (value("VERSION")?, value("PATCHLEVEL")?);
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(&major) || !digits(&minor) {
        return None;
    }
    let sub = value("SUBLEVEL")
        .filter(|s| digits(s))
        .unwrap_or_else(|| "0".into());
    let extra = value("EXTRAVERSION").unwrap_or_default();
    Some(format!("{major}.{minor}.{sub}{extra}"))
}

/// Whether a program is in PATH.
pub fn has(name: &str) -> bool {
    program(name).is_some()
}

/// Where a program is, the first in PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

fn download(cache: &Cache, base: &Base) -> Result<PathBuf> {
    let dir = tempfile::tempdir_in(cache.folder("tmp")?).context("making a scratch folder")?;
    let own = Apt {
        options: Vec::new(),
    };
    if base.suite.is_empty() && own.download(base, dir.path())?.status.success() {
        return keep_deb(cache, base, dir.path());
    }
    // No lists on this machine yet, lists that name a version which is gone, or
    // a suite that the machine does not use.
    let private = match Apt::private(cache, &base.suite)? {
        Ok(private) => private,
        Err(why) => return Err(unfetched(base, Cause::NoMirror { why })),
    };
    // It may fail for another suite than the package's, and succeed without having
    // reached any: what follows shows whether the package can be had.
    let updated = private.update()?;
    let fetched = private.download(base, dir.path())?;
    if fetched.status.success() {
        return keep_deb(cache, base, dir.path());
    }
    let said: Vec<&str> = [&updated, &fetched]
        .into_iter()
        .flat_map(|o| [o.stdout.as_str(), o.stderr.as_str()])
        .collect();
    let cause = unfetched::cause(&base.package, &said.join("\n"));
    Err(unfetched(base, cause))
}

fn keep_deb(cache: &Cache, base: &Base, from: &Path) -> Result<PathBuf> {
    let deb = fs::read_dir(from)?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .with_context(|| {
            format!(
                "apt-get said that it fetched {}, but there is no file",
                base.package
            )
        })?;
    let kept = cache
        .folder("sources")?
        .join(format!("{}.deb", base.package));
    fs::rename(&deb, &kept).with_context(|| format!("keeping {}", kept.display()))?;
    Ok(kept)
}

fn unpack_deb(cache: &Cache, deb: &Path) -> Result<Unpacked> {
    let scratch = tempfile::tempdir_in(cache.folder("tmp")?).context("making a scratch folder")?;
    Program::new("dpkg-deb")
        .arg("--extract")
        .arg(deb)
        .arg(scratch.path())
        .read()?;
    let archive = fs::read_dir(scratch.path().join("usr/src"))
        .with_context(|| format!("{} holds no usr/src", deb.display()))?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.to_string_lossy().contains(".tar."))
        .with_context(|| format!("{} holds no usr/src/linux-source-*.tar.*", deb.display()))?;
    let unpacked = unpack(cache, &archive)?;
    // The import is what is kept; half a gigabyte of archive is not.
    fs::remove_file(deb).with_context(|| format!("removing {}", deb.display()))?;
    Ok(unpacked)
}

impl Apt {
    fn call(&self, program: &str) -> Program {
        Program::new(program)
            .args(&self.options)
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    fn update(&self) -> Result<Output> {
        let said = self.call("apt-get").args(["-q", "update"]).output()?;
        not_killed(said)
    }

    fn download(&self, base: &Base, dir: &Path) -> Result<Output> {
        let said = self
            .call("apt-get")
            // As root, apt would fetch as a user that cannot write to the cache.
            .args(["-q", "-o", "APT::Sandbox::User=root"])
            .args(SIGNED_ONLY.iter().flat_map(|o| ["-o", o]))
            .args(["download", &base.package])
            .dir(dir)
            .output()?;
        not_killed(said)
    }

    /// A state below the cache, with the machine's own sources, or with one
    /// suite on the machine's own mirror; or why there is no such mirror.
    fn private(cache: &Cache, suite: &str) -> Result<Result<Self, String>> {
        let name = if suite.is_empty() { "own" } else { suite };
        let dir = cache.folder(format!("apt/{name}"))?;
        for below in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(below))?;
        }
        let mut set = vec![
            format!("Dir::State={}", dir.join("state").display()),
            // Named by itself: a configuration of the machine may have moved it.
            format!("Dir::State::lists={}", dir.join("state/lists").display()),
            "Dir::State::status=/var/lib/dpkg/status".into(),
            format!("Dir::Cache={}", dir.join("cache").display()),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ];
        if !suite.is_empty() {
            let list = dir.join("sources.list");
            let (url, keyring) = match mirror_for(suite)? {
                Ok(found) => found,
                Err(why) => return Ok(Err(why)),
            };
            fs::write(
                &list,
                format!("deb [signed-by={keyring}] {url} {suite} main\n"),
            )?;
            set.push(format!("Dir::Etc::sourcelist={}", list.display()));
            set.push("Dir::Etc::sourceparts=-".into());
        }
        set.extend(SIGNED_ONLY.map(str::to_owned));
        let options = set.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect();
        Ok(Ok(Self { options }))
    }
}

/// What was killed has not said why a package cannot be had.
fn not_killed(said: Output) -> Result<Output> {
    if was_killed(said.status) {
        said.success().map(drop)?;
        bail!("apt-get was killed");
    }
    Ok(said)
}

/// Whatever the machine's configuration allows: a source is signed, or is no source.
const SIGNED_ONLY: [&str; 4] = [
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::AllowWeakRepositories=false",
    "Acquire::AllowDowngradeToInsecureRepositories=false",
    "APT::Get::AllowUnauthenticated=false",
];

/// The machine's own mirror for a suite, and the keyring that its Release is
/// signed with; or what is missing.
fn mirror_for(suite: &str) -> Result<Result<(String, String), String>> {
    let targets = Program::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(SIGNED_BY)",
            "Created-By: Packages",
        ])
        .read()?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    Ok(match mirror_in(&targets, suite) {
        Some(site) if Path::new(keyring).is_file() => Ok((site, keyring.to_owned())),
        Some(_) => Err(format!(
            "{keyring}, by which {suite} is verified, is missing (install debian-archive-keyring)"
        )),
        None => Err(format!(
            "apt on this machine names no Debian mirror for {suite}"
        )),
    })
}

/// The mirror for a suite among lines of site and release: security suites have
/// one of their own.
fn mirror_in(targets: &str, suite: &str) -> Option<String> {
    let security = suite.ends_with("-security");
    let folder = if security {
        "debian-security"
    } else {
        "debian"
    };
    targets.lines().find_map(|l| {
        let mut fields = l.split_whitespace();
        let (site, release) = (fields.next()?, fields.next()?);
        let debian = site.trim_end_matches('/').ends_with(folder);
        (debian && release.ends_with("-security") == security).then(|| site.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a version is read as make reads it, and that a Makefile of
    /// something else has none.
    #[test]
    fn version_out_of_makefile() {
        let kernel =
            "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\nNAME = X\n";
        assert_eq!(makefile_version(kernel).unwrap(), "6.12.117");
        let rc = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION = -rc2\n";
        assert_eq!(makefile_version(rc).unwrap(), "7.3.0-rc2");
        assert_eq!(makefile_version("VERSION = 1.2\nall:\n\tcc\n"), None);
        assert_eq!(makefile_version(""), None);
    }

    /// Verify that a suite gets the mirror of its kind, and none where the machine
    /// has only the other, or another distribution's.
    #[test]
    fn mirror_of_a_suite() {
        let targets = "http://m.invalid/debian bookworm x\nhttp://s.invalid/debian-security/ bookworm-security x\n";
        let of = |targets, suite| mirror_in(targets, suite);
        let main = Some("http://m.invalid/debian".to_owned());
        assert_eq!(of(targets, "trixie-backports"), main);
        let security = of(targets, "bullseye-security").unwrap();
        assert_eq!(security, "http://s.invalid/debian-security/");
        let first = targets.lines().next().unwrap();
        assert_eq!(of(first, "bullseye-security"), None);
        assert_eq!(
            of("http://u.invalid/ubuntu noble x", "trixie-backports"),
            None
        );
        assert_eq!(of("", "trixie-backports"), None);
    }
}
