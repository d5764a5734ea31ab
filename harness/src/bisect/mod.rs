// SPDX-License-Identifier: GPL-2.0-only
//! `bisect`: the commit that broke it, or made it slower, without a person watching.
//!
//! Pure: [`graph`] (the commits), [`search`] (which one next), [`sight`] (what a
//! boot showed), [`question`] (what that says), [`certainty`] (how many boots it
//! takes), [`state`] (what is known), [`drive`] (what to do about it, the ends
//! first). Not pure: [`built`] (what a build read and made), [`meter`] (what a
//! boot is for), [`lab`] (commits as kernels), [`show`] (what came of it),
//! [`command`], [`step`]; and [`generate`], a history to try it on, and [`proof`],
//! which does.

mod ask;
mod boots;
pub mod built;
pub mod certainty;
pub mod command;
pub mod drive;
mod ends;
pub mod generate;
pub mod graph;
pub mod lab;
pub mod meter;
mod plan;
pub mod proof;
pub mod question;
mod range;
pub mod search;
pub mod show;
pub mod sight;
pub mod state;
pub mod step;
mod trials;
