// SPDX-License-Identifier: GPL-2.0-only
//! What a bisection knows, as it is on the disk after every boot.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    certainty::{Belief, MOST_BOOTS, Rates, Tally, believe},
    graph::{At, History},
    question::Question,
    search::Answer,
    sight::Boot,
};
use crate::{machine, request};

/// Changed whenever a reader of one version would misread the other.
pub const VERSION: u32 = 1;

/// What was asked for, with every revision as the commit it named then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The user's tree; `None` for a series on a base.
    pub tree: Option<PathBuf>,
    /// The base, when there is no tree.
    pub base: String,
    /// Patches to put on each commit without the helper, or the series that is
    /// searched; `None` for none, or the project's own.
    pub series: Option<PathBuf>,
    /// Whether patches are put on commits without the helper.
    pub on_top: bool,
    /// The good ends; empty when it has to be searched for.
    pub good: Vec<String>,
    /// The bad end.
    pub bad: String,
    /// Patterns of the cases.
    pub cases: Vec<String>,
    /// The flavor.
    pub flavor: String,
    /// The figure that is looked at, and by which part of itself it may grow.
    pub metric: Option<(String, f64)>,
    /// Whether the case is said to be flaky.
    pub flaky: bool,
}

/// One commit that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The commit.
    pub commit: String,
    /// A hash of everything that is executed; `None` when it was not built.
    pub image: Option<String>,
    /// Why there is no image, when it was tried.
    pub no_image: Option<String>,
    /// Another commit whose boots answer for this one, and why they do.
    pub like: Option<(String, String)>,
    /// What its own boots showed.
    pub boots: Vec<Boot>,
    /// Seconds that all of it took.
    pub seconds: f64,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// This is the culprit: it is bad, each of its parents is good, and both
    /// were booted again.
    Found {
        /// The commit.
        culprit: String,
        /// Its parents.
        parents: Vec<String>,
    },
    /// It is one of these: all but the last could not be tested.
    AnyOf(Vec<String>),
    /// The ends do not differ, or one of them cannot be tested.
    NoDifference(String),
    /// The answers lead nowhere.
    Contradiction(String),
}

/// A bisection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// Seconds of work, all invocations together.
    pub seconds: f64,
    /// What was asked for.
    pub asked: Asked,
    /// The good ends, once they are known.
    pub good: Vec<String>,
    /// What the ends differ in, once they were booted.
    pub question: Option<Question>,
    /// The commits that were looked at, in order.
    pub tests: Vec<Test>,
    /// Whether one commit was seen to pass and fail, or the user says so.
    pub flaky: bool,
    /// How often the case fails, once that is known to matter and measured.
    pub rates: Option<Rates>,
    /// Every commit counts: it turned out that one did although it touches no
    /// file that is built.
    pub all_count: bool,
    /// How it ended, once it has.
    pub end: Option<End>,
}

/// An answer and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The answer; `None` while more boots are needed.
    pub answer: Option<Answer>,
    /// What it rests on, in words.
    pub evidence: String,
    /// What the boots of this kernel showed, its likes' included.
    pub tally: Tally,
}

impl State {
    /// A bisection that begins now.
    pub fn new(asked: Asked) -> Self {
        Self {
            version: VERSION,
            started: machine::now(),
            seconds: 0.0,
            good: asked.good.clone(),
            question: None,
            tests: Vec::new(),
            flaky: asked.flaky,
            rates: None,
            all_count: false,
            end: None,
            asked,
        }
    }

