// SPDX-License-Identifier: GPL-2.0-only
//! Ctrl-C, SIGTERM, a closed terminal and SIGKILL, in each step: nothing may be
//! left, and the next run goes on.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use nix::{
    fcntl::OFlag,
    pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::signal::{Signal, kill},
    unistd::{Pid, mkfifo},
};
use protocol::MARK_START;

use super::{
    Trial,
    left::{self, behind},
    second::Place,
};
use crate::{exec::Program, fail, session::Session};

/// How a run is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    CtrlC,
    Sigterm,
    Closed,
    /// The terminal of a shell that the harness is a job of.
    ClosedShell,
    Sigkill,
}

/// In which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    Import,
    Build,
    Boot,
    Run,
}

impl End {
    const ALL: [(Self, &'static str); 5] = [
        (Self::CtrlC, "Ctrl-C"),
        (Self::Sigterm, "SIGTERM"),
        (Self::Closed, "a closed terminal"),
        (Self::ClosedShell, "a closed terminal with a shell in it"),
        (Self::Sigkill, "SIGKILL"),
    ];

    /// The status that a shell would see.
    fn status(self) -> i32 {
        match self {
            Self::Sigkill => 128 + Signal::SIGKILL as i32,
            _ => 130,
        }
    }
}

impl During {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Import, "the import of an archive"),
        (Self::Build, "a build"),
        (Self::Boot, "a boot"),
        (Self::Run, "a case"),
    ];
}

/// A terminal with the second harness in front.
struct Terminal {
    master: Option<PtyMaster>,
    name: String,
}

impl Terminal {
    fn open() -> Result<Self> {
        // Of no other process, or closing it here would not close it.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).context("opening a terminal")?;
        grantpt(&master).context("opening a terminal")?;
        unlockpt(&master).context("opening a terminal")?;
        let name = ptsname_r(&master).context("opening a terminal")?;
        Ok(Self {
            master: Some(master),
            name,
        })
    }

    /// Takes what was written to it, or whoever writes would wait.
    fn drain(&mut self) {
        let mut bytes = [0; 4096];
        if let Some(master) = &mut self.master {
            while matches!(master.read(&mut bytes), Ok(n) if n > 0) {}
        }
    }
}

/// Runs the rest of its words in a session of their own on the terminal `$1`.
const IN_FRONT: &str = "tty=$1; shift; exec setsid --ctty --wait \"$@\" <\"$tty\" >\"$tty\" 2>&1";

/// Runs the rest of its words as a job of an interactive shell, and writes their
/// status to the first of them, whatever becomes of the shell.
const SHELL: [&str; 9] = [
    "bash",
    "--norc",
    "--noprofile",
    "-i",
    "-c",
    "\"$@\"; exit $?",
    "bash",
    "sh",
    "-c",
];

/// What the build of [`fake_tree`] makes when it is under way.
const BUILDING: &str = "building";

/// A tree with as much of a kernel as the harness looks at, whose build takes for
/// ever and fails if it finds what an earlier one had half written.
pub(super) fn fake_tree(place: &Place) -> Result<PathBuf> {
    const MAKEFILE: &str = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n\
        allnoconfig olddefconfig:\n\tcp $(KCONFIG_ALLCONFIG) $(O)/.config\n\
        bzImage:\n\ttest ! -e $(O)/half.o || { echo 'error: half.o was left'; exit 1; }\n\
        \techo ha >$(O)/half.o\n\ttouch $(REDIRECT_PEER_DISTURBED)/building\n\tsleep 3600\n";
    let dir = place.path("fake");
    if dir.exists() {
        return Ok(dir);
    }
    let header = dir.join("include/uapi/linux/bpf.h");
    fs::create_dir_all(header.parent().unwrap_or(&dir)).context("making a tree")?;
    fs::write(&header, "FN(redirect_peer, 155)\n").context("writing a tree")?;
    fs::write(dir.join("Makefile"), MAKEFILE).context("writing a tree")?;
    let git = |args: &[&str]| {
        Program::new("git")
            .arg("-C")
            .arg(&dir)
            .args(["-c", "user.name=t", "-c", "user.email=t@t"])
            .args(args)
            .read()
    };
    git(&["init", "--quiet"])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "--message", "tree"])?;
    Ok(dir)
}

