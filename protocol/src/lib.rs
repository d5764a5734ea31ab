// SPDX-License-Identifier: GPL-2.0-only
//! The types that cross from the guest to the host, and nothing else.
//!
//! The guest writes [`Record`]s as JSON, one a line, to the virtio-serial port
//! named [`PORT`]. They are numbered from 0 without gaps, the first is
//! [`Event::Hello`], the last [`Event::Done`]: a stream without `Done` is a
//! guest that was lost, whatever it said before.
//!
//! What a case promises is known before it runs: `selftests list --json`
//! prints a [`Vec`] of [`CaseInfo`], on the host, without privileges.

mod case;
mod event;

pub use case::{Arm, CaseInfo, Expect, Expectation, reason};
pub use event::{Detector, Event, Failure, Outcome, Record};

/// Changed whenever a record of one version cannot be read by the other.
pub const VERSION: u32 = 3;

/// Name of the virtio-serial port, as `/sys/class/virtio-ports/*/name` shows it.
pub const PORT: &str = "redirect-peer.events";

/// A line longer than this is damage, not an event. Bytes, newline excluded.
pub const MAX_LINE: usize = 1 << 20;

/// What the guest writes to `/dev/kmsg` as a case starts; the name follows.
pub const MARK_START: &str = "redirect-peer: case start ";

/// What the guest writes to `/dev/kmsg` as a case ends; the name follows.
pub const MARK_END: &str = "redirect-peer: case end ";

/// What the guest writes to `/dev/kmsg` behind the line of a leaked object that
/// says when it was allocated; the name of the case follows.
pub const LEAKED_DURING: &str = ": allocated during case ";

/// As [`LEAKED_DURING`], of an object that no case allocated; nothing follows.
pub const LEAKED_OUTSIDE: &str = ": allocated while no case ran";

/// The kernel parameter by which the host tells a guest that is to be slow, or
/// silent, on purpose how many times its deadlines are stretched; an integer follows.
pub const SCALE: &str = "redirect_peer.scale=";

/// The kernel parameter by which the host has a case fail that is to fail only then.
pub const FAIL: &str = "redirect_peer.fail";
