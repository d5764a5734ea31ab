// SPDX-License-Identifier: GPL-2.0-only
//! A virtual machine under virtme-ng: a list of devices, each of which brings
//! its QEMU arguments and its kernel arguments.

mod device;
mod qmp;

pub use device::Device;

use std::{
    ffi::OsString,
    fs::File,
    io::PipeWriter,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    accel::Accel,
    exec::{Program, Running},
    scratch::Scratch,
    setup::VirtmeNg,
};

/// Where the guest finds the folder that the host shares with it.
pub const SHARE: &str = "/run/redirect-peer";

/// Registers that say nothing about where a kernel is.
const FLOATING: [&str; 6] = ["FCW=", "FPR", "XMM", "YMM", "ZMM", "Opmask"];

/// What is booted, and how.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// virtme-ng.
    pub vng: &'a VirtmeNg,
    /// KVM or software emulation.
    pub accel: Accel,
    /// The kernel image.
    pub image: &'a Path,
    /// It takes what others leave of the CPUs.
    pub background: bool,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Guest memory, MiB.
    pub memory_mib: u32,
    /// A shell line that the guest runs as root; made of fixed text only.
    pub script: &'a str,
    /// A host folder that the guest sees, read-only, as [`SHARE`].
    pub share: &'a Path,
    /// More devices.
    pub devices: Vec<Device>,
}

/// What `nice` is told of a guest in the background: a third of the CPU where it
/// competes with another guest, and no less than that, as it has deadlines too.
const BEHIND: [&str; 2] = ["-n", "5"];

/// A virtual machine that runs. It is ended, with everything it started, when dropped.
#[derive(Debug)]
pub struct Vm {
    running: Running,
    copies: Vec<JoinHandle<std::io::Result<()>>>,
    scratch: Scratch,
}

impl Spec<'_> {
    /// The command that boots it, its files being in `scratch`. Pure, so that it
    /// can be shown and tested without QEMU.
    pub fn program(&self, scratch: &Path) -> Program {
        let mut devices = vec![
            Device::console(),
            Device::events(&scratch.join("events")),
            Device::control(&scratch.join("control")),
            Device::exit_on_panic(),
            Device::trusted_timer(),
            Device::nmi_tells_all(),
            Device::guest_bin(&scratch.join("bin")),
        ];
        devices.extend(self.devices.iter().cloned());
        let mut share = OsString::from(SHARE);
        share.push("=");
        share.push(self.share);
        let program = if self.background {
            Program::new("nice").args(BEHIND).arg(&self.vng.program)
        } else {
            Program::new(&self.vng.program)
        };
        let mut program = program
            // virtme-run's own files, which it leaves behind when it is killed.
            .env("TMPDIR", scratch)
            .args(["--mods", "none", "--kimg"])
            .arg(self.image)
            .args([
                "--force-9p",
                "--disable-monitor",
                "--verbose",
                "--show-boot-console",
            ])
            .args(["--user", "root", "--cwd", "/"])
            .arg("--cpus")
            .arg(self.cpus.to_string())
            .arg("--memory")
            .arg(format!("{}M", self.memory_mib))
            .arg("--rodir")
            .arg(share)
            .arg("--script-sh")
            .arg(self.script);
        if self.accel == Accel::Tcg {
            program = program.arg("--disable-kvm");
        }
        for arg in devices.iter().flat_map(|d| &d.kernel) {
            program = program.arg("-a").arg(arg);
        }
        // Takes everything that follows.
        program
            .arg("--qemu-opts")
            .args(devices.iter().flat_map(|d| &d.qemu))
    }

    /// Boots it.
    pub fn boot(&self) -> Result<Vm> {
        let scratch = Scratch::new("the virtual machine's sockets")?;
        let file = |name: &str| {
            File::create(scratch.path().join(name)).with_context(|| format!("making {name}"))
        };
        file("events")?;
        device::write_guest_bin(&scratch.path().join("bin"))?;
        // Pipes, not files: QEMU opens what it is given anew for each stream, and
        // two writers of one file would each begin at its start.
        let (output, first) = pipe_into(file("output")?)?;
        let (console, second) = pipe_into(file("console")?)?;
        let running = self
            .program(scratch.path())
            // virtme-run leaves a file there when it is killed.
            .env("TMPDIR", scratch.path())
            .spawn(output.into(), console.into())?;
        Ok(Vm {
            running,
            copies: vec![first, second],
            scratch,
        })
    }
}

