// SPDX-License-Identifier: GPL-2.0-only
//! What a guest is at, and how long that may take.

use std::{collections::BTreeMap, fmt, time::Duration};

/// A phase in which there is progress may take this many times its deadline:
/// a guest that says something for ever does not come to an end either.
pub(crate) const MOST_STRETCH: u32 = 10;
/// As [`MOST_STRETCH`], of a boot: what it does is the same each time.
const BOOT_STRETCH: u32 = 3;

/// How long each phase may take.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// From the last line on the console to the next, before `hello`.
    pub boot: Duration,
    /// For a case by name.
    pub cases: BTreeMap<String, Duration>,
    /// For everything between cases.
    pub between: Duration,
    /// From `done` to the end of QEMU.
    pub shutdown: Duration,
    /// From the last sign of life after a panic or an oops to the next.
    pub crashed: Duration,
    /// For everything together.
    pub whole: Duration,
}

/// What a guest is at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase<'a> {
    Boot,
    Case(&'a str),
    Between,
    Shutdown,
}

impl fmt::Display for Phase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => f.write_str("boot"),
            Self::Case(case) => write!(f, "case {case}"),
            Self::Between => f.write_str("the time between cases"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

impl Phase<'_> {
    /// Why it must be ended, if it must, `waited` after the last progress in it
    /// and `whole` after its beginning.
    pub(super) fn late(
        self,
        deadlines: &Deadlines,
        waited: Duration,
        whole: Duration,
    ) -> Option<String> {
        let (limit, stretch) = match self {
            Self::Boot => (deadlines.boot, BOOT_STRETCH),
            Self::Case(case) => {
                let limit = deadlines.cases.get(case).copied();
                (limit.unwrap_or(deadlines.between), MOST_STRETCH)
            }
            Self::Between => (deadlines.between, MOST_STRETCH),
            Self::Shutdown => (deadlines.shutdown, MOST_STRETCH),
        };
        if waited > limit {
            let waited = waited.as_secs_f64();
            return Some(format!("no progress in {self} for {waited:.0} s"));
        }
        (whole > limit * stretch).then(|| {
            let whole = whole.as_secs_f64();
            format!("no end of {self} after {whole:.0} s, although there was progress")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a guest that says something for ever comes to an end, while it
    /// boots sooner than in a case.
    #[test]
    fn progress_is_no_licence() {
        let seconds = Duration::from_secs;
        let deadlines = Deadlines {
            boot: seconds(10),
            cases: [("c".to_owned(), seconds(5))].into(),
            between: seconds(1),
            shutdown: seconds(1),
            crashed: seconds(1),
            whole: Duration::MAX,
        };
        let late = |phase: Phase<'_>, waited, whole| {
            phase.late(&deadlines, seconds(waited), seconds(whole))
        };
        assert_eq!(late(Phase::Boot, 1, 29), None);
        let said = late(Phase::Boot, 1, 31).unwrap();
        assert!(said.contains("no end of boot"), "{said}");
        assert_eq!(late(Phase::Case("c"), 1, 49), None);
        assert!(late(Phase::Case("c"), 1, 51).unwrap().contains("case c"));
        let said = late(Phase::Case("c"), 6, 6).unwrap();
        assert!(said.contains("no progress in case c for 6 s"), "{said}");
        assert!(late(Phase::Case("unknown"), 2, 2).is_some());
    }
}
