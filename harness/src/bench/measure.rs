// SPDX-License-Identifier: GPL-2.0-only
//! Boots of one kernel whose clock counts instructions: figures, and profiles.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::Event;

use super::profile::{self, Profile, Symbols};
use crate::{
    accel::Accel,
    boot::{self, Deadlines},
    exec::{POLL, describe},
    guest::Guest,
    interrupt,
    kernel::Kernel,
    progress::Doing,
    scratch::Scratch,
    setup::VirtmeNg,
    splat::Scanner,
    stream::Stream,
    vm::{Device, SHARE, Spec},
};

/// A phase of the guest may go without progress for so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the guest calls the time that its loop of 2,000 instructions takes.
const CLOCK: &str = "clock.2000";

/// How much of QEMU's record of instructions is looked at. Bytes; a line, that
/// is an instruction, has about 70.
const RECORD: u64 = 96 << 20;

/// What a boot needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) vng: &'a VirtmeNg,
    pub(crate) guest: &'a Guest,
    pub(crate) kernel: &'a Kernel,
}

/// What one boot gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Counted {
    /// Instructions for a transaction, the median, by the figure's name.
    Figures(BTreeMap<String, f64>),
    /// Nothing, and that is the kernel's own doing; why.
    Nothing(String),
}

impl Bench<'_> {
    /// One boot: each figure that begins with one of `only`, or each where there
    /// is none. Instructions for a transaction, the median.
    pub(super) fn figures(self, only: &[String], step: &Doing<'_>) -> Result<Counted> {
        let scratch = Scratch::new("the console")?;
        self.count(only, &scratch.path().join("console"), step)
    }

    /// The same, with the console kept in `console`.
    pub(crate) fn count(
        self,
        only: &[String],
        console: &Path,
        step: &Doing<'_>,
    ) -> Result<Counted> {
        let mut args = String::new();
        for name in only {
            args.push_str(" --only ");
            args.push_str(plain(name)?);
        }
        self.boot(&script(&args), 1, console, step)
    }

    /// One boot of so many CPUs: what `script` has the guest report.
    pub(super) fn boot(
        self,
        script: &str,
        cpus: u32,
        console: &Path,
        step: &Doing<'_>,
    ) -> Result<Counted> {
        let share = self.share()?;
        let mut spec = Spec {
            cpus,
            ..self.spec(share.path(), script)
        };
        if cpus > 1 {
            spec.devices.push(Device::one_cpu_at_first());
        }
        let deadlines = Deadlines {
            boot: PATIENCE,
            cases: BTreeMap::new(),
            between: PATIENCE,
            shutdown: PATIENCE,
            crashed: PATIENCE,
            whole: Duration::MAX,
        };
        let seen = boot::watch(&spec, &deadlines, console, step)?;
        if let Some(said) = seen.not_started() {
            bail!(
                "no virtual machine was started, so nothing can be said of the kernel; {}: {said}",
                seen.ended_by
            );
        }
        if seen.kernel.is_some() {
            self.kernel.is_what_ran(seen.build_id.as_deref())?;
        }
        let said = if seen.output.is_empty() {
            String::new()
        } else {
            format!("; it printed: {}", seen.output)
        };
        if seen.killed {
            bail!("{}{said}", seen.ended_by);
        }
        // A kernel that complained does not do the work that is to be measured.
        if let Some(report) = seen.scan.finish().first() {
            let why = format!("the kernel logged: {}", report.splat.title);
            return Ok(Counted::Nothing(why));
        }
        if let Some((why, _)) = seen.deadline {
            return Ok(Counted::Nothing(format!("{why}{said}")));
        }
        if let Some(why) = seen.stream_lacks {
            return Ok(Counted::Nothing(format!("{why}; {}{said}", seen.ended_by)));
        }
        let mut found: BTreeMap<String, f64> = seen
            .metrics
            .into_iter()
            .map(|m| (m.name, m.value))
            .collect();
        counts_instructions(found.remove(CLOCK))?;
        Ok(Counted::Figures(found))
    }

    /// One boot: the instructions of one transaction of a figure, by function.
    pub(super) fn profile(self, figure: &str, step: &Doing<'_>) -> Result<Profile> {
        let share = self.share()?;
        let script = script(&format!(" --spin {}", plain(figure)?));
        let spec = self.spec(share.path(), &script);
        let mut vm = spec.boot()?;
        let record = share.path().join("record");
        let recorded = self.record(&mut vm, figure, &record, step);
        let console = std::fs::read(vm.console()).context("reading the console");
        vm.end()?;
        recorded?;
        is_fit(&console?)?;
        step.at(format!("{figure}: reading the record"));
        let symbols = Symbols::read(&self.kernel.vmlinux)?;
        let file = File::open(&record).context("opening QEMU's record of instructions")?;
        let whole = profile::transactions(BufReader::new(file), &symbols)?;
        let number = whole.len();
        let Some(typical) = profile::typical(whole).filter(|_| number >= 3) else {
            bail!(
                "{figure}: QEMU's record holds {number} whole transactions, of which none is sure to be typical"
            );
        };
        Ok(typical)
    }

    /// Waits until the guest repeats the figure's transaction, and has QEMU
    /// record it.
    fn record(
        self,
        vm: &mut crate::vm::Vm,
        figure: &str,
        record: &Path,
        step: &Doing<'_>,
    ) -> Result<()> {
        step.at(format!("{figure}: booting"));
        let (mut stream, mut read) = (Stream::default(), 0);
        let mut since = Instant::now();
        loop {
            let ended = vm.try_wait()?;
            let bytes = std::fs::read(vm.events()).context("reading the guest's records")?;
            let new = bytes.get(read..).unwrap_or_default();
            if !new.is_empty() {
                since = Instant::now();
            }
            read = bytes.len();
            let mut warm = false;
            for event in stream.push(new) {
                match event {
                    Event::Hello { build_id, .. } => {
                        self.kernel.is_what_ran(build_id.as_deref())?
                    }
                    Event::Metric { name, value, .. } if name == CLOCK => {
                        counts_instructions(Some(value))?;
                    }
                    Event::Metric { name, .. } => warm |= name == figure,
                    _ => {}
                }
            }
            if warm {
                break;
            }
            if stream.is_done() {
                bail!("{figure}: this kernel has no such figure");
            }
            if let Some(status) = ended {
                let said = std::fs::read_to_string(vm.output()).unwrap_or_default();
                bail!(
                    "QEMU ended with {} before {figure} was reached; the guest printed: {}",
                    describe(status),
                    crate::exec::tail(&said, 10)
                );
            }
            interrupt::check()?;
            if since.elapsed() > PATIENCE {
                bail!(
                    "{figure}: the guest said nothing for {} s",
                    PATIENCE.as_secs()
                );
            }
            std::thread::sleep(POLL);
        }
        step.at(format!("{figure}: recording instructions"));
        let monitor = |vm: &crate::vm::Vm, command: &str| vm.monitor(command, PATIENCE);
        monitor(vm, "stop")?;
        // One instruction in each block that QEMU translates, and so in each line.
        if monitor(vm, "singlestep on")?.contains("unknown command") {
            monitor(vm, "one-insn-per-tb on")?;
        }
        monitor(vm, &format!("logfile \"{}\"", record.display()))?;
        monitor(vm, "log exec")?;
        monitor(vm, "cont")?;
        let since = Instant::now();
        while std::fs::metadata(record).map_or(0, |m| m.len()) < RECORD {
            if vm.try_wait()?.is_some() || since.elapsed() > PATIENCE {
                bail!("{figure}: QEMU did not record as many instructions as were asked for");
            }
            interrupt::check()?;
            std::thread::sleep(POLL);
        }
        monitor(vm, "stop")?;
        // Closes the file, too.
        monitor(vm, "log none")?;
        Ok(())
    }

    fn share(self) -> Result<tempfile::TempDir> {
        let share = tempfile::Builder::new()
            .prefix("redirect-peer-share-")
            .tempdir()
            .context("making the folder that the guest sees")?;
        self.guest.share(share.path(), &[])?;
        Ok(share)
    }

    fn spec<'s>(&'s self, share: &'s Path, script: &'s str) -> Spec<'s> {
        Spec {
            vng: self.vng,
            accel: Accel::Tcg,
            image: &self.kernel.image,
            background: false,
            cpus: 1,
            memory_mib: 1024,
            script,
            share,
            devices: vec![Device::instruction_clock(), Device::no_chance()],
        }
    }
}

