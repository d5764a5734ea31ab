// SPDX-License-Identifier: GPL-2.0-only
//! The parts of a virtual machine. Each says why it is there.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result};

/// Programs that stand before the host's in the guest; each says why.
const GUEST_BIN: [(&str, &str); 2] = [
    ("udevadm", include_str!("../../../vm/guest-bin/udevadm")),
    (
        "systemd-tmpfiles",
        include_str!("../../../vm/guest-bin/systemd-tmpfiles"),
    ),
];

/// A part of a virtual machine.
#[derive(Debug, Clone, Default)]
pub struct Device {
    /// Arguments for QEMU.
    pub qemu: Vec<OsString>,
    /// Arguments for the kernel.
    pub kernel: Vec<String>,
}

impl Device {
    /// Parameters for the kernel.
    pub fn kernel(args: &[&str]) -> Self {
        Self {
            qemu: Vec::new(),
            kernel: args.iter().map(|a| (*a).to_owned()).collect(),
        }
    }

    /// Every message goes to the console: a splat that is not printed is not seen.
    /// A long report must not be cut by the rate limit of user-space writes, or
    /// the marks around a case would be lost. With timestamps a line of the kernel
    /// can be told from one that a program wrote.
    pub fn console() -> Self {
        Self::kernel(&["ignore_loglevel", "printk.devkmsg=on", "printk.time=1"])
    }

    /// A virtio-serial port of our own, whose other end is a file: nothing is
    /// lost when the guest dies, and nothing blocks when nobody reads.
    pub fn events(file: &Path) -> Self {
        let mut chardev = OsString::from("file,id=events,path=");
        chardev.push(escaped(file));
        Self {
            qemu: vec![
                "-chardev".into(),
                chardev,
                "-device".into(),
                "virtio-serial-pci,id=events-bus".into(),
                "-device".into(),
                format!(
                    "virtserialport,bus=events-bus.0,chardev=events,name={}",
                    protocol::PORT
                )
                .into(),
            ],
            kernel: Vec::new(),
        }
    }

    /// QMP on a socket of this machine's own, to ask a guest that hangs what it does.
    pub fn control(socket: &Path) -> Self {
        let mut qmp = OsString::from("unix:");
        qmp.push(escaped(socket));
        qmp.push(",server=on,wait=off");
        Self {
            qemu: vec!["-qmp".into(), qmp],
            kernel: Vec::new(),
        }
    }

    /// A panic ends the machine at once (with virtme-ng's -no-reboot) instead of
    /// waiting for someone to read it.
    pub fn exit_on_panic() -> Self {
        Self::kernel(&["panic=-1"])
    }

    /// At boot the kernel counts timer interrupts for 40 ms and panics ("IO-APIC +
    /// timer doesn't work!") when there are too few: on a host that is busy
    /// enough, of which nothing follows for the kernel under test. Under KVM it
    /// leaves that out by itself. And it compares the TSC with other clocks and
    /// between CPUs, of which as little follows. 7.3.4 was seen never to come to an
    /// end of that: one CPU waits in watchdog_check_skew() for the other, which
    /// waits for it in stop_machine(), and the clock that is to end it stands still.
    pub fn trusted_timer() -> Self {
        Self::kernel(&["no_timer_check", "tsc=nowatchdog"])
    }

    /// RCU gets its grace periods over as soon as it can. Cases wait for the end of
    /// namespaces, which is several of them: a fifth of their time otherwise. What
    /// is freed too early is freed earlier still, and the sooner seen.
    pub fn short_grace_periods() -> Self {
        Self::kernel(&[
            "rcupdate.rcu_expedited=1",
            "rcutree.jiffies_till_first_fqs=0",
            "rcutree.jiffies_till_next_fqs=1",
        ])
    }

    /// An NMI makes the kernel panic, and a panic prints all tasks and, where it
    /// knows them, all held locks (bit 0): how a hang is looked into. It may write
    /// nothing to the console before it has written all of it to its log, which
    /// must hold it.
    pub fn nmi_tells_all() -> Self {
        Self::kernel(&["unknown_nmi_panic", "panic_print=0x1", "log_buf_len=1M"])
    }

    /// Has the guest's init find our programs (see [`write_guest_bin`]) before
    /// the host's: the kernel hands a parameter it does not know to init as a
    /// variable. A folder that cannot be named there means a slower boot only.
    pub fn guest_bin(dir: &Path) -> Self {
        match dir.to_str() {
            Some(dir) if !dir.contains(|c: char| c.is_whitespace() || "\"',:".contains(c)) => {
                Self {
                    qemu: Vec::new(),
                    kernel: vec![format!("PATH={dir}")],
                }
            }
            _ => Self::default(),
        }
    }

    /// Guest time is the number of instructions executed: one CPU, no clock of the host.
    pub fn instruction_clock() -> Self {
        Self {
            qemu: [
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
            ]
            .map(OsString::from)
            .to_vec(),
            kernel: Vec::new(),
        }
    }

    /// The guest's program starts the other CPUs. Kernels before 6.5 never come to
    /// an end of starting them with [`Self::instruction_clock`]: see `start_all()`
    /// in selftests/src/bench/cpus.rs.
    pub fn one_cpu_at_first() -> Self {
        Self::kernel(&["maxcpus=1"])
    }

    /// The same guest each time: no random numbers of the host, which QEMU hands
    /// over when the kernel starts and which its hash tables depend on, no date,
    /// no random addresses.
    pub fn no_chance() -> Self {
        Self {
            qemu: [
                "-cpu",
                "max,-rdrand,-rdseed",
                "-seed",
                "155",
                "-rtc",
                "base=2000-01-01,clock=vm",
            ]
            .map(OsString::from)
            .to_vec(),
            kernel: vec!["nokaslr".into(), "norandmaps".into()],
        }
    }
}

/// Makes the folder for [`Device::guest_bin`].
pub(super) fn write_guest_bin(dir: &Path) -> Result<()> {
    fs::create_dir(dir).with_context(|| format!("making {}", dir.display()))?;
    for (name, text) in GUEST_BIN {
        let path = dir.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// QEMU splits option values at commas and takes two for one.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a comma in a path does not end QEMU's option.
    #[test]
    fn commas_are_escaped() {
        let device = Device::events(Path::new("/tmp/a,b"));
        assert_eq!(device.qemu[1], "file,id=events,path=/tmp/a,,b");
    }
}
