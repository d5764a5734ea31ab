// SPDX-License-Identifier: GPL-2.0-only
//! What is not as it should be, the same thing once.

use protocol::Outcome;

use super::text;
use crate::{
    post_mortem::REGISTERS,
    results::{CaseResult, OF_THE_RUN, Results, Run, STATE_OF},
    splat::Splat,
    verdict::Verdict,
};

/// Lines of [`in_short`]: who holds a lock may be many.
const MOST_IN_SHORT: usize = 60;

/// One thing, on the kernels that have it.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    /// The cases, of which the first stands for all; none when it is the run itself.
    pub(super) cases: Vec<&'a CaseResult>,
    pub(super) verdict: Verdict,
    pub(super) why: &'a str,
    /// Where; what is shown beside the verdict is from the first.
    pub(super) runs: Vec<&'a Run>,
}

/// Everything bad, runs first.
pub(super) fn bad(results: &Results) -> Vec<Problem<'_>> {
    let runs = results
        .runs
        .iter()
        .filter(|r| is_bad_itself(r))
        .map(|run| Problem {
            cases: Vec::new(),
            verdict: run.verdict,
            why: &run.why,
            runs: vec![run],
        });
    runs.chain(cases(results, |v| !v.is_good())).collect()
}

/// What ended otherwise than by a pass, and had to.
pub(super) fn declared(results: &Results) -> Vec<Problem<'_>> {
    cases(results, |v| v.is_good() && v != Verdict::Pass)
}

/// Whether the run is bad beyond what its cases say.
pub(crate) fn is_bad_itself(run: &Run) -> bool {
    let case_says = run.cases.iter().any(|c| !c.verdict.is_good());
    run.cases.is_empty() || (!run.verdict.is_good() && (!run.why.is_empty() || !case_says))
}

fn cases(results: &Results, wanted: impl Fn(Verdict) -> bool) -> Vec<Problem<'_>> {
    let mut found: Vec<Problem<'_>> = Vec::new();
    for name in text::case_names(results) {
        let first = found.len();
        for run in &results.runs {
            for case in run
                .cases
                .iter()
                .filter(|c| c.name == name && wanted(c.verdict))
            {
                let same = |p: &&mut Problem<'_>| {
                    p.verdict == case.verdict
                        && p.why == case.why
                        && p.case().is_some_and(|c| c.again == case.again)
                };
                match found[first..].iter_mut().find(same) {
                    Some(problem) => problem.runs.push(run),
                    None => found.push(Problem {
                        cases: vec![case],
                        verdict: case.verdict,
                        why: &case.why,
                        runs: vec![run],
                    }),
                }
            }
        }
    }
    together(found)
}

/// Cases of which there is the same to say, on the same kernels, as one: of a
/// guest that never came up, a hundred cases are missing for one reason.
fn together(problems: Vec<Problem<'_>>) -> Vec<Problem<'_>> {
    let mut merged: Vec<Problem<'_>> = Vec::new();
    for problem in problems {
        let own_story = matches!(
            problem.verdict,
            Verdict::Splat | Verdict::Crash | Verdict::Hang
        );
        let same = |p: &&mut Problem<'_>| {
            !own_story
                && (p.verdict, p.why) == (problem.verdict, problem.why)
                && p.case().map(|c| &c.again) == problem.case().map(|c| &c.again)
                && p.runs.len() == problem.runs.len()
                && p.runs
                    .iter()
                    .zip(&problem.runs)
                    .all(|(a, b)| std::ptr::eq(*a, *b))
        };
        match merged.iter_mut().find(same) {
            Some(first) => first.cases.extend(problem.cases),
            None => merged.push(problem),
        }
    }
    merged
}

impl<'a> Problem<'a> {
    /// The case that stands for all.
    pub(super) fn case(&self) -> Option<&'a CaseResult> {
        self.cases.first().copied()
    }

    /// `no_leak`, `7 cases`, `the run itself`.
    pub(super) fn name(&self) -> String {
        match self.cases.as_slice() {
            [] => "the run itself".into(),
            [one] => text::line(&one.name),
            more => text::count(more.len(), "case"),
        }
    }

    /// The names, where there are several.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.cases.iter().map(|c| text::line(&c.name)).collect();
        if names.len() > 1 {
            names.join(", ")
        } else {
            String::new()
        }
    }

    /// `6.12 patched, 5.10 patched`.
    pub(super) fn places(&self) -> String {
        self.runs
            .iter()
            .map(|r| text::run_name(r))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The kernel's reports that belong to it.
    pub(super) fn splats(&self) -> Vec<&'a Splat> {
        let Some(run) = self.runs.first() else {
            return Vec::new();
        };
        match self.case() {
            Some(case) => of_case(run, case),
            None => outside(run),
        }
    }
}

