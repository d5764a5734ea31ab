// SPDX-License-Identifier: GPL-2.0-only
//! `mutate`: breaks the series on purpose, one requirement at a time, and sees
//! whether the cases notice. A case that passes over a broken kernel proves nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo, Expect, Outcome, reason};

use crate::{
    cli::{self, ArmFlag, Verify},
    fail,
    guest::glob_matches,
    project::patches_in,
    request,
    results::Results,
    session::Session,
    verdict::Verdict,
    verify,
};

/// A patch that breaks one requirement, and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The base whose series it breaks, `6.12`.
    pub base: String,
    /// The patch; it goes on top of the series.
    pub patch: PathBuf,
    /// Its subject.
    pub subject: String,
    /// The cases that must notice, each of them: names or patterns as for `--case`.
    pub noticed_by: Vec<String>,
    /// The verdict that they must come to, as results.json spells it; `fail or
    /// splat` where it is chance which of two bad ones comes first.
    pub verdict: String,
    /// The reasons, any of which cases that fail must have; any but that a case
    /// could not be set up where none is named.
    pub reasons: Vec<String>,
    /// The requirements that it breaks.
    pub breaks: Vec<String>,
}

impl Mutation {
    /// Whether this case must notice: one that is skipped on the base, or that
    /// must not pass even over a series that is right, sees nothing.
    pub fn is_noticed_by(&self, case: &CaseInfo) -> bool {
        let named = |glob: &String| glob_matches(glob, &case.name);
        self.noticed_by.iter().any(named)
            && *case.expect(Arm::Patched, &self.base).0 == Expect::Pass
    }

    /// Whether a case that ended so has seen what this breaks.
    fn is_due(&self, verdict: Verdict, outcome: Option<&Outcome>) -> bool {
        let due = self.verdict.split(" or ").any(|due| due == verdict.word());
        match outcome {
            Some(Outcome::Fail(failure)) if self.reasons.is_empty() => {
                due && failure.reason != reason::SETUP
            }
            Some(Outcome::Fail(failure)) => due && self.reasons.contains(&failure.reason),
            _ => due,
        }
    }
}

/// How long, in milliseconds, cases wait on a kernel that is broken: most of
/// them for what never comes. What does come takes a few milliseconds.
const PATIENCE: u64 = 800;

/// `mutate`: tries every mutation that is kept for the bases asked for.
pub fn mutate(request: &cli::Mutate) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let mut all = Vec::new();
    for base in session.bases(&request.bases)? {
        all.extend(mutations(&session, &base.line)?);
    }
    let mut unnoticed = 0;
    for mutation in chosen(all, &request.only)? {
        let plain = Verify::of_base(&mutation.base, &request.common);
        let came = try_one(&session, &plain, &mutation)?;
        let word = if came.is_none() {
            "noticed "
        } else {
            "UNNOTICED"
        };
        println!(
            "{word} {} {}: {} must come to {}",
            mutation.base,
            mutation.subject,
            mutation.noticed_by.join(" "),
            mutation.verdict
        );
        if let Some(came) = came {
            println!("          {came}");
            unnoticed += 1;
        }
    }
    Ok(if unnoticed == 0 {
        fail::GOOD
    } else {
        fail::BAD
    })
}

/// The mutations whose file names match any of `globs`; all when there are none.
fn chosen(mut all: Vec<Mutation>, globs: &[String]) -> Result<Vec<Mutation>> {
    let matches = |m: &Mutation, glob: &str| {
        let name = m.patch.file_name().unwrap_or_default();
        glob_matches(glob, &name.to_string_lossy())
    };
    for glob in globs {
        if !all.iter().any(|m| matches(m, glob)) {
            return Err(request!("no mutation matches `{glob}`"));
        }
    }
    all.retain(|m| globs.is_empty() || globs.iter().any(|g| matches(m, g)));
    Ok(all)
}

/// The mutations kept for a base.
pub fn mutations(session: &Session, base: &str) -> Result<Vec<Mutation>> {
    let dir = session
        .project
        .path("kernel-patches")
        .join(base)
        .join("mutations");
    patches_in(&dir)?
        .into_iter()
        .map(|patch| {
            let text = fs::read_to_string(&patch)
                .with_context(|| format!("reading {}", patch.display()))?;
            parse(&text, &patch, base)
        })
        .collect()
}

