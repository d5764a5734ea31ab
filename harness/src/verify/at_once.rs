// SPDX-License-Identifier: GPL-2.0-only
//! Several guests at once.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;

use crate::{
    collect::Collected,
    fail,
    progress::Progress,
    results,
    run::{self, Job},
    turn,
    verdict::Verdict,
};

/// Runs the jobs, up to `most` at a time, and gives what came of them in order;
/// nothing without all of them.
pub fn at_once(jobs: &[Job<'_>], most: usize, progress: &Progress) -> Result<Vec<results::Run>> {
    each(jobs, most, progress).into_iter().collect()
}

/// As [`at_once`], each by itself.
pub(super) fn each(
    jobs: &[Job<'_>],
    most: usize,
    progress: &Progress,
) -> Vec<Result<results::Run>> {
    // The one with the most to do first: the others fit beside it.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(jobs[*at].to_pass()));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for worker in 0..most.clamp(1, jobs.len().max(1)) {
            if worker == 1 {
                turn::until_one_boots();
            }
            scope.spawn(|| {
                while let Some((at, job)) = {
                    let at = order.get(next.fetch_add(1, Ordering::Relaxed));
                    at.and_then(|at| Some((*at, jobs.get(*at)?)))
                } {
                    let job = Job {
                        background: Some(&at) != order.first(),
                        ..job.clone()
                    };
                    let run = run::run(&job, progress);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(at, run);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

/// The runs of jobs, in their order. One that could not be had is lost, and the
/// first error is given beside; an interruption ends all.
pub(super) fn with_lost(
    jobs: &[Job<'_>],
    came: Vec<Result<results::Run>>,
) -> Result<(Vec<results::Run>, Option<anyhow::Error>)> {
    let mut failed = None;
    let runs = jobs.iter().zip(came).map(|(job, came)| {
        let error = match came {
            Err(error) if fail::status(&error) != fail::INTERRUPTED => error,
            other => return other,
        };
        let mut nothing = Collected::default();
        nothing.bad(Verdict::Lost, format!("it could not be run: {error:#}"));
        failed.get_or_insert(error);
        nothing.into_run(job)
    });
    Ok((runs.collect::<Result<_>>()?, failed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::sample::{self, with_job};

    /// Verify that what one guest came to is kept where another could not be had,
    /// and that this one is called lost, with the reason.
    #[test]
    fn one_error_takes_no_verdicts_along() {
        with_job(|job| {
            let came = with_lost(
                &[job.clone(), job.clone()],
                vec![Ok(whole(job)), Err(anyhow::anyhow!("no such disk"))],
            );
            let (runs, failed) = came.unwrap();
            assert_eq!(runs[0].verdict, Verdict::Pass);
            assert_eq!(runs[1].verdict, Verdict::Lost);
            assert!(runs[1].why.contains("no such disk"), "{}", runs[1].why);
            assert!(runs[1].cases.iter().all(|c| c.verdict == Verdict::Missing));
            assert_eq!(fail::status(&failed.unwrap()), fail::COULD_NOT_TELL);
            let interrupted = Err(fail::Interrupted.into());
            assert!(with_lost(std::slice::from_ref(job), vec![interrupted]).is_err());
        });
    }

    /// A run in which all passed.
    fn whole(job: &Job<'_>) -> results::Run {
        let events = sample::records(&sample::NAMES, |_| protocol::Outcome::Pass).concat();
        let console = sample::console(&sample::NAMES).concat();
        let mut collected = Collected::default();
        collected.take(
            job,
            &sample::names(&sample::NAMES),
            sample::observed(&events, &console),
        );
        collected.into_run(job).unwrap()
    }
}
