// SPDX-License-Identifier: GPL-2.0-only
//! Running other programs so that none of them outlives the harness.
//!
//! A program runs in a process group of its own, below a supervisor (this same
//! binary, [`supervise`]) that holds the read end of a pipe. When the harness
//! ends in whatever way, SIGKILL included, the pipe closes and the supervisor
//! kills the group. A guard waits for the supervisor's own end in the same way,
//! as the kernel may choose that one when memory runs out. PR_SET_PDEATHSIG alone
//! would not do: it reaches one process, and QEMU is a grandchild.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::File,
    io::{PipeWriter, Read, Write as _},
    os::{
        fd::AsRawFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{ForkResult, Pid, fork, setsid},
};

use crate::interrupt;

/// The hidden subcommand that runs [`supervise`].
pub const SUPERVISE: &str = "supervise";

/// How often something that is waited for is looked at.
pub const POLL: Duration = Duration::from_millis(20);

/// A program about to be run.
#[derive(Debug)]
pub struct Program {
    argv: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<OsString>,
}

impl Program {
    /// A program by name (looked up in PATH) or path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            envs: Vec::new(),
            dir: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in `dir`.
    pub fn dir(mut self, dir: impl AsRef<OsStr>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// The command line, for messages.
    pub fn line(&self) -> String {
        let mut line = String::new();
        for arg in &self.argv {
            let arg = arg.to_string_lossy();
            let sep = if line.is_empty() { "" } else { " " };
            let plain = arg
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c));
            let _ = if plain && !arg.is_empty() {
                write!(line, "{sep}{arg}")
            } else {
                write!(line, "{sep}'{}'", arg.replace('\'', r"'\''"))
            };
        }
        line
    }

    /// Starts it below a supervisor, with its output going to `stdout` and `stderr`.
    pub fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Result<Running> {
        let mut command = self.supervised()?;
        command.envs(self.envs.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        // Away from the terminal's foreground group: Ctrl-C reaches the harness
        // only, which then ends everything in order.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting `{}`", self.line()))?;
        let lifeline = child.stdin.take();
        Ok(Running {
            child,
            lifeline,
            line: self.line(),
        })
    }

    #[cfg(not(test))]
    fn supervised(&self) -> Result<Command> {
        // Not current_exe(): that names a file, which a build may have replaced.
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUPERVISE).arg("--").args(&self.argv);
        Ok(command)
    }

    /// A unit test's own binary is no harness: started as a supervisor it would
    /// run the tests again, and those would start it again. harness/tests/
    /// has the supervisor itself tested.
    #[cfg(test)]
    fn supervised(&self) -> Result<Command> {
        let (program, args) = self.argv.split_first().context("a program has a name")?;
        let mut command = Command::new(program);
        command.args(args);
        Ok(command)
    }

    /// Runs it to its end; its output is captured.
    pub fn output(&self) -> Result<Output> {
        let mut out = tempfile::tempfile().context("making a temporary file")?;
        let mut err = tempfile::tempfile().context("making a temporary file")?;
        let status = self
            .spawn(out.try_clone()?.into(), err.try_clone()?.into())?
            .wait(None)?;
        Ok(Output {
            line: self.line(),
            status,
            stdout: slurp(&mut out)?,
            stderr: slurp(&mut err)?,
        })
    }

    /// Runs it to its end and fails unless it succeeds; gives what it printed.
    pub fn read(&self) -> Result<String> {
        self.output()?.success()
    }

    /// Runs it to its end with both streams going to the file `log`.
    pub fn logged(&self, log: &Path) -> Result<ExitStatus> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        self.spawn(file.try_clone()?.into(), file.into())?
            .wait(None)
    }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it printed if it succeeded, `None` if it ended otherwise by itself;
    /// what was killed has said nothing.
    pub fn success_or_none(self) -> Result<Option<String>> {
        if was_killed(self.status) {
            bail!("`{}` ended with {}", self.line, describe(self.status));
        }
        Ok(self.status.success().then_some(self.stdout))
    }

    /// What it printed, if it succeeded; an error that quotes it otherwise.
    pub fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let said = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        bail!(
            "`{}` ended with {}: {}",
            self.line,
            describe(self.status),
            tail(said, 15)
        );
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lifeline: Option<ChildStdin>,
    line: String,
}

