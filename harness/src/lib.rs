// SPDX-License-Identifier: GPL-2.0-only
//! Applies a kernel patch series, builds, boots, tests, measures and bisects,
//! and says what is true.

pub mod results;
pub mod splat;
pub mod verdict;