pub(super) fn try_all(place: &Place, session: &Session) -> Result<Vec<Trial>> {
    let fake = fake_tree(place)?.to_string_lossy().into_owned();
    // An archive of which nothing comes: unpacking it takes for ever.
    let archive = place.path("linux.tar");
    mkfifo(&archive, nix::sys::stat::Mode::S_IRWXU).context("making a pipe")?;
    let archive = archive.to_string_lossy().into_owned();
    let mut trials = Vec::new();
    let step = session.progress.begin("disturb", "interruptions");
    for (during, at) in During::ALL {
        let words: &[&str] = match during {
            During::Import => &["verify", "--arm", "upstream", "--tarball", &archive],
            During::Build => &["verify", "--arm", "upstream", "--tree", &fake],
            During::Boot | During::Run => &["verify", "--arm", "patched"],
        };
        for (end, by) in End::ALL {
            let what = format!("{by} during {at}");
            step.at(&what);
            let wrong = one(place, during, end, words)?;
            trials.push(Trial::new(what, wrong));
        }
    }
    step.at("the next run");
    let words = ["verify", "--arm", "patched", "--case", super::damaged::CASE];
    let mounts = left::mounts();
    let mut wrong = place
        .start(&[], &words)?
        .must_end(fail::GOOD, &["1 pass"])?;
    if wrong.is_none() {
        let left = behind(place, &mounts, false)?;
        wrong = (!left.is_empty()).then(|| format!("left behind: {}", left.join("; ")));
    }
    trials.push(Trial::new("the run after all of them", wrong));
    step.done(false);
    Ok(trials)
}

/// Interrupts one run; gives what was not as it must be.
fn one(place: &Place, during: During, end: End, words: &[&str]) -> Result<Option<String>> {
    let mounts = left::mounts();
    let _ = fs::remove_file(place.path(BUILDING));
    let mut terminal = match end {
        End::CtrlC | End::Closed | End::ClosedShell => Some(Terminal::open()?),
        End::Sigterm | End::Sigkill => None,
    };
    let own_status = place.path("status");
    let _ = fs::remove_file(&own_status);
    let to = own_status.to_string_lossy();
    let mut before = match &terminal {
        Some(t) => vec!["sh", "-c", IN_FRONT, "sh", &t.name],
        None => vec![],
    };
    if end == End::ClosedShell {
        before.extend(SHELL);
        before.extend(["trap : HUP; \"$@\"; echo $? >\"$0\"", &to]);
    }
    let mut second = place.start(&before, words)?;
    let early = second.until(|| {
        if let Some(t) = &mut terminal {
            t.drain();
        }
        reached(place, during)
    })?;
    if early {
        return Ok(Some(format!(
            "it ended before it could be interrupted: {}",
            second.said()
        )));
    }
    interrupt(place, end, &mut terminal)?;
    let status = second.ended(|| {
        if let Some(t) = &mut terminal {
            t.drain();
        }
    })?;
    let left = behind(place, &mounts, end == End::Sigkill)?;
    let mut wrong = Vec::new();
    let (code, ended) = if end == End::ClosedShell {
        // The shell is gone before it knows how its job ended.
        let said = fs::read_to_string(&own_status).unwrap_or_default();
        (
            said.trim().parse().ok(),
            format!("status {:?}", said.trim()),
        )
    } else {
        (status.code(), crate::exec::describe(status))
    };
    if code != Some(end.status()) {
        wrong.push(format!(
            "status {} is due, and it ended with {ended}: {}",
            end.status(),
            second.said()
        ));
    }
    wrong.extend(left.into_iter().map(|l| format!("left behind: {l}")));
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

/// Whether the step is under way.
fn reached(place: &Place, during: During) -> bool {
    let runs = |program: &str| {
        left::processes(&place.mark())
            .iter()
            .any(|(_, line)| line.starts_with(program))
    };
    match during {
        During::Import => runs("tar "),
        During::Build => place.path(BUILDING).exists(),
        During::Boot => runs("qemu-system") || runs("/usr/bin/qemu-system"),
        During::Run => console(place).contains(MARK_START),
    }
}

/// What the guest's kernel has written so far.
fn console(place: &Place) -> String {
    let Ok(scratch) = fs::read_dir(place.tmp()) else {
        return String::new();
    };
    scratch
        .flatten()
        .filter_map(|dir| fs::read(dir.path().join("console")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

fn interrupt(place: &Place, end: End, terminal: &mut Option<Terminal>) -> Result<()> {
    let signal = |signal| -> Result<()> {
        let lock = place.cache().join("lock");
        let pid = fs::read_to_string(&lock).context("reading its lock")?;
        let pid = pid.trim().parse().context("reading its lock")?;
        kill(Pid::from_raw(pid), signal).context("sending a signal")
    };
    let master = terminal.as_mut().and_then(|t| t.master.take());
    match (end, master) {
        (End::Sigterm, _) => signal(Signal::SIGTERM),
        (End::Sigkill, _) => signal(Signal::SIGKILL),
        (End::CtrlC, Some(mut master)) => {
            master.write_all(b"\x03").context("typing Ctrl-C")?;
            if let Some(terminal) = terminal {
                terminal.master = Some(master);
            }
            Ok(())
        }
        // Dropped, and with it the terminal is gone.
        (End::Closed | End::ClosedShell, _) | (End::CtrlC, None) => Ok(()),
    }
}
