// SPDX-License-Identifier: GPL-2.0-only
//! What makes two reports the same one.

use super::rules::glob;

/// Kind, title and functions, without anything that differs from one boot, one
/// build or one address to the next. Readable: people search logs for it.
pub(super) fn fingerprint(kind: &str, title: &str, functions: &[String]) -> String {
    let mut print = format!("{kind}: {}", normalised(title));
    for function in functions {
        print.push_str(" < ");
        print.push_str(function);
    }
    print
}

/// The functions in a line of a stack trace or a title, without those that the
/// unwinder is not sure of and without noise.
pub(super) fn functions(line: &str, noise: &[String]) -> Vec<String> {
    if line.trim_start().starts_with("? ") {
        return Vec::new();
    }
    offsets(line)
        .map(|(start, plus, _)| base(&line[start..plus]))
        .filter(|f| !noise.iter().any(|n| glob(n, f)))
        .map(str::to_owned)
        .collect()
}

/// Whether the line is one of a stack trace.
pub(super) fn is_frame(line: &str) -> bool {
    line.starts_with([' ', '\t']) && offsets(line).next().is_some()
}

/// Each `name+0x12/0x34` in the line: where the name starts, where the `+` is,
/// and where it ends.
pub(super) fn offsets(line: &str) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
    line.match_indices("+0x").filter_map(|(plus, _)| {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let start = line[..plus].rfind(|c| !name(c)).map_or(0, |i| {
            i + line[i..].chars().next().map_or(1, char::len_utf8)
        });
        if start == plus || line[start..].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let rest = &line[plus + 3..];
        let offset = hex(rest);
        let size = rest[offset..]
            .strip_prefix("/0x")
            .map(hex)
            .filter(|n| *n > 0)?;
        (offset > 0).then_some((start, plus, plus + 3 + offset + 3 + size))
    })
}

fn hex(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(text.len())
        .min(16)
}

/// The name as the source has it: `.isra.0`, `.constprop.0`, `.cold` are the compiler's.
fn base(name: &str) -> &str {
    name.split_once('.')
        .map_or(name, |(n, _)| if n.is_empty() { name } else { n })
}

fn normalised(title: &str) -> String {
    let mut plain = String::new();
    let mut from = 0;
    for (start, plus, end) in offsets(title).collect::<Vec<_>>() {
        if start < from {
            continue;
        }
        push_without_numbers(&mut plain, &title[from..start]);
        plain.push_str(base(&title[start..plus]));
        from = end;
    }
    push_without_numbers(&mut plain, &title[from..]);
    plain
}

/// `eth0` becomes `ethN`, an address `N`, so that the same report is the same.
fn push_without_numbers(out: &mut String, text: &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !is_word(c) {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let bare = word.strip_prefix("0x").unwrap_or(word);
        let number =
            bare.bytes().all(|b| b.is_ascii_hexdigit()) && bare.bytes().any(|b| b.is_ascii_digit());
        if number {
            out.push('N');
            continue;
        }
        let mut before_digit = false;
        for c in word.chars() {
            match (c.is_ascii_digit(), before_digit) {
                (true, true) => {}
                (true, false) => out.push('N'),
                (false, _) => out.push(c),
            }
            before_digit = c.is_ascii_digit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that addresses, offsets, numbers and the compiler's suffixes do not count.
    #[test]
    fn the_same_report_is_the_same() {
        let a = "BUG: KASAN: slab-use-after-free in skb_clone.isra.0+0x12/0x340 at addr ffff888004b1c2d4";
        let b = "BUG: KASAN: slab-use-after-free in skb_clone+0x99/0x350 at addr ffff88800deadbee7";
        assert_eq!(fingerprint("kasan", a, &[]), fingerprint("kasan", b, &[]));
        let a = "unregister_netdevice: waiting for veth0 to become free. Usage count = 2";
        let b = "unregister_netdevice: waiting for veth12 to become free. Usage count = 11";
        assert_eq!(fingerprint("u", a, &[]), fingerprint("u", b, &[]));
    }

    /// Verify that another function, kind or message is another report.
    #[test]
    fn different_reports_differ() {
        let title = "WARNING: CPU: 0 PID: 77 at net/core/dev.c:5511 skb_do_redirect+0x5c1/0x640";
        let other = "WARNING: CPU: 1 PID: 78 at net/core/dev.c:5512 skb_scrub_packet+0x5c1/0x640";
        assert_ne!(
            fingerprint("warning", title, &[]),
            fingerprint("warning", other, &[])
        );
        assert_ne!(
            fingerprint("warning", title, &[]),
            fingerprint("bug", title, &[])
        );
        assert_eq!(
            fingerprint("warning", title, &["a".into(), "b".into()]),
            "warning: WARNING: CPU: N PID: N at net/core/dev.c:N skb_do_redirect < a < b"
        );
    }

    /// Verify which functions of a stack trace count.
    #[test]
    fn functions_of_a_trace() {
        let noise = ["dump_stack*".to_owned()];
        let of = |line: &str| functions(line, &noise);
        assert_eq!(of(" skb_do_redirect+0x5c1/0x640"), ["skb_do_redirect"]);
        assert!(of(" ? stale_pointer+0x1/0x2").is_empty());
        assert!(of(" dump_stack_lvl+0x1/0x2").is_empty());
        assert_eq!(of("RIP: 0010:veth_xmit.cold+0x1/0x2 [veth]"), ["veth_xmit"]);
        assert!(of("R10: 0x12+0x34 and foo+0x and ä+0x1/0x2").is_empty());
        assert!(is_frame(" __do_softirq+0x1/0x2") && !is_frame("at __do_softirq+0x1/0x2"));
    }
}
