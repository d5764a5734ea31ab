// SPDX-License-Identifier: GPL-2.0-only
//! What the helper returns: section 2 of the specification.

use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, same},
};

const TC_ACT_SHOT: u32 = 2;
pub(super) const TC_ACT_REDIRECT: u32 = 7;

/// An index that no device has.
const NO_DEVICE: u32 = 0x7fff_fff0;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "returns_redirect",
            &["helper"],
            "Verify that the helper returns TC_ACT_REDIRECT",
            || returns("loopback's index", 1, 0, TC_ACT_REDIRECT),
        ),
        Case::feature(
            "returns_redirect_for_bad_ifindex",
            &["helper"],
            "Verify that an index without a device is not looked up yet: TC_ACT_REDIRECT",
            || returns("no device's index", NO_DEVICE, 0, TC_ACT_REDIRECT),
        ),
        Case::feature(
            "returns_redirect_for_zero_ifindex",
            &["helper"],
            "Verify that index 0 is not looked up yet: TC_ACT_REDIRECT",
            || returns("index 0", 0, 0, TC_ACT_REDIRECT),
        ),
        Case::feature(
            "returns_shot_for_unknown_flags",
            &["helper", "R8"],
            "Verify that each flag bit that is not defined, internal ones included, returns TC_ACT_SHOT",
            unknown_flags,
        ),
    ]
}

pub(super) fn returns(what: &str, target: u32, flags: u64, expected: u32) -> Verdict {
    let program = Redirect::load("peer", |r| {
        r.target = target;
        r.flags = flags;
    })?;
    same(
        reason::WRONG_VALUE,
        &format!("bpf_redirect_peer({what}, {flags:#x})"),
        program.returns()?,
        expected,
    )
}

fn unknown_flags() -> Verdict {
    // BPF_F_INGRESS (bit 0) is bpf_redirect()'s, and no base defines it for this
    // helper; bit 1 is BPF_F_EGRESS where the base has it.
    let defined = super::has_egress_flag()?;
    for bit in (0..64).filter(|b| !(defined && *b == 1)) {
        returns("loopback's index", 1, 1 << bit, TC_ACT_SHOT)?;
    }
    returns("loopback's index", 1, u64::MAX, TC_ACT_SHOT)
}
