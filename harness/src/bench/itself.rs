// SPDX-License-Identifier: GPL-2.0-only
//! `bench --self`: how long this harness takes to the verdict, beside what
//! virtme-ng's own command takes to build and boot the same sources, in the
//! same run, on the same machine. Only what is measured is printed.

use std::{
    ffi::OsString,
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use protocol::Arm;
use serde::{Deserialize, Serialize};

use crate::{
    accel::{Accel, Choice},
    cli::{self, ArmFlag, Verify},
    exec::{Program, describe},
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

/// vng builds here, below the sources, as the harness does.
const FOLDER: &str = ".build-vng";

/// What virtme-ng's default configuration and its build need. MiB.
const SPACE: u64 = 8_000;

/// A build of virtme-ng's default configuration may take so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// What `bench --self` found, as self.json holds it. Times are seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Itself {
    /// When it began, seconds since the epoch, UTC.
    started: u64,
    /// Where.
    machine: Machine,
    /// Full version of the sources.
    source: String,
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

/// `vng --build` and `vng --run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Theirs {
    build: f64,
    /// Boots, runs `true`, powers off.
    run: f64,
}

/// Measures, prints, and gives the exit status.
pub(super) fn itself(session: &Session, request: &cli::Bench) -> Result<u8> {
    let base = match &request.source.bases[..] {
        [] => DEFAULT_BASE,
        [base] if base != "all" => base,
        _ => return Err(request!("`bench --self` takes one base")),
    };
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
    let text = tree
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
        appended(&text, &line(started))?,
    )?;
    let mut other = plain.clone();
    other.source.series = Some(series.path().to_owned());
    let changed = ours(session, &other)?;
    let vng_changed = theirs.measure(session, "after a changed line")?;
    drop(theirs);
    session.progress.save(&session.cache)?;

    let found = Itself {
        started,
        machine: machine::describe(&accel, &vng),
        source: tree.version.clone(),
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
        print!("{}", text_of(&found));
    }
    Ok(fail::GOOD)
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

/// virtme-ng's own command, building the sources of the patched arm.
struct Vng<'a> {
    program: PathBuf,
    path: OsString,
    src: &'a Path,
    home: tempfile::TempDir,
    emulated: bool,
}

impl<'a> Vng<'a> {
    fn new(virtme_run: &Path, src: &'a Path, accel: &Choice) -> Result<Self> {
        let out = src.join(FOLDER);
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("removing {}", out.display()))?;
        }
        fs::create_dir(&out).with_context(|| format!("making {}", out.display()))?;
        let mut path = OsString::from(virtme_run.parent().unwrap_or(Path::new("/")));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Ok(Self {
            program: virtme_run.with_file_name("vng"),
            path,
            src,
            home: tempfile::tempdir().context("making a home for vng")?,
            emulated: accel.accel == Accel::Tcg,
        })
    }

    fn measure(&self, session: &Session, when: &str) -> Result<Theirs> {
        let step = session.progress.begin("vng --build", when);
        let build = self.time(&["--build", &format!("O={FOLDER}")])?;
        step.done(false);
        let step = session.progress.begin("vng --run", when);
        let image = format!("{FOLDER}/arch/x86/boot/bzImage");
        // As the harness boots, where vng has a choice.
        let mut args = vec![
            "--run",
            &image,
            "--force-9p",
            "--cpus",
            "2",
            "--exec",
            "true",
        ];
        if self.emulated {
            args.push("--disable-kvm");
        }
        let run = self.time(&args)?;
        step.done(false);
        Ok(Theirs { build, run })
    }

    /// How long a call takes, seconds.
    fn time(&self, args: &[&str]) -> Result<f64> {
        let said = self.home.path().join("said");
        let file = File::create(&said).context("making a file for what vng prints")?;
        let start = Instant::now();
        let status = Program::new(&self.program)
            .args(args)
            .dir(self.src)
            // Nobody's own configuration.
            .env("HOME", self.home.path())
            .env("PYTHONPATH", setup::PYTHON)
            // It calls programs that lie beside it.
            .env("PATH", &self.path)
            .spawn(file.try_clone()?.into(), file.into())?
            .wait(Some(PATIENCE))?;
        let took = start.elapsed().as_secs_f64();
        if !status.success() {
            let printed = fs::read_to_string(&said).unwrap_or_default();
            bail!(
                "`vng {}` ended with {}; it printed: {}",
                args.join(" "),
                describe(status),
                crate::exec::tail(&printed, 15)
            );
        }
        Ok(took)
    }
}

impl Drop for Vng<'_> {
    fn drop(&mut self) {
        // Safe to leave behind: the next one begins by removing it.
        let _ = fs::remove_dir_all(self.src.join(FOLDER));
    }
}

/// Everything, in Markdown.
fn text_of(found: &Itself) -> String {
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
    for (from, ours, theirs) in [
        (
            "an empty build folder",
            None,
            Some(theirs(&found.vng_empty)),
        ),
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
        ("a changed line", &found.changed),
        ("a full cache", &found.cached),
    ] {
        let _ = write!(out, "From {from}: ");
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
        let steps: Vec<String> = ours
            .steps
            .iter()
            .map(|s| format!("{} {} {}", s.name, s.what, seconds(s.seconds)))
            .collect();
        let _ = writeln!(out, "Steps: {}.", steps.join(", "));
    }
    out
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
        Program::new("git")
            .arg("apply")
            .arg(&patch)
            .dir(dir.path())
            .read()
            .unwrap();
        let after = fs::read_to_string(&file).unwrap();
        assert_eq!(after, format!("{text}{}\n", line(7)));
        assert!(appended("one\n", "x").is_err());
    }

    /// Verify that the table has what was measured, and says what was not.
    #[test]
    fn what_was_not_measured_is_said() {
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
        let found = Itself {
            started: 0,
            machine: Machine::default(),
            source: "6.12.117".into(),
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
        };
        let said = text_of(&found);
        assert!(
            said.contains("| an empty build folder | not measured |"),
            "{said}"
        );
        assert!(
            said.contains("90 cases in 45.0 s (2.00 a second)"),
            "{said}"
        );
    }
}
