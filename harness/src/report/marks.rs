// SPDX-License-Identifier: GPL-2.0-only
//! How a page of docs/ says which patches it is about, for whoever has to know
//! whether it still is about those that are here.

/// How a line begins that says so.
const PATCH_SET: &str = "Patch set of ";

/// A line that says that what follows was found with these patches of a base;
/// `patches` is their digest.
pub(crate) fn mark(base: &str, patches: &str) -> String {
    format!("{PATCH_SET}{base}: {patches}.")
}

/// The patches of a base that a page is about. Several when its parts are not
/// about the same, none when it says nothing of the base.
pub(crate) fn marks<'a>(page: &'a str, base: &str) -> Vec<&'a str> {
    page.lines()
        .filter_map(|line| {
            let (of, patches) = line.strip_prefix(PATCH_SET)?.split_once(": ")?;
            (of == base).then_some(patches.trim_end_matches('.'))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that what is marked is found again, of its base alone.
    #[test]
    fn marks_are_read() {
        let page = format!(
            "# A page\n\n{}\n\ntext\n\n{}\n{}\n",
            mark("6.1", "abc"),
            mark("6.12", "def"),
            mark("6.1", "ghi")
        );
        assert_eq!(marks(&page, "6.1"), ["abc", "ghi"]);
        assert_eq!(marks(&page, "6.12"), ["def"]);
        assert_eq!(marks(&page, "7.3"), [""; 0]);
    }
}