    /// Reads a saved one.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|e| request!("cannot read {}: {e}", path.display()))?;
        let state: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("reading {} as a bisection", path.display()))?;
        if state.version != VERSION {
            return Err(request!(
                "{} was written by another version of this project: begin anew without --resume",
                path.display()
            ));
        }
        Ok(state)
    }

    /// Saves it, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        crate::cache::write_whole(path, &serde_json::to_vec_pretty(self)?)
    }

    /// The test of a commit.
    pub fn test(&self, commit: &str) -> Option<&Test> {
        self.tests.iter().find(|t| t.commit == commit)
    }

    /// The test of a commit, made if there is none.
    pub fn test_mut(&mut self, commit: &str) -> &mut Test {
        let at = self
            .tests
            .iter()
            .position(|t| t.commit == commit)
            .unwrap_or_else(|| {
                self.tests.push(Test {
                    commit: commit.to_owned(),
                    image: None,
                    no_image: None,
                    like: None,
                    boots: Vec::new(),
                    seconds: 0.0,
                });
                self.tests.len() - 1
            });
        &mut self.tests[at]
    }

    /// How often a guest was started.
    pub fn starts(&self) -> usize {
        self.tests
            .iter()
            .flat_map(|t| &t.boots)
            .map(|b| b.starts)
            .sum()
    }

    /// Every boot that speaks for a commit: its own, those of the same image,
    /// and those of the commit that answers for it.
    pub fn boots(&self, commit: &str) -> Vec<&Boot> {
        let Some(test) = self.test(commit) else {
            return Vec::new();
        };
        let image = test.image.as_ref().or_else(|| {
            let like = self.test(&test.like.as_ref()?.0)?;
            like.image.as_ref()
        });
        self.tests
            .iter()
            .filter(|t| t.commit == commit || image.is_some() && t.image.as_ref() == image)
            .flat_map(|t| &t.boots)
            .collect()
    }

    /// What is known of a commit.
    pub fn known(&self, commit: &str) -> Known {
        let mut tally = Tally::default();
        let nothing = |evidence: String, answer| Known {
            answer,
            evidence,
            tally: Tally::default(),
        };
        let Some(test) = self.test(commit) else {
            return nothing("not tested".into(), None);
        };
        if let Some(why) = &test.no_image {
            return nothing(why.clone(), Some(Answer::Skip));
        }
        let Some(question) = &self.question else {
            return nothing("the other end is not known yet".into(), None);
        };
        let (mut evidence, mut other) = (String::new(), None);
        let boots = self.boots(commit);
        for boot in &boots {
            let (answer, words) = question.answer(&boot.sight);
            match answer {
                Answer::Good => tally.good += 1,
                Answer::Bad => tally.bad += 1,
                Answer::Skip | Answer::CannotTell => other = Some((answer, words.clone())),
            }
            // What was bad says more than what was good.
            if evidence.is_empty() || answer == Answer::Bad {
                evidence = words;
            }
        }
        if let (Some((answer, words)), 0) = (other, tally.boots()) {
            return nothing(words, Some(answer));
        }
        let (answer, sure) = match believe(tally, self.rates) {
            // Most boots said neither: more of them will not help.
            Belief::Again if boots.len() >= 2 * MOST_BOOTS as usize => {
                (Some(Answer::CannotTell), None)
            }
            Belief::Again => (None, None),
            Belief::Bad(p) => (Some(Answer::Bad), p),
            Belief::Good(p) => (Some(Answer::Good), p),
            Belief::CannotTell => (Some(Answer::CannotTell), None),
        };
        if tally.is_mixed() || sure.is_some() {
            evidence.push_str(&format!(
                "; {} of {} boots were bad",
                tally.bad,
                tally.boots()
            ));
        } else if tally.boots() > 1 {
            evidence.push_str(&format!("; {} boots", tally.boots()));
        }
        if let Some(sure) = sure {
            evidence.push_str(&format!(", {:.0} % sure", sure * 100.0));
        }
        if let Some((of, why)) = &test.like {
            evidence.push_str(&format!(" (from {of:.12}: {why})"));
        }
        Known {
            answer,
            evidence,
            tally,
        }
    }

    /// Whether what is looked for is where a case begins to pass.
    pub fn is_mended(&self) -> bool {
        matches!(&self.question, Some(Question::Cases(changes))
            if changes.iter().all(|c| c.bad.verdict.is_good()))
    }

    /// The word for an answer: of a commit from which on a case passes, "bad"
    /// would be read the wrong way round.
    pub fn word(&self, answer: Option<Answer>) -> &'static str {
        match answer {
            Some(Answer::Good) if self.is_mended() => "before",
            Some(Answer::Bad) if self.is_mended() => "after",
            Some(answer) => answer.word(),
            None => "undecided",
        }
    }

    /// What is known of the commits of a range.
    pub fn answers(&self, history: &History) -> BTreeMap<At, Answer> {
        self.tests
            .iter()
            .filter_map(|t| Some((history.find(&t.commit)?, self.known(&t.commit).answer?)))
            .collect()
    }
}
