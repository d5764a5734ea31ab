// SPDX-License-Identifier: GPL-2.0-only
//! What compilers, sparse and kernel-doc print, and which of it a patch brought.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::finding::Finding;

/// One complaint of a compiler or checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// A path in the tree.
    pub file: String,
    /// Line in that file; `None` when the tool names none (objtool).
    pub line: Option<u32>,
    /// Whether it is an error; a warning otherwise.
    pub error: bool,
    /// The rest of the line.
    pub text: String,
}

/// The complaints in the output of a build, in order. Notes belong to the line
/// before them and are left out.
pub fn parse(output: &str) -> Vec<Message> {
    output.lines().filter_map(parse_line).collect()
}

/// `../net/core/dev.c:12:3: warning: text`, with or without line and column.
fn parse_line(line: &str) -> Option<Message> {
    let (head, error, text) = [
        (": warning: ", false),
        (": error: ", true),
        (": fatal error: ", true),
    ]
    .iter()
    .filter_map(|(word, error)| line.split_once(word).map(|(h, t)| (h, *error, t)))
    // The first of them in the line; a message may quote another.
    .min_by_key(|(head, ..)| head.len())?;
    let mut parts = head.split(':');
    let file = parts
        .next()?
        .trim_start_matches("../")
        .trim_start_matches("./");
    if file.is_empty() || file.contains(char::is_whitespace) {
        return None;
    }
    Some(Message {
        file: file.to_owned(),
        line: parts.next().and_then(|n| n.parse().ok()),
        error,
        text: text.trim().to_owned(),
    })
}

/// What is in more places in `after` than in `before`, as findings of `tool`. Lines
/// move, so a message is the same as one with its file and text. One place is one
/// message, however many objects include it: how many make compiles at a time varies.
pub fn brought(before: &[Message], after: &[Message], tool: &str) -> Vec<Finding> {
    let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for m in places(before) {
        *known.entry((&m.file, &m.text)).or_default() += 1;
    }
    places(after)
        .filter(
            |m| match known.get_mut(&(m.file.as_str(), m.text.as_str())) {
                Some(n) if *n > 0 => {
                    *n -= 1;
                    false
                }
                _ => true,
            },
        )
        .map(|m| Finding {
            file: m.file.clone(),
            line: m.line,
            tool: tool.to_owned(),
            text: m.text.clone(),
        })
        .collect()
}

/// The first message of each place.
fn places(messages: &[Message]) -> impl Iterator<Item = &Message> {
    let mut seen = BTreeSet::new();
    messages
        .iter()
        .filter(move |m| seen.insert((&m.file, m.line, &m.text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GCC: &str = "\
../net/core/dev.c: In function '__netif_receive_skb_core':
../net/core/dev.c:5640:13: warning: unused variable 'gone' [-Wunused-variable]
 5640 |         int gone;
      |             ^~~~
../net/core/dev.c:99: warning: Function parameter or member 'x' not described in 'y'
net/core/filter.o: warning: objtool: f()+0x1: unreachable instruction
../net/core/filter.c:7:10: fatal error: net/nothing.h: No such file or directory
../net/core/filter.c:9:2: note: in expansion of macro 'X'
make[5]: *** [../scripts/Makefile.build:243: net/core/filter.o] Error 1
";

    /// Verify that the formats of gcc, kernel-doc and objtool are read, and
    /// nothing else is taken for a complaint.
    #[test]
    fn complaints_are_read() {
        let read = parse(GCC);
        let seen: Vec<(&str, Option<u32>, bool)> = read
            .iter()
            .map(|m| (m.file.as_str(), m.line, m.error))
            .collect();
        assert_eq!(
            seen,
            [
                ("net/core/dev.c", Some(5640), false),
                ("net/core/dev.c", Some(99), false),
                ("net/core/filter.o", None, false),
                ("net/core/filter.c", Some(7), true),
            ]
        );
    }

    /// Verify that a complaint that only moved is not new, and that a second
    /// one of the same text is.
    #[test]
    fn only_what_is_new_is_found() {
        let at = |line| Message {
            file: "f.c".into(),
            line: Some(line),
            error: false,
            text: "unused".into(),
        };
        assert_eq!(brought(&[at(1)], &[at(9)], "gcc"), []);
        let found = brought(&[at(1)], &[at(9), at(20)], "gcc");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, Some(20));
        // A header's, said for one object more.
        assert_eq!(brought(&[at(1)], &[at(9), at(9)], "gcc"), []);
    }
}
