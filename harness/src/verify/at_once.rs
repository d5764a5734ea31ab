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
    progress::Progress,
    results,
    run::{self, Job},
    turn,
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
