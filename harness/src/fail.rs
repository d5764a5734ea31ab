// SPDX-License-Identifier: GPL-2.0-only
//! The ways in which the harness itself cannot go on, and the exit status of each.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::unfetched::Unfetched;

/// Everything is as it should be.
pub const GOOD: u8 = 0;
/// At least one bad verdict.
pub const BAD: u8 = 1;
/// The request is wrong.
pub const REQUEST: u8 = 2;
/// The harness could not tell.
pub const COULD_NOT_TELL: u8 = 3;
/// A signal ended it, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// The request is wrong: a flag, a path, a series that does not apply. What
/// failed, on what input, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Request(pub String);

/// A signal asked the harness to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Builds an [`anyhow::Error`] that says the request is wrong.
#[macro_export]
macro_rules! request {
    ($($arg:tt)*) => { anyhow::Error::new($crate::fail::Request(format!($($arg)*))) };
}

/// Prints a line on standard error. That nobody is there to read it, as after a
/// terminal was closed, is no reason to end in another way (`eprintln!` panics).
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}

/// Whether part of what was asked for could not be had. It is the exit status's,
/// and so the process's: no command can forget to pass it on.
static INCOMPLETE: AtomicBool = AtomicBool::new(false);

/// From now on no exit status is good: part of what was asked for is not in it.
pub fn incomplete() {
    INCOMPLETE.store(true, Ordering::Relaxed);
}

/// The exit status with which a command that came to `status` ends.
pub fn at_end(status: u8) -> u8 {
    whole(status, INCOMPLETE.load(Ordering::Relaxed))
}

/// What is bad stays bad; what is good of a part is not good of the whole.
fn whole(status: u8, incomplete: bool) -> u8 {
    if incomplete && status == GOOD {
        COULD_NOT_TELL
    } else {
        status
    }
}

/// The exit status that goes with an error: [`REQUEST`] for a wrong request,
/// [`INTERRUPTED`] after a signal, [`COULD_NOT_TELL`] for everything else.
pub fn status(error: &anyhow::Error) -> u8 {
    if error.chain().any(|e| e.is::<Interrupted>()) {
        INTERRUPTED
    } else if error.chain().any(is_request) {
        REQUEST
    } else {
        COULD_NOT_TELL
    }
}

fn is_request(error: &(dyn std::error::Error + 'static)) -> bool {
    let unfetched = error.downcast_ref::<Unfetched>();
    error.is::<Request>() || unfetched.is_some_and(Unfetched::is_wrong_request)
}

/// What helps, where the cause is the disk and not what was asked for.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    use std::io::{Error, ErrorKind};
    error.chain().find_map(|cause| {
        match cause.downcast_ref::<Error>()?.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
                "the disk is full: make room, run `cargo harness clean`, or name folders on another disk with --cache DIR and TMPDIR",
            ),
            ErrorKind::ReadOnlyFilesystem => Some(
                "that disk is read-only: name folders on another one with --cache DIR and TMPDIR",
            ),
            _ => None,
        }
    })
}

/// Prints an error the way all errors are printed, and gives its exit status.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let status = status(error);
    if status == INTERRUPTED {
        crate::say!(
            "interrupted: everything that was started has been ended, and what was finished is kept"
        );
    } else {
        crate::say!("error: {error}");
        for cause in error.chain().skip(1) {
            crate::say!("  because: {cause}");
        }
        if let Some(remedy) = remedy(error) {
            crate::say!("  {remedy}");
        }
    }
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    /// Verify that the exit status survives the context that is put around an error.
    #[test]
    fn status_survives_context() {
        let wrong = Err::<(), _>(request!("no such tree"))
            .context("preparing 6.12")
            .unwrap_err();
        assert_eq!(status(&wrong), REQUEST);
        let ended = Err::<(), _>(Interrupted).context("building").unwrap_err();
        assert_eq!(status(&ended), 130);
        assert_eq!(status(&anyhow::anyhow!("disk full")), COULD_NOT_TELL);
    }

    /// Verify that a part that is good is not taken for the whole, and that what is
    /// bad of it is not hidden by what is missing.
    #[test]
    fn part_is_not_the_whole() {
        assert_eq!(whole(GOOD, false), GOOD);
        assert_eq!(whole(GOOD, true), COULD_NOT_TELL);
        for status in [BAD, REQUEST, COULD_NOT_TELL] {
            assert_eq!(whole(status, true), status);
        }
    }

    /// Verify that a full disk is named as one, below whatever context.
    #[test]
    fn full_disk_has_a_remedy() {
        let full = std::io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let error = Err::<(), _>(full).context("writing lock").unwrap_err();
        assert!(remedy(&error).unwrap().contains("make room"));
        assert_eq!(remedy(&anyhow::anyhow!("something else")), None);
    }
}
