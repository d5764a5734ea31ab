// SPDX-License-Identifier: GPL-2.0-only
//! Guests that show this and that, one piece of it missing, twice or damaged.

use protocol::{Failure, MARK_END, MARK_START, Outcome};

use super::{
    sample::{NAMES, console, names, observed, records, with_job},
    *,
};
use crate::{damage::Damage, splat::Allowlist};

fn run(events: &[u8], console: &[u8]) -> Run {
    run_of(vec![(&NAMES, observed(events, console))])
}

/// The run of guests that were given these cases, one after the other.
fn run_of(boots: Vec<(&[&str], Observed)>) -> Run {
    with_job(|job| {
        let mut collected = Collected::default();
        for (given, seen) in boots {
            collected.take(job, &names(given), seen);
        }
        collected.into_run(job).unwrap()
    })
}

fn is_good(run: &Run) -> bool {
    run.verdict.is_good() && run.cases.iter().all(|c| c.verdict.is_good())
}

fn all_pass() -> Vec<Vec<u8>> {
    records(&NAMES, |_| Outcome::Pass)
}

fn second_fails() -> Vec<Vec<u8>> {
    records(&NAMES, |case| match case {
        "second" => Outcome::Fail(Failure {
            reason: "wrong-value".into(),
            message: "m".into(),
            context: vec![],
        }),
        _ => Outcome::Pass,
    })
}

/// Verify that another order is taken where it was asked for, and other
/// cases never are.
#[test]
fn announced_is_what_was_given() {
    let given = names(&["a", "b"]);
    assert!(same_cases(&given, &given, false));
    assert!(!same_cases(&names(&["b", "a"]), &given, false));
    assert!(same_cases(&names(&["b", "a"]), &given, true));
    assert!(!same_cases(&names(&["b"]), &given, true));
    assert!(!same_cases(&names(&["a", "a"]), &given, true));
}

/// Verify that a whole and good guest is good, or nothing below would prove anything.
#[test]
fn whole_and_good_is_good() {
    let good = run(&all_pass().concat(), &console(&NAMES).concat());
    assert!(is_good(&good), "{}: {}", good.verdict, good.why);
    let bad = run(&second_fails().concat(), &console(&NAMES).concat());
    assert_eq!(bad.verdict, Verdict::Fail);
}

/// Verify that no guest is good that ended early, at whatever byte, nor one
/// of whose records any is missing, comes twice or changes places with the next.
#[test]
fn no_part_of_the_records_is_good() {
    let (records, console) = (all_pass(), console(&NAMES).concat());
    let whole = records.concat();
    for length in 0..whole.len() {
        assert!(
            !is_good(&run(&whole[..length], &console)),
            "cut at {length}"
        );
    }
    for at in 0..records.len() {
        let mut less = records.clone();
        less.remove(at);
        assert!(!is_good(&run(&less.concat(), &console)), "without {at}");
        let mut more = records.clone();
        more.insert(at, records[at].clone());
        assert!(!is_good(&run(&more.concat(), &console)), "{at} twice");
        if at + 1 < records.len() {
            let mut other = records.clone();
            other.swap(at, at + 1);
            assert!(!is_good(&run(&other.concat(), &console)), "{at} late");
        }
    }
}

/// Verify that no guest is good whose console was not seen: all of it, what
/// was there when a case began or ended, or anything from some byte on.
#[test]
fn an_unseen_console_is_not_good() {
    let (events, lines) = (all_pass().concat(), console(&NAMES));
    assert!(!is_good(&run(&events, b"")));
    for (at, line) in lines.iter().enumerate() {
        let line = String::from_utf8_lossy(line);
        if line.contains(MARK_START) || line.contains(MARK_END) {
            let mut less = lines.clone();
            less.remove(at);
            assert!(!is_good(&run(&events, &less.concat())), "without {at}");
        }
    }
    let whole = lines.concat();
    for length in 0..whole.len() - 1 {
        assert!(
            !is_good(&run(&events, &whole[..length])),
            "the console ends after {length} of {} bytes",
            whole.len()
        );
    }
}

/// Verify that no guest is good whose kernel says that it dropped messages.
#[test]
fn dropped_messages_are_not_good() {
    let (events, lines) = (all_pass().concat(), console(&NAMES));
    for dropped in [
        "** 213 printk messages dropped **",
        "[    1.600000] ** 1 printk messages dropped ** [    1.600001] x",
    ] {
        for at in 1..lines.len() {
            let mut more = lines.clone();
            more.insert(at, format!("{dropped}\n").into_bytes());
            let run = run(&events, &more.concat());
            assert!(!is_good(&run), "{dropped} at {at}");
        }
    }
}

/// Verify that a report of the kernel is seen wherever it stands.
#[test]
fn a_report_anywhere_is_not_good() {
    let (events, lines) = (all_pass().concat(), console(&NAMES));
    for report in [
        "WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2",
        "BUG: KASAN: slab-use-after-free in f+0x1/0x2",
        "Kernel panic - not syncing: Fatal exception in interrupt",
    ] {
        for at in 1..=lines.len() {
            let mut more = lines.clone();
            more.insert(at, format!("[    1.700000] {report}\n").into_bytes());
            let run = run(&events, &more.concat());
            assert!(!is_good(&run), "{report} at {at}");
        }
    }
}