/// The state of the guest when the deadline of `problem` passed on `run`.
pub(super) fn state(problem: &Problem<'_>, run: &Run) -> Vec<String> {
    state_of(run, problem.case())
}

/// The state of the guest when the deadline of a case of `run`, or of the run
/// itself, passed; empty when none did. Its verdict may be any: a guest may have
/// crashed first, or it may have had to hang.
pub(super) fn state_of(run: &Run, case: Option<&CaseResult>) -> Vec<String> {
    let of = case.map_or(OF_THE_RUN, |c| c.name.as_str());
    let begins = format!("{STATE_OF}{of}: ");
    let mut is_of = false;
    run.post_mortem
        .iter()
        .filter(|line| {
            if line.starts_with(STATE_OF) {
                is_of = line.starts_with(&begins);
            }
            is_of
        })
        .flat_map(|l| text::lines(l))
        .collect()
}

/// What of a state goes into reports that keep an excerpt: where each CPU was
/// and who held which lock.
pub(super) fn in_short(state: Vec<String>) -> Vec<String> {
    state
        .into_iter()
        .take_while(|l| l != REGISTERS)
        .take(MOST_IN_SHORT)
        .collect()
}

/// The kernel's reports during a case.
pub(super) fn of_case<'a>(run: &'a Run, case: &CaseResult) -> Vec<&'a Splat> {
    case.splats
        .iter()
        .filter_map(|i| run.splats.get(*i))
        .collect()
}

/// The kernel's reports during no case.
pub(super) fn outside(run: &Run) -> Vec<&Splat> {
    let inside: std::collections::HashSet<usize> = run
        .cases
        .iter()
        .flat_map(|c| c.splats.iter().copied())
        .collect();
    run.splats
        .iter()
        .enumerate()
        .filter(|(i, _)| !inside.contains(i))
        .map(|(_, s)| s)
        .collect()
}

/// Why, where what the guest said does not say it already.
pub(super) fn why(problem: &Problem<'_>) -> String {
    let why = text::line(problem.why);
    match problem.case() {
        Some(case) if got(case).ends_with(&why) => String::new(),
        None if why.is_empty() && problem.runs.iter().any(|r| r.cases.is_empty()) => {
            "the run has no cases".into()
        }
        _ => why,
    }
}

/// What the guest said of a case, in words.
pub(super) fn got(case: &CaseResult) -> String {
    match &case.outcome {
        None => "nothing: the guest did not report an end".into(),
        Some(Outcome::Pass) => "pass".into(),
        Some(Outcome::Fail(f)) => format!(
            "fail with {}: {}",
            text::line(&f.reason),
            text::line(&f.message)
        ),
        Some(Outcome::Skip { why }) => format!("skip: {}", text::line(why)),
    }
}

/// What the guest added to a failure, as lines.
pub(super) fn context(case: &CaseResult) -> Vec<String> {
    match &case.outcome {
        Some(Outcome::Fail(f)) => f.context.iter().flat_map(|c| text::lines(c)).collect(),
        _ => Vec::new(),
    }
}

/// The most important of what happened, in one sentence without line breaks.
pub(super) fn summary(case: &CaseResult) -> String {
    let mut said = if case.why.is_empty() && case.verdict != Verdict::Pass {
        format!(
            "had to {}, and came to: {}",
            text::expected(&case.expected),
            got(case)
        )
    } else {
        text::line(&case.why)
    };
    let again = again(case);
    if !again.is_empty() {
        said.push_str(&format!("; {again}"));
    }
    said
}

/// `flaky: run again, it came to fail, pass`; empty when it was not run again.
pub(super) fn again(case: &CaseResult) -> String {
    if case.again.is_empty() {
        return String::new();
    }
    let came: Vec<&str> = case.again.iter().map(|v| v.word()).collect();
    let mark = if case.is_flaky() { "flaky: " } else { "" };
    format!("{mark}run again, it came to {}", came.join(", "))
}

/// The verdict, and beside it the mark of a case that does not always come to the same.
pub(super) fn word(case: &CaseResult) -> String {
    let mark = if case.is_flaky() { " flaky" } else { "" };
    format!("{}{mark}", case.verdict)
}
