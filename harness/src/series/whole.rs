// SPDX-License-Identifier: GPL-2.0-only
//! The long form of `series check`: every commit built whole with W=1, and
//! booted. What a shallow build leaves out of a header's users is in here.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo, Expect};

use super::{
    commits::Patch,
    finding::{Finding, Outcome},
    messages::{self, Message},
};
use crate::{
    cache::Key,
    config::Fragment,
    fail,
    guest::Guest,
    kernel::{self, Kernel, Recipe},
    machine,
    progress::Doing,
    run::{self, Job},
    session::Session,
    setup::VirtmeNg,
    splat::Allowlist,
    tree::Tree,
};

/// What is needed to boot commits of one tree.
pub struct Whole<'a> {
    session: &'a Session,
    tree: &'a Tree,
    recipe: Recipe,
    compiler: String,
    vng: VirtmeNg,
    guest: Guest,
    /// Those that do not need the helper, so that they must pass after every patch.
    cases: Vec<CaseInfo>,
    allowed: Allowlist,
    /// Complaints about the baseline.
    known: Vec<Message>,
    accel: crate::accel::Accel,
}

impl<'a> Whole<'a> {
    /// Builds the baseline, which is what the patches are compared with.
    pub fn open(session: &'a Session, tree: &'a Tree, baseline: &str) -> Result<Self> {
        let vng = session.virtme_ng()?;
        let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
        let line = tree.base.line.as_str();
        let passes = |case: &CaseInfo, arm| *case.expect(arm, line).0 == Expect::Pass;
        let cases: Vec<CaseInfo> = guest
            .cases
            .iter()
            .filter(|c| passes(c, Arm::Baseline) && passes(c, Arm::Patched))
            .cloned()
            .collect();
        anyhow::ensure!(
            !cases.is_empty(),
            "no case does without the helper, so that nothing could be run between two patches"
        );
        let allowed = session.project.path("vm/splats.toml");
        let allowed = fs::read_to_string(&allowed)
            .with_context(|| format!("reading {}", allowed.display()))?;
        let recipe = Recipe {
            slot: "series".into(),
            flavor: "default".into(),
            fragment: Fragment::of_flavor(&session.project, "default", &tree.base)?,
            jobs: session.common.jobs.unwrap_or_else(machine::cpus),
            warnings: true,
        };
        let step = session
            .progress
            .begin("build", &format!("{line} baseline with W=1"));
        let compiler = kernel::compiler()?;
        // What make did not do again said what it says on an earlier day.
        let saved = format!(
            "series/known-{}.json",
            Key::new("known")
                .with(baseline)
                .with(recipe.fragment.text())
                .with(&compiler)
                .hex()
        );
        let known: Option<Vec<Message>> = session.cache.load(&saved);
        let before = known.unwrap_or_default();
        let kernel = kernel::build(&session.cache, tree, baseline, &recipe, &step)?;
        let mut known = before.clone();
        if !kernel.cached {
            known.extend(brought(&before, &log(&kernel)?));
            session.cache.save(&saved, &known)?;
        }
        step.done(kernel.cached);
        let accel = session.accel(&vng, &kernel.image)?.accel;
        Ok(Self {
            session,
            tree,
            recipe,
            compiler,
            vng,
            guest,
            cases,
            allowed: Allowlist::load(&allowed)?,
            known,
            accel,
        })
    }

    /// Builds a patch's commit and boots it: what each came to.
    pub fn one(&self, patch: &Patch, step: &Doing<'_>) -> Result<(Outcome, Outcome)> {
        let tool = format!("{} W=1, whole kernel", self.compiler);
        let saved = format!(
            "series/whole-{}.json",
            Key::new("whole")
                .with(&patch.commit)
                .with(self.recipe.fragment.text())
                .with(&self.compiler)
                .hex()
        );
        let cache = &self.session.cache;
        let kernel = match kernel::build(cache, self.tree, &patch.commit, &self.recipe, step) {
            Ok(kernel) => kernel,
            Err(error) if fail::status(&error) == fail::REQUEST => {
                let text = error.root_cause().to_string();
                let findings = messages::parse(&text);
                let findings = if findings.is_empty() {
                    vec![Finding {
                        file: "Makefile".into(),
                        line: None,
                        tool,
                        text,
                    }]
                } else {
                    messages::brought(&[], &findings, &tool)
                };
                let why = "it does not build".to_owned();
                return Ok((Outcome::of(findings), Outcome::NotHere { why }));
            }
            Err(error) => return Err(error),
        };
        let said: Vec<Message> = match cache.load(&saved) {
            Some(said) => said,
            None => {
                let said = log(&kernel)?;
                cache.save(&saved, &said)?;
                said
            }
        };
        let built = Outcome::of(messages::brought(&self.known, &said, &tool));
        step.at("booting");
        Ok((built, self.boot(&kernel)?))
    }

    fn boot(&self, kernel: &Kernel) -> Result<Outcome> {
        let scratch = tempfile::tempdir().context("making a folder for the console")?;
        let job = Job {
            vng: &self.vng,
            accel: self.accel,
            kernel,
            guest: &self.guest,
            cases: &self.cases,
            base: &self.tree.base.line,
            source: &self.tree.version,
            arm: Arm::Baseline,
            flavor: "default",
            allowed: &self.allowed,
            console: &scratch.path().join("console"),
            devices: &[],
            boot_limit: run::BOOT_LIMIT,
            words: &[],
            background: false,
        };
        let run = run::run(&job, &self.session.progress)?;
        let tool = || format!("boot of {}", run.kernel);
        let mut findings: Vec<Finding> = run
            .cases
            .iter()
            .filter(|c| !c.verdict.is_good())
            .map(|c| Finding {
                file: c.name.clone(),
                line: None,
                tool: tool(),
                text: format!("{}: {}", c.verdict, c.why),
            })
            .collect();
        if findings.is_empty() && !run.verdict.is_good() {
            findings.push(Finding {
                file: "console".into(),
                line: None,
                tool: tool(),
                text: format!("{}: {}", run.verdict, run.why),
            });
        }
        Ok(Outcome::of(findings))
    }
}

/// What make printed when it last built a kernel.
fn log(kernel: &Kernel) -> Result<Vec<Message>> {
    // .build-default/vmlinux has its log beside it.
    let path = kernel.vmlinux.with_file_name("make.log");
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(messages::parse(&String::from_utf8_lossy(&bytes)))
}

/// What is not known yet: file and text, wherever it stood.
fn brought(known: &[Message], said: &[Message]) -> Vec<Message> {
    let seen: BTreeSet<(&str, &str)> = known.iter().map(|m| (&*m.file, &*m.text)).collect();
    said.iter()
        .filter(|m| !seen.contains(&(&*m.file, &*m.text)))
        .cloned()
        .collect()
}
