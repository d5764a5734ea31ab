// SPDX-License-Identifier: GPL-2.0-only
//! report.html: everything in one file.

use crate::results::Results;
use std::path::Path;
pub(super) fn html(_: &Results, _: &Path) -> String {
    String::new()
}
