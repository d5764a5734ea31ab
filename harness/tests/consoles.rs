// SPDX-License-Identifier: GPL-2.0-only
//! The scanner on recorded consoles, harness/tests/consoles: each file is named
//! after what it holds.

use std::path::Path;

use harness::{
    damage::Damage,
    splat::{Allowlist, Report, Scanner},
};

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/consoles")
        .join(format!("{name}.log"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn scan(bytes: &[u8]) -> Vec<Report> {
    let mut scanner = Scanner::default();
    scanner.push(bytes);
    scanner.finish()
}

/// `kind case count`, with `!` for a fatal one, in the order of the log.
fn found(name: &str) -> Vec<String> {
    scan(&bytes(name)).iter().map(shown).collect()
}

fn shown(report: &Report) -> String {
    let splat = &report.splat;
    let fatal = if splat.fatal { "!" } else { "" };
    format!(
        "{}{fatal} {} {}",
        splat.kind,
        report.case.as_deref().unwrap_or("-"),
        splat.count
    )
}

/// What each file holds.
const HOLDS: &[(&str, &[&str])] = &[
    ("clean", &[]),
    ("empty", &[]),
    ("firmware_only", &[]),
    ("lookalike", &[]),
    ("task_dump", &[]),
    ("warn", &["warning a 1"]),
    ("warn_7_3", &["warning a 1"]),
    ("warn_without_file", &["warning a 1"]),
    ("bug", &["bug! a 1", "panic! a 1"]),
    ("oops", &["oops! a 1"]),
    ("general_protection", &["oops! a 1"]),
    ("panic", &["panic! - 1"]),
    ("panic_untimed", &["panic! a 1"]),
    ("kasan", &["kasan a 1"]),
    ("kasan_twice", &["kasan a 2", "kasan b 1"]),
    ("kcsan", &["kcsan a 1"]),
    ("ubsan", &["ubsan a 1"]),
    ("ubsan_5_10", &["ubsan a 1"]),
    ("lockdep", &["lockdep a 1"]),
    ("lockdep_rcu", &["lockdep a 1"]),
    ("lockdep_wait_context", &["lockdep a 1"]),
    ("rcu_stall", &["rcu_stall loop 2"]),
    ("rcu_starved", &["rcu_stall loop 1"]),
    ("rcu_stall_by_nmi", &["rcu_stall drop_reason_loop 1"]),
    ("soft_lockup", &["soft_lockup loop 2"]),
    ("hard_lockup", &["hard_lockup loop 1"]),
    ("hung_task", &["hung_task a 1"]),
    ("kmemleak", &["kmemleak a 1", "kmemleak - 1"]),
    ("left_in_memory", &["left_in_memory - 1"]),
    (
        "kmemleak_by_case",
        &[
            "kmemleak - 1",
            "kmemleak b 1",
            "kmemleak a 1",
            "kmemleak - 1",
        ],
    ),
    ("kmemleak_off", &["kmemleak - 1", "kmemleak - 1"]),
    ("sysrq_by_user", &["trace a 1"]),
    (
        "net_complaints",
        &["socket_release a 1", "buggy_protocol b 1", "hw_csum c 1"],
    ),
    ("refcount", &["refcount a 1"]),
    ("ref_tracker", &["ref_tracker a 1", "ref_tracker - 1"]),
    ("unregister_netdevice", &["unregister_netdevice a 3"]),
    ("sleeping", &["bug a 1"]),
    (
        "multi",
        &[
            "kasan a 1",
            "warning a 1",
            "warning b 1",
            "kmemleak b 1",
            "warning - 1",
        ],
    ),
    ("interleaved", &["kasan a 1", "warning a 1"]),
    ("across_mark", &["warning a 1"]),
    ("unknown_trace", &["trace a 1", "unknown b 1"]),
    ("unnamed", &["report a 1"]),
    ("cut_off", &["kasan a 1"]),
    ("garbage", &["kasan a 1"]),
    ("allowed", &["unknown - 1", "unknown - 1", "unknown - 1"]),
];

/// Verify that each console is found to hold what it holds, however it arrives.
#[test]
fn consoles_hold_what_they_hold() {
    for (name, holds) in HOLDS {
        let mut whole = found(name);
        whole.sort();
        let mut wanted: Vec<String> = holds.iter().map(|h| (*h).to_owned()).collect();
        wanted.sort();
        assert_eq!(whole, wanted, "{name}");
        for size in [1, 7, 4096] {
            let mut scanner = Scanner::default();
            for piece in bytes(name).chunks(size) {
                scanner.push(piece);
            }
            let mut pieces: Vec<String> = scanner.finish().iter().map(shown).collect();
            pieces.sort();
            assert_eq!(pieces, wanted, "{name} in pieces of {size}");
        }
    }
}

/// Verify that every file in the folder is in the list above.
#[test]
fn no_console_is_forgotten() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consoles");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            HOLDS
                .iter()
                .any(|(n, _)| Some(*n) == name.strip_suffix(".log")),
            "{name}"
        );
    }
}