fn parse(text: &str, patch: &Path, base: &str) -> Result<Mutation> {
    let head = text.split("\n---\n").next().unwrap_or_default();
    let lines = |name: &'static str| {
        head.lines()
            .filter_map(move |l| l.strip_prefix(name)?.strip_prefix(": "))
    };
    let missing = |name: &str| request!("{} has no line `{name}:`", patch.display());
    let field = |name: &'static str| {
        let line = lines(name).next().ok_or_else(|| missing(name))?;
        anyhow::Ok(line.trim().to_owned())
    };
    // A list may take several lines, each with the name in front.
    let words = |name: &'static str| {
        let words: Vec<String> = lines(name)
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect();
        if words.is_empty() {
            return Err(missing(name));
        }
        Ok(words)
    };
    Ok(Mutation {
        base: base.to_owned(),
        patch: patch.to_owned(),
        subject: field("Subject")?.trim_start_matches("[PATCH] ").to_owned(),
        noticed_by: words("Noticed-by")?,
        verdict: verdict(&field("Verdict")?, patch)?,
        reasons: reasons(lines("Reason").next(), patch)?,
        breaks: words("Breaks")?,
    })
}

/// Bad verdicts only: a mutation that comes to a good one was not noticed.
fn verdict(text: &str, patch: &Path) -> Result<String> {
    let bad = |word: &str| {
        Verdict::ALL
            .iter()
            .any(|v| v.word() == word && !v.is_good())
    };
    if text.split(" or ").all(bad) {
        Ok(text.to_owned())
    } else {
        Err(request!("{}: `{text}` is no bad verdict", patch.display()))
    }
}

/// `wrong-count or not-delivered`; tokens of the protocol only.
fn reasons(text: Option<&str>, patch: &Path) -> Result<Vec<String>> {
    let words = text.into_iter().flat_map(|t| t.trim().split(" or "));
    let known = |word: &str| reason::ALL.contains(&word);
    words
        .map(|word| match known(word) {
            true => Ok(word.to_owned()),
            false => Err(request!("{}: `{word}` is no reason", patch.display())),
        })
        .collect()
}

/// Runs the cases that must notice on the series with the mutation on top.
/// `Ok(None)` when all did as they must; what came instead otherwise.
pub fn try_one(session: &Session, request: &Verify, mutation: &Mutation) -> Result<Option<String>> {
    let base = mutation.base.as_str();
    let scratch = tempfile::tempdir().context("making a folder for the broken series")?;
    for patch in session.project.patches(base, "series")? {
        let name = patch.file_name().context("a patch has a name")?;
        fs::copy(&patch, scratch.path().join(name))?;
    }
    fs::copy(&mutation.patch, scratch.path().join("9999-mutation.patch"))?;
    let mut request = request.clone();
    request.source.bases = vec![base.to_owned()];
    request.source.series = Some(scratch.path().to_owned());
    request.arms = vec![ArmFlag::Patched];
    request.cases.clone_from(&mutation.noticed_by);
    request.patience = Some(PATIENCE);
    request.results = None;
    Ok(noticed(&verify::collect(session, &request)?, mutation))
}