/// Verify that no damage to what a guest wrote, in both streams, turns a
/// failure into something good.
#[test]
fn damage_never_makes_good() {
    let (events, console) = (second_fails().concat(), console(&NAMES).concat());
    let mut damage = Damage::new();
    for round in 0..3_000 {
        let mut streams = [events.clone(), console.clone()];
        for _ in 0..=damage.below(5) {
            let which = damage.below(2);
            damage.to(&mut streams[which]);
        }
        let run = run(&streams[0], &streams[1]);
        assert!(!is_good(&run), "round {round}");
    }
}

/// Verify that a guest that ended early is not excused by a crash that came
/// during another boot.
#[test]
fn an_earlier_crash_excuses_no_later_loss() {
    let events = all_pass();
    let mut lines = console(&NAMES)[..2].concat();
    lines.extend_from_slice(b"[    1.100000] Kernel panic - not syncing: x\n");
    let crashed = observed(&events[..2].concat(), &lines);
    let rest = ["second", "third"];
    let second = records(&rest, |_| Outcome::Pass);
    let without_done = second[..second.len() - 1].concat();
    let lost = observed(&without_done, &console(&rest).concat());
    let came = run_of(vec![(&NAMES, crashed), (&rest, lost)]);
    assert!(came.why.contains("`done`"), "{}", came.why);
    // The crash itself says why its own guest ended early.
    let crashed = observed(&events[..2].concat(), &lines);
    let whole = observed(&second.concat(), &console(&rest).concat());
    let came = run_of(vec![(&NAMES, crashed), (&rest, whole)]);
    assert_eq!(came.why, "");
    assert_eq!(came.cases[0].verdict, Verdict::Crash);
}

/// Verify that what leaked during a case is that case's, although the kernel
/// finds it after the last one.
#[test]
fn a_leak_belongs_to_the_case_that_allocated() {
    let with = |told: &[&str]| {
        let mut lines = console(&NAMES);
        let end = lines.pop().unwrap();
        lines.push(b"[    1.800000] kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n".to_vec());
        for t in told {
            let said = format!("  comm \"x\", pid 7, jiffies 5: allocated {t}");
            for line in ["unreferenced object 0xffff888004b1c2c0 (size 192):", &said] {
                lines.push(format!("[    1.900000] {line}\n").into_bytes());
            }
        }
        lines.push(end);
        run(&all_pass().concat(), &lines.concat())
    };
    let came = with(&["during case second"]);
    let verdicts: Vec<Verdict> = came.cases.iter().map(|c| c.verdict).collect();
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Splat, Verdict::Pass]);
    assert_eq!((came.verdict, came.why.as_str()), (Verdict::Splat, ""));
    assert_eq!(came.cases[1].splats, [0, 1]);
    // What no case allocated, or nobody knows, is the run's.
    for told in [
        &["while no case ran"][..],
        &[],
        &["during case unheard_of"],
        &["during case second", "while no case ran"],
    ] {
        let came = with(told);
        assert_eq!(came.verdict, Verdict::Splat);
        assert!(came.why.contains("kmemleak"), "{told:?}: {}", came.why);
    }
}

/// Verify that a report that came during no case says which was the last.
#[test]
fn a_late_report_names_the_case_before_it() {
    let mut lines = console(&NAMES);
    let warning = "[    1.600000] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2\n";
    lines.insert(5, warning.into());
    let came = run(&all_pass().concat(), &lines.concat());
    assert!(came.why.contains("after `second`"), "{}", came.why);
}

/// Verify that a report that is allowed leaves a trace.
#[test]
fn what_is_allowed_is_told() {
    const TEXT: &str = "[fingerprint]\nnoise = []\n[[pattern]]\nkind = \"warning\"\n\
                        lines = [\"WARNING: *\"]\n[[allow]]\nline = \"WARNING: *harmless*\"\n\
                        bases = [\"6.12\"]\nreason = \"it is\"\n";
    let list = Allowlist::load(TEXT).unwrap();
    let mut lines = console(&NAMES);
    for at in [1, 3, 5] {
        let warning = "[    1.000000] WARNING: a harmless thing at f\n";
        lines.insert(at, warning.into());
    }
    let came = with_job(|job| {
        let job = Job {
            allowed: &list,
            ..job.clone()
        };
        let mut collected = Collected::default();
        let seen = observed(&all_pass().concat(), &lines.concat());
        collected.take(&job, &names(&NAMES), seen);
        collected.into_run(&job).unwrap()
    });
    assert!(is_good(&came), "{}", came.why);
    let told = &came.allowed[0];
    assert_eq!((came.allowed.len(), told.count), (1, 3));
    assert!(told.title.contains("harmless") && told.reason == "it is");
}