/// The write end of a pipe whose other end is copied to `file` until every
/// writer has closed it.
fn pipe_into(mut file: File) -> Result<(PipeWriter, JoinHandle<std::io::Result<()>>)> {
    let (mut from, to) = std::io::pipe().context("making a pipe")?;
    let copy = thread::spawn(move || {
        let copied = std::io::copy(&mut from, &mut file).map(drop);
        if copied.is_err() {
            // A full disk must not stop QEMU: what cannot be kept is still read.
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        copied
    });
    Ok((to, copy))
}

impl Vm {
    /// What the kernel writes to its console, and QEMU to its standard error.
    pub fn console(&self) -> PathBuf {
        self.scratch.path().join("console")
    }

    /// What comes through the events port.
    pub fn events(&self) -> PathBuf {
        self.scratch.path().join("events")
    }

    /// What the guest's script prints.
    pub fn output(&self) -> PathBuf {
        self.scratch.path().join("output")
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.running.try_wait()
    }

    /// Has QEMU's monitor carry out a command for people, and gives its answer.
    pub fn monitor(&self, command: &str, patience: Duration) -> Result<String> {
        qmp::monitor(&self.scratch.path().join("control"), command, patience)
            .with_context(|| format!("QEMU's monitor, `{command}`"))
    }

    /// Registers of each CPU, as QEMU's monitor shows them, but for those that
    /// say nothing about where a kernel is.
    pub fn registers(&self, patience: Duration) -> Result<Vec<String>> {
        let text = self.monitor("info registers -a", patience)?;
        let lines = text.lines().map(str::trim_end);
        Ok(lines
            .filter(|l| !FLOATING.iter().any(|f| l.starts_with(f)))
            .map(str::to_owned)
            .collect())
    }

    /// Interrupts a guest that does not go on by an NMI, upon which its kernel
    /// writes its tasks and locks to the console and ends.
    pub fn interrupt_it(&self, patience: Duration) -> Result<()> {
        qmp::nmi(&self.scratch.path().join("control"), patience)
    }

    /// Ends it and everything it started. What it wrote is whole afterwards; an
    /// error when it is not, because a part of it could not be kept.
    pub fn end(&mut self) -> Result<()> {
        self.running.end();
        let mut kept = Ok(());
        for copy in self.copies.drain(..) {
            if let Ok(copied) = copy.join() {
                kept = kept.and(copied);
            }
        }
        kept.with_context(|| {
            format!(
                "the guest's console could not be kept in {}, so a report of its kernel may have been lost: make room there, or name another folder with TMPDIR",
                self.scratch.path().display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that QEMU's own arguments come last, after every argument of virtme-run.
    #[test]
    fn qemu_arguments_come_last() {
        let vng = VirtmeNg {
            program: "virtme-run".into(),
            version: "0".into(),
        };
        let spec = Spec {
            vng: &vng,
            accel: Accel::Tcg,
            image: Path::new("/k"),
            background: false,
            cpus: 2,
            memory_mib: 1024,
            script: "true",
            share: Path::new("/s p"),
            devices: vec![],
        };
        let line = spec.program(Path::new("/x")).line();
        let (own, qemu) = line.split_once("--qemu-opts").unwrap();
        assert!(
            own.contains("--disable-kvm")
                && own.contains("'/run/redirect-peer=/s p'") == line.contains("'")
        );
        assert!(qemu.contains("name=redirect-peer.events"), "{qemu}");
        assert!(!qemu.contains("--"), "{qemu}");
    }
}
