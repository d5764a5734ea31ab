// SPDX-License-Identifier: GPL-2.0-only
//! Commits as kernels: built incrementally, booted, and kept on the disk what
//! came of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use protocol::{Arm, CaseInfo};

use super::{
    built::{self, Files},
    drive::{Built, Lab},
    graph::History,
    meter::{Cases, Counts, Meter},
    question::Looking,
    range, search,
    sight::{Boot, plural},
    state::{Asked, State},
};
use crate::{
    accel::Choice,
    config::Fragment,
    fail::Request,
    guest::Guest,
    interrupt,
    kernel::{self, Kernel, Recipe},
    machine,
    progress::seconds,
    project::patches_in,
    run::{self, Job},
    session::Session,
    setup::VirtmeNg,
    splat::Allowlist,
    tree::Tree,
};

/// The state's file in the folder of a bisection.
pub const STATE: &str = "state.json";
const FILES: &str = "built-files";

/// Builds and boots for real.
pub struct Kernels<'a> {
    session: &'a Session,
    /// Any commit of it; its repository has them all.
    tree: Tree,
    asked: Asked,
    /// What is put on commits that have no helper.
    patches: Option<Vec<PathBuf>>,
    vng: VirtmeNg,
    guest: Guest,
    cases: Vec<CaseInfo>,
    allowed: Allowlist,
    accel: Option<Choice>,
    meter: Box<dyn Meter>,
    dir: PathBuf,
    files: Files,
    /// Commits, parents and changed files of the range; read once.
    range: Option<Vec<range::Commit>>,
    current: Option<(String, Tree, Kernel)>,
    told: usize,
}

impl<'a> Kernels<'a> {
    /// `dir` is the folder of this bisection.
    pub fn new(session: &'a Session, tree: Tree, asked: &Asked, dir: &Path) -> Result<Self> {
        let patches = match (&asked.series, asked.on_top) {
            (_, false) => None,
            (Some(dir), _) => Some(patches_in(dir)?),
            (None, _) => Some(session.project.patches(&tree.base.line, "series")?),
        };
        let vng = session.virtme_ng()?;
        let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
        let cases = guest.select(&asked.cases)?;
        let allowed = session.project.path("vm/splats.toml");
        let allowed = Allowlist::load(
            &fs::read_to_string(&allowed)
                .with_context(|| format!("reading {}", allowed.display()))?,
        )?;
        let meter: Box<dyn Meter> = match &asked.metric {
            None => Box::new(Cases),
            Some((name, _)) => Box::new(Counts { name: name.clone() }),
        };
        Ok(Self {
            session,
            tree,
            asked: asked.clone(),
            patches,
            vng,
            guest,
            cases,
            allowed,
            accel: None,
            meter,
            dir: dir.to_owned(),
            files: Files::load(&dir.join(FILES)),
            range: None,
            current: None,
            told: 0,
        })
    }

    /// What is built for a commit: itself, or itself with the patches on top.
    fn with_patches(&self, tree: &Tree) -> Result<String> {
        match &self.patches {
            Some(patches) if !tree.has_helper()? => tree.repo.apply(&tree.commit, patches),
            _ => Ok(tree.commit.clone()),
        }
    }

    fn kernel(&mut self, commit: &str) -> Result<&(String, Tree, Kernel)> {
        if self.current.as_ref().is_none_or(|c| c.0 != commit) {
            self.current = None;
            let tree = self.tree.at(&self.session.project, commit)?;
            let what = self.with_patches(&tree)?;
            let recipe = Recipe {
                slot: Arm::Patched.word().to_owned(),
                flavor: self.asked.flavor.clone(),
                fragment: Fragment::of_flavor(
                    &self.session.project,
                    &self.asked.flavor,
                    &tree.base,
                )?,
                jobs: self.session.common.jobs.unwrap_or_else(machine::cpus),
                warnings: false,
            };
            let step = self
                .session
                .progress
                .begin("build", &format!("{} bisect", tree.base.line));
            let kernel = kernel::build(&self.session.cache, &tree, &what, &recipe, &step)?;
            step.done(kernel.cached);
            let out = kernel.vmlinux.parent().context("vmlinux has a folder")?;
            let src = out.parent().context("the build has a source")?;
            self.files.add(out, src)?;
            self.files.save(&self.dir.join(FILES))?;
            self.current = Some((commit.to_owned(), tree, kernel));
        }
        self.current.as_ref().context("it was just built")
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        self.tree.repo.git(args).read()
    }
}

