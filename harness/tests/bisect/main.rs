// SPDX-License-Identifier: GPL-2.0-only
//! The search on thousands of generated histories, and against git's own.

mod against_git;
mod driven;
mod histories;
mod log;
mod searched;
