// SPDX-License-Identifier: GPL-2.0-only
//! What a patch concerns, compiled in every configuration that its base has: what
//! compilers and sparse say since the patch, and what objects need since then.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};

use super::{
    commits::Patch,
    concern::Concern,
    finding::{Outcome, Row},
    linked::linked,
    messages::{Message, brought},
    shallow::{Bench, Built, Tool},
    variants::{VARIANTS, Variant},
};
use crate::{progress::Doing, session::Session, tree::Tree};
/// A base, ready to be built in every configuration that it has.
pub(super) struct On<'a> {
    pub session: &'a Session,
    pub tree: &'a Tree,
    pub bench: Bench<'a>,
    /// Each with what it comes to for every patch where it cannot be had.
    pub variants: Vec<Configured>,
    pub jobs: usize,
}

/// A variant, and why a tree or a machine does not have it.
pub(super) type Configured = (&'static Variant, Result<(), Outcome>);

/// One tool looking at some objects in one configuration.
pub(super) struct Task<'a> {
    check: &'a str,
    tool: Tool,
    pub variant: &'a Variant,
    /// Those that it is about.
    pub objects: &'a [String],
    /// Those that are looked at: the others are for a later patch.
    pub with: &'a [String],
}

impl Task<'_> {
    /// Whether it is asked what the objects need: in a configuration that
    /// differs from the one that is built whole and booted.
    fn links(&self) -> bool {
        self.tool == Tool::Compiler && !self.variant.symbol.is_empty()
    }
}

impl On<'_> {
    /// Compilers in every configuration, and sparse, for a patch of the series.
    pub(super) fn everything(
        &self,
        row: &mut Row,
        patch: &Patch,
        concern: &Concern,
        step: &Doing<'_>,
    ) -> Result<()> {
        let mut tasks: Vec<_> = self
            .variants
            .iter()
            .map(|one| compiler(one, concern))
            .collect();
        let plain = VARIANTS.first().context("there is a first variant")?;
        let sparse = self.bench.tool(Tool::Sparse, plain).err();
        let task = Task {
            check: "sparse",
            tool: Tool::Sparse,
            variant: plain,
            objects: &concern.own,
            with: &concern.own,
        };
        let why = |why: &str| Outcome::Untold { why: why.into() };
        tasks.push((task, sparse.map(why)));
        self.tasks(row, patch, concern, tasks, step)
    }

    /// The compiler in the configuration that is booted, for the strip.
    pub(super) fn plainly(
        &self,
        row: &mut Row,
        strip: &Patch,
        concern: &Concern,
        step: &Doing<'_>,
    ) -> Result<()> {
        let plain = self.variants.first().context("there is a first variant")?;
        let tasks = vec![compiler(plain, concern)];
        self.tasks(row, strip, concern, tasks, step)
    }

    fn tasks(
        &self,
        row: &mut Row,
        patch: &Patch,
        concern: &Concern,
        mut tasks: Vec<(Task<'_>, Option<Outcome>)>,
        step: &Doing<'_>,
    ) -> Result<()> {
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
        self.bench.at(&patch.commit)?;
        let after = self.look(&open, &patch.commit, step)?;
        // What nobody complains about, and what is linked elsewhere, needs no
        // comparison with the commit before.
        let compared: Vec<&Task<'_>> = open
            .iter()
            .zip(&after)
            .filter(|(task, built)| task.links() || !built.messages.is_empty())
            .map(|(task, _)| *task)
            .collect();
        let mut before = Vec::new();
        if !compared.is_empty() {
            self.bench.at(&patch.parent)?;
            before = self.look(&compared, &patch.parent, step)?;
            self.bench.at(&patch.commit)?;
        }
        let mut before = before.into_iter();
        let mut after = after.into_iter();
        for (task, known) in &tasks {
            let outcome = match known {
                Some(outcome) => outcome.clone(),
                None => {
                    let after = after.next().context("one result for each task")?;
                    let before = if task.links() || !after.messages.is_empty() {
                        before.next().context("one result for each one compared")?
                    } else {
                        Built::default()
                    };
                    self.judge(task, &patch.commit, &before, &after, step)?
                }
            };
            row.put(task.check, outcome);
        }
        Ok(())
    }

    /// What a task came to: what was printed, and then what the objects need.
    fn judge(
        &self,
        task: &Task<'_>,
        commit: &str,
        before: &Built,
        after: &Built,
        step: &Doing<'_>,
    ) -> Result<Outcome> {
        let tool = self.bench.tool(task.tool, task.variant);
        let outcome = judge(task, tool.unwrap_or_default(), before, after);
        let compiles = matches!(outcome, Outcome::Good | Outcome::Found { .. })
            && !after.messages.iter().any(|m| m.error);
        if !task.links() || !compiles {
            return Ok(outcome);
        }
        step.at(format!("{}, symbols", task.check));
        let links = linked(&self.bench, task.variant, commit, before, after)?;
        Ok(outcome.and(links))
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
                                .look(task.tool, task.variant, commit, task.with, each);
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
            built.push(
                self.bench
                    .look(task.tool, task.variant, commit, task.with, self.jobs)?,
            );
        }
        Ok(built)
    }
}

/// A variant's compiler as a task, and what it comes to where it cannot be had.
fn compiler<'a>(
    (variant, ready): &Configured,
    concern: &'a Concern,
) -> (Task<'a>, Option<Outcome>) {
    let (objects, with) = if variant.symbol.is_empty() {
        (&concern.all, &concern.all)
    } else {
        (&concern.own, &concern.series)
    };
    let task = Task {
        check: variant.name,
        tool: Tool::Compiler,
        variant,
        objects,
        with,
    };
    (task, ready.as_ref().err().cloned())
}

/// Whether a tool looks no further after an error. sparse does until it has seen 100.
fn gives_up(tool: Tool, error: &Message) -> bool {
    match tool {
        Tool::Compiler => true,
        Tool::Sparse => error.text.contains("too many errors"),
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
    if let Some(error) = after
        .messages
        .iter()
        .find(|m| m.error && gives_up(task.tool, m))
    {
        return Outcome::Untold {
            why: format!(
                "{tool} gives up already before the patch: {}:{}: {}",
                error.file,
                error.line.unwrap_or(0),
                error.text
            ),
        };
    }
    if task.objects.iter().all(|o| after.absent.contains(o)) {
        return Outcome::NotHere {
            why: format!("none of {} is compiled there", task.objects.join(", ")),
        };
    }
    Outcome::Good
}

#[cfg(test)]
mod tests {
    use super::*;

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
            with: &objects,
        };
        let quiet = built(&[]);
        let warns = built(&[("unused", false)]);
        let fails = built(&[("undeclared", true)]);
        let sparse = Task {
            tool: Tool::Sparse,
            check: "sparse",
            variant: task.variant,
            ..task
        };
        let stops = built(&[("too many errors", true)]);
        assert_eq!(judge(&sparse, "s", &fails, &fails), Outcome::Good);
        for (before, after) in [(&quiet, &fails), (&stops, &stops)] {
            let outcome = judge(&sparse, "s", before, after);
            assert_ne!(outcome, Outcome::Good);
        }
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
            absent: vec!["net/core/filter.o".into(), objects[0].clone()],
            ..Built::default()
        };
        assert!(matches!(judge(&quiet, &absent), Outcome::NotHere { .. }));
        let other = Built {
            absent: vec!["net/core/filter.o".into()],
            ..Built::default()
        };
        assert_eq!(judge(&quiet, &other), Outcome::Good);
    }
}
