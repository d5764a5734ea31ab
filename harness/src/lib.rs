// SPDX-License-Identifier: GPL-2.0-only
//! Applies a kernel patch series, builds, boots, tests, measures and bisects,
//! and says what is true.
//!
//! The flow, one direction: [`project`] -> [`source`] -> [`tree`] (commits, by
//! [`git`]) -> [`kernel`] (image, by [`config`]) -> [`boot`] (what was seen) ->
//! [`judge`] (verdicts, for each [`run`]) -> [`report`]. [`verify`] composes it.

pub mod accel;
pub mod bench;
pub mod bisect;
pub mod boot;
pub mod cache;
pub mod cases;
mod ccache;
pub mod check;
pub mod cli;
pub mod collect;
pub mod command;
pub mod config;
pub mod damage;
pub mod detectors;
pub mod disturb;
pub mod docs;
pub mod exec;
pub mod fail;
pub mod faults;
pub mod git;
pub mod guest;
pub mod interrupt;
pub mod intree;
pub mod judge;
pub mod kernel;
pub mod machine;
pub mod mutate;
pub mod one;
pub mod post_mortem;
pub mod progress;
pub mod project;
pub mod report;
pub mod results;
pub mod run;
pub mod scratch;
pub mod series;
pub mod session;
pub mod setup;
pub mod source;
pub mod splat;
pub mod stream;
pub mod stress;
pub mod tree;
pub mod turn;
pub mod unfetched;
mod unfinished;
pub mod verdict;
pub mod verify;
pub mod vm;