/// Verify that a check that did not work does not look like a clean log.
#[test]
fn nothing_seen_is_not_clean() {
    let lines = |name: &str| {
        let mut scanner = Scanner::default();
        scanner.push(&bytes(name));
        scanner.lines()
    };
    assert_eq!(lines("empty"), 0);
    assert_eq!(lines("firmware_only"), 0, "firmware is not the kernel");
    assert!(lines("clean") > 10);
    assert!(
        lines("panic_untimed") > 10,
        "a kernel without timestamps is one"
    );
}

/// Verify that marks are read, and that user space cannot make one.
#[test]
fn marks_are_the_kernels() {
    let mut scanner = Scanner::default();
    scanner.push(&bytes("lookalike"));
    assert!(scanner.marked("a") && !scanner.marked("fake"));
}

/// Verify that a report is told of when it begins, and that a fatal one says so.
#[test]
fn notices_come_at_once() {
    let mut scanner = Scanner::default();
    let mut notices = Vec::new();
    for line in bytes("oops").split_inclusive(|b| *b == b'\n') {
        notices.extend(scanner.push(line));
        if !notices.is_empty() {
            break;
        }
    }
    assert_eq!(notices.len(), 1);
    assert!(notices[0].fatal && notices[0].line.contains("NULL pointer") && scanner.fatal());
}

/// Verify titles, fingerprints and the end of reports.
#[test]
fn reports_are_cut_out_right() {
    let reports = scan(&bytes("kasan"));
    let splat = &reports[0].splat;
    assert_eq!(
        splat.title,
        "BUG: KASAN: slab-use-after-free in skb_do_redirect+0x5c1/0x640"
    );
    assert!(
        splat.lines[0].starts_with("=====") && splat.lines.last().unwrap().starts_with("=====")
    );
    assert!(splat.fingerprint.ends_with("< skb_do_redirect < __netif_receive_skb_core < process_backlog < dst_alloc < dst_destroy"), "{}", splat.fingerprint);
    let reports = scan(&bytes("lockdep"));
    let splat = &reports[0].splat;
    assert!(splat.title.contains("circular locking"));
    assert_eq!(
        splat.lines.last().unwrap(),
        " </TASK>",
        "the line after the trace is none of it"
    );
    let reports = scan(&bytes("sleeping"));
    assert_eq!(reports[0].splat.lines.last().unwrap(), " </TASK>");
    let late = b"[    1.000000] unregister_netdevice: waiting for a\n[    1.100000] more\n[    9.000000] later\n";
    assert_eq!(
        scan(late)[0].splat.lines.len(),
        2,
        "what comes seconds later is none of it"
    );
    let reports = scan(&bytes("multi"));
    let warnings: Vec<&str> = reports
        .iter()
        .filter(|r| r.splat.kind == "warning")
        .map(|r| r.splat.fingerprint.as_str())
        .collect();
    assert_eq!(warnings[0], warnings[1], "the same in two cases");
    assert_ne!(warnings[1], warnings[2]);
    let outside = reports.iter().find(|r| r.case.is_none()).unwrap();
    assert_eq!(outside.after.as_deref(), Some("b"));
}

/// Verify that the project's allowlist covers the boot lines it is for, nothing
/// else, and nothing on another base.
#[test]
fn allowlist_covers_boot_lines() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/splats.toml"))
            .unwrap();
    let list = Allowlist::load(&text).unwrap();
    for report in scan(&bytes("allowed")) {
        assert!(
            list.allow(&report.splat, "6.12").is_some(),
            "{}",
            report.splat.title
        );
        assert!(list.allow(&report.splat, "4.19").is_none());
    }
    for (name, _) in HOLDS.iter().filter(|(n, _)| *n != "allowed") {
        for report in scan(&bytes(name)) {
            assert!(
                list.allow(&report.splat, "6.12").is_none(),
                "{name}: {}",
                report.splat.title
            );
        }
    }
}

