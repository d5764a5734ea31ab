// SPDX-License-Identifier: GPL-2.0-only
//! What every command that makes a kernel needs: the project, the cache, the
//! progress, and the steps from a request to a kernel image.

use std::path::Path;

use anyhow::Result;
use protocol::Arm;

use crate::{
    accel::{self, Accel, Choice},
    cache::Cache,
    cli::{AccelFlag, Common, Source},
    config::Fragment,
    kernel::{self, Kernel, Recipe},
    machine,
    progress::Progress,
    project::{Base, Project},
    scratch,
    setup::{self, VirtmeNg},
    tree::{self, Origin, Tree},
};

/// The base that is meant when none is named.
pub const DEFAULT_BASE: &str = "6.12";

/// One invocation.
#[derive(Debug)]
pub struct Session {
    /// The project's own files.
    pub project: Project,
    /// The cache folder, locked.
    pub cache: Cache,
    /// What is being done.
    pub progress: Progress,
    /// The flags that every command has.
    pub common: Common,
}

impl Session {
    /// Opens the cache and sees to it that the machine has what is needed.
    pub fn open(common: &Common) -> Result<Self> {
        let project = Project::find()?;
        let dir = match &common.cache {
            Some(dir) => dir.clone(),
            None => Cache::default_dir()?,
        };
        let cache = Cache::open(&dir)?;
        let progress = Progress::new(&cache, common.json);
        setup::packages(common.offline, &progress)?;
        // What an earlier run left when it was killed.
        let _ = std::fs::remove_dir_all(cache.path("tmp"));
        cache.sweep();
        scratch::sweep();
        Ok(Self {
            project,
            cache,
            progress,
            common: common.clone(),
        })
    }

    /// The trees that a request names.
    pub fn trees(&self, source: &Source) -> Result<Vec<Tree>> {
        self.origins(source)?
            .iter()
            .map(|origin| {
                let tree = tree::prepare(
                    &self.cache,
                    &self.project,
                    origin,
                    self.common.offline,
                    source.update,
                    &self.progress,
                )?;
                match origin {
                    // A package says itself which base it is.
                    Origin::Package(_) => Ok(tree),
                    Origin::Tarball(_) | Origin::Git { .. } => {
                        tree.fitted(&self.project, source.series.as_deref(), &self.progress)
                    }
                }
            })
            .collect()
    }

    fn origins(&self, source: &Source) -> Result<Vec<Origin>> {
        if let Some(dir) = &source.tree {
            return Ok(vec![Origin::Git {
                dir: dir.clone(),
                rev: source.rev.clone(),
            }]);
        }
        if let Some(file) = &source.tarball {
            return Ok(vec![Origin::Tarball(file.clone())]);
        }
        let bases = self.bases(&source.bases)?;
        Ok(bases.into_iter().map(Origin::Package).collect())
    }

    /// The bases that are named: `all` is every one, and none is the default.
    pub fn bases(&self, named: &[String]) -> Result<Vec<Base>> {
        if named.iter().any(|b| b == "all") {
            return self.project.bases();
        }
        if named.is_empty() {
            return Ok(vec![self.project.base(DEFAULT_BASE)?]);
        }
        named.iter().map(|line| self.project.base(line)).collect()
    }

    /// The commit of an arm of a tree. Takes seconds at the most, so that a
    /// series that does not apply is known before anything is built.
    pub fn commit(&self, tree: &Tree, arm: Arm, series: Option<&Path>) -> Result<String> {
        let step = self
            .progress
            .begin("series", &format!("{} {}", tree.base.line, arm.word()));
        let commit = tree.arm(&self.project, arm, series)?;
        step.done(true);
        Ok(commit)
    }

    /// Builds a commit of a tree, in the build folder of `arm`.
    pub fn kernel(&self, tree: &Tree, arm: Arm, flavor: &str, commit: &str) -> Result<Kernel> {
        let recipe = Recipe {
            slot: arm.word().to_owned(),
            flavor: flavor.to_owned(),
            fragment: Fragment::of_flavor(&self.project, flavor, &tree.base)?,
            jobs: self.common.jobs.unwrap_or_else(machine::cpus),
            warnings: false,
        };
        let what = format!("{} {}", tree.base.line, arm.word());
        let what = if flavor == "default" {
            what
        } else {
            format!("{what} {flavor}")
        };
        let step = self.progress.begin("build", &what);
        let kernel = kernel::build(&self.cache, tree, commit, &recipe, &step)?;
        step.done(kernel.cached);
        Ok(kernel)
    }

    /// How many guests may run at once: as many as the machine holds, and no
    /// more than `--jobs`.
    pub fn guests(&self) -> usize {
        machine::guests()
            .min(self.common.jobs.unwrap_or(usize::MAX))
            .max(1)
    }

    /// virtme-ng, installed if need be.
    pub fn virtme_ng(&self) -> Result<VirtmeNg> {
        VirtmeNg::find(
            &self.cache,
            &self.project,
            self.common.offline,
            &self.progress,
        )
    }

    /// What executes the guest. `image` is any kernel, for a trial boot.
    pub fn accel(&self, vng: &VirtmeNg, image: &Path) -> Result<Choice> {
        let wanted = match self.common.accel {
            AccelFlag::Auto => None,
            AccelFlag::Kvm => Some(Accel::Kvm),
            AccelFlag::Tcg => Some(Accel::Tcg),
        };
        accel::choose(&self.cache, wanted, vng, image, &self.progress)
    }
}
