// SPDX-License-Identifier: GPL-2.0-only
//! What `bench` found, kept: as a file of the user's, or by name in the cache.

use std::{fs, path::Path};

use anyhow::Result;
use serde::Deserialize;

use super::figures::{Bench, VERSION};
use crate::{cache::Cache, request};

/// Folder in the cache.
const FOLDER: &str = "bench";

/// What every version of the file has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Fails unless a name can be a file's.
pub(super) fn check(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fine) {
        return Err(request!(
            "`{name}` cannot be a name: use letters, digits, `-`, `_` and `.`"
        ));
    }
    Ok(())
}

/// Keeps what was found in the cache.
pub(super) fn save(cache: &Cache, name: &str, found: &Bench) -> Result<()> {
    check(name)?;
    cache.save(format!("{FOLDER}/{name}.json"), found)
}

/// What was kept by a name.
pub(super) fn named(cache: &Cache, name: &str) -> Result<Bench> {
    check(name)?;
    let path = cache.path(format!("{FOLDER}/{name}.json"));
    if !path.is_file() {
        let mut known: Vec<String> = fs::read_dir(cache.path(FOLDER))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| Some(e.path().file_stem()?.to_str()?.to_owned()))
            .collect();
        known.sort();
        return Err(request!(
            "nothing was saved as `{name}`; saved were: {}",
            if known.is_empty() {
                "none (`--save NAME` saves)".into()
            } else {
                known.join(", ")
            }
        ));
    }
    load(&path)
}

/// Reads a bench.json.
pub fn load(path: &Path) -> Result<Bench> {
    let text =
        fs::read_to_string(path).map_err(|e| request!("cannot read {}: {e}", path.display()))?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Bench> {
    let wrong = |e| request!("{} is no bench.json: {e}", path.display());
    // Another version may have other fields.
    let any: Version = serde_json::from_str(text).map_err(wrong)?;
    if any.version != VERSION {
        return Err(request!(
            "{} has version {}, this harness reads {VERSION}: measure again",
            path.display(),
            any.version
        ));
    }
    let found: Bench = serde_json::from_str(text).map_err(wrong)?;
    if !found.whole {
        return Err(request!(
            "{} is of a measurement that did not come to its end: measure again",
            path.display()
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::figures::tests::sample, damage::Damage};

    /// Verify that what is saved comes back, and that another name is refused
    /// with those that there are.
    #[test]
    fn what_is_saved_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let error = named(&cache, "before").unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
        save(&cache, "before", &sample(&[("a.b.c.host", &[1.0, 1.0])])).unwrap();
        let back = named(&cache, "before").unwrap();
        assert_eq!(back.kernels[0].costs["a.b.c.host"], [1.0, 1.0]);
        let error = named(&cache, "after").unwrap_err();
        assert!(error.to_string().contains("before"), "{error}");
        assert!(save(&cache, "../x", &back).is_err());
    }

    /// Verify that a damaged file is refused, or read as what it now says.
    #[test]
    fn damaged_figures_do_no_harm() {
        let found = sample(&[("a.b.c.host", &[1.0, 1.0]), ("a.b.c.peer", &[2.5])]);
        let text = serde_json::to_string_pretty(&found).unwrap();
        let mut read = 0;
        Damage::texts(3_000, &text, |damaged| {
            if let Ok(found) = parse(damaged, Path::new("bench.json")) {
                read += 1;
                assert_eq!(found.version, VERSION);
                crate::bench::table::table(&found, true);
            }
        });
        assert!(read > 0, "damage that nothing survives shows nothing");
    }

    /// Verify that a file of another version is refused, not misread.
    #[test]
    fn other_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.json");
        let mut found = sample(&[]);
        found.version = VERSION - 1;
        fs::write(&path, serde_json::to_string(&found).unwrap()).unwrap();
        let error = load(&path).unwrap_err();
        assert_eq!(crate::fail::status(&error), crate::fail::REQUEST);
        assert!(error.to_string().contains("measure again"), "{error}");
        fs::write(&path, format!("{{\"version\": {}}}", VERSION - 1)).unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.to_string().contains("has version"), "{error}");
    }

    /// Verify that what was written on the way is not taken for the whole.
    #[test]
    fn half_a_measurement_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.json");
        let mut found = sample(&[]);
        found.whole = false;
        fs::write(&path, serde_json::to_string(&found).unwrap()).unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.to_string().contains("its end"), "{error}");
    }
}
