// SPDX-License-Identifier: GPL-2.0-only
//! Console bytes to messages of the kernel.
//!
//! The console is shared: user space writes without a newline and the kernel's
//! next line is glued to it, a terminal's escapes are in between, and a panic
//! breaks into the middle of a line. A timestamp begins a message wherever it is.

/// A message longer than this is cut. Bytes; the kernel's own bound is 1,024
/// with its prefix.
const LONGEST: usize = 1024;

/// What one writer wrote in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Microseconds since boot; `None` without a timestamp.
    pub(super) at: Option<u64>,
    /// `T123` or `C0`, with CONFIG_PRINTK_CALLER.
    pub(super) caller: String,
    /// What it says, leading blanks kept.
    pub(super) text: String,
}

/// The messages in a line.
pub(super) fn messages(raw: &[u8]) -> Vec<Message> {
    // Before it is cleaned: an escape that a program left unfinished takes the
    // bracket behind it along, and that may be the kernel's.
    let line = String::from_utf8_lossy(raw);
    let mut found = Vec::new();
    let mut rest: &str = &line;
    let mut head: Option<(u64, String)> = None;
    loop {
        let next = rest
            .match_indices('[')
            .find_map(|(i, _)| Some((i, stamp(&rest[i..])?)));
        let (text, after) = match &next {
            Some((i, (_, _, length))) => (&rest[..*i], Some(&rest[i + length..])),
            None => (rest, None),
        };
        let text = clean(text);
        // `<6>` is the level that some consoles print in front.
        let text = if next.is_some() && is_level(&text) {
            ""
        } else {
            &text
        };
        let (at, caller) = head
            .take()
            .map_or((None, String::new()), |(a, c)| (Some(a), c));
        if at.is_some() || !text.trim().is_empty() {
            found.push(Message {
                at,
                caller,
                text: cut(text).to_owned(),
            });
        }
        let Some(after) = after else { return found };
        head = next.map(|(_, (at, caller, _))| (at, caller));
        rest = after;
    }
}

/// Text without what a terminal or a reader could take for something else:
/// escapes, control characters, marks that turn the direction of writing.
pub fn clean(text: &str) -> String {
    // Almost every line is plain already.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    // Parameters, then one letter. What is none of that is text again.
                    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    chars.next_if(|c| matches!(c, '@'..='~'));
                }
                Some('(' | ')') => {
                    chars.next();
                    chars.next();
                }
                Some('@'..='_' | 'c' | '=' | '>' | '7' | '8') => {
                    chars.next();
                }
                _ => {}
            },
            '\t' => out.push(c),
            // Neither may text turn around, nor may a report hold what XML does not know.
            '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// `[   12.345678] ` or `[   12.345678][  T123] ` at the start of `text`: time,
/// caller, length.
fn stamp(text: &str) -> Option<(u64, String, usize)> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(']').filter(|e| *e <= 24)?;
    let (seconds, micros) = inner[..end].trim_start_matches(' ').split_once('.')?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(micros) || micros.len() != 6 {
        return None;
    }
    let at = seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(micros.parse().ok()?)?;
    let mut length = 1 + end + 1;
    let mut caller = String::new();
    let rest = &text[length..];
    if let Some((name, skip)) = self::caller(rest) {
        caller = name;
        length += skip;
    }
    if text[length..].starts_with(' ') {
        length += 1;
    }
    Some((at, caller, length))
}

fn caller(text: &str) -> Option<(String, usize)> {
    let blanks = text.len() - text.trim_start_matches(' ').len();
    let inner = text[blanks..].strip_prefix('[')?;
    let end = inner.find(']').filter(|e| *e <= 64)?;
    let name = inner[..end].trim();
    let number = name.strip_prefix(['T', 'C'])?;
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| (name.to_owned(), blanks + end + 2))
}

fn is_level(text: &str) -> bool {
    text.trim()
        .strip_prefix('<')
        .and_then(|t| t.strip_suffix('>'))
        .is_some_and(|n| !n.is_empty() && n.len() <= 3 && n.bytes().all(|b| b.is_ascii_digit()))
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(raw: &str) -> Vec<(Option<u64>, String, String)> {
        messages(raw.as_bytes())
            .into_iter()
            .map(|m| (m.at, m.caller, m.text))
            .collect()
    }

    fn one(at: u64, caller: &str, text: &str) -> (Option<u64>, String, String) {
        (Some(at), caller.into(), text.into())
    }

    /// Verify each form of a prefix.
    #[test]
    fn prefixes() {
        assert_eq!(
            texts("[   12.345678] hello\r"),
            [one(12_345_678, "", "hello")]
        );
        assert_eq!(
            texts("[    0.000000][    T0] hello"),
            [one(0, "T0", "hello")]
        );
        assert_eq!(
            texts("[    1.000001] [  C1] hello"),
            [one(1_000_001, "C1", "hello")]
        );
        assert_eq!(
            texts("<4>[    1.000001]  tab_name+0x1/0x2"),
            [one(1_000_001, "", " tab_name+0x1/0x2")]
        );
        assert_eq!(texts("[123456.000001] x"), [one(123_456_000_001, "", "x")]);
        assert_eq!(
            texts("no stamp"),
            [(None, String::new(), "no stamp".into())]
        );
        assert_eq!(
            texts("[ 1.5] no stamp"),
            [(None, String::new(), "[ 1.5] no stamp".into())]
        );
        assert_eq!(texts("[    1.000000] "), [one(1_000_000, "", "")]);
    }

    /// Verify that a message glued to what user space wrote is found.
    #[test]
    fn glued_messages_come_apart() {
        assert_eq!(
            texts("login: [    1.000000] one[    2.000000] two"),
            [
                (None, String::new(), "login:".into()),
                one(1_000_000, "", "one"),
                one(2_000_000, "", "two")
            ]
        );
    }

    /// Verify that escapes and control characters are gone and text is kept.
    #[test]
    fn junk_is_removed() {
        assert_eq!(
            clean("\u{1b}[1;31mred\u{1b}[0m\u{7}\u{1b}c\u{0}x\u{202e}y"),
            "redxy"
        );
        assert_eq!(
            texts("\u{1b}[?7l[    1.000000] \u{1b}[1mBUG: x"),
            [one(1_000_000, "", "BUG: x")]
        );
        assert_eq!(
            messages(b"[    1.000000] a\xff\xfeb")[0].text,
            "a\u{fffd}\u{fffd}b"
        );
        assert_eq!(clean("\u{1b}["), "");
    }

    /// Verify that a line without end is cut, at a character.
    #[test]
    fn long_lines_are_cut() {
        let long = format!("[    1.000000] {}", "ä".repeat(5000));
        assert!(texts(&long)[0].2.len() <= LONGEST);
    }
}
