// SPDX-License-Identifier: GPL-2.0-only
//! What the machine must have: Debian packages, and virtme-ng in an environment
//! of its own. Only installing packages needs root, and nothing calls sudo.

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
        "fetches virtme-ng and crates",
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

fn install_all(missing: &[&str], offline: bool, progress: &Progress) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let command = install_command(missing);
    if !nix::unistd::geteuid().is_root() || offline || !source::has("apt-get") {
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
        let pin = project.path("vm/virtme-ng.txt");
        let text =
            std::fs::read_to_string(&pin).with_context(|| format!("reading {}", pin.display()))?;
        let version =
            pinned_version(&text).with_context(|| format!("{} pins no version", pin.display()))?;
        // The environment refers to the Python it was made with.
        let python = Program::new("python3").arg("--version").read()?;
        let key = Key::new("virtme-ng").with(&text).with(&python).hex();
        let dir = cache.path(format!("virtme-ng/{version}-{key}"));
        let found = Self {
            program: dir.join("bin/virtme-run"),
            version,
        };
        // Written last: pip makes the program before it is done.
        let whole = dir.join("whole");
        if whole.is_file() {
            return Ok(found);
        }
        if offline {
            return Err(request!(
                "virtme-ng {} is not in the cache, and --offline forbids fetching it: run once without --offline",
                found.version
            ));
        }
        let step = progress.begin("virtme-ng", &found.version);
        install(&dir, &pin)
            .and_then(|()| crate::cache::write_whole(&whole, b""))
            .with_context(|| format!("installing virtme-ng {} from PyPI", found.version))?;
        step.done(false);
        Ok(found)
    }
}

fn install(dir: &Path, pin: &Path) -> Result<()> {
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
        .arg(pin)
        .read()?;
    if !dir.join("bin/virtme-run").is_file() {
        bail!("the package has no virtme-run");
    }
    Ok(())
}

fn pinned_version(text: &str) -> Option<String> {
    text.lines().find_map(|l| {
        let rest = l.strip_prefix("virtme-ng==")?;
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
            pinned_version("# c\nvirtme-ng==1.42 --hash=sha256:ab\n").unwrap(),
            "1.42"
        );
        assert_eq!(pinned_version("virtme-ng>=1\n"), None);
    }
}
