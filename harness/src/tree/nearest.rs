// SPDX-License-Identifier: GPL-2.0-only
//! Which base's patches may go with a version: the nearest release line first.

use anyhow::{Context, Result};

use crate::project::{Base, Project, line_number};

/// The base whose release line is nearest to a version.
pub(super) fn nearest(project: &Project, version: &str) -> Result<Base> {
    by_distance(project.bases()?, version)
        .into_iter()
        .next()
        .context("bases.toml names no base")
}

/// Bases by how far their release lines are from a version, the nearest first;
/// of two that are as far, the older: what a tree does not have yet is worse.
pub(super) fn by_distance(mut bases: Vec<Base>, version: &str) -> Vec<Base> {
    // A major version has had 20 releases since 3.x: 5.19 is next to 6.0.
    let place = |line: &str| line_number(line).map_or(0, |(major, minor)| major * 20 + minor);
    let mut parts = version.split('.');
    let mut part = || parts.next().unwrap_or("0");
    let wanted = place(&format!("{}.{}", part(), part()));
    bases.sort_by_key(|base| {
        let at = place(&base.line);
        (at.abs_diff(wanted), at)
    });
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that the nearest release line is tried first, also over a change
    /// of the major version, and that versions of any form have a nearest.
    #[test]
    fn nearest_base_first() {
        let base = |line: &str| -> Base {
            toml::from_str(&format!("line = '{line}'\npackage = 'any'")).expect("a base")
        };
        let order = |version: &str| {
            let bases = ["5.10", "6.1", "6.12", "7.3"].map(base).to_vec();
            by_distance(bases, version)
                .into_iter()
                .map(|b| b.line)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(order("6.12.117"), "6.12 6.1 7.3 5.10");
        assert_eq!(order("6.8.1"), "6.12 6.1 7.3 5.10");
        assert_eq!(order("6.6.3-rt"), "6.1 6.12 5.10 7.3");
        assert_eq!(order("5.15.0"), "5.10 6.1 6.12 7.3");
        assert_eq!(order("5.16.0"), "6.1 5.10 6.12 7.3");
        assert_eq!(order("4.19.1"), "5.10 6.1 6.12 7.3");
        assert_eq!(order("7.9.0-rc1"), "7.3 6.12 6.1 5.10");
        for odd in ["", "six", "99999999.1", "6"] {
            assert_eq!(order(odd).split(' ').count(), 4, "{odd}");
        }
    }
}
