// SPDX-License-Identifier: GPL-2.0-only
//! `bench --self`: how long this harness takes to the verdict, beside what
//! virtme-ng's own command takes to build and boot the same sources, in the
//! same run, on the same machine. Only what is measured is printed.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, bail};
use protocol::Arm;
use serde::{Deserialize, Serialize};

use super::{
    itself_table::text,
    theirs::{Theirs, Vng},
};
use crate::{
    cli::{self, ArmFlag, Common, Verify},
    fail, machine, request,
    results::{Machine, Results, Step},
    session::{DEFAULT_BASE, Session},
    setup, verify,
};

/// What is written to the folder of results.
pub(super) const DOCUMENT: &str = "self.json";

/// What is changed: what the work on a series touches most.
const FILE: &str = "net/core/filter.c";

/// What virtme-ng's default configuration and its build need, and after them a
/// cache of its own, from empty. MiB.
const SPACE: u64 = 12_000;

/// That cache: below the other, so that it is on the same disk, and where the
/// next run removes it if this one cannot.
const EMPTY: &str = "tmp/empty";

/// What `bench --self` found, as self.json holds it. Times are seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Itself {
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// Where.
    pub(super) machine: Machine,
    /// Full version of the sources.
    pub(super) source: String,
    /// Nothing in the cache, not even the sources; packages are installed, and
    /// the harness is built. `None` where nothing may be fetched.
    pub(super) empty: Option<Ours>,
    /// Everything in the cache.
    pub(super) cached: Ours,
    /// A line of [`FILE`] was changed.
    pub(super) changed: Ours,
    /// From an empty build folder.
    pub(super) vng_empty: Theirs,
    /// The same line was changed.
    pub(super) vng_changed: Theirs,
}

/// One `verify` of the patched arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ours {
    /// From the call to the verdict.
    pub(super) verdict: f64,
    /// From the start of QEMU to the guest's first event.
    pub(super) boot: Option<f64>,
    /// Cases that reported.
    pub(super) cases: usize,
    /// From the first event to the end of QEMU.
    pub(super) running: Option<f64>,
    /// What it was spent on.
    pub(super) steps: Vec<Step>,
}

/// Measures, prints, and gives the exit status.
pub(super) fn itself(session: &Session, request: &cli::Bench) -> Result<u8> {
    let base = match &request.source.bases[..] {
        [] => DEFAULT_BASE,
        [base] if base != "all" => base,
        _ => return Err(request!("`bench --self` takes one base")),
    };
    let start = Instant::now();
    let started = machine::now();
    session
        .cache
        .need_space(SPACE, "building virtme-ng's kernel")?;
    setup::also(&setup::VNG, session.common.offline, &session.progress)?;
    let mut plain = Verify::of_base(base, &request.common);
    plain.arms = vec![ArmFlag::Patched];
    plain.source.series.clone_from(&request.source.series);
    let trees = session.trees(&plain.source)?;
    let [tree] = &trees[..] else {
        bail!("{base} is not one tree");
    };
    let commit = session.commit(tree, Arm::Patched, plain.source.series.as_deref())?;
    // Whatever is missing is made now, and in no figure.
    let kernel = session.kernel(tree, Arm::Patched, "default", &commit)?;
    let vng = session.virtme_ng()?;
    let accel = session.accel(&vng, &kernel.image)?;
    let src = kernel
        .image
        .ancestors()
        .find(|dir| dir.join("Kconfig").is_file() && dir.join(FILE).is_file())
        .context("the kernel was not built below its sources")?
        .to_owned();
    verify::collect(session, &plain)?;

    let cached = ours(session, &plain)?;
    // The sources are as they were checked out; what follows changes them.
    let theirs = Vng::new(&vng.program, &src, &accel)?;
    let vng_empty = theirs.measure(session, "from an empty folder")?;
    let file = tree
        .repo
        .file(&commit, FILE)?
        .with_context(|| format!("{commit} has no {FILE}"))?;
    let series = tempfile::tempdir().context("making a folder for the changed series")?;
    let patches = match &plain.source.series {
        Some(dir) => crate::project::patches_in(dir)?,
        None => session.project.patches(base, "series")?,
    };
    for patch in patches {
        let name = patch.file_name().context("a patch has a name")?;
        fs::copy(&patch, series.path().join(name))?;
    }
    fs::write(
        series.path().join("9999-line.patch"),
        appended(&file, &line(started))?,
    )?;
    let mut other = plain.clone();
    other.source.series = Some(series.path().to_owned());
    let changed = ours(session, &other)?;
    let vng_changed = theirs.measure(session, "after a changed line")?;
    drop(theirs);
    // The next command finds the series that it expects in the build folder.
    session.kernel(tree, Arm::Patched, "default", &commit)?;
    let empty = if session.common.offline {
        None
    } else {
        Some(from_empty(session, &plain)?)
    };
    session.progress.save(&session.cache)?;

    let found = Itself {
        started,
        seconds: start.elapsed().as_secs_f64(),
        machine: machine::describe(&accel, &vng),
        source: tree.version.clone(),
        empty,
        cached,
        changed,
        vng_empty,
        vng_changed,
    };
    let json = serde_json::to_string_pretty(&found)? + "\n";
    if let Some(dir) = &request.results {
        crate::cache::write_whole(&dir.join(DOCUMENT), json.as_bytes())?;
    }
    if request.common.json {
        print!("{json}");
    } else {
        print!("{}", text(&found));
    }
    Ok(fail::GOOD)
}

