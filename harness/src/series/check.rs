// SPDX-License-Identifier: GPL-2.0-only
//! `series check`: every patch of a series, judged by what reviewers and the
//! build robots of the lists would hold against it.

use std::{io::IsTerminal, path::Path};

use anyhow::{Result, bail};

use super::{
    commits::{self, Applied, Patch},
    compile::On,
    concern,
    finding::{APPLIES, Checked, Finding, Outcome, Row},
    headers::{self, TOOLS_UAPI, UAPI},
    shallow::{Bench, Ready, Tool},
    strip,
    style::style,
    table::{self, table},
    variants::VARIANTS,
    whole::Whole,
};
use crate::{
    cli::{SeriesArgs, Source},
    config::Fragment,
    exec::tail,
    fail, machine,
    session::Session,
    tree::Tree,
};

/// Checks the series of every base named, prints the table, gives the exit status.
pub fn check(request: &SeriesArgs) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let checked = checked(&session, &request.source, request.quick)?;
    session.progress.save(&session.cache)?;
    if request.common.json {
        println!("{}", serde_json::to_string_pretty(&checked)?);
    } else {
        let style = table::Style {
            colour: std::io::stdout().is_terminal(),
            verbose: request.common.verbose,
        };
        print!("{}", table(&checked, style));
    }
    Ok(checked.status())
}

/// Checks the series of every tree of `source`; `quick` leaves out what builds whole
/// kernels and boots them.
pub fn checked(session: &Session, source: &Source, quick: bool) -> Result<Checked> {
    let mut checked = Checked::default();
    for tree in session.trees(source)? {
        let series = source.series.as_deref();
        checked
            .rows
            .extend(one_base(session, series, quick, &tree)?);
    }
    checked.missed = session.missed().iter().map(ToString::to_string).collect();
    Ok(checked)
}

fn one_base(
    session: &Session,
    series: Option<&Path>,
    quick: bool,
    tree: &Tree,
) -> Result<Vec<Row>> {
    let line = &tree.base.line;
    let step = session.progress.begin("series", line);
    let applied = match commits::apply_each(tree, &session.project, series) {
        Ok(applied) => applied,
        Err(error) if fail::status(&error) == fail::REQUEST => {
            return Ok(vec![refused(tree, 0, 0, strip::SUBJECT, &error)]);
        }
        Err(error) => return Err(error),
    };
    step.done(true);
    let mut rows = Vec::new();
    if !applied.patches.is_empty() || applied.strip.is_some() {
        rows = patches(session, tree, &applied)?;
        if !quick {
            boots(session, tree, &applied, &mut rows)?;
        }
    }
    if let Some((path, error)) = &applied.refused {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = applied.patches.len() + 1;
        rows.push(refused(tree, number, applied.of, &name, error));
    }
    Ok(rows)
}

/// The long form: builds and boots what the shallow one has judged.
fn boots(session: &Session, tree: &Tree, applied: &Applied, rows: &mut [Row]) -> Result<()> {
    let whole = Whole::open(session, tree, &applied.baseline)?;
    let rows = rows.iter_mut().filter(|row| row.number > 0);
    for (patch, row) in applied.patches.iter().zip(rows) {
        let what = format!(
            "{} patch {} of {}",
            tree.base.line, patch.number, applied.of
        );
        let step = session.progress.begin("build and boot", &what);
        let (built, booted) = whole.one(patch, &step)?;
        row.put("whole W=1", built);
        row.put("boot", booted);
        step.done(false);
    }
    Ok(())
}

fn row(tree: &Tree, number: usize, of: usize, subject: &str) -> Row {
    Row {
        base: tree.base.line.clone(),
        version: tree.version.clone(),
        number,
        of,
        subject: subject.to_owned(),
        commit: String::new(),
        cells: Vec::new(),
    }
}

/// The row of a patch that does not apply.
fn refused(tree: &Tree, number: usize, of: usize, subject: &str, error: &anyhow::Error) -> Row {
    let text = error.root_cause().to_string();
    // git names the file and the line where it gave up.
    let place = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("patch failed: ")?.rsplit_once(':'));
    let finding = Finding {
        file: place.map_or(subject, |(file, _)| file).to_owned(),
        line: place.and_then(|(_, line)| line.parse().ok()),
        tool: "git apply".into(),
        text,
    };
    let mut row = row(tree, number, of, subject);
    row.put(APPLIES, Outcome::of(vec![finding]));
    row
}

