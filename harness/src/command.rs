// SPDX-License-Identifier: GPL-2.0-only
//! `run`: a command in one kernel. Its status is the command's own, unless the
//! kernel logged a report meanwhile or the guest was lost.

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::{MARK_END, MARK_START};

use crate::{
    boot::Tail,
    cli::RunCommand,
    exec::{POLL, describe, tail},
    fail, interrupt,
    kernel::Kernel,
    request,
    scratch::Scratch,
    session::Session,
    splat::{Allowlist, Decoder, Report, Scanner},
    vm::{SHARE, Spec, Vm},
};

/// What the command is called in the kernel log.
const NAME: &str = "command";

/// A command that prints more, and a kernel that logs more, than this does not
/// come to an end. Bytes.
const MOST_BYTES: u64 = 256 << 20;

/// Lines of a report that are shown.
const SHOWN: usize = 60;

/// Runs a command in one kernel; gives the exit status.
pub fn run(request: &RunCommand) -> Result<u8> {
    let one = &request.one;
    let session = Session::open(&one.common)?;
    let vng = session.virtme_ng()?;
    let allowed = session.project.path("vm/splats.toml");
    let allowed = Allowlist::load(
        &fs::read_to_string(&allowed).with_context(|| format!("reading {}", allowed.display()))?,
    )?;
    let trees = session.trees(&one.source)?;
    let [tree] = trees.as_slice() else {
        return Err(request!("`run` takes one base"));
    };
    let commit = session.commit(tree, one.arm.into(), one.source.series.as_deref())?;
    let kernel = session.kernel(tree, one.arm.into(), one.flavor(), &commit)?;
    let choice = session.accel(&vng, &kernel.image)?;
    let share = Scratch::new("what the guest sees")?;
    write_script(share.path(), &request.argv)?;
    let script = format!("exec /bin/sh {SHARE}/command");
    let spec = Spec {
        vng: &vng,
        accel: choice.accel,
        image: &kernel.image,
        background: false,
        cpus: 2,
        memory_mib: 2048,
        script: &script,
        share: share.path(),
        devices: Vec::new(),
    };
    let mut guest = Guest::new(spec.boot()?)?;
    let ended = guest.until_it_ends(Duration::from_secs(request.limit));
    // Whatever happened, what the kernel said until then is told.
    let kept = guest.vm.end();
    while guest.drain()? {}
    let Guest {
        vm, scanner, shown, ..
    } = guest;
    let closed = scanner.closed(NAME) && scanner.is_gone();
    let dropped = scanner.dropped().map(str::to_owned);
    let mut reports = scanner.finish();
    reports.retain(|r| allowed.allow(&r.splat, &tree.base.line).is_none());
    tell(&kernel, &mut reports)?;
    let status = ended?;
    kept?;
    if shown == 0 && !status.success() && reports.is_empty() {
        let console = fs::read(vm.console()).unwrap_or_default();
        crate::say!("{}", tail(&String::from_utf8_lossy(&console), 20));
    }
    if let Some(dropped) = dropped {
        crate::say!("a report of the kernel may not have been seen: {dropped}");
        return Ok(status_of(None, !reports.is_empty()));
    }
    if !closed {
        crate::say!(
            "the guest was lost before the command ended: QEMU ended with {}",
            describe(status)
        );
        return Ok(status_of(None, !reports.is_empty()));
    }
    Ok(status_of(status.code(), !reports.is_empty()))
}

/// A kernel that logged a report is bad whatever the command says; of a command
/// whose end was not seen nothing can be said.
fn status_of(command: Option<i32>, reported: bool) -> u8 {
    match command {
        _ if reported => fail::BAD,
        Some(status) => u8::try_from(status).unwrap_or(fail::COULD_NOT_TELL),
        None => fail::COULD_NOT_TELL,
    }
}

/// Shows what the kernel logged, with file and line.
fn tell(kernel: &Kernel, reports: &mut [Report]) -> Result<()> {
    let out = kernel.vmlinux.parent().unwrap_or(Path::new("."));
    let mut decoder = Decoder::new(&kernel.vmlinux, out.parent().unwrap_or(out));
    for report in reports {
        let when = match (&report.case, &report.after) {
            (Some(_), _) => "while the command ran",
            (None, Some(_)) => "after the command",
            (None, None) => "before the command",
        };
        if let Err(e) = decoder.decode(&mut report.splat.lines) {
            report.splat.lines.push(format!("(not decoded: {e:#})"));
        }
        interrupt::check()?;
        crate::say!(
            "the kernel logged {when}: {}: {}",
            report.splat.kind,
            report.splat.title
        );
        for line in report.splat.lines.iter().take(SHOWN) {
            crate::say!("    {line}");
        }
    }
    Ok(())
}

