// SPDX-License-Identifier: GPL-2.0-only
//! Reports that are known and harmless.

use std::{collections::BTreeSet, sync::Mutex};

use anyhow::Result;

use super::{
    Splat,
    rules::{Allow, Rules, glob},
};
use crate::results::Finding;

/// The allowlist of vm/splats.toml. Remembers which of its entries were needed.
#[derive(Debug, Default)]
pub struct Allowlist {
    entries: Vec<Allow>,
    matched: Mutex<BTreeSet<(usize, String)>>,
}

impl Allowlist {
    /// Allows nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the text of vm/splats.toml.
    pub fn load(text: &str) -> Result<Self> {
        Ok(Self {
            entries: Rules::load(text)?.allow,
            matched: Mutex::default(),
        })
    }

    /// Why `splat` is harmless on `base` (`6.12`); `None` when it is not. A
    /// fatal one never is.
    pub fn allow(&self, splat: &Splat, base: &str) -> Option<&str> {
        if splat.fatal {
            return None;
        }
        let (at, entry) = self
            .entries
            .iter()
            .enumerate()
            .find(|(_, e)| e.bases.iter().any(|b| b == base) && glob(&e.line, &splat.title))?;
        if let Ok(mut matched) = self.matched.lock() {
            matched.insert((at, base.to_owned()));
        }
        Some(&entry.reason)
    }

    /// Entries for `base` that have matched nothing so far. Those that need a special machine are left out.
    pub fn unmatched(&self, base: &str) -> Vec<Finding> {
        let matched = self.matched.lock().map(|m| m.clone()).unwrap_or_default();
        self.entries
            .iter()
            .enumerate()
            .filter(|(at, e)| {
                e.machine.is_none()
                    && e.bases.iter().any(|b| b == base)
                    && !matched.contains(&(*at, base.to_owned()))
            })
            .map(|(_, e)| Finding {
                base: base.to_owned(),
                what: format!(
                    "vm/splats.toml allows `{}` ({}), and nothing like it was logged: remove the entry, or name the machine that it needs",
                    e.line, e.reason
                ),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    const TEXT: &str = r#"
        [fingerprint]
        noise = []
        [[pattern]]
        kind = "warning"
        lines = ["WARNING: *"]
        [[allow]]
        line = "WARNING: harmless*"
        bases = ["6.12"]
        reason = "it is"
        [[allow]]
        line = "WARNING: elsewhere*"
        bases = ["5.10", "6.12"]
        reason = "rare"
        machine = "a big one"
    "#;

    fn splat(title: &str, fatal: bool) -> Splat {
        Splat {
            kind: "warning".into(),
            title: title.into(),
            fingerprint: String::new(),
            lines: vec![],
            count: 1,
            fatal,
        }
    }

    /// Verify that an entry holds for its bases and titles, and never for a fatal report.
    #[test]
    fn holds_where_it_says() {
        let list = Allowlist::load(TEXT).unwrap();
        assert_eq!(
            list.allow(&splat("WARNING: harmless thing", false), "6.12"),
            Some("it is")
        );
        assert_eq!(
            list.allow(&splat("WARNING: harmless thing", false), "5.10"),
            None
        );
        assert_eq!(
            list.allow(&splat("WARNING: harmful thing", false), "6.12"),
            None
        );
        assert_eq!(
            list.allow(&splat("WARNING: harmless thing", true), "6.12"),
            None
        );
    }

    /// Verify that an entry that matched nothing is named, and one that did is not.
    #[test]
    fn unmatched_entries_are_named() {
        let list = Allowlist::load(TEXT).unwrap();
        assert_eq!(list.unmatched("6.12").len(), 1);
        assert!(list.unmatched("6.12")[0].what.contains("harmless"));
        assert!(list.unmatched("5.10").is_empty());
        list.allow(&splat("WARNING: harmless thing", false), "6.12");
        assert!(list.unmatched("6.12").is_empty());
    }

    /// Verify that a damaged list is refused, or allows nothing without a reason.
    #[test]
    fn damaged_lists_do_no_harm() {
        let text = include_str!("../../../vm/splats.toml");
        assert!(Allowlist::load(text).is_ok());
        let mut read = 0;
        Damage::texts(1_000, text, |damaged| {
            if let Ok(list) = Allowlist::load(damaged) {
                read += 1;
                assert!(list.entries.iter().all(|e| !e.reason.trim().is_empty()));
            }
        });
        assert!(read > 0, "damage that nothing survives shows nothing");
    }
}
