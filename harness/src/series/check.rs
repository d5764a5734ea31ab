// SPDX-License-Identifier: GPL-2.0-only
//! `series check`: every patch of a series, judged by what reviewers and the
//! build robots of the lists would hold against it.

use std::{
    io::IsTerminal,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail};

use super::{
    commits::{self, Applied, Patch},
    concern::{self, Concern},
    finding::{APPLIES, Checked, Finding, Outcome, Row},
    headers::{self, TOOLS_UAPI, UAPI},
    messages::brought,
    shallow::{Bench, Built, Ready, Tool},
    style::style,
    table::{self, table},
    variants::{VARIANTS, Variant},
    whole::Whole,
};
use crate::{
    cli::SeriesArgs, config::Fragment, exec::tail, fail, machine, progress::Doing,
    session::Session, tree::Tree,
};

/// Checks the series of every base named, prints the table, gives the exit status.
pub fn check(request: &SeriesArgs) -> Result<u8> {
    let session = Session::open(&request.common)?;
    let mut checked = Checked::default();
    for tree in session.trees(&request.source)? {
        checked.rows.extend(one_base(&session, request, &tree)?);
    }
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

fn one_base(session: &Session, request: &SeriesArgs, tree: &Tree) -> Result<Vec<Row>> {
    let line = &tree.base.line;
    let step = session.progress.begin("series", line);
    let series = request.source.series.as_deref();
    let applied = match commits::apply_each(tree, &session.project, series) {
        Ok(applied) => applied,
        Err(error) if fail::status(&error) == fail::REQUEST => {
            return Ok(vec![refused(
                tree,
                0,
                0,
                "taking upstream's helper out",
                &error,
            )]);
        }
        Err(error) => return Err(error),
    };
    step.done(true);
    let mut rows = Vec::new();
    if !applied.patches.is_empty() {
        rows = patches(session, tree, &applied)?;
        if !request.quick {
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
    let bench = Bench::open(&session.cache, tree, &fragment, &applied.baseline, jobs)?;
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
    applied
        .patches
        .iter()
        .map(|patch| on.one_patch(patch, applied))
        .collect()
}

/// A base, ready to be built in every configuration that it has.
struct On<'a> {
    session: &'a Session,
    tree: &'a Tree,
    bench: Bench<'a>,
    variants: Vec<(&'static Variant, Result<(), Outcome>)>,
    jobs: usize,
}

/// One tool looking at some objects in one configuration.
struct Task<'a> {
    check: &'a str,
    tool: Tool,
    variant: &'a Variant,
    objects: &'a [String],
}

impl On<'_> {
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
        row.put("checkpatch", style(self.bench.src(), &patch.path)?);
        step.at("UAPI headers");
        let file = |commit: &str, path| self.tree.repo.file(commit, path);
        let (header, copy) = (file(&patch.commit, UAPI)?, file(&patch.commit, TOOLS_UAPI)?);
        row.put(
            "UAPI copies",
            headers::copies(
                (
                    file(&patch.parent, UAPI)?.as_deref(),
                    file(&patch.parent, TOOLS_UAPI)?.as_deref(),
                ),
                (header.as_deref(), copy.as_deref()),
            ),
        );
        let last = patch.number == applied.of;
        row.put(
            "bpf_doc",
            headers::documented(self.bench.src(), &header.unwrap_or_default(), last)?,
        );
        let concern = concern::of(patch, applied, self.tree)?;
        self.compilers(&mut row, patch, &concern, &step)?;
        step.done(false);
        Ok(row)
    }

    /// Compilers in every configuration, and sparse.
    fn compilers(
        &self,
        row: &mut Row,
        patch: &Patch,
        concern: &Concern,
        step: &Doing<'_>,
    ) -> Result<()> {
        let plain = VARIANTS.first().context("there is a first variant")?;
        let mut tasks: Vec<(Task<'_>, Option<Outcome>)> = self
            .variants
            .iter()
            .map(|(variant, ready)| {
                let task = Task {
                    check: variant.name,
                    tool: Tool::Compiler,
                    variant,
                    objects: if variant.symbol.is_empty() {
                        &concern.all
                    } else {
                        &concern.own
                    },
                };
                (task, ready.as_ref().err().cloned())
            })
            .collect();
        let sparse = self.bench.tool(Tool::Sparse, plain).err();
        tasks.push((
            Task {
                check: "sparse",
                tool: Tool::Sparse,
                variant: plain,
                objects: &concern.own,
            },
            sparse.map(|why| Outcome::Untold {
                why: why.to_owned(),
            }),
        ));
        if concern.own.is_empty() {
            for (_, known) in &mut tasks {
                known.get_or_insert(Outcome::NotHere {
                    why: format!("patch {} changes nothing that is compiled", patch.number),
                });
            }
        }
        let open: Vec<&Task<'_>> = tasks
            .iter()
            .filter(|(_, known)| known.is_none())
            .map(|(task, _)| task)
            .collect();
        let after = self.look(&open, &patch.commit, step)?;
        // What nobody complains about needs no comparison with the commit before.
        let loud: Vec<&Task<'_>> = open
            .iter()
            .zip(&after)
            .filter(|(_, built)| !built.messages.is_empty())
            .map(|(task, _)| *task)
            .collect();
        let mut before = Vec::new();
        if !loud.is_empty() {
            self.bench.at(&patch.parent)?;
            before = self.look(&loud, &patch.parent, step)?;
        }
        let mut before = before.into_iter();
        let mut after = after.into_iter();
        for (task, known) in &tasks {
            let outcome = match known {
                Some(outcome) => outcome.clone(),
                None => {
                    let after = after.next().context("one result for each task")?;
                    let before = if after.messages.is_empty() {
                        Built::default()
                    } else {
                        before.next().context("one result for each loud task")?
                    };
                    let name = self.bench.tool(task.tool, task.variant);
                    judge(task, name.unwrap_or_default(), &before, &after)
                }
            };
            row.put(task.check, outcome);
        }
        Ok(())
    }

    /// Does the tasks on what is checked out: compilers side by side, as each
    /// has a folder of its own, and then sparse, which shares one.
    fn look(&self, tasks: &[&Task<'_>], commit: &str, step: &Doing<'_>) -> Result<Vec<Built>> {
        let (compilers, others): (Vec<&Task<'_>>, Vec<&Task<'_>>) =
            tasks.iter().partition(|t| t.tool == Tool::Compiler);
        let workers = self.jobs.clamp(1, compilers.len().max(1));
        let each = (self.jobs / workers).max(1);
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Result<Built>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(task) = compilers.get(at) else {
                            break;
                        };
                        step.at(task.check);
                        let built =
                            self.bench
                                .look(task.tool, task.variant, commit, task.objects, each);
                        done.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((at, built));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(at, _)| *at);
        let mut built = done
            .into_iter()
            .map(|(_, built)| built)
            .collect::<Result<Vec<_>>>()?;
        for task in others {
            step.at(task.check);
            built.push(self.bench.look(
                task.tool,
                task.variant,
                commit,
                task.objects,
                self.jobs,
            )?);
        }
        Ok(built)
    }
}

/// What a task came to, from what was printed before the patch and after it.
fn judge(task: &Task<'_>, tool: &str, before: &Built, after: &Built) -> Outcome {
    let findings = brought(&before.messages, &after.messages, tool);
    if !findings.is_empty() {
        return Outcome::Found { findings };
    }
    if !after.broken.is_empty() {
        return Outcome::Untold {
            why: format!("make fails, and no message says why: {}", after.broken),
        };
    }
    if let Some(error) = after.messages.iter().find(|m| m.error) {
        return Outcome::Untold {
            why: format!(
                "{tool} gives up already before the patch: {}:{}: {}",
                error.file,
                error.line.unwrap_or(0),
                error.text
            ),
        };
    }
    if after.absent.len() == task.objects.len() {
        return Outcome::NotHere {
            why: format!("none of {} is compiled there", task.objects.join(", ")),
        };
    }
    Outcome::Good
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::messages::Message;

    fn built(texts: &[(&str, bool)]) -> Built {
        Built {
            messages: texts
                .iter()
                .map(|(text, error)| Message {
                    file: "net/core/dev.c".into(),
                    line: Some(1),
                    error: *error,
                    text: (*text).into(),
                })
                .collect(),
            ..Built::default()
        }
    }

    /// Verify what each kind of output means: new complaints are findings, old
    /// ones are not; an object that never compiled, or was never asked for,
    /// is no good result.
    #[test]
    fn output_is_judged() {
        let objects = ["net/core/dev.o".to_owned()];
        let task = Task {
            check: "W=1",
            tool: Tool::Compiler,
            variant: &VARIANTS[0],
            objects: &objects,
        };
        let quiet = built(&[]);
        let warns = built(&[("unused", false)]);
        let fails = built(&[("undeclared", true)]);
        let judge = |before: &Built, after: &Built| judge(&task, "gcc", before, after);
        assert_eq!(judge(&quiet, &quiet), Outcome::Good);
        assert_eq!(judge(&warns, &warns), Outcome::Good);
        assert!(matches!(judge(&quiet, &warns), Outcome::Found { .. }));
        assert!(matches!(judge(&quiet, &fails), Outcome::Found { .. }));
        assert!(matches!(judge(&fails, &fails), Outcome::Untold { .. }));
        let broken = Built {
            broken: "make: *** no".into(),
            ..Built::default()
        };
        assert!(matches!(judge(&quiet, &broken), Outcome::Untold { .. }));
        let absent = Built {
            absent: objects.to_vec(),
            ..Built::default()
        };
        assert!(matches!(judge(&quiet, &absent), Outcome::NotHere { .. }));
    }
}
