// SPDX-License-Identifier: GPL-2.0-only
//! What the ends of a bisection differ in, and what a boot of a commit between
//! says to that: is it as at the good end, as at the bad end, or something
//! else? Pure.

use serde::{Deserialize, Serialize};

use super::{
    search::Answer,
    sight::{CaseSeen, Sight, THE_RUN, never_ran, plural},
};
use crate::verdict::Verdict;

/// What the two ends differ in, and so what every commit between is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Each of these cases came to one thing at the good end and to another at
    /// the bad end.
    Cases(Vec<Change>),
    /// The figure is above this; the good and the bad end's are given.
    Above {
        /// What more than this is bad.
        line: f64,
        /// At the good end.
        good: f64,
        /// At the bad end.
        bad: f64,
    },
}

/// A case at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// At the good end.
    pub good: CaseSeen,
    /// At the bad end.
    pub bad: CaseSeen,
}

/// Which changes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looking {
    /// Something broke between the ends.
    ForBreakage,
    /// Something changed, either way or from one failure to another: what a
    /// patch of a series does. Before the helper is there, every case fails.
    ForAnyChange,
}

impl Question {
    /// From what the ends showed; says in words why there is none. `limit` is
    /// by how much of the good end's figure a figure may be above it.
    pub fn between(
        good: &Sight,
        bad: &Sight,
        limit: f64,
        looking: Looking,
    ) -> Result<Self, String> {
        match (good, bad) {
            (Sight::Measured(good), Sight::Measured(bad)) => {
                let line = good * (1.0 + limit);
                if *bad > line {
                    return Ok(Self::Above {
                        line,
                        good: *good,
                        bad: *bad,
                    });
                }
                Err(format!(
                    "the good end measures {good} and the bad end {bad}: {:+.2} %, and more than {:.2} % (--limit) was to be found",
                    (bad / good - 1.0) * 100.0,
                    limit * 100.0
                ))
            }
            (Sight::Cases(a), Sight::Cases(b)) => changes(a, b, looking).map(Self::Cases),
            (Sight::Measured(_), other) => Err(format!(
                "the good end was measured and the bad end was not: {}",
                other.brief()
            )),
            (other, Sight::Measured(_)) => Err(format!(
                "the bad end was measured and the good end was not: {}",
                other.brief()
            )),
        }
    }

    /// What a boot of a commit between says, and why in words.
    pub fn answer(&self, sight: &Sight) -> (Answer, String) {
        match (self, sight) {
            (Self::Above { line, good, .. }, Sight::Measured(value)) => {
                let percent = (value / good - 1.0) * 100.0;
                let answer = if value > line {
                    Answer::Bad
                } else {
                    Answer::Good
                };
                (answer, format!("{value:.0} ({percent:+.2} %)"))
            }
            (Self::Cases(changes), Sight::Cases(cases)) => of_cases(changes, cases),
            (Self::Above { .. }, Sight::Cases(_)) => (Answer::Skip, sight.brief()),
            _ => (
                Answer::CannotTell,
                "it did not show what the ends showed".into(),
            ),
        }
    }
}