/// Reads a self.json.
pub fn self_of(path: &Path) -> Result<Itself> {
    let text =
        fs::read_to_string(path).map_err(|e| request!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| request!("{} is no self.json: {e}", path.display()))
}

/// The same from a cache that has nothing yet.
fn from_empty(session: &Session, request: &Verify) -> Result<Ours> {
    let dir = session.cache.path(EMPTY);
    let mut plain = request.clone();
    plain.common = Common {
        cache: Some(dir.clone()),
        ..session.common.clone()
    };
    let start = Instant::now();
    let empty = Session::open(&plain.common)?;
    let opened = start.elapsed().as_secs_f64();
    let found = ours(&empty, &plain);
    drop(empty);
    fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    found.map(|ours| Ours {
        verdict: ours.verdict + opened,
        ..ours
    })
}

/// One `verify`, timed from outside.
fn ours(session: &Session, request: &Verify) -> Result<Ours> {
    let before = session.progress.steps().len();
    let start = Instant::now();
    let results: Results = verify::collect(session, request)?;
    let verdict = start.elapsed().as_secs_f64();
    if !results.is_acceptable() {
        session
            .progress
            .note("some verdicts were bad: that takes time too (retries, deadlines)");
    }
    let run = results.runs.first().context("nothing was run")?;
    Ok(Ours {
        verdict,
        boot: run.boot_seconds,
        cases: results
            .runs
            .iter()
            .flat_map(|r| &r.cases)
            .filter(|c| c.outcome.is_some())
            .count(),
        running: run.boot_seconds.map(|boot| run.seconds - boot),
        steps: session.progress.steps().split_off(before),
    })
}

/// A line that nothing was ever compiled from, so that no cache of objects has it.
fn line(now: u64) -> String {
    format!("static const char redirect_peer_bench_self[] __used = \"{now}\";")
}

/// A patch, as a mail, that appends a line to a file which has `text`.
fn appended(text: &str, line: &str) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines
        .len()
        .checked_sub(3)
        .context("the file is too short")?;
    let context: String = lines[from..].iter().map(|l| format!(" {l}\n")).collect();
    Ok(format!(
        "From: bench --self <bench@localhost>\nDate: Sat, 1 Jan 2000 00:00:00 +0000\nSubject: [PATCH] bench: a line\n\n\
         One line more.\n---\n\n\
         diff --git a/{FILE} b/{FILE}\n--- a/{FILE}\n+++ b/{FILE}\n@@ -{},3 +{},4 @@\n{context}+{line}\n-- \n",
        from + 1,
        from + 1
    ))
}

impl Itself {
    /// Cases that a verdict is on.
    pub(super) fn cases(&self) -> usize {
        self.cached.cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that git takes the patch that is made, and that the line is then
    /// the file's last.
    #[test]
    fn the_patch_applies() {
        let dir = tempfile::tempdir().unwrap();
        let text = "one\ntwo\nthree\nfour\n";
        let file = dir.path().join(FILE);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let patch = dir.path().join("line.patch");
        fs::write(&patch, appended(text, &line(7)).unwrap()).unwrap();
        crate::exec::Program::new("git")
            .arg("apply")
            .arg(&patch)
            .dir(dir.path())
            .read()
            .unwrap();
        let after = fs::read_to_string(&file).unwrap();
        assert_eq!(after, format!("{text}{}\n", line(7)));
        assert!(appended("one\n", "x").is_err());
    }
}