impl Running {
    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("waiting for `{}`", self.line))
    }

    /// Waits for its end, but no longer than `limit`.
    pub fn wait(mut self, limit: Option<Duration>) -> Result<ExitStatus> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            interrupt::check()?;
            if limit.is_some_and(|l| start.elapsed() > l) {
                bail!(
                    "`{}` did not end within {} s",
                    self.line,
                    start.elapsed().as_secs()
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(POLL);
        }
    }

    /// Ends it and everything it started.
    pub fn end(&mut self) {
        self.lifeline = None;
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs `argv` in a process group of its own, and kills that group when
/// standard input closes. Ends as the program ended; after a signal with 128
/// and its number, as shells have it.
pub fn supervise(argv: &[OsString]) -> ExitCode {
    let Some((program, args)) = argv.split_first() else {
        return ExitCode::from(2);
    };
    // Before the program: one that is killed with its supervisor as soon as it
    // has begun must not be missed.
    let guard = match guard() {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("cannot guard {}: {error:#}", program.to_string_lossy());
            return ExitCode::from(126);
        }
    };
    let tell = guard.0.as_raw_fd();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).process_group(0);
    // SAFETY: between fork and exec it calls getpid() and write() and nothing
    // else; the pipe is open as long as the guard is held.
    unsafe {
        command.pre_exec(move || {
            let group = nix::libc::getpid().to_ne_bytes();
            match nix::libc::write(tell, group.as_ptr().cast(), group.len()) {
                4 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            guard.dismiss();
            eprintln!("cannot start {}: {error}", program.to_string_lossy());
            return ExitCode::from(127);
        }
    };
    let group = Pid::from_raw(child.id().cast_signed());
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        // Also for a group whose leader has ended: the rest is what must go.
        let _ = killpg(group, Signal::SIGKILL);
    });
    let status = child.wait();
    // What the program left in its group is nobody's any more.
    let _ = killpg(group, Signal::SIGKILL);
    guard.dismiss();
    match status {
        Ok(s) => ExitCode::from(s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)) as u8),
        Err(_) => ExitCode::from(126),
    }
}

/// The end of a pipe whose closing tells the guard that the supervisor is no more.
struct Guard(PipeWriter);

impl Guard {
    /// Ends the guard without having it kill anything: the group is gone, and
    /// another may have its number by now.
    fn dismiss(mut self) {
        let _ = self.0.write_all(b".");
    }
}

/// Starts the guard: a process that kills a group when this one has ended
/// without having dismissed it. The program names the group, its own process id,
/// in the pipe before it becomes the program.
fn guard() -> Result<Guard> {
    let (mut from, to) = std::io::pipe().context("making a pipe")?;
    // SAFETY: this process has one thread yet, so the child may do whatever it could.
    match unsafe { fork() }.context("starting a process")? {
        ForkResult::Parent { .. } => Ok(Guard(to)),
        ForkResult::Child => {
            drop(to);
            // Out of reach of what is sent to the supervisor's group.
            let _ = setsid();
            // Whoever reads the program's output, or waits for the pipe that is the
            // supervisor's standard input to be read, waits for no guard.
            for stream in 0..=2 {
                // SAFETY: nothing in this process uses the standard streams any more.
                let _ = unsafe { nix::libc::close(stream) };
            }
            let mut group = [0; 4];
            let mut byte = [0];
            // No whole name: no program was started, or it could not be.
            if from.read_exact(&mut group).is_ok() && !matches!(from.read(&mut byte), Ok(1)) {
                let _ = killpg(Pid::from_raw(i32::from_ne_bytes(group)), Signal::SIGKILL);
            }
            // SAFETY: ends this process, without what the parent would do at its end.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

/// How a program ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(c), _) if c > 128 && c < 160 => format!("signal {} (status {c})", c - 128),
        (Some(c), _) => format!("status {c}"),
        (None, Some(s)) => format!("signal {s}"),
        (None, None) => "an unknown status".into(),
    }
}

/// Whether a signal ended it, or what it ran (see [`supervise`]).
pub fn was_killed(status: ExitStatus) -> bool {
    status.code().is_none_or(|c| c > 128 && c < 160)
}

/// The last `lines` lines of `text`.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn slurp(file: &mut File) -> Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a program that was killed is not taken for one that had
    /// nothing to say.
    #[test]
    fn killed_is_no_answer() {
        let said = |script: &str| {
            let out = Program::new("sh").args(["-c", script]).output()?;
            out.success_or_none()
        };
        assert_eq!(said("echo x").unwrap().as_deref(), Some("x\n"));
        assert_eq!(said("echo x; exit 128").unwrap(), None);
        assert!(said("echo x; kill -KILL $$").is_err());
        assert!(said("echo x; exit 137").is_err());
    }
}
