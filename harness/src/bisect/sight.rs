// SPDX-License-Identifier: GPL-2.0-only
//! What one boot of a commit showed, pass, fail, a figure,
//! or nothing. Pure.

use serde::{Deserialize, Serialize};

use super::search::Answer;
use crate::{results::Run, verdict::Verdict};
use protocol::Outcome;

/// The name under which a run itself is kept beside its cases: what happened
/// outside of all of them, such as a kernel that does not boot.
pub const THE_RUN: &str = "(the run)";

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Cases, and what each came to.
    Cases(Vec<CaseSeen>),
    /// A figure, in the unit of its metric.
    Measured(f64),
}

/// What one case came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseSeen {
    /// The case, or [`THE_RUN`].
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What tells one bad end from another: the reason of a failure, the
    /// fingerprint of a kernel report; empty for a good verdict.
    pub mark: String,
    /// In words.
    pub why: String,
}

/// One boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// What it showed.
    pub sight: Sight,
    /// How often the guest was started: more than once when it went down
    /// before its last case.
    pub starts: usize,
    /// Seconds, all starts together.
    pub seconds: f64,
    /// The console log; empty when nothing is kept.
    pub console: String,
}

impl Sight {
    /// What a run of cases showed.
    pub fn of_run(run: &Run) -> Self {
        let mut cases = vec![CaseSeen {
            name: THE_RUN.into(),
            verdict: if run.why.is_empty() {
                Verdict::Pass
            } else {
                run.verdict
            },
            mark: String::new(),
            why: run.why.clone(),
        }];
        cases.extend(run.cases.iter().map(|case| {
            let mark = match (&case.outcome, case.verdict) {
                (_, v) if v.is_good() => String::new(),
                (_, Verdict::Splat | Verdict::Crash) => case
                    .splats
                    .iter()
                    .filter_map(|s| run.splats.get(*s))
                    .map(|s| s.fingerprint.clone())
                    .next()
                    .unwrap_or_default(),
                (Some(Outcome::Fail(failure)), _) => failure.reason.clone(),
                _ => String::new(),
            };
            CaseSeen {
                name: case.name.clone(),
                verdict: case.verdict,
                mark,
                why: case.why.clone(),
            }
        }));
        Self::Cases(cases)
    }

    /// A boot that gave no figure, and why.
    pub fn unmeasured(why: String) -> Self {
        Self::Cases(vec![CaseSeen {
            name: THE_RUN.into(),
            verdict: Verdict::Lost,
            mark: String::new(),
            why,
        }])
    }

    /// In a few words.
    pub fn brief(&self) -> String {
        match self {
            Self::Measured(value) => format!("{value}"),
            Self::Cases(cases) => {
                let bad: Vec<&CaseSeen> = cases.iter().filter(|c| !c.verdict.is_good()).collect();
                match bad.as_slice() {
                    [] => format!("{} passed", plural(cases.len() - 1, "case")),
                    [first, rest @ ..] => {
                        let more = if rest.is_empty() {
                            String::new()
                        } else {
                            format!(" (and {} more)", rest.len())
                        };
                        format!("{}: {}: {}{more}", first.name, first.verdict, first.why)
                    }
                }
            }
        }
    }

    /// Everything that was not good, a line each; what passed when all was.
    pub fn lines(&self) -> Vec<String> {
        let Self::Cases(cases) = self else {
            return vec![self.brief()];
        };
        let line = |c: &CaseSeen| {
            let why = if c.why.is_empty() {
                String::new()
            } else {
                format!(": {}", c.why)
            };
            format!("{}: {}{why}", c.name, c.verdict)
        };
        let bad: Vec<String> = cases
            .iter()
            .filter(|c| !c.verdict.is_good())
            .map(line)
            .collect();
        if bad.is_empty() {
            cases
                .iter()
                .filter(|c| c.name != THE_RUN)
                .map(line)
                .collect()
        } else {
            bad
        }
    }
}

/// `1 case`, `2 cases`.
pub(super) fn plural(many: usize, word: &str) -> String {
    format!("{many} {word}{}", if many == 1 { "" } else { "s" })
}

/// Whether no case was seen at all.
pub(super) fn never_ran(cases: &[CaseSeen]) -> bool {
    cases
        .iter()
        .filter(|c| c.name != THE_RUN)
        .all(|c| c.verdict == Verdict::Missing)
}

/// What a boot says by itself, without ends to compare with: `bisect-step`.
pub fn alone(sight: &Sight) -> (Answer, String) {
    let Sight::Cases(cases) = sight else {
        return (Answer::CannotTell, "a figure says nothing alone".into());
    };
    let text = sight.brief();
    let any = |verdicts: &[Verdict]| cases.iter().any(|c| verdicts.contains(&c.verdict));
    let answer = if never_ran(cases) {
        Answer::Skip
    } else if any(&[
        Verdict::Fail,
        Verdict::Splat,
        Verdict::Crash,
        Verdict::Hang,
        Verdict::UnexpectedPass,
    ]) {
        Answer::Bad
    } else if any(&[Verdict::Lost, Verdict::Missing]) {
        Answer::CannotTell
    } else if any(&[Verdict::Skip]) {
        Answer::Skip
    } else {
        Answer::Good
    };
    (answer, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(verdict: Verdict) -> Sight {
        let seen = |name: &str, verdict| CaseSeen {
            name: name.into(),
            verdict,
            mark: String::new(),
            why: String::new(),
        };
        Sight::Cases(vec![seen(THE_RUN, Verdict::Pass), seen("a", verdict)])
    }

    /// Verify what a step of `git bisect run` says of a boot: no evidence is
    /// never good.
    #[test]
    fn step_alone() {
        let answer = |verdict| alone(&sight(verdict)).0;
        assert_eq!(answer(Verdict::Pass), Answer::Good);
        assert_eq!(answer(Verdict::Fail), Answer::Bad);
        assert_eq!(answer(Verdict::Lost), Answer::CannotTell);
        assert_eq!(answer(Verdict::Missing), Answer::Skip);
        assert_eq!(answer(Verdict::Skip), Answer::Skip);
    }
}
