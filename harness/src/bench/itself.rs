// SPDX-License-Identifier: GPL-2.0-only
//! `bench --self`: how long this harness takes to the verdict, beside what
//! virtme-ng's own command takes to build and boot the same sources, in the
//! same run, on the same machine. Only what is measured is printed.

use std::{
    fmt::Write,
    fs,
    path::Path,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use protocol::Arm;
use serde::{Deserialize, Serialize};

use super::theirs::{Theirs, Vng};
use crate::{
    cli::{self, ArmFlag, Common, Verify},
    fail, machine,
    progress::seconds,
    request,
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
    empty: Option<Ours>,
    /// Everything in the cache.
    cached: Ours,
    /// A line of [`FILE`] was changed.
    changed: Ours,
    /// From an empty build folder.
    vng_empty: Theirs,
    /// The same line was changed.
    vng_changed: Theirs,
}

/// One `verify` of the patched arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ours {
    /// From the call to the verdict.
    verdict: f64,
    /// From the start of QEMU to the guest's first event.
    boot: Option<f64>,
    /// Cases that reported.
    cases: usize,
    /// From the first event to the end of QEMU.
    running: Option<f64>,
    /// What it was spent on.
    steps: Vec<Step>,
}

/// Measures, prints, and gives the exit status.
pub(super) fn itself(session: &Session, request: &cli::Bench) -> Result<u8> {
    let base = match &request.source.bases[..] {
        [] => DEFAULT_BASE,
        [base] if base != "all" => base,
        _ => return Err(request!("`bench --self` takes one base")),
    };
    let start = Instant::now();
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
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

/// Everything, in Markdown.
pub(super) fn text(found: &Itself) -> String {
    let mut out = format!(
        "\nLinux {} patched on {}, {} CPUs, {}; vng {} builds the same sources with its own configuration and runs `true`:\n\n\
         | from | harness, to the verdict on every case | vng --build + vng --run |\n|---|---:|---:|\n",
        found.source,
        found.machine.cpu,
        found.machine.cpus,
        found.machine.accel,
        found.machine.virtme_ng
    );
    let theirs = |t: &Theirs| {
        format!(
            "{} ({} + {})",
            seconds(t.build + t.run),
            seconds(t.build),
            seconds(t.run)
        )
    };
    let empty = "an empty cache (vng: an empty build folder, the sources being there)";
    for (from, ours, theirs) in [
        (empty, found.empty.as_ref(), Some(theirs(&found.vng_empty))),
        (
            "a changed line of net/core/filter.c",
            Some(&found.changed),
            Some(theirs(&found.vng_changed)),
        ),
        ("a full cache", Some(&found.cached), None),
    ] {
        let _ = writeln!(
            out,
            "| {from} | {} | {} |",
            ours.map_or("not measured".to_owned(), |o| seconds(o.verdict)),
            theirs.unwrap_or_else(|| "not measured".to_owned())
        );
    }
    out.push('\n');
    for (from, ours) in [
        ("an empty cache", found.empty.as_ref()),
        ("a changed line", Some(&found.changed)),
        ("a full cache", Some(&found.cached)),
    ] {
        let Some(ours) = ours else { continue };
        let _ = write!(out, "- From {from}: ");
        if let (Some(boot), Some(running)) = (ours.boot, ours.running) {
            let _ = write!(
                out,
                "{} to the guest's first event, then {} cases in {} ({:.2} a second). ",
                seconds(boot),
                ours.cases,
                seconds(running),
                ours.cases as f64 / running
            );
        }
        let _ = writeln!(out, "Steps: {}.", steps(ours).join(", "));
    }
    out
}

impl Itself {
    /// Cases that a verdict is on.
    pub(super) fn cases(&self) -> usize {
        self.cached.cases
    }
}

/// The same in few words, for README.md.
pub(super) fn rows(found: &Itself) -> String {
    let mut out = String::from(
        "| from | to the verdict | of which | `vng --build` and `--run` |\n|---|---|---|---|\n",
    );
    for (from, ours, theirs) in [
        (
            "an empty cache (vng: an empty build folder, the sources being there)",
            found.empty.as_ref(),
            Some(&found.vng_empty),
        ),
        (
            "one changed line in net/core/filter.c",
            Some(&found.changed),
            Some(&found.vng_changed),
        ),
        ("everything cached", Some(&found.cached), None),
    ] {
        let Some(ours) = ours else { continue };
        let longest = ours.steps.iter().filter(|s| s.seconds >= 1.0);
        let of_which: Vec<String> = longest
            .map(|s| format!("{} {}", s.name, seconds(s.seconds)))
            .collect();
        let _ = writeln!(
            out,
            "| {from} | {} | {} | {} |",
            seconds(ours.verdict),
            of_which.join(", "),
            theirs.map_or_else(|| "-".into(), |t| seconds(t.build + t.run))
        );
    }
    out
}

/// What a verdict's time was spent on.
fn steps(ours: &Ours) -> Vec<String> {
    let steps = ours.steps.iter();
    steps
        .map(|s| format!("{} {} {}", s.name, s.what, seconds(s.seconds)))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
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

    /// What a run would give.
    pub(in crate::bench) fn sample() -> Itself {
        let ours = |verdict| Ours {
            verdict,
            boot: Some(2.0),
            cases: 90,
            running: Some(45.0),
            steps: vec![Step {
                name: "build".into(),
                what: "6.12 patched".into(),
                seconds: 20.0,
                cached: false,
            }],
        };
        Itself {
            started: 0,
            seconds: 2000.0,
            machine: Machine::default(),
            source: "6.12.117".into(),
            empty: Some(ours(600.0)),
            cached: ours(50.0),
            changed: ours(70.0),
            vng_empty: Theirs {
                build: 700.0,
                run: 4.0,
            },
            vng_changed: Theirs {
                build: 30.0,
                run: 4.0,
            },
        }
    }

    /// Verify that the table has what was measured, and says what was not.
    #[test]
    fn what_was_not_measured_is_said() {
        let mut found = sample();
        let said = text(&found);
        let row = "sources being there) | 10 min 00 s | 11 min 44 s (11 min 40 s + 4.0 s) |";
        assert!(said.contains(row), "{said}");
        assert!(
            said.contains("90 cases in 45.0 s (2.00 a second)"),
            "{said}"
        );
        found.empty = None;
        let said = text(&found);
        assert!(said.contains("there) | not measured | 11 min"), "{said}");
    }
}