fn changes(good: &[CaseSeen], bad: &[CaseSeen], looking: Looking) -> Result<Vec<Change>, String> {
    let pairs: Vec<Change> = bad
        .iter()
        .filter_map(|b| {
            let g = good.iter().find(|g| g.name == b.name)?;
            Some(Change {
                good: g.clone(),
                bad: b.clone(),
            })
        })
        .collect();
    let broke = |c: &&Change| c.good.verdict.is_good() && !c.bad.verdict.is_good();
    let mended = |c: &&Change| !c.good.verdict.is_good() && c.bad.verdict.is_good();
    let wanted = |c: &&Change| broke(c) || looking == Looking::ForAnyChange && mended(c);
    // A failure that is not the one before the series: something in it broke
    // what it was to bring. Whoever asks about several cases means those first
    // that pass, if there are any.
    let other = |c: &&Change| {
        looking == Looking::ForAnyChange
            && is_failure(c.good.verdict)
            && is_failure(c.bad.verdict)
            && (c.good.verdict, &c.good.mark) != (c.bad.verdict, &c.bad.mark)
    };
    let mut found: Vec<Change> = pairs.iter().filter(wanted).cloned().collect();
    if found.is_empty() {
        found = pairs.iter().filter(other).cloned().collect();
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let names = |changes: Vec<&Change>| {
        let names: Vec<&str> = changes.iter().map(|c| c.bad.name.as_str()).collect();
        names.join(", ")
    };
    let mended: Vec<&Change> = pairs.iter().filter(mended).collect();
    let failing: Vec<&Change> = pairs
        .iter()
        .filter(|c| !c.bad.verdict.is_good() && !c.good.verdict.is_good())
        .collect();
    Err(if !mended.is_empty() {
        format!(
            "what fails at the good end passes at the bad end ({}): exchange --good and --bad to find what broke it on the way there",
            names(mended)
        )
    } else if !failing.is_empty() {
        let why: Vec<&str> = failing.iter().map(|c| c.good.why.as_str()).collect();
        format!(
            "{} fails at both ends ({}): name an older --good, or leave it out to have it searched for",
            names(failing),
            why.join("; ")
        )
    } else {
        "everything passes at both ends: nothing broke between them, or not for these cases (--case)".into()
    })
}

fn of_cases(changes: &[Change], cases: &[CaseSeen]) -> (Answer, String) {
    let mut other = Vec::new();
    let mut good = 0;
    for change in changes {
        let Some(seen) = cases.iter().find(|c| c.name == change.bad.name) else {
            other.push(format!("{} was not seen", change.bad.name));
            continue;
        };
        let state = |c: &CaseSeen| (c.verdict, c.mark.clone());
        let words = format!("{}: {}: {}", seen.name, seen.verdict, seen.why);
        let words = words.trim_end_matches(": ").to_owned();
        if state(seen) == state(&change.bad) {
            return (Answer::Bad, words);
        }
        // Before a case is mended it may fail in more ways than one, and pass
        // for a while before it fails as at the bad end; after it broke, it must
        // have broken in the way that is looked for.
        let any_other = !change.good.verdict.is_good();
        if state(seen) == state(&change.good)
            || any_other && (is_failure(seen.verdict) || seen.verdict == Verdict::Pass)
        {
            good += 1;
        } else {
            other.push(format!(
                "{words}: not what the bad end shows ({}: {})",
                change.bad.verdict, change.bad.why
            ));
        }
    }
    let run = cases.iter().find(|c| c.name == THE_RUN);
    if good == changes.len() {
        return match run {
            // A case is judged by itself; what the run came to besides does not
            // make a pass less of one, unless nobody knows what was seen.
            Some(run) if run.verdict == Verdict::Lost => (
                Answer::CannotTell,
                format!("the run: {}: {}", run.verdict, run.why),
            ),
            _ => (
                Answer::Good,
                match changes {
                    [one] => format!("{}: as at the good end", one.good.name),
                    _ => format!("{}: as at the good end", plural(changes.len(), "case")),
                },
            ),
        };
    }
    if let Some(run) = run.filter(|r| !r.verdict.is_good() && never_ran(cases)) {
        return (
            Answer::Skip,
            format!("it does not boot: {}: {}", run.verdict, run.why),
        );
    }
    (Answer::CannotTell, other.join("; "))
}

/// Whether a verdict says something about the kernel, rather than that nothing
/// was seen.
fn is_failure(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Fail | Verdict::Splat | Verdict::Crash | Verdict::Hang
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, verdict: Verdict, mark: &str) -> CaseSeen {
        CaseSeen {
            name: name.into(),
            verdict,
            mark: mark.into(),
            why: format!("{mark}!"),
        }
    }

    fn sight(verdict: Verdict, mark: &str) -> Sight {
        Sight::Cases(vec![
            seen(THE_RUN, Verdict::Pass, ""),
            seen("a", verdict, mark),
        ])
    }

    fn question() -> Question {
        let (good, bad) = (
            sight(Verdict::Pass, ""),
            sight(Verdict::Fail, "not-dropped"),
        );
        Question::between(&good, &bad, 0.0, Looking::ForBreakage).unwrap()
    }

    /// Verify that only what the bad end shows is bad: a failure of another
    /// kind must not lead the search to another commit.
    #[test]
    fn only_the_same_failure_is_bad() {
        let answer = |verdict, mark| question().answer(&sight(verdict, mark)).0;
        assert_eq!(answer(Verdict::Fail, "not-dropped"), Answer::Bad);
        assert_eq!(answer(Verdict::Pass, ""), Answer::Good);
        assert_eq!(answer(Verdict::Fail, "setup"), Answer::CannotTell);
        assert_eq!(answer(Verdict::Crash, "oops"), Answer::CannotTell);
        assert_eq!(answer(Verdict::Missing, ""), Answer::CannotTell);
    }

    /// Verify that a kernel that does not boot for another reason is skipped,
    /// and that one is bad when not booting is what is looked for.
    #[test]
    fn kernel_that_does_not_boot() {
        let dead = Sight::Cases(vec![
            seen(THE_RUN, Verdict::Hang, ""),
            seen("a", Verdict::Missing, ""),
        ]);
        assert_eq!(question().answer(&dead).0, Answer::Skip);
        let good = sight(Verdict::Pass, "");
        let of_boot = Question::between(&good, &dead, 0.0, Looking::ForBreakage).unwrap();
        assert_eq!(of_boot.answer(&dead).0, Answer::Bad);
        assert_eq!(of_boot.answer(&good).0, Answer::Good);
    }

    /// Verify that ends that do not differ are explained, each in its own way.
    #[test]
    fn ends_that_do_not_differ() {
        let (pass, fail) = (sight(Verdict::Pass, ""), sight(Verdict::Fail, "x"));
        let say = |g, b| Question::between(g, b, 0.0, Looking::ForBreakage).unwrap_err();
        assert!(say(&pass, &pass).contains("passes at both ends"));
        assert!(say(&fail, &fail).contains("fails at both ends"));
        assert!(say(&fail, &pass).contains("exchange"));
        let mended = Question::between(&fail, &pass, 0.0, Looking::ForAnyChange).unwrap();
        assert_eq!(mended.answer(&pass).0, Answer::Bad);
        assert_eq!(mended.answer(&sight(Verdict::Fail, "y")).0, Answer::Good);
        assert_eq!(
            mended.answer(&sight(Verdict::Lost, "")).0,
            Answer::CannotTell
        );
    }

    /// Verify that in a series the patch can be found that breaks what an
    /// earlier one brought: at both ends it fails, each time otherwise.
    #[test]
    fn broken_again_within_a_series() {
        let before = sight(Verdict::Fail, "refused");
        let after = sight(Verdict::Fail, "not-dropped");
        let ask = |looking| Question::between(&before, &after, 0.0, looking);
        assert!(ask(Looking::ForBreakage).is_err());
        let question = ask(Looking::ForAnyChange).unwrap();
        for (verdict, mark, answer) in [
            (Verdict::Fail, "refused", Answer::Good),
            (Verdict::Pass, "", Answer::Good),
            (Verdict::Fail, "not-dropped", Answer::Bad),
            (Verdict::Lost, "", Answer::CannotTell),
        ] {
            assert_eq!(question.answer(&sight(verdict, mark)).0, answer, "{mark}");
        }
        let same = Question::between(&after, &after, 0.0, Looking::ForAnyChange);
        assert!(same.unwrap_err().contains("fails at both ends"));
    }

    /// Verify that a figure is bad above the limit, and only there.
    #[test]
    fn figures_have_a_line() {
        let m = Sight::Measured;
        let q = Question::between(&m(1000.0), &m(1010.0), 0.005, Looking::ForBreakage).unwrap();
        assert_eq!(q.answer(&m(1004.0)).0, Answer::Good);
        assert_eq!(q.answer(&m(1006.0)).0, Answer::Bad);
        let none = Question::between(&m(1000.0), &m(1004.0), 0.005, Looking::ForBreakage);
        assert!(none.unwrap_err().contains("+0.40 %"));
        // A kernel that cannot be measured is neither fast nor slow.
        let unmeasured = Sight::unmeasured("the kernel logged: x".into());
        assert_eq!(q.answer(&unmeasured).0, Answer::Skip);
        let why = Question::between(&m(1.0), &unmeasured, 0.0, Looking::ForBreakage).unwrap_err();
        assert!(why.contains("the kernel logged: x"), "{why}");
    }
}