fn noticed(results: &Results, mutation: &Mutation) -> Option<String> {
    let Some(run) = results.runs.iter().find(|r| r.arm == Arm::Patched) else {
        return Some("the broken series was not run".into());
    };
    // A case that cannot run here says nothing of this kernel, broken or not.
    let ran = || {
        run.cases
            .iter()
            .filter(|c| c.verdict != Verdict::ExpectedSkip)
    };
    let any = |glob: &String| ran().any(|c| glob_matches(glob, &c.name));
    if let Some(glob) = mutation.noticed_by.iter().find(|glob| !any(glob)) {
        return Some(format!("{glob} was not run, or skipped"));
    }
    let other: Vec<String> = ran()
        .filter(|c| !mutation.is_due(c.verdict, c.outcome.as_ref()))
        .map(|c| format!("{} came to {}: {}", c.name, c.verdict, c.why))
        .collect();
    if other.is_empty() && !results.is_good() {
        return None;
    }
    let due = match mutation.reasons.as_slice() {
        [] => mutation.verdict.clone(),
        reasons => format!("{} with {}", mutation.verdict, reasons.join(" or ")),
    };
    Some(format!(
        "{due} is due: {}; the run: {}: {}",
        other.join("; "),
        run.verdict,
        run.why
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    /// Verify that what must come of a mutation is read from its message, not
    /// from its diff.
    #[test]
    fn message_says_what_is_due() {
        let text = "From x\nSubject: [PATCH] Leave out y\n\nBreaks: R1 carry\nNoticed-by: case_a b_*\nNoticed-by: c\nVerdict: fail\n---\n+Verdict: pass\n";
        let m = parse(text, Path::new("p"), "6.12").unwrap();
        assert_eq!(
            (m.subject.as_str(), m.verdict.as_str()),
            ("Leave out y", "fail")
        );
        assert_eq!(m.breaks, ["R1", "carry"]);
        assert_eq!(m.noticed_by, ["case_a", "b_*", "c"]);
        assert!(m.reasons.is_empty());
        for (due, fine) in [
            ("fail or splat", true),
            ("fail or pass", false),
            ("", false),
        ] {
            let text = text.replace("Verdict: fail\n-", &format!("Verdict: {due}\n-"));
            assert_eq!(parse(&text, Path::new("p"), "6.12").is_ok(), fine, "{due}");
        }
        assert!(
            parse(
                "Subject: x\n\n---\nVerdict: fail\nNoticed-by: b\n",
                Path::new("p"),
                "6.12"
            )
            .is_err()
        );
    }

    fn mutation(headers: &str) -> Result<Mutation> {
        let text = format!("Subject: x\n\nBreaks: R1\nNoticed-by: b_*\n{headers}---\n");
        parse(&text, Path::new("p"), "6.12")
    }

    /// Verify that a case notices by its name and where it must pass, and that
    /// one which is skipped on a base does not notice there.
    #[test]
    fn what_is_skipped_notices_nothing() {
        let mut m = mutation("Verdict: fail\n").unwrap();
        let mut case = CaseInfo {
            name: "b_1".into(),
            summary: String::new(),
            proves: vec![],
            expectations: vec![protocol::Expectation {
                arm: None,
                bases: vec!["6.12".into()],
                expect: Expect::Skip,
                why: "w".into(),
            }],
            deadline_ms: 1,
            waits_ms: 0,
        };
        assert!(!m.is_noticed_by(&case));
        m.base = "7.3".into();
        assert!(m.is_noticed_by(&case));
        case.name = "case_b".into();
        assert!(!m.is_noticed_by(&case));
    }

    /// Verify that a case that could not be set up has noticed nothing unless the
    /// mutation says so, and that a reason that is named must be the one.
    #[test]
    fn reasons_must_be_the_ones_named() {
        let fails = |headers: &str, reason: &str| {
            let outcome = Outcome::Fail(protocol::Failure {
                reason: reason.into(),
                message: String::new(),
                context: vec![],
            });
            let m = mutation(headers).unwrap();
            m.is_due(Verdict::Fail, Some(&outcome))
        };
        let plain = "Verdict: fail\n";
        assert!(fails(plain, "wrong-count") && fails(plain, "not-delivered"));
        assert!(!fails(plain, "setup"));
        let one = "Verdict: fail\nReason: wrong-count or not-delivered\n";
        assert!(fails(one, "wrong-count") && fails(one, "not-delivered"));
        assert!(!fails(one, "wrong-value") && !fails(one, "setup"));
        assert!(fails("Verdict: fail\nReason: setup\n", "setup"));
        assert!(mutation("Verdict: fail\nReason: slip\n").is_err());
        let hangs = mutation("Verdict: hang\n").unwrap();
        assert!(hangs.is_due(Verdict::Hang, None));
        assert!(!hangs.is_due(Verdict::Fail, None));
    }

    /// Verify that a run notices when the cases that are named fail, and neither
    /// when all of a pattern's are skipped nor when one could not be set up.
    #[test]
    fn runs_notice() {
        let m = mutation("Verdict: fail\n").unwrap();
        let came = |verdict, reason: Option<&str>| {
            let mut results = crate::report::sample::good();
            results.runs.retain(|r| r.arm == Arm::Patched);
            let run = &mut results.runs[0];
            run.cases.truncate(1);
            run.verdict = Verdict::Fail;
            run.cases[0].name = "b_1".into();
            run.cases[0].verdict = verdict;
            run.cases[0].outcome = reason.map(|reason| {
                Outcome::Fail(protocol::Failure {
                    reason: reason.into(),
                    message: String::new(),
                    context: vec![],
                })
            });
            noticed(&results, &m)
        };
        assert_eq!(came(Verdict::Fail, Some("wrong-count")), None);
        assert!(came(Verdict::Fail, Some("setup")).is_some());
        assert!(came(Verdict::Pass, None).is_some());
        assert!(came(Verdict::ExpectedSkip, None).is_some());
    }

    /// Verify that a damaged mutation is refused, or says which bad verdict is due.
    #[test]
    fn damaged_mutations_do_no_harm() {
        let text = include_str!("../../kernel-patches/6.12/mutations/0001-peer-up-check.patch");
        let mut read = 0;
        Damage::texts(3_000, text, |damaged| {
            if let Ok(mutation) = parse(damaged, Path::new("p"), "6.12") {
                read += 1;
                assert!(verdict(&mutation.verdict, Path::new("p")).is_ok());
            }
        });
        assert!(read > 0, "damage that nothing survives shows nothing");
    }
}
