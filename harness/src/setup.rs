// SPDX-License-Identifier: GPL-2.0-only
//! What the machine must have: Debian packages, and virtme-ng and kcidb-io in
//! environments of their own. Only installing packages needs root, and nothing calls sudo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    cache::{Cache, Key},
    exec::Program,
    progress::Progress,
    project::Project,
    request, source,
};

/// Something the machine must have.
pub(crate) struct Need {
    package: &'static str,
    /// Programs or files by which its presence is seen.
    seen_by: &'static [&'static str],
    what_for: &'static str,
}

const NEEDS: &[Need] = &[
    need("bc", &["bc"], "builds the kernel"),
    need("bison", &["bison"], "builds the kernel"),
    need(
        "ca-certificates",
        &["/etc/ssl/certs/ca-certificates.crt"],
        "fetches virtme-ng, kcidb-io and crates",
    ),
    need(
        "ccache",
        &["ccache"],
        "builds what is the same in two arms once",
    ),
    need("clang", &["clang"], "compiles the BPF programs"),
    need("flex", &["flex"], "builds the kernel"),
    need("gcc", &["gcc"], "builds the kernel"),
    need("git", &["git"], "keeps the trees"),
    need(
        "libc6-dev",
        &["/usr/include/stdio.h"],
        "builds the kernel's tools",
    ),
    need(
        "libelf-dev",
        &["/usr/include/libelf.h"],
        "builds objtool and libbpf",
    ),
    need(
        "libssl-dev",
        &["/usr/include/openssl/ssl.h"],
        "builds the kernel's tools",
    ),
    need("make", &["make"], "builds the kernel"),
    need("perl", &["perl"], "builds the kernel"),
    need("pkg-config", &["pkg-config"], "builds libbpf"),
    need("python3-venv", &["python3"], "runs virtme-ng"),
    need(
        "qemu-system-x86",
        &["qemu-system-x86_64"],
        "boots the kernels",
    ),
    need("udev", &["udevadm"], "virtme-ng finds its ports by it"),
    need("xz-utils", &["xz"], "unpacks the sources"),
    need("zlib1g-dev", &["/usr/include/zlib.h"], "builds libbpf"),
];

const IPROUTE2: Need = need(
    "iproute2",
    &["ip", "tc"],
    "sets up what the kernel's own selftest needs",
);

/// Where Debian keeps modules for Python.
pub(crate) const PYTHON: &str = "/usr/lib/python3/dist-packages";

/// What `vng` needs beside virtme-run.
pub(crate) const VNG: [Need; 2] = [
    need(
        "python3-argcomplete",
        &["/usr/lib/python3/dist-packages/argcomplete"],
        "runs vng, for `bench --self`",
    ),
    need(
        "python3-requests",
        &["/usr/lib/python3/dist-packages/requests"],
        "runs vng, for `bench --self`",
    ),
];

const PING: Need = need(
    "iputils-ping",
    &["ping"],
    "sends packets for the kernel's own selftest",
);

/// What only the kernel's own selftest needs, besides: its guest runs the host's programs.
pub(crate) const IN_TREE_PROGRAM: &[Need] = &[
    need(
        "bpftool",
        &["bpftool"],
        "makes skeletons for the kernel's own selftest",
    ),
    IPROUTE2,
    PING,
];

/// The same for the script that 5.10 has instead.
pub(crate) const IN_TREE_SCRIPT: &[Need] = &[
    IPROUTE2,
    PING,
    need("jq", &["jq"], "finds maps for the kernel's own selftest"),
    // By this name it is the one that knows -4 and -6.
    need(
        "netcat-openbsd",
        &["nc.openbsd"],
        "takes connections for the kernel's own selftest",
    ),
    need(
        "procps",
        &["sysctl"],
        "sets up what the kernel's own selftest needs",
    ),
];

/// bpftool, which an ordinary user's PATH leaves out.
pub(crate) fn bpftool() -> &'static str {
    if source::has("bpftool") {
        "bpftool"
    } else {
        "/usr/sbin/bpftool"
    }
}

const fn need(
    package: &'static str,
    seen_by: &'static [&'static str],
    what_for: &'static str,
) -> Need {
    Need {
        package,
        seen_by,
        what_for,
    }
}

/// The packages that are missing, each with what it is for.
pub fn missing() -> Vec<(&'static str, &'static str)> {
    NEEDS
        .iter()
        .filter(|n| !n.is_there())
        .map(|n| (n.package, n.what_for))
        .collect()
}

impl Need {
    fn is_there(&self) -> bool {
        self.seen_by.iter().all(|seen| {
            if seen.starts_with('/') {
                Path::new(seen).exists()
            } else {
                in_path(seen)
            }
        })
    }
}

/// An ordinary user's PATH often leaves out where Debian puts udevadm.
fn in_path(program: &str) -> bool {
    source::has(program)
        || ["/usr/sbin", "/sbin"]
            .iter()
            .any(|d| Path::new(d).join(program).is_file())
}

/// The command that installs `packages`.
pub fn install_command(packages: &[&str]) -> String {
    format!(
        "apt-get update && apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs what is missing when run as root; says the command otherwise.
pub fn packages(offline: bool, progress: &Progress) -> Result<()> {
    let missing: Vec<&str> = missing().into_iter().map(|(package, _)| package).collect();
    install_all(&missing, offline, progress)
}

/// The same for what few commands need.
pub(crate) fn also(needs: &[Need], offline: bool, progress: &Progress) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|n| !n.is_there()).collect();
    let packages: Vec<&str> = missing.iter().map(|n| n.package).collect();
    install_all(&packages, offline, progress).with_context(|| {
        let what_for = |n: &&Need| format!("{} {}", n.package, n.what_for);
        missing.iter().map(what_for).collect::<Vec<_>>().join("; ")
    })
}

