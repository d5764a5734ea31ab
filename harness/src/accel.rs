// SPDX-License-Identifier: GPL-2.0-only
//! KVM or software emulation. A /dev/kvm that opens proves nothing: on some
//! machines it makes a virtual machine and no kernel comes up in it. Only a
//! trial boot proves it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use crate::{
    cache::{Cache, Key},
    exec::POLL,
    interrupt,
    progress::Progress,
    request,
    scratch::Scratch,
    setup::VirtmeNg,
    vm::Spec,
};

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The CPU.
    Kvm,
    /// QEMU.
    Tcg,
}

impl Accel {
    /// `kvm` or `tcg`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// By how much a deadline is stretched. Emulation executes the cases 5 to 10
    /// times slower, and the deadlines are a hundred times what a case takes.
    pub fn scale(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 5,
        }
    }
}

/// What was chosen, and why it is not KVM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Choice {
    /// The choice.
    pub accel: Accel,
    /// Why not KVM; empty for KVM, and where TCG was asked for.
    pub why: String,
}

const DEVICE: &str = "/dev/kvm";

/// How long a kernel may take to come up under KVM and shut down again. With
/// KVM it takes two seconds.
const TRIAL: Duration = Duration::from_secs(15);

/// Without a first word for so long, there will be none: under KVM it takes less
/// than a second.
const SILENCE: Duration = Duration::from_secs(8);

/// Chooses for this machine. `image` is any kernel, for the trial.
pub fn choose(
    cache: &Cache,
    wanted: Option<Accel>,
    vng: &VirtmeNg,
    image: &Path,
    progress: &Progress,
) -> Result<Choice> {
    if wanted == Some(Accel::Tcg) {
        return Ok(Choice {
            accel: Accel::Tcg,
            why: String::new(),
        });
    }
    let choice = match openable() {
        Err(why) => Choice {
            accel: Accel::Tcg,
            why,
        },
        Ok(()) => remembered_trial(cache, vng, image, progress)?,
    };
    if wanted == Some(Accel::Kvm) && choice.accel != Accel::Kvm {
        return Err(request!(
            "--accel kvm: {}; use --accel tcg or leave it out",
            choice.why
        ));
    }
    if choice.accel == Accel::Tcg {
        progress.note(&format!("software emulation (TCG), because {}", choice.why));
    }
    Ok(choice)
}

fn openable() -> Result<(), String> {
    if !Path::new(DEVICE).exists() {
        return Err(format!("{DEVICE} does not exist"));
    }
    access(DEVICE, AccessFlags::R_OK | AccessFlags::W_OK)
        .map_err(|e| format!("{DEVICE} cannot be opened: {e}"))
}

/// The answer of an earlier trial on this boot of this machine, or a trial now.
fn remembered_trial(
    cache: &Cache,
    vng: &VirtmeNg,
    image: &Path,
    progress: &Progress,
) -> Result<Choice> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = Key::new("accel").with(boot).with(&vng.version).hex();
    let saved = format!("accel-{key}.json");
    if let Some(choice) = cache.load(&saved) {
        return Ok(choice);
    }
    let step = progress.begin("accel", "trial boot under KVM");
    let choice = trial(vng, image)?;
    step.done(false);
    cache.save(&saved, &choice)?;
    Ok(choice)
}

fn trial(vng: &VirtmeNg, image: &Path) -> Result<Choice> {
    let share = Scratch::new("what the guest sees")?;
    let spec = Spec {
        vng,
        accel: Accel::Kvm,
        image,
        background: false,
        cpus: 2,
        memory_mib: 512,
        script: "exit 42",
        share: share.path(),
        devices: Vec::new(),
    };
    let mut vm = spec.boot()?;
    let start = Instant::now();
    let why = loop {
        if let Some(status) = vm.try_wait()? {
            if status.code() == Some(42) {
                return Ok(Choice {
                    accel: Accel::Kvm,
                    why: String::new(),
                });
            }
            break format!(
                "a trial boot under KVM ended with {}",
                crate::exec::describe(status)
            );
        }
        interrupt::check()?;
        if start.elapsed() > TRIAL {
            break format!(
                "a trial boot under KVM did not finish within {} s",
                TRIAL.as_secs()
            );
        }
        let silent = || std::fs::metadata(vm.console()).is_ok_and(|m| m.len() == 0);
        if start.elapsed() > SILENCE && silent() {
            break format!(
                "a trial boot under KVM printed nothing for {} s",
                SILENCE.as_secs()
            );
        }
        std::thread::sleep(POLL);
    };
    let console = std::fs::read(vm.console()).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let last = console.lines().rfind(|l| !l.trim().is_empty());
    let last = last.map_or(String::new(), |last| {
        let last: String = last.chars().filter(|c| !c.is_control()).take(160).collect();
        format!(" (last on its console: {last})")
    });
    Ok(Choice {
        accel: Accel::Tcg,
        why: format!("{why}{last}"),
    })
}