struct Guest {
    vm: Vm,
    output: Tail,
    console: Tail,
    scanner: Scanner,
    /// Bytes of the output that were passed on.
    shown: u64,
    /// Bytes of the console that were looked at.
    scanned: u64,
}

impl Guest {
    fn new(vm: Vm) -> Result<Self> {
        Ok(Self {
            output: Tail::open(vm.output())?,
            console: Tail::open(vm.console())?,
            vm,
            scanner: Scanner::default(),
            shown: 0,
            scanned: 0,
        })
    }

    fn until_it_ends(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        let start = Instant::now();
        loop {
            let ended = self.vm.try_wait()?;
            self.drain()?;
            if let Some(status) = ended {
                return Ok(status);
            }
            interrupt::check()?;
            if start.elapsed() > limit {
                bail!(
                    "the command did not end within {} s (--limit)",
                    limit.as_secs()
                );
            }
            if self.shown.max(self.scanned) > MOST_BYTES {
                bail!(
                    "the command, or the kernel, wrote more than {} MiB",
                    MOST_BYTES >> 20
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Passes on and looks at what has come since; gives whether anything had.
    fn drain(&mut self) -> Result<bool> {
        let output = self.output.read()?;
        // Nobody may be listening any more; the command goes on.
        let mut out = std::io::stdout();
        let _ = out.write_all(&output).and_then(|()| out.flush());
        self.shown += output.len() as u64;
        let console = self.console.read()?;
        self.scanned += console.len() as u64;
        self.scanner.push(&console);
        Ok(!(output.is_empty() && console.is_empty()))
    }
}

/// The command as a script of its own: its words are data, and a kernel command
/// line is no place for them. The kernel log has its start and its end.
fn write_script(share: &Path, argv: &[std::ffi::OsString]) -> Result<()> {
    let words: Vec<String> = argv
        .iter()
        .map(|a| format!("'{}'", a.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let script = format!(
        "echo '{MARK_START}{NAME}' >/dev/kmsg\n(exec {})\ns=$?\necho '{MARK_END}{NAME}' >/dev/kmsg\nexit $s\n",
        words.join(" ")
    );
    fs::write(share.join("command"), script).context("writing the command")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Verify that the status is the command's own, and never that of a good one
    /// where the kernel logged a report or the end was not seen.
    #[test]
    fn whose_status() {
        assert_eq!(status_of(Some(0), false), 0);
        assert_eq!(status_of(Some(255), false), 255);
        for own in [Some(0), Some(255), None] {
            assert_eq!(status_of(own, true), fail::BAD);
        }
        assert_eq!(status_of(None, false), fail::COULD_NOT_TELL);
        assert_eq!(status_of(Some(-1), false), fail::COULD_NOT_TELL);
    }

    /// Verify that words reach the command as they are, its status comes back,
    /// and both marks are written around it, a command that is not there included.
    #[test]
    fn script() {
        let dir = tempfile::tempdir().unwrap();
        let run = |argv: &[&str]| {
            let argv: Vec<_> = argv.iter().map(Into::into).collect();
            write_script(dir.path(), &argv).unwrap();
            let path = dir.path().join("command");
            // Not into the log of the kernel that this test runs on.
            let text = fs::read_to_string(&path)
                .unwrap()
                .replace("/dev/kmsg", "&2");
            fs::write(&path, text.replace(">&2", "1>&2")).unwrap();
            let out = Command::new("sh").arg(&path).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (out.status.code(), text(&out.stdout), text(&out.stderr))
        };
        let marks = format!("{MARK_START}{NAME}\n{MARK_END}{NAME}\n");
        assert_eq!(
            run(&["printf", "%s|", "a b", "'$(id)", "\\"]),
            (Some(0), "a b|'$(id)|\\|".into(), marks.clone())
        );
        assert_eq!(
            run(&["sh", "-c", "exit 7"]),
            (Some(7), String::new(), marks)
        );
        let (status, _, said) = run(&["/no/such/program"]);
        assert_eq!(status, Some(127));
        assert!(said.ends_with(&format!("{MARK_END}{NAME}\n")), "{said}");
    }

    /// Verify that the marks are read from the kernel log: a guest that went down
    /// has no end of the command.
    #[test]
    fn an_end_is_seen() {
        let console = |lines: &[&str]| {
            let mut scanner = Scanner::default();
            for line in lines {
                scanner.push(format!("[    1.000000] {line}\n").as_bytes());
            }
            scanner.closed(NAME) && scanner.is_gone()
        };
        let (start, end) = (format!("{MARK_START}{NAME}"), format!("{MARK_END}{NAME}"));
        assert!(console(&[&start, &end, "reboot: Power down"]));
        assert!(!console(&[&start, "reboot: Power down"]));
        assert!(!console(&[&start, &end]));
    }
}