/// The same for a package that a command can do without: installed where that may
/// be done, and what hinders it is said. Whoever needs it looks for itself.
pub(crate) fn install_if_possible(package: &str, offline: bool, progress: &Progress) -> Result<()> {
    if !may_install(offline) {
        return Ok(());
    }
    if let Err(error) = install_all(&[package], offline, progress) {
        crate::interrupt::check()?;
        progress.note(&format!("going on without {package}: {error:#}"));
    }
    Ok(())
}

/// The packages that apt here offers whose names begin so; none where there is no apt.
pub(crate) fn offered(begins: &str) -> Result<Vec<String>> {
    if !source::has("apt-cache") {
        return Ok(Vec::new());
    }
    let said = Program::new("apt-cache")
        .args(["pkgnames", begins])
        .read()?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn may_install(offline: bool) -> bool {
    nix::unistd::geteuid().is_root() && !offline && source::has("apt-get")
}

fn install_all(missing: &[&str], offline: bool, progress: &Progress) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let command = install_command(missing);
    if !may_install(offline) {
        return Err(request!(
            "this machine lacks {}; run as root: {command}",
            missing.join(", ")
        ));
    }
    let step = progress.begin("packages", &missing.join(" "));
    let apt = || Program::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    apt()
        .args(["-q", "update"])
        .read()
        .context("bringing apt's lists up to date")?;
    apt()
        .args(["-q", "install", "--yes", "--no-install-recommends"])
        .args(missing)
        .read()
        .with_context(|| format!("installing packages; by hand it is: {command}"))?;
    step.done(false);
    Ok(())
}

/// What a file in vm/ pins from PyPI by version and hash, in an environment of its own.
#[derive(Clone, Copy)]
struct Pinned {
    /// The package that is wanted: the others of the file are what it needs.
    name: &'static str,
    /// The file, below the project.
    pins: &'static str,
    /// Something that it brings, below the environment.
    seen_by: &'static str,
}

const VIRTME_NG: Pinned = Pinned {
    name: "virtme-ng",
    pins: "vm/virtme-ng.txt",
    seen_by: "bin/virtme-run",
};

const KCIDB_IO: Pinned = Pinned {
    name: "kcidb-io",
    pins: "vm/kcidb-io.txt",
    seen_by: "bin/python3",
};

/// virtme-ng, at the version and hash that vm/virtme-ng.txt pins.
#[derive(Debug, Clone)]
pub struct VirtmeNg {
    /// virtme-run.
    pub program: PathBuf,
    /// `1.42`.
    pub version: String,
}

impl VirtmeNg {
    /// Finds it in the cache, installing it first if need be.
    pub fn find(
        cache: &Cache,
        project: &Project,
        offline: bool,
        progress: &Progress,
    ) -> Result<Self> {
        let (program, version) = VIRTME_NG.find(cache, project, offline, progress)?;
        Ok(Self { program, version })
    }
}

/// A Python that has kcidb-io, at the versions and hashes that vm/kcidb-io.txt
/// pins: only `check` needs it.
pub(crate) fn kcidb_io(
    cache: &Cache,
    project: &Project,
    offline: bool,
    progress: &Progress,
) -> Result<PathBuf> {
    let (python, _) = KCIDB_IO.find(cache, project, offline, progress)?;
    Ok(python)
}

impl Pinned {
    /// What it brings, and its version; from the cache, or installed first.
    fn find(
        self,
        cache: &Cache,
        project: &Project,
        offline: bool,
        progress: &Progress,
    ) -> Result<(PathBuf, String)> {
        let pins = project.path(self.pins);
        let text = std::fs::read_to_string(&pins)
            .with_context(|| format!("reading {}", pins.display()))?;
        let version = pinned_version(&text, self.name)
            .with_context(|| format!("{} pins no version of {}", pins.display(), self.name))?;
        // The environment refers to the Python it was made with.
        let python = Program::new("python3").arg("--version").read()?;
        let key = Key::new(self.name).with(&text).with(&python).hex();
        let dir = cache.path(format!("{}/{version}-{key}", self.name));
        let seen_by = dir.join(self.seen_by);
        // Written last: pip makes the program before it is done.
        let whole = dir.join("whole");
        if whole.is_file() {
            return Ok((seen_by, version));
        }
        if offline {
            return Err(request!(
                "{} {version} is not in the cache, and --offline forbids fetching it: run once without --offline",
                self.name
            ));
        }
        let step = progress.begin(self.name, &version);
        install(&dir, &pins)
            .and_then(|()| {
                if !seen_by.is_file() {
                    bail!("the package has no {}", self.seen_by);
                }
                crate::cache::write_whole(&whole, b"")
            })
            .with_context(|| format!("installing {} {version} from PyPI", self.name))?;
        step.done(false);
        Ok((seen_by, version))
    }
}

fn install(dir: &Path, pins: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(dir);
    Program::new("python3")
        .args(["-m", "venv"])
        .arg(dir)
        .read()?;
    Program::new(dir.join("bin/python3"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--no-deps",
            "--requirement",
        ])
        .arg(pins)
        .read()
        .map(drop)
}

fn pinned_version(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|l| {
        let rest = l.strip_prefix(name)?.strip_prefix("==")?;
        Some(rest.split_whitespace().next()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that the pinned version is read, and that a file without one is noticed.
    #[test]
    fn version_is_pinned() {
        assert_eq!(
            pinned_version("# c\na==2\nb-c==1.42 --hash=sha256:ab\n", "b-c").unwrap(),
            "1.42"
        );
        assert_eq!(pinned_version("b-c>=1\n", "b-c"), None);
        assert_eq!(pinned_version("b-c==1\n", "b"), None);
    }
}
