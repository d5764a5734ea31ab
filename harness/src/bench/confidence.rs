// SPDX-License-Identifier: GPL-2.0-only
//! What repeated measurements allow to be said. Pure.

/// How sure an interval is, at least.
pub(super) const SURE: f64 = 0.95;

/// Among this many controls, of which none shows a difference that is there, one
/// seems to with 1 - [`SURE`]: each alone must seem to that much more rarely.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of(pub(super) usize);

impl Of {
    fn sure(self) -> f64 {
        1.0 - (1.0 - SURE) / self.0.max(1) as f64
    }
}

/// A median, and where the true one is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Interval {
    /// Of the reciprocal values.
    pub(super) fn inverse(self) -> Self {
        Self {
            low: 1.0 / self.high,
            median: 1.0 / self.median,
            high: 1.0 / self.low,
        }
    }
}

/// The interval that the true median is in with `sure`, from the order of the
/// values alone: nothing is assumed of how they are distributed, and clocks of
/// busy machines give nothing like a normal distribution. The value that is
/// k-th from either end bounds it where 2 P(fewer than k of n coins show heads)
/// is at most 1 - `sure`. `None` with too few values; [`SURE`] takes 6.
pub(super) fn interval(values: &[f64], sure: f64) -> Option<Interval> {
    let n = values.len();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // P(exactly k heads of n), and fewer than k.
    let mut exactly = 0.5_f64.powi(n as i32);
    let mut fewer = 0.0;
    let mut from_end = 0;
    for k in 0..n / 2 {
        fewer += exactly;
        if 2.0 * fewer > 1.0 - sure {
            break;
        }
        from_end = k + 1;
        exactly *= (n - k) as f64 / (k + 1) as f64;
    }
    let at = from_end.checked_sub(1)?;
    Some(Interval {
        low: sorted[at],
        median: median(&sorted)?,
        high: sorted[n - 1 - at],
    })
}

/// The middle of values in order; of an even number of them between the two.
fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    let (a, b) = (*sorted.get(n.checked_sub(1)? / 2)?, sorted[n / 2]);
    Some((a + b) / 2.0)
}

/// The median of values in any order.
pub(super) fn middle(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median(&sorted)
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The first is this many times the second, and that is no chance.
    Differs(Interval),
    /// Why nothing can be said.
    Inconclusive(String),
}

/// Compares by ratios, one of each round: of the two that are compared, and of
/// the control, the same thing measured twice, which is one of so many.
pub(super) fn compare(ratios: &[f64], control: &[f64], controls: Of) -> Verdict {
    let no = |why: String| Verdict::Inconclusive(why);
    let (Some(found), Some(noise)) = (interval(ratios, SURE), interval(control, controls.sure()))
    else {
        return no(format!("{} rounds are too few", ratios.len()));
    };
    if noise.low > 1.0 || noise.high < 1.0 {
        return no(format!(
            "the control, the same measured twice, differs by {}",
            percent(noise.median)
        ));
    }
    if found.low <= 1.0 && found.high >= 1.0 {
        return no("the difference may be none".into());
    }
    // What the same thing may differ by is no difference.
    let allowed = noise.high.max(1.0 / noise.low);
    let least = if found.low > 1.0 {
        found.low
    } else {
        1.0 / found.high
    };
    if least <= allowed {
        return no(format!(
            "the difference may be as small as {}, and the same measured twice differs by up to {}",
            percent(least),
            percent(allowed)
        ));
    }
    Verdict::Differs(found)
}

/// `+3.1 %` for 1.031.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify the ranks of textbooks: of 6 values the ends, of 12 the third, of
    /// 20 the sixth, and that 5 are too few.
    #[test]
    fn ranks() {
        let of = |n: u32| interval(&(1..=n).map(f64::from).collect::<Vec<_>>(), SURE);
        assert_eq!(of(5), None);
        assert_eq!(of(0), None);
        for (n, low, high) in [(6, 1.0, 6.0), (12, 3.0, 10.0), (20, 6.0, 15.0)] {
            let found = of(n).unwrap();
            assert_eq!((found.low, found.high), (low, high), "{n}");
        }
        assert_eq!(of(12).unwrap().median, 6.5);
    }

    /// Numbers from 0 to 1, by a small generator.
    fn draws() -> impl FnMut() -> f64 {
        let mut state = 155_u64;
        move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1_u64 << 31) as f64
        }
    }

    /// Verify that the interval holds the true median as often as it says: of
    /// rounds drawn by a small generator.
    #[test]
    fn coverage() {
        let mut draw = draws();
        let tries = 4000;
        let held = (0..tries)
            .filter(|_| {
                // Squares: far from symmetric; the median is 0.25.
                let values: Vec<f64> = (0..12).map(|_| draw().powi(2)).collect();
                let found = interval(&values, SURE).unwrap();
                found.low <= 0.25 && 0.25 <= found.high
            })
            .count();
        let share = held as f64 / f64::from(tries);
        assert!((SURE..0.98).contains(&share), "{share}");
    }

    /// Verify that with four controls, none of which shows anything, one of them
    /// seems to no more often than one alone may.
    #[test]
    fn four_controls() {
        let mut draw = draws();
        let tries = 4000;
        let mut alarm = || {
            let control: Vec<f64> = (0..12).map(|_| 0.99 + 0.02 * draw()).collect();
            let answer = compare(&[1.1; 12], &control, Of(4));
            matches!(answer, Verdict::Inconclusive(why) if why.contains("control"))
        };
        let alarms = (0..tries).filter(|_| (0..4).any(|_| alarm())).count();
        let share = alarms as f64 / f64::from(tries);
        assert!(share <= 1.0 - SURE, "{share}");
    }

    /// Verify each thing that a comparison may come to.
    #[test]
    fn comparisons() {
        let around = |middle: f64, spread: f64| -> Vec<f64> {
            (-6..6)
                .map(|n| middle + spread * f64::from(n) / 6.0)
                .collect()
        };
        let quiet = around(1.0, 0.01);
        assert!(matches!(
            compare(&around(1.1, 0.01), &quiet, Of(1)),
            Verdict::Differs(i) if i.low > 1.09 && i.high < 1.11
        ));
        assert!(matches!(
            compare(&around(0.9, 0.01), &quiet, Of(1)),
            Verdict::Differs(i) if i.high < 0.91
        ));
        for (ratios, control, why) in [
            (around(1.0, 0.01), quiet.clone(), "may be none"),
            (around(1.1, 0.01), around(1.1, 0.01), "control"),
            (around(1.02, 0.01), around(1.0, 0.2), "as small as"),
            (vec![1.1; 4], quiet.clone(), "too few"),
        ] {
            let Verdict::Inconclusive(said) = compare(&ratios, &control, Of(1)) else {
                panic!("{why}");
            };
            assert!(said.contains(why), "{said}");
        }
    }
}
