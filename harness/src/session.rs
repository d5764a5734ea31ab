// SPDX-License-Identifier: GPL-2.0-only
//! What every command that makes a kernel needs: the project, the cache, the
//! progress, and the steps from a request to a kernel image.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, anyhow};
use protocol::Arm;

use crate::{
    accel::{self, Accel, Choice},
    cache::Cache,
    cli::{AccelFlag, Common, Source},
    config::Fragment,
    fail,
    kernel::{self, Kernel, Recipe},
    machine,
    progress::Progress,
    project::{Base, Project},
    request, scratch,
    setup::{self, VirtmeNg},
    tree::{self, Origin, Tree},
    unfetched::Unfetched,
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
    /// Bases that could not be had.
    missed: Mutex<Vec<Unfetched>>,
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
            missed: Mutex::default(),
        })
    }

    /// The trees that a request names. Of several bases those whose packages can
    /// be had: what cannot is said, is kept for [`Session::missed`], and is no end
    /// of the others, but of a good exit status.
    pub fn trees(&self, source: &Source) -> Result<Vec<Tree>> {
        let origins = self.origins(source)?;
        let (had, missed) = split(origins.iter().map(|origin| self.tree(origin, source)))?;
        for one in &missed {
            let text = format!("{one}\n  the other bases are run without it");
            // Asked for JSON, nobody is told of progress; of this everybody is.
            if self.common.json {
                crate::say!("{text}");
            } else {
                self.progress.note(&text);
            }
            fail::incomplete();
        }
        let mut kept = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(missed);
        Ok(had)
    }

    /// The bases that a request named and that could not be had.
    pub fn missed(&self) -> Vec<Unfetched> {
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.clone()
    }

    fn tree(&self, origin: &Origin, source: &Source) -> Result<Tree> {
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

/// What could be had, and the packages that could not. Fails at once for another
/// reason, and in the end when nothing could be had.
fn split<T>(tried: impl IntoIterator<Item = Result<T>>) -> Result<(Vec<T>, Vec<Unfetched>)> {
    let (mut had, mut missed) = (Vec::new(), Vec::new());
    for one in tried {
        match one {
            Ok(one) => had.push(one),
            Err(error) => missed.push(error.downcast::<Unfetched>()?),
        }
    }
    if had.is_empty() && !missed.is_empty() {
        return Err(none(missed));
    }
    Ok((had, missed))
}

/// No base at all, as one error.
fn none(mut missed: Vec<Unfetched>) -> anyhow::Error {
    if missed.len() == 1 {
        return missed.remove(0).into();
    }
    let each: Vec<String> = missed.iter().map(Unfetched::to_string).collect();
    let text = format!("no base can be had:\n  {}", each.join("\n  "));
    if missed.iter().all(Unfetched::is_wrong_request) {
        request!("{text}")
    } else {
        anyhow!("{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unfetched::Cause;

    fn gone(line: &str) -> anyhow::Error {
        let package = format!("linux-source-{line}");
        anyhow::Error::new(Unfetched {
            line: line.into(),
            cause: Cause::Gone { package },
        })
    }

    /// Verify that a package that cannot be had leaves the other bases, that
    /// none at all is an error that names each, and that anything else ends it.
    #[test]
    fn other_bases_are_had() {
        let (had, missed) = split([Ok(1), Err(gone("5.10")), Ok(2)]).unwrap();
        assert_eq!((had, missed[0].line.as_str()), (vec![1, 2], "5.10"));
        let error = split::<u8>([Err(gone("5.10")), Err(gone("7.3"))]).unwrap_err();
        assert_eq!(fail::status(&error), fail::COULD_NOT_TELL);
        let text = error.to_string();
        assert!(
            text.contains("base 5.10") && text.contains("base 7.3"),
            "{text}"
        );
        let error = split::<u8>([Err(gone("5.10"))]).unwrap_err();
        assert!(error.is::<Unfetched>());
        let disk = split([Ok(1), Err(anyhow!("no space"))]).unwrap_err();
        assert_eq!(disk.to_string(), "no space");
    }
}
