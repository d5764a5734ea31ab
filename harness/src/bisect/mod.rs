// SPDX-License-Identifier: GPL-2.0-only
//! `bisect`: the commit that broke it, or made it slower, without a person watching.
//!
//! Pure: [`graph`] (the commits), [`search`] (which one next), [`sight`] (what a
//! boot says), [`certainty`] (how many boots it takes), [`state`] (what is
//! known), [`drive`] (what to do about it).

pub mod certainty;
pub mod drive;
pub mod graph;
pub mod search;
pub mod sight;
pub mod state;