fn script(args: &str) -> String {
    format!("exec {SHARE}/selftests bench --port auto{args} 2>&1")
}

/// Fails unless a console is that of a kernel that logged something, and
/// complained of nothing: one that does is not doing the work that is profiled.
fn is_fit(console: &[u8]) -> Result<()> {
    let mut scan = Scanner::default();
    scan.push(console);
    if scan.lines() == 0 {
        bail!("the console holds no message of a kernel: whether it complained is not known");
    }
    match scan.finish().first() {
        Some(report) => bail!("the kernel logged: {}", report.splat.title),
        None => Ok(()),
    }
}

/// A figure's name goes into the guest's shell: only what names consist of.
pub(crate) fn plain(name: &str) -> Result<&str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    if name.is_empty() || !name.chars().all(fine) {
        return Err(crate::request!(
            "`{name}` is no name of a figure, such as veth.tcp_rr.v4.redirect_peer"
        ));
    }
    Ok(name)
}

/// Fails unless the guest's clock counts instructions: a loop of 2,000 takes
/// 2,000 ticks, and a few for reading the clock.
fn counts_instructions(ticks: Option<f64>) -> Result<()> {
    match ticks {
        Some(ticks) if (2000.0..2100.0).contains(&ticks) => Ok(()),
        Some(ticks) => bail!(
            "the guest's clock does not count instructions: a loop of 2,000 took {ticks} ticks"
        ),
        None => bail!("the guest did not say whether its clock counts instructions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a clock that counts anything else is noticed.
    #[test]
    fn other_clocks_are_refused() {
        assert!(counts_instructions(Some(2003.0)).is_ok());
        for ticks in [None, Some(1999.0), Some(2500.0), Some(f64::NAN)] {
            assert!(counts_instructions(ticks).is_err(), "{ticks:?}");
        }
    }

    /// Verify that a kernel which complained, and one that nobody heard, are not
    /// profiled.
    #[test]
    fn kernels_that_complain_are_refused() {
        let calm =
            "[    0.000000] Linux version 6.12.117\n[    1.000000] Run /init as init process\n";
        assert!(is_fit(calm.as_bytes()).is_ok());
        let said = format!(
            "{calm}[    2.000000] ------------[ cut here ]------------\n[    2.000001] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2\n[    2.000002] ---[ end trace 0000000000000000 ]---\n"
        );
        let error = is_fit(said.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("net/core/dev.c"), "{error}");
        assert!(is_fit(b"").is_err());
    }

    /// Verify that nothing but a name gets into the guest's shell.
    #[test]
    fn names_are_no_shell() {
        assert!(plain("veth.udp_1400.v6.local.redirect").is_ok());
        for name in ["", "a b", "a;reboot", "$(x)", "a\n"] {
            assert!(plain(name).is_err(), "{name}");
        }
    }
}
