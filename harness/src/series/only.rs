// SPDX-License-Identifier: GPL-2.0-only
//! The marks of cover.txt: which of its paragraphs and list items a release line's
//! letter has. The lines differ, and a letter must not claim what its line lacks. Pure.

use anyhow::Result;

use crate::request;

/// Begins a mark; the release lines follow, and below it the paragraph or list
/// item that is for them alone.
const MARK: &str = "# only ";

/// What of `text` is for the release line `line`, one of `lines`. Without the
/// lines that begin with `#`.
pub fn only(text: &str, line: &str, lines: &[&str]) -> Result<String> {
    let mut kept: Vec<&str> = Vec::new();
    let (mut skip, mut marked) = (false, None);
    for (number, one) in (1..).zip(text.lines()) {
        if let Some(named) = mark(one) {
            if let Some((at, _)) = marked {
                return Err(no_block(at));
            }
            marked = Some((number, is_for(named, line, lines, number)?));
            continue;
        }
        if one.starts_with('#') {
            continue;
        }
        if let Some((at, for_line)) = marked.take() {
            if one.trim().is_empty() {
                return Err(no_block(at));
            }
            skip = !for_line;
            kept.extend((!skip).then_some(one));
        } else if one.trim().is_empty() || one.trim_start().starts_with("- ") {
            // The next paragraph or item.
            skip = false;
            kept.push(one);
        } else {
            kept.extend((!skip).then_some(one));
        }
    }
    match marked {
        Some((at, _)) => Err(no_block(at)),
        None => Ok(closed(&kept)),
    }
}

/// What a mark names: nothing where it names nothing, `None` for another line.
fn mark(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
        .or((line.trim_end() == MARK.trim_end()).then_some(""))
}

fn is_for(named: &str, line: &str, lines: &[&str], number: u32) -> Result<bool> {
    let named: Vec<&str> = named.split_whitespace().collect();
    let unknown = named.iter().find(|n| !lines.contains(n));
    if let (Some(_), None) = (named.first(), unknown) {
        return Ok(named.contains(&line));
    }
    let what = unknown.map_or("no release line".to_owned(), |u| format!("`{u}`"));
    Err(request!(
        "cover.txt:{number}: `{MARK}` names {what}: it takes release lines, of {}",
        lines.join(" ")
    ))
}

fn no_block(number: u32) -> anyhow::Error {
    request!(
        "cover.txt:{number}: `{MARK}` stands above nothing: the paragraph or list item must follow it at once"
    )
}

/// The lines as text, with one empty line where more came together.
fn closed(lines: &[&str]) -> String {
    let mut out = String::new();
    let mut empty = true;
    for line in lines {
        let is_empty = line.trim().is_empty();
        if !(is_empty && empty) {
            out.push_str(line);
            out.push('\n');
        }
        empty = is_empty;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail;

    const LINES: [&str; 4] = ["5.10", "6.1", "6.12", "7.3"];

    const TEXT: &str = "\
# About marks.

Subject

# only 5.10 6.1
A veth
pair.

# only 6.12 7.3
A veth or netkit pair.

For all
# not in any letter
of them:

 - First item.
# only 7.3
 - Second item,
   two lines.
# only 5.10
 - Third item.
 - Last item.
";

    /// Verify that each line has what is for it and for all, that a restriction
    /// ends with its paragraph or item, and that nothing of a mark is left.
    #[test]
    fn each_line_has_its_own() {
        let of = |line| only(TEXT, line, &LINES).unwrap();
        assert_eq!(
            of("5.10"),
            "Subject\n\nA veth\npair.\n\nFor all\nof them:\n\n - First item.\n - Third item.\n - Last item.\n"
        );
        assert_eq!(
            of("6.12"),
            "Subject\n\nA veth or netkit pair.\n\nFor all\nof them:\n\n - First item.\n - Last item.\n"
        );
        assert!(of("7.3").contains(" - Second item,\n   two lines.\n - Last"));
    }

    /// Verify that a mark that would restrict nothing, or to nothing that is
    /// known, is refused with its line: what it is for would be in every letter,
    /// or in none.
    #[test]
    fn mistaken_marks_are_refused() {
        for (text, part) in [
            ("s\n\n# only 6.2\nx\n", "cover.txt:3: `# only ` names `6.2`"),
            ("s\n\n# only 6.1, 7.3\nx\n", "names `6.1,`"),
            ("s\n\n# only\nx\n", "names no release line"),
            ("s\n\n# only 6.1\n\nx\n", "cover.txt:3: `# only ` stands"),
            ("s\n\n# only 6.1\n# only 7.3\nx\n", "cover.txt:3"),
            ("s\n\nx\n# only 6.1\n", "cover.txt:4"),
        ] {
            let error = only(text, "6.1", &LINES).unwrap_err();
            assert_eq!(fail::status(&error), fail::REQUEST);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    /// Verify that no line's letter claims what that line does not have.
    #[test]
    fn no_letter_claims_too_much() {
        let text = include_str!("../../../kernel-patches/cover.txt");
        let of = |line| {
            let text = only(text, line, &LINES).unwrap();
            super::super::cover::written(&text).unwrap();
            assert!(!text.contains('#'), "{text}");
            text
        };
        for (word, has) in [
            ("netkit", &["6.12", "7.3"][..]),
            ("drop reason", &["6.1", "6.12", "7.3"]),
            ("tstats", &["5.10"]),
            ("BPF_F_EGRESS", &["7.3"]),
            ("bpf_sk_assign()", &LINES),
        ] {
            for line in LINES {
                assert_eq!(
                    of(line).contains(word),
                    has.contains(&line),
                    "{line} {word}"
                );
            }
        }
    }
}
