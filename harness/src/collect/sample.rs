// SPDX-License-Identifier: GPL-2.0-only
//! A job and guests to test with, without a machine.

use std::path::Path;

use protocol::{Arm, CaseInfo, Detector, Event, MARK_END, MARK_START, Outcome, Record, VERSION};

use crate::{
    accel::Accel, boot::Observed, guest::Guest, kernel::Kernel, run::Job, setup::VirtmeNg,
    splat::Allowlist, stream::Stream,
};

/// The cases of the job.
pub(crate) const NAMES: [&str; 3] = ["first", "second", "third"];

/// Names as a batch has them.
pub(crate) fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|n| (*n).to_owned()).collect()
}

/// What a guest that runs the cases writes to its port, one piece a record.
pub(crate) fn records(cases: &[&str], outcome_of: impl Fn(&str) -> Outcome) -> Vec<Vec<u8>> {
    let mut events = vec![Event::Hello {
        protocol: VERSION,
        kernel: "6.12.1".into(),
        build_id: Some("0a".into()),
        cases: names(cases),
        detectors: [Detector::Lockdep].into(),
    }];
    for case in cases {
        let name = (*case).to_owned();
        events.push(Event::CaseStart { case: name.clone() });
        events.push(Event::Log { text: name.clone() });
        events.push(Event::CaseEnd {
            case: name,
            outcome: outcome_of(case),
            duration_us: 5,
        });
    }
    events.push(Event::Done {
        cases: cases.len() as u64,
        detectors: [Detector::Lockdep].into(),
    });
    let line = |(seq, event)| {
        let record = Record {
            seq,
            at_us: 7,
            event,
        };
        (serde_json::to_string(&record).unwrap() + "\n").into_bytes()
    };
    (0..).zip(events).map(line).collect()
}

/// What its kernel writes to the console, one piece a line.
pub(crate) fn console(cases: &[&str]) -> Vec<Vec<u8>> {
    let mut lines = vec!["[    0.000000] Linux version 6.12.1".to_owned()];
    for case in cases {
        lines.push(format!("[    1.000000] {MARK_START}{case}"));
        lines.push(format!("[    1.500000] {MARK_END}{case}"));
    }
    lines.push("[    2.000000] reboot: Power down".into());
    let end = |l: String| (l + "\n").into_bytes();
    lines.into_iter().map(end).collect()
}

/// What is seen of a guest that wrote this and ended.
pub(crate) fn observed(events: &[u8], console: &[u8]) -> Observed {
    let mut seen = Observed::default();
    seen.watched.promised = [Detector::Lockdep].into();
    let mut stream = Stream::default();
    for event in stream.push(events) {
        seen.take(event);
    }
    seen.stream_lacks = stream.lacks();
    seen.scan.push(console);
    seen.ended_by = "QEMU ended with status 0".into();
    seen
}

/// A case that must pass.
pub(crate) fn case(name: &str) -> CaseInfo {
    CaseInfo {
        name: name.into(),
        summary: String::new(),
        proves: vec![],
        expectations: vec![],
        deadline_ms: 1,
        waits_ms: 0,
    }
}

/// Gives a job of [`NAMES`], all of which must pass.
pub(crate) fn with_job<T>(then: impl FnOnce(&Job<'_>) -> T) -> T {
    with_job_of(&NAMES.map(case), then)
}

/// Gives a job of these cases.
pub(crate) fn with_job_of<T>(cases: &[CaseInfo], then: impl FnOnce(&Job<'_>) -> T) -> T {
    let vng = VirtmeNg {
        program: "vng".into(),
        version: String::new(),
    };
    let kernel = Kernel {
        image: "bzImage".into(),
        vmlinux: "/nowhere/vmlinux".into(),
        commit: String::new(),
        build_id: "0a".into(),
        cached: true,
    };
    let guest = Guest {
        program: "selftests".into(),
        cases: cases.to_vec(),
        in_tree: Vec::new(),
        shuffle: None,
        patience: None,
    };
    let job = Job {
        vng: &vng,
        accel: Accel::Tcg,
        kernel: &kernel,
        guest: &guest,
        cases,
        base: "6.12",
        source: "6.12.1",
        arm: Arm::Patched,
        flavor: "default",
        allowed: &Allowlist::none(),
        console: Path::new("console"),
        devices: &[],
        boot_limit: crate::run::BOOT_LIMIT,
        words: &[],
        background: false,
    };
    then(&job)
}
