// SPDX-License-Identifier: GPL-2.0-only
//! The pictures that belong to a folder of results, for report.html.

use std::path::Path;

use anyhow::Result;

use super::{figures::Bench, load_of, plot, saved};
use crate::report::text;

/// A picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// The picture, a whole SVG file.
    pub svg: String,
}

/// The pictures of the bench.json and the load.json of a folder, where it has
/// them.
///
/// # Errors
///
/// A file that is there and cannot be read.
pub fn pictures(dir: &Path) -> Result<Vec<Picture>> {
    let mut found = Vec::new();
    let costs = dir.join("bench.json");
    if costs.is_file() {
        let bench = saved::load(&costs)?;
        for base in plot::bases(&bench) {
            found.push(Picture {
                title: format!(
                    "Instructions for a transaction on {base}, by way and kernel: measured on {}, patch set {}",
                    text::utc(bench.started),
                    patches_of(&bench, base)
                ),
                svg: plot::costs(&bench, base)?,
            });
        }
    }
    let latencies = dir.join("load.json");
    if latencies.is_file() {
        let load = load_of(&latencies)?;
        for boot in load.boots.iter().filter(|b| b.cpus == 1) {
            found.push(Picture {
                title: format!(
                    "Latency on one CPU of {} {}, by flows and way: measured on {}, commit {:.12}",
                    boot.source,
                    boot.arm.word(),
                    text::utc(load.started),
                    boot.commit
                ),
                svg: plot::latencies(&boot.points)?,
            });
        }
    }
    Ok(found)
}

/// The patch set of a base.
fn patches_of<'a>(bench: &'a Bench, base: &str) -> &'a str {
    let of_base = bench.kernels.iter().find(|k| k.base == base);
    of_base.map_or("", |k| k.patches.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::sample;

    /// Verify that a folder without figures has no picture, one with them one
    /// for each base, and that a file nobody can read is an error.
    #[test]
    fn a_folder_has_its_pictures() {
        let dir = tempfile::tempdir().unwrap();
        assert!(pictures(dir.path()).unwrap().is_empty());
        let file = dir.path().join("bench.json");
        let found = sample(&[("veth.tcp_rr.v4.host", &[1000.0, 1000.0])]);
        std::fs::write(&file, serde_json::to_string(&found).unwrap()).unwrap();
        let all = pictures(dir.path()).unwrap();
        assert_eq!(all.len(), 1);
        assert!(all[0].title.contains("on 6.12,") && all[0].title.contains("patch set p"));
        assert!(all[0].svg.contains("<svg"));
        std::fs::write(&file, "{}").unwrap();
        assert!(pictures(dir.path()).is_err());
    }
}