/// Verify that whatever a program left on the console, the kernel's line behind it
/// is read as its own, and nothing that a program wrote is taken for the kernel's.
#[test]
fn what_a_program_left_hides_nothing() {
    for left in [
        "",
        "half a line",
        "\r",
        "\r\r\n\r",
        "\0\0\0",
        "\u{1b}",
        "\u{1b}[",
        "\u{1b}[1;3",
        "\u{1b}(",
        "\u{1b}]0;title",
        "\u{9b}1",
        "\u{202e}",
        "[",
        "[    9.9",
        "[    9.99999] redirect-peer: case end a",
        "redirect-peer: case end a",
        "redirect-peer: case start b\r",
        "reboot: Power down",
    ] {
        for line in [
            "unregister_netdevice: waiting for eth0 to become free. Usage count = 2",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "BUG: workqueue lockup - pool cpus=0",
        ] {
            let console = format!(
                "[    1.000000] redirect-peer: case start a\n{left}[    2.000000] {line}\n"
            );
            let mut scanner = Scanner::default();
            scanner.push(console.as_bytes());
            assert!(!scanner.is_gone(), "{left:?}");
            let reports = scanner.finish();
            let seen: Vec<String> = reports.iter().map(shown).collect();
            assert!(
                seen.len() == 1 && seen[0].ends_with(" a 1"),
                "{left:?} hides {line}: {seen:?}"
            );
        }
    }
}

/// Verify that no damage makes the scanner panic, and that what it keeps is bounded.
#[test]
fn damaged_consoles_are_survived() {
    let all: Vec<u8> = HOLDS.iter().flat_map(|(name, _)| bytes(name)).collect();
    let mut damage = Damage::new();
    for _ in 0..60 {
        let mut damaged = all.clone();
        for _ in 0..200 {
            let at = damage.below(damaged.len());
            match damage.below(5) {
                0 => damaged[at] = damage.below(256) as u8,
                1 => damaged[at] = b'\n',
                2 => drop(damaged.drain(at..(at + damage.below(200)).min(damaged.len()))),
                3 => damaged.truncate(at.max(damaged.len() - 500)),
                _ => {
                    let piece = damaged[at..(at + damage.below(500)).min(damaged.len())].to_vec();
                    let to = damage.below(damaged.len());
                    damaged.splice(to..to, piece);
                }
            }
        }
        let mut scanner = Scanner::default();
        for piece in damaged.chunks(1 + damage.below(5000)) {
            scanner.push(piece);
        }
        check_bounds(&scanner.finish());
    }
}

/// Verify that one wrong byte hides no more than the report it is in.
#[test]
fn one_damaged_byte_hides_one_report() {
    let whole = bytes("multi");
    let mut damage = Damage::new();
    for _ in 0..2_000 {
        let mut damaged = whole.clone();
        let at = damage.below(damaged.len());
        damaged[at] = damage.below(256) as u8;
        assert!(scan(&damaged).len() >= 4, "byte {at}");
    }
}

/// Verify that floods of reports, of different reports, of cases and of bytes
/// without a line keep to a bound, and that the count is kept.
#[test]
fn floods_are_bounded() {
    let mut scanner = Scanner::default();
    let spell = |n: usize| -> String {
        n.to_string()
            .bytes()
            .map(|b| char::from(b'a' + (b - b'0')))
            .collect()
    };
    for i in 0..20_000 {
        let line = format!(
            "[    1.000000] BUG: the {} of them{}\n",
            spell(i),
            "x".repeat(900)
        );
        assert!(scanner.push(line.as_bytes()).len() <= 1);
    }
    let reports = scanner.finish();
    check_bounds(&reports);
    assert_eq!(reports.iter().map(|r| r.splat.count).sum::<usize>(), 20_000);

    let mut scanner = Scanner::default();
    for i in 0..20_000 {
        let case = format!(
            "[    1.000000] redirect-peer: case start c{i}\n[    1.0] x\n[    1.000000] BUG: it\n"
        );
        scanner.push(case.as_bytes());
    }
    let reports = scanner.finish();
    check_bounds(&reports);
    assert_eq!(reports.iter().map(|r| r.splat.count).sum::<usize>(), 20_000);

    let mut scanner = Scanner::default();
    for _ in 0..200 {
        scanner.push(&[b'x'; 1 << 16]);
    }
    scanner.push(b"[    1.000000] BUG: after all that\n");
    assert_eq!(scanner.finish().len(), 1);
}

fn check_bounds(reports: &[Report]) {
    assert!(reports.len() <= 11_000);
    let kept: usize = reports
        .iter()
        .flat_map(|r| &r.splat.lines)
        .map(String::len)
        .sum();
    assert!(kept < 64 << 20, "{kept} bytes");
    assert!(
        reports
            .iter()
            .flat_map(|r| &r.splat.lines)
            .all(|l| !l.chars().any(|c| c.is_control() && c != '\t'))
    );
}
