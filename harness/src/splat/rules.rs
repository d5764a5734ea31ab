// SPDX-License-Identifier: GPL-2.0-only
//! vm/splats.toml, read.

use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The file as it was when the harness was built.
pub(super) const TEXT: &str = include_str!("../../../vm/splats.toml");

/// The file's patterns.
pub(super) static RULES: LazyLock<Rules> = LazyLock::new(|| {
    // A test reads the same constant, so this cannot happen in a build that was tested.
    Rules::load(TEXT).unwrap_or_else(|e| panic!("vm/splats.toml, which was compiled in: {e:#}"))
});

/// How a report starts and ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pattern {
    pub(super) kind: String,
    pub(super) lines: Vec<String>,
    #[serde(default)]
    pub(super) fatal: bool,
    #[serde(default)]
    pub(super) joins: Vec<String>,
    #[serde(default)]
    pub(super) end: Vec<String>,
    #[serde(default)]
    pub(super) after: Vec<String>,
    #[serde(default = "most")]
    pub(super) most: usize,
    #[serde(default = "functions")]
    pub(super) functions: usize,
}

fn most() -> usize {
    400
}

fn functions() -> usize {
    5
}

impl Pattern {
    fn matches(&self, line: &str) -> bool {
        self.lines.iter().any(|l| glob(l, line))
    }

    /// Whether it says what a report is, and is no mere part of any.
    pub(super) fn names(&self) -> bool {
        !self.joins.iter().any(|j| j == "*")
    }

    /// Whether a line of this pattern belongs to an open report of `kind`.
    pub(super) fn joins(&self, kind: &str) -> bool {
        // What follows "cut here" is unnamed until a line names it.
        (kind == UNNAMED && self.kind != UNNAMED)
            || self.joins.iter().any(|j| j == "*" || j == kind)
    }
}

/// The kind of a report that no line has named yet.
pub(super) const UNNAMED: &str = "report";

/// A report that is known to be harmless.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allow {
    pub(super) line: String,
    pub(super) bases: Vec<String>,
    pub(super) reason: String,
    pub(super) machine: Option<String>,
}

/// Everything in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[serde(rename = "pattern", default)]
    pub(super) patterns: Vec<Pattern>,
    pub(super) fingerprint: Fingerprint,
    #[serde(rename = "allow", default)]
    pub(super) allow: Vec<Allow>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fingerprint {
    pub(super) noise: Vec<String>,
}

impl Rules {
    /// Reads the text of the file.
    pub(super) fn load(text: &str) -> Result<Self> {
        let rules: Self = toml::from_str(text).context("reading the splat patterns")?;
        if rules.patterns.is_empty() {
            bail!("the splat patterns are empty: nothing the kernel logs would be noticed");
        }
        for pattern in &rules.patterns {
            let all = pattern
                .lines
                .iter()
                .chain(&pattern.end)
                .chain(&pattern.after);
            if pattern.lines.is_empty() || pattern.most == 0 {
                bail!("splat pattern `{}` can match nothing", pattern.kind);
            }
            let is_kind = |kind: &str| {
                kind == "*" || kind == UNNAMED || rules.patterns.iter().any(|p| p.kind == kind)
            };
            if let Some(unknown) = pattern.joins.iter().find(|j| !is_kind(j)) {
                bail!(
                    "splat pattern `{}` joins `{unknown}`, and no pattern is of that kind",
                    pattern.kind
                );
            }
            if all.clone().any(|l| l.chars().all(|c| c == '*')) {
                bail!(
                    "splat pattern `{}` has a line that matches every line",
                    pattern.kind
                );
            }
        }
        for allow in &rules.allow {
            if allow.reason.trim().is_empty() || allow.bases.is_empty() {
                bail!(
                    "splat allowlist entry `{}` needs `reason` and `bases`",
                    allow.line
                );
            }
            if allow.line.chars().filter(|c| c.is_alphabetic()).count() < 8 {
                bail!(
                    "splat allowlist entry `{}` is too short to mean one report",
                    allow.line
                );
            }
        }
        Ok(rules)
    }

    /// The pattern that decides on `line`.
    pub(super) fn find(&self, line: &str) -> Option<&Pattern> {
        self.patterns.iter().find(|p| p.matches(line))
    }
}

/// Whether `text` is as `pattern` says: `*` is any text, everything else itself.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, pattern)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = pattern.split('*');
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that the file of the project is valid.
    #[test]
    fn the_projects_file_is_valid() {
        let rules = Rules::load(TEXT).unwrap();
        assert!(rules.patterns.len() > 20 && rules.allow.iter().all(|a| a.reason.len() > 20));
    }

    /// Verify that a file that would notice nothing, or allow everything, is refused.
    #[test]
    fn toothless_files_are_refused() {
        let ok = "[fingerprint]\nnoise = []\n[[pattern]]\nkind = \"a\"\nlines = [\"A*\"]\n";
        assert!(Rules::load(ok).is_ok());
        assert!(Rules::load("[fingerprint]\nnoise = []\n").is_err());
        assert!(Rules::load(&ok.replace("\"A*\"", "\"*\"")).is_err());
        assert!(Rules::load(&ok.replace("lines = [\"A*\"]", "lines = []")).is_err());
        for (joins, is) in [
            ("a", true),
            ("*", true),
            ("report", true),
            ("a_head", false),
        ] {
            let text = format!("{ok}joins = [\"{joins}\"]\n");
            assert_eq!(Rules::load(&text).is_ok(), is, "{joins}");
        }
        let allow = |line: &str, reason: &str| {
            format!("{ok}[[allow]]\nline = \"{line}\"\nbases = [\"6.12\"]\nreason = \"{reason}\"\n")
        };
        assert!(Rules::load(&allow("WARNING: this one", "harmless")).is_ok());
        assert!(Rules::load(&allow("WARNING: this one", " ")).is_err());
        assert!(Rules::load(&allow("*BUG*", "harmless")).is_err());
    }

    /// Verify globs: anchored at both ends, pieces in order, no overlap.
    #[test]
    fn globs() {
        for (pattern, text, is) in [
            ("BUG: *", "BUG: x", true),
            ("BUG: *", "a BUG: x", false),
            ("*BUG: *", "a BUG: x", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-c-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("exact", "exact", true),
            ("exact", "exact ", false),
            ("[ BUG: *", "[ BUG: Invalid wait context ]", true),
        ] {
            assert_eq!(glob(pattern, text), is, "{pattern} {text}");
        }
    }
}