fn patches(session: &Session, tree: &Tree, applied: &Applied) -> Result<Vec<Row>> {
    let jobs = session.common.jobs.unwrap_or_else(machine::cpus);
    let step = session
        .progress
        .begin("check", &format!("{} configurations", tree.base.line));
    step.at("checking the sources out");
    let fragment = Fragment::of_flavor(&session.project, "default", &tree.base)?;
    let bench = Bench::open(session, tree, &fragment, &applied.baseline, jobs)?;
    let mut variants = Vec::new();
    for variant in VARIANTS {
        step.at(variant.name);
        if let Err(why) = bench.tool(Tool::Compiler, variant) {
            let why = why.to_owned();
            variants.push((variant, Err(Outcome::Untold { why })));
            continue;
        }
        let ready = match bench.ready(variant)? {
            Ready::Yes => Ok(()),
            Ready::NotHere(why) => Err(Outcome::NotHere { why }),
        };
        if variants.is_empty() {
            let said = bench.prepare(variant)?;
            if !said.status.success() {
                bail!(
                    "`make prepare` of Linux {} fails: {}",
                    tree.version,
                    tail(&said.stderr, 10)
                );
            }
        }
        variants.push((variant, ready));
    }
    step.done(false);
    let on = On {
        session,
        tree,
        bench,
        variants,
        jobs,
    };
    let mut rows = Vec::new();
    if let Some(strip) = &applied.strip {
        rows.push(on.strip(strip, applied)?);
    }
    for patch in &applied.patches {
        rows.push(on.one_patch(patch, applied)?);
    }
    Ok(rows)
}

impl On<'_> {
    /// What is taken out before the series goes on: all of the helper, and
    /// nothing else.
    fn strip(&self, strip: &Patch, applied: &Applied) -> Result<Row> {
        let what = format!("{} {}", self.tree.base.line, strip.subject);
        let step = self.session.progress.begin("check", &what);
        let repo = &self.tree.repo;
        let mut row = row(self.tree, strip.number, applied.of, &strip.subject);
        row.commit.clone_from(&strip.commit);
        row.put(APPLIES, Outcome::Good);
        self.bench.at(&strip.commit)?;
        step.at("traces");
        let traces = strip::traces(repo, &strip.parent, &strip.commit)?;
        row.put("no trace", traces);
        step.at("UAPI headers");
        row.put("UAPI copies", self.copies(strip)?);
        let header = |commit| Ok::<_, anyhow::Error>(repo.file(commit, UAPI)?.unwrap_or_default());
        let (upstream, stripped) = (header(&strip.parent)?, header(&strip.commit)?);
        let src = self.bench.src();
        row.put("bpf_doc", headers::documented(src, &stripped, false)?);
        row.put("helper ids", strip::ids(src, &upstream, &stripped)?);
        let concern = concern::of(strip, applied, self.tree)?;
        self.plainly(&mut row, strip, &concern, &step)?;
        step.done(false);
        Ok(row)
    }

    /// Whether the two UAPI headers still differ in nothing but what differed.
    fn copies(&self, patch: &Patch) -> Result<Outcome> {
        let file = |commit: &str, path| self.tree.repo.file(commit, path);
        let pair =
            |commit: &str| Ok::<_, anyhow::Error>((file(commit, UAPI)?, file(commit, TOOLS_UAPI)?));
        let (before, after) = (pair(&patch.parent)?, pair(&patch.commit)?);
        Ok(headers::copies(
            (before.0.as_deref(), before.1.as_deref()),
            (after.0.as_deref(), after.1.as_deref()),
        ))
    }

    fn one_patch(&self, patch: &Patch, applied: &Applied) -> Result<Row> {
        let step = self.session.progress.begin(
            "check",
            &format!(
                "{} patch {} of {}",
                self.tree.base.line, patch.number, applied.of
            ),
        );
        let mut row = row(self.tree, patch.number, applied.of, &patch.subject);
        row.commit.clone_from(&patch.commit);
        row.put(APPLIES, Outcome::Good);
        self.bench.at(&patch.commit)?;
        step.at("checkpatch");
        row.put(
            "checkpatch",
            style(self.bench.src(), &patch.path, &self.session.project)?,
        );
        step.at("UAPI headers");
        row.put("UAPI copies", self.copies(patch)?);
        let header = self.tree.repo.file(&patch.commit, UAPI)?;
        let last = patch.number == applied.of;
        row.put(
            "bpf_doc",
            headers::documented(self.bench.src(), &header.unwrap_or_default(), last)?,
        );
        let concern = concern::of(patch, applied, self.tree)?;
        self.everything(&mut row, patch, &concern, &step)?;
        step.done(false);
        Ok(row)
    }
}
