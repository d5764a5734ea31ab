// SPDX-License-Identifier: GPL-2.0-only
//! What a case promises before it runs.

use serde::{Deserialize, Serialize};

/// Why cases fail, as tokens that a declaration can name.
pub mod reason {
    /// The verifier does not know helper 155: the kernel lacks the helper.
    pub const HELPER_UNKNOWN: &str = "helper-unknown";
    /// A packet that must arrive did not.
    pub const NOT_DELIVERED: &str = "not-delivered";
    /// A packet that must not arrive did, or arrived where it must not.
    pub const WRONGLY_DELIVERED: &str = "wrongly-delivered";
    /// A counter is not what the packets sent make it.
    pub const WRONG_COUNT: &str = "wrong-count";
    /// A field of a packet, or a return value, is not what it must be.
    pub const WRONG_VALUE: &str = "wrong-value";
    /// A program that must be refused was loaded or attached.
    pub const WRONGLY_ACCEPTED: &str = "wrongly-accepted";
    /// A program that must load was refused for another reason than the helper.
    pub const REFUSED: &str = "refused";
    /// The case left something behind: a device, a namespace, a program.
    pub const LEFTOVER: &str = "leftover";
    /// The kernel's own selftest did not pass.
    pub const IN_TREE: &str = "in-tree";
    /// The case could not be set up. Never an expected failure.
    pub const SETUP: &str = "setup";
    /// The case panicked. Never an expected failure.
    pub const PANIC: &str = "panic";

    /// All of them.
    pub const ALL: &[&str] = &[
        HELPER_UNKNOWN,
        NOT_DELIVERED,
        WRONGLY_DELIVERED,
        WRONG_COUNT,
        WRONG_VALUE,
        WRONGLY_ACCEPTED,
        REFUSED,
        LEFTOVER,
        IN_TREE,
        SETUP,
        PANIC,
    ];
}

/// A kernel under comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The base, stripped of upstream's helper.
    Baseline,
    /// The baseline and the series.
    Patched,
    /// The base untouched.
    Upstream,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Patched, Self::Upstream];

    /// The word used on the command line and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Patched => "patched",
            Self::Upstream => "upstream",
        }
    }
}

/// How a case must end on a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "must", rename_all = "snake_case", deny_unknown_fields)]
pub enum Expect {
    /// Pass.
    Pass,
    /// Fail with a reason out of [`reason`].
    Fail {
        /// The token.
        reason: String,
    },
    /// Never come to an end: the kernel locks up (and the guest with it).
    Hang,
    /// Make the kernel log a report, and go on.
    Splat {
        /// What the report is called in vm/splats.toml: `warning`.
        kind: String,
        /// A part of one of its lines, which tells it from others of its kind.
        says: String,
    },
    /// Bring the kernel down.
    Crash {
        /// A part of one of the lines of its first report.
        says: String,
    },
    /// Be skipped: the base lacks what the case needs.
    Skip,
}

/// How a case must end on some kernels, and why it is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The arm this speaks of; `None` for every arm.
    pub arm: Option<Arm>,
    /// The bases this speaks of (`5.10`, `6.12`); empty for every base.
    pub bases: Vec<String>,
    /// How it must end there.
    pub expect: Expect,
    /// Why, in a sentence for the table of differences.
    pub why: String,
}

/// A case, as `selftests list --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseInfo {
    /// Unique; lower case, words joined by `_`: what it proves.
    pub name: String,
    /// What it proves, as a sentence that begins "Verify that".
    pub summary: String,
    /// What it proves: `R1`..`R15`, `C3`, `helper` (section 2 of the
    /// specification), `carry` (section 3), `regression`, or `kernel:` and the
    /// name of the kernel's own test that it matches.
    pub proves: Vec<String>,
    /// Where it must not pass. The first that speaks of a kernel holds; where
    /// none does, it must pass.
    pub expectations: Vec<Expectation>,
    /// How long it may work without emulation, milliseconds.
    pub deadline_ms: u64,
    /// How long it may wait besides for what must come, milliseconds: the same
    /// however slow the machine.
    #[serde(default)]
    pub waits_ms: u64,
}

impl CaseInfo {
    /// How this case must end on `arm` of `base` (`6.12`).
    pub fn expect(&self, arm: Arm, base: &str) -> (&Expect, &str) {
        self.expectations
            .iter()
            .find(|e| {
                e.arm.is_none_or(|a| a == arm)
                    && (e.bases.is_empty() || e.bases.iter().any(|b| b == base))
            })
            .map_or((&Expect::Pass, ""), |e| (&e.expect, e.why.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(expectations: Vec<Expectation>) -> CaseInfo {
        CaseInfo {
            name: "c".into(),
            summary: "Verify that".into(),
            proves: vec![],
            expectations,
            deadline_ms: 1000,
            waits_ms: 0,
        }
    }

    /// Verify that the first expectation that speaks of a kernel holds there,
    /// and that a case must pass where none does.
    #[test]
    fn first_expectation_holds() {
        let fail = |arm, bases: &[&str], reason: &str| Expectation {
            arm,
            bases: bases.iter().map(|b| (*b).to_owned()).collect(),
            expect: Expect::Fail {
                reason: reason.into(),
            },
            why: reason.into(),
        };
        let c = case(vec![
            fail(Some(Arm::Upstream), &["5.10"], "old"),
            fail(Some(Arm::Upstream), &[], "new"),
        ]);
        assert_eq!(c.expect(Arm::Upstream, "5.10").1, "old");
        assert_eq!(c.expect(Arm::Upstream, "6.12").1, "new");
        assert_eq!(c.expect(Arm::Patched, "5.10"), (&Expect::Pass, ""));
    }
}
