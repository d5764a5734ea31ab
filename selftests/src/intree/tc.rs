// SPDX-License-Identifier: GPL-2.0-only
//! What the script finds as `tc`. The real one loads BPF objects by today's
//! libbpf, which refuses those of 5.10 for the form of their maps; the tree's own
//! bpftool does not. So it loads them, and `tc` attaches what is pinned.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{self, Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::PATH;

/// What `tc` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// Does what `tc` would do, and gives its exit status.
pub(crate) fn tc(args: &Args) -> Result<ExitCode> {
    let status = match wanted(&args.words) {
        None => real(&args.words)?,
        Some((before, object, section)) => {
            let dir = Path::new("/run").join(format!("in-tree-pins-{}", process::id()));
            fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
            mount(
                Some("bpf"),
                &dir,
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .with_context(|| format!("mounting {}", dir.display()))?;
            let attached = attach(before, object, section, &dir);
            // What is attached stays, the rest goes with the last pin.
            umount2(&dir, MntFlags::MNT_DETACH)
                .with_context(|| format!("unmounting {}", dir.display()))?;
            fs::remove_dir(&dir).with_context(|| format!("removing {}", dir.display()))?;
            attached?
        }
    };
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Of `filter add dev d ingress bpf da obj FILE sec SECTION` all before `obj`,
/// the file and the section.
fn wanted(words: &[OsString]) -> Option<(&[OsString], &OsString, &OsString)> {
    let (before, [obj, object, sec, section]) = words.split_last_chunk()?;
    (obj == "obj" && sec == "sec").then_some((before, object, section))
}

fn attach(
    before: &[OsString],
    object: &OsString,
    section: &OsString,
    dir: &Path,
) -> Result<ExitStatus> {
    let pins = dir.join("programs");
    // By PATH: the tree's own is before the host's.
    let loaded = Command::new("bpftool")
        .args(["prog", "loadall"])
        .arg(object)
        .arg(&pins)
        .args(["type", "classifier"])
        .status()
        .context("starting bpftool")?;
    if !loaded.success() {
        bail!("bpftool does not load {}", object.display());
    }
    let mut words = before.to_vec();
    words.push("object-pinned".into());
    words.push(pins.join(section).into());
    real(&words)
}

fn real(words: &[OsString]) -> Result<ExitStatus> {
    let tc = PATH
        .split(':')
        .map(|dir| Path::new(dir).join("tc"))
        .find(|path| path.is_file())
        .context("there is no `tc` on this machine: package iproute2")?;
    Command::new(&tc)
        .args(words)
        .status()
        .with_context(|| format!("starting {}", tc.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that only what loads an object is done otherwise than by `tc`.
    #[test]
    fn only_loading_is_replaced() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let loads = words("filter add dev d ingress bpf da obj a.o sec src_ingress");
        let (before, object, section) = wanted(&loads).unwrap();
        assert_eq!(before, words("filter add dev d ingress bpf da"));
        assert_eq!((object, section), (&"a.o".into(), &"src_ingress".into()));
        for line in [
            "qdisc add dev d clsact",
            "filter add dev d ingress bpf da object-pinned a",
            "obj a.o sec",
        ] {
            assert!(wanted(&words(line)).is_none(), "{line}");
        }
    }
}
