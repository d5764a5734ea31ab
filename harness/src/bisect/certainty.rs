// SPDX-License-Identifier: GPL-2.0-only
//! How often a commit must be booted before its answer is believed. Pure.
//!
//! As long as every boot of a commit said the same, one boot decides, and the
//! culprit and its parent are booted again at the end. Once one commit was seen
//! to pass and fail, or if the user says that the case is flaky, how often it
//! fails is measured at both ends, and each commit is booted until the odds are
//! [`CONFIDENCE`] either way (Wald's sequential test, both answers equally
//! likely beforehand).

use serde::{Deserialize, Serialize};

/// How sure each answer about a flaky case has to be. The conclusion rests on
/// half a dozen of them, and is to be right nineteen times of twenty.
pub const CONFIDENCE: f64 = 0.99;
/// Boots of each end from which the rates of a flaky case are taken.
pub const CALIBRATION: u32 = 10;
/// A commit that is not decided after so many boots is not going to be.
pub const MOST_BOOTS: u32 = 40;

/// How often a flaky case fails.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// On a commit that has the culprit, 0 to 1.
    pub bad: f64,
    /// On one that has not.
    pub good: f64,
}

/// How often a commit, or all those that are the same, failed and passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Boots that showed what the bad end shows.
    pub bad: u32,
    /// Boots that showed what the good end shows.
    pub good: u32,
}

impl Tally {
    /// Boots that showed one or the other.
    pub fn boots(self) -> u32 {
        self.bad + self.good
    }

    /// Whether the same kernel was seen to do both.
    pub fn is_mixed(self) -> bool {
        self.bad > 0 && self.good > 0
    }
}

/// What a tally comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Belief {
    /// Boot it again.
    Again,
    /// Bad, with this probability when the case is flaky.
    Bad(Option<f64>),
    /// Good, with this probability when the case is flaky.
    Good(Option<f64>),
    /// It will not be known.
    CannotTell,
}

impl Rates {
    /// From the ends. `None` when the bad end does not clearly fail more often
    /// than the good one: then nothing can be told from failures.
    ///
    /// A boot of each outcome is added, as nobody knows that what was not seen
    /// in ten boots never happens; and the bad end's rate is taken one standard
    /// deviation lower than it looks, as a case that is thought to fail more
    /// often than it does has commits called good too early.
    pub fn measured(bad: Tally, good: Tally) -> Option<Self> {
        let rate = |t: Tally| f64::from(t.bad + 1) / f64::from(t.boots() + 2);
        let seen = rate(bad);
        let deviation = (seen * (1.0 - seen) / f64::from(bad.boots() + 3)).sqrt();
        let rates = Self {
            bad: seen - deviation,
            good: rate(good),
        };
        (rates.bad - rates.good > 0.1).then_some(rates)
    }

    /// How likely it is that a commit with this tally is bad.
    pub fn bad_given(self, tally: Tally) -> f64 {
        let odds = (self.bad / self.good).ln() * f64::from(tally.bad)
            + ((1.0 - self.bad) / (1.0 - self.good)).ln() * f64::from(tally.good);
        1.0 / (1.0 + (-odds).exp())
    }
}

/// What a tally comes to; `rates` once the case is known to be flaky.
pub fn believe(tally: Tally, rates: Option<Rates>) -> Belief {
    let Some(rates) = rates else {
        return match (tally.bad, tally.good) {
            (0, 0) | (1.., 1..) => Belief::Again,
            (_, 0) => Belief::Bad(None),
            (0, _) => Belief::Good(None),
        };
    };
    let bad = rates.bad_given(tally);
    if tally.boots() > 0 && bad >= CONFIDENCE {
        Belief::Bad(Some(bad))
    } else if tally.boots() > 0 && bad <= 1.0 - CONFIDENCE {
        Belief::Good(Some(1.0 - bad))
    } else if tally.boots() >= MOST_BOOTS {
        Belief::CannotTell
    } else {
        Belief::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(bad: u32, good: u32) -> Tally {
        Tally { bad, good }
    }

    /// Verify that one boot decides as long as no kernel was seen to do both.
    #[test]
    fn one_boot_decides_at_first() {
        assert_eq!(believe(tally(0, 0), None), Belief::Again);
        assert_eq!(believe(tally(1, 0), None), Belief::Bad(None));
        assert_eq!(believe(tally(0, 1), None), Belief::Good(None));
        assert_eq!(believe(tally(1, 1), None), Belief::Again);
    }

    /// Verify that a case that fails half of the time must pass several times
    /// before its commit is called good, and that one failure does not decide.
    #[test]
    fn flaky_needs_more() {
        let rates = Rates::measured(tally(5, 5), tally(0, 10)).unwrap();
        assert_eq!(believe(tally(0, 1), Some(rates)), Belief::Again);
        assert_eq!(believe(tally(1, 0), Some(rates)), Belief::Again);
        let passes = (1..)
            .find(|n| matches!(believe(tally(0, *n), Some(rates)), Belief::Good(_)))
            .unwrap();
        assert!((6..=20).contains(&passes), "{passes}");
        assert!(
            matches!(believe(tally(6, 1), Some(rates)), Belief::Bad(Some(p)) if p >= CONFIDENCE)
        );
    }

    /// Verify that ends that fail about as often as each other decide nothing.
    #[test]
    fn ends_alike_decide_nothing() {
        assert_eq!(Rates::measured(tally(4, 6), tally(4, 6)), None);
        assert_eq!(Rates::measured(tally(1, 9), tally(1, 9)), None);
    }

    /// Verify that a commit does not get booted for ever.
    #[test]
    fn undecided_ends() {
        let rates = Rates {
            bad: 0.7,
            good: 0.3,
        };
        assert_eq!(
            believe(tally(20, 20), Some(rates)),
            Belief::CannotTell,
            "as many of both"
        );
    }
}