impl Lab for Kernels<'_> {
    fn line(&mut self, of: &str, most: usize) -> Result<Vec<String>> {
        let most = format!("--max-count={most}");
        let text = self.git(&["rev-list", "--first-parent", "--skip=1", &most, of])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn history(&mut self, good: &[String], bad: &str, all_count: bool) -> Result<History> {
        if self.range.is_none() {
            self.range = Some(range::read(&self.tree.repo, good, bad)?);
        }
        let range = self.range.as_ref().context("it was just read")?;
        let commits: Vec<(String, Vec<String>)> = range
            .iter()
            .map(|c| (c.id.clone(), c.parents.clone()))
            .collect();
        let counting: std::collections::BTreeSet<&str> = range
            .iter()
            .filter(|c| {
                all_count
                    || c.changed
                        .as_ref()
                        .is_none_or(|files| files.iter().any(|(s, p)| self.files.matters(s, p)))
            })
            .map(|c| c.id.as_str())
            .collect();
        Ok(History::new(&commits).count_only(|id| counting.contains(id)))
    }

    fn parents(&mut self, commit: &str) -> Result<Vec<String>> {
        let text = self.git(&["rev-parse", &format!("{commit}^@")])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn same_files(&mut self, commit: &str, built: &str) -> Result<bool> {
        let text = self.git(&[
            "diff-tree",
            "-r",
            "--name-status",
            "--no-renames",
            built,
            commit,
        ])?;
        Ok(!text
            .lines()
            .filter_map(range::status_and_path)
            .any(|(s, p)| self.files.matters(&s, &p)))
    }

    fn build(&mut self, commit: &str) -> Result<Built> {
        let built = self.kernel(commit).map(|(_, _, kernel)| kernel.clone());
        match built {
            Ok(kernel) => {
                let out = kernel.vmlinux.parent().context("vmlinux has a folder")?;
                Ok(Built::Image(built::identity(out)?))
            }
            Err(e) => {
                // Whatever a Ctrl-C made fail on its way is not the commit's fault.
                interrupt::check()?;
                unbuilt(e).map(Built::Not)
            }
        }
    }

    fn boot(&mut self, commit: &str) -> Result<Boot> {
        let image = self.kernel(commit)?.2.image.clone();
        if self.accel.is_none() {
            self.accel = Some(self.session.accel(&self.vng, &image)?);
        }
        let console = self.dir.join("console");
        fs::create_dir_all(&console).with_context(|| format!("making {}", console.display()))?;
        let console = (1..)
            .map(|n| console.join(format!("{commit:.12}-{n}.log")))
            .find(|p| !p.exists())
            .context("there is a free name")?;
        let (Some((_, tree, kernel)), Some(choice)) = (&self.current, &self.accel) else {
            anyhow::bail!("{commit} is not built");
        };
        let job = Job {
            vng: &self.vng,
            accel: choice.accel,
            kernel,
            guest: &self.guest,
            cases: &self.cases,
            base: &tree.base.line,
            source: &tree.version,
            arm: Arm::Patched,
            flavor: &self.asked.flavor,
            allowed: &self.allowed,
            console: &console,
            devices: &[],
            boot_limit: run::BOOT_LIMIT,
            words: &[],
            background: false,
        };
        self.meter.boot(&job, &self.session.progress)
    }

    fn looking(&self) -> Looking {
        if self.asked.tree.is_some() {
            Looking::ForBreakage
        } else {
            Looking::ForAnyChange
        }
    }

    fn save(&mut self, state: &State) -> Result<()> {
        state.save(&self.dir.join(STATE))
    }

    fn tell(&mut self, state: &State, history: Option<&History>, text: &str) {
        let progress = &self.session.progress;
        // What came of the last one is known only now that it was weighed.
        for test in state.tests.iter().skip(self.told) {
            let known = state.known(&test.commit);
            let (word, evidence) = match (known.answer, test.boots.last()) {
                // An end is weighed once the other one is known.
                (None, Some(boot)) => ("booted", boot.sight.brief()),
                (answer, _) => (state.word(answer), known.evidence),
            };
            progress.note(&format!(
                "bisect: {:.12} {word}: {}",
                test.commit,
                first_line(&evidence)
            ));
        }
        self.told = state.tests.len();
        let Some(history) = history else {
            progress.note(&format!("bisect: {text}"));
            return;
        };
        let left = search::steps_left(history, &state.answers(history));
        let candidates = search::candidates(history, &state.answers(history));
        let many = (0..history.len())
            .filter(|at| candidates[*at] && history.counts(*at))
            .count();
        let took: f64 = state.tests.iter().map(|t| t.seconds).sum();
        let each = took / state.tests.len().max(1) as f64;
        // The culprit and its parent are tested once more at the end.
        let expected = seconds(each * f64::from(left + 2));
        let what = if text.is_empty() {
            format!("{} done, about {left} left", state.tests.len())
        } else {
            text.to_owned()
        };
        progress.note(&format!(
            "bisect: {what}, about {expected}; {many} of {} can be it, {} so far",
            plural(history.len(), "commit"),
            plural(state.starts(), "boot")
        ));
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Why a commit cannot be built, if that is the commit's own fault. A compiler
/// that was killed says nothing about the commit.
pub(super) fn unbuilt(error: anyhow::Error) -> Result<String> {
    let own = error.chain().any(|e| e.is::<Request>());
    let text = format!("{error:#}");
    let killed = [
        "Killed",
        "Terminated",
        "memory exhausted",
        "internal compiler error",
    ]
    .iter()
    .any(|sign| text.contains(sign));
    if own && !killed {
        Ok(evidence(&text))
    } else {
        Err(error)
    }
}

/// What the compiler said first comes first, as tables have room for one line.
/// Where the log of that build was, the next one's will be.
fn evidence(text: &str) -> String {
    let mut wrong = text.lines().filter(|l| l.contains("error:"));
    let Some(first) = wrong.next() else {
        return text.to_owned();
    };
    let rest: String = wrong.map(|l| format!("\n{l}")).collect();
    format!(
        "it does not build: {}{rest}",
        first.trim_start_matches("../")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that the line that is shown says what is wrong with the commit.
    #[test]
    fn error_comes_first() {
        let error = crate::request!(
            "the kernel does not build (all of it in make.log):\n../net/a.c:3:1: error: 'x' undeclared\nmake: *** [net/a.o] Error 1"
        );
        assert_eq!(
            unbuilt(error).unwrap(),
            "it does not build: net/a.c:3:1: error: 'x' undeclared"
        );
        let error = crate::request!("0001-x.patch does not apply to 0123:\n    net/a.c:3");
        assert!(unbuilt(error).unwrap().starts_with("0001-x.patch"));
    }

    /// Verify that only what is the commit's own fault has it skipped.
    #[test]
    fn whose_fault() {
        assert!(unbuilt(crate::request!("error: expected ';'")).is_ok());
        assert!(unbuilt(crate::request!("gcc: fatal error: Killed signal")).is_err());
        assert!(unbuilt(crate::request!("gcc: fatal error: Terminated signal")).is_err());
        assert!(unbuilt(anyhow::anyhow!("the disk is full")).is_err());
        assert!(unbuilt(crate::fail::Interrupted.into()).is_err());
    }
}
