// SPDX-License-Identifier: GPL-2.0-only
//! Whether the pages of docs/ that are made from results are about the patches
//! that are here. A figure of other patches misleads whoever reads it.

use anyhow::{Context, Result};

use super::Count;
use crate::{report::marks::marks, session::Session};

/// The pages, and how each is made again.
const PAGES: [(&str, &str); 2] = [
    (
        "docs/upstream.md",
        "verify --base all --arm baseline --arm patched --arm upstream --results DIR",
    ),
    ("docs/performance.md", "bench --base all --results DIR"),
];

/// Counts each page as good if every base has a part of it, found with the
/// patches that it has now.
pub(super) fn pages(session: &Session, count: &mut Count) -> Result<()> {
    let mut bases = Vec::new();
    for base in session.project.bases()? {
        let patches = session.project.patch_set(&base.line, None)?;
        bases.push((base.line, patches));
    }
    for (page, made) in PAGES {
        let path = session.project.path(page);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let stale = stale(&text, &bases);
        count.one(&format!("{page} is about these patches"), stale.is_empty());
        if !stale.is_empty() {
            println!(
                "     not so for {}: run `cargo harness {made}`, and `cargo harness docs DIR`",
                stale.join(", ")
            );
        }
    }
    Ok(())
}

/// The bases of which a page does not tell what it says for these patches.
fn stale<'a>(page: &str, bases: &'a [(String, String)]) -> Vec<&'a str> {
    bases
        .iter()
        .filter(|(base, patches)| {
            let said = marks(page, base);
            said.is_empty() || said.iter().any(|s| s != patches)
        })
        .map(|(base, _)| base.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::marks::mark;

    /// Verify that a base is stale whose patches are others, in any part of the
    /// page, and one that is not there.
    #[test]
    fn other_patches_are_stale() {
        let bases = ["6.1", "6.12", "7.3"].map(|b| (b.to_owned(), "now".to_owned()));
        let page = [
            mark("6.1", "now"),
            mark("6.12", "now"),
            mark("6.12", "then"),
        ];
        assert_eq!(stale(&page.join("\n\n"), &bases), ["6.12", "7.3"]);
        let page = bases.clone().map(|(b, p)| mark(&b, &p));
        assert!(stale(&page.join("\n\n"), &bases).is_empty());
    }
}
