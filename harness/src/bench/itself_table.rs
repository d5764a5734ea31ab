// SPDX-License-Identifier: GPL-2.0-only
//! What `bench --self` found, as text and for README.md.

use std::fmt::Write;

use super::{
    itself::{Itself, Ours},
    theirs::Theirs,
};
use crate::progress::seconds;

/// Everything, in Markdown.
pub(super) fn text(found: &Itself) -> String {
    let mut out = format!(
        "\nLinux {} patched on {}, {} CPUs, {}; vng {} builds the same sources with its own configuration and runs `true`:\n\n\
         | from | harness, to the verdict on every case | vng --build + vng --run |\n|---|---:|---:|\n",
        found.source,
        found.machine.cpu,
        found.machine.cpus,
        found.machine.accel,
        found.machine.virtme_ng
    );
    let theirs = |t: &Theirs| {
        format!(
            "{} ({} + {})",
            seconds(t.build + t.run),
            seconds(t.build),
            seconds(t.run)
        )
    };
    let empty = "an empty cache (vng: an empty build folder, the sources being there)";
    for (from, ours, theirs) in [
        (empty, found.empty.as_ref(), Some(theirs(&found.vng_empty))),
        (
            "a changed line of net/core/filter.c",
            Some(&found.changed),
            Some(theirs(&found.vng_changed)),
        ),
        ("a full cache", Some(&found.cached), None),
    ] {
        let _ = writeln!(
            out,
            "| {from} | {} | {} |",
            ours.map_or("not measured".to_owned(), |o| seconds(o.verdict)),
            theirs.unwrap_or_else(|| "not measured".to_owned())
        );
    }
    out.push('\n');
    for (from, ours) in [
        ("an empty cache", found.empty.as_ref()),
        ("a changed line", Some(&found.changed)),
        ("a full cache", Some(&found.cached)),
    ] {
        let Some(ours) = ours else { continue };
        let _ = write!(out, "- From {from}: ");
        if let (Some(boot), Some(running)) = (ours.boot, ours.running) {
            let _ = write!(
                out,
                "{} to the guest's first event, then {} cases in {} ({:.2} a second). ",
                seconds(boot),
                ours.cases,
                seconds(running),
                ours.cases as f64 / running
            );
        }
        let _ = writeln!(out, "Steps: {}.", steps(ours).join(", "));
    }
    out
}

/// The same in few words, for README.md.
pub(super) fn rows(found: &Itself) -> String {
    let mut out = String::from(
        "| from | to the verdict | of which | `vng --build` and `--run` |\n|---|---|---|---|\n",
    );
    for (from, ours, theirs) in [
        (
            "an empty cache (vng: an empty build folder, the sources being there)",
            found.empty.as_ref(),
            Some(&found.vng_empty),
        ),
        (
            "one changed line in net/core/filter.c",
            Some(&found.changed),
            Some(&found.vng_changed),
        ),
        ("everything cached", Some(&found.cached), None),
    ] {
        let Some(ours) = ours else { continue };
        let longest = ours.steps.iter().filter(|s| s.seconds >= 1.0);
        let of_which: Vec<String> = longest
            .map(|s| format!("{} {}", s.name, seconds(s.seconds)))
            .collect();
        let _ = writeln!(
            out,
            "| {from} | {} | {} | {} |",
            seconds(ours.verdict),
            of_which.join(", "),
            theirs.map_or_else(|| "-".into(), |t| seconds(t.build + t.run))
        );
    }
    out
}

/// What a verdict's time was spent on.
fn steps(ours: &Ours) -> Vec<String> {
    let steps = ours.steps.iter();
    steps
        .map(|s| format!("{} {} {}", s.name, s.what, seconds(s.seconds)))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::results::{Machine, Step};

    /// What a run would give.
    pub(in crate::bench) fn sample() -> Itself {
        let ours = |verdict| Ours {
            verdict,
            boot: Some(2.0),
            cases: 90,
            running: Some(45.0),
            steps: vec![Step {
                name: "build".into(),
                what: "6.12 patched".into(),
                seconds: 20.0,
                cached: false,
            }],
        };
        Itself {
            started: 0,
            seconds: 2000.0,
            machine: Machine::default(),
            source: "6.12.117".into(),
            empty: Some(ours(600.0)),
            cached: ours(50.0),
            changed: ours(70.0),
            vng_empty: Theirs {
                build: 700.0,
                run: 4.0,
            },
            vng_changed: Theirs {
                build: 30.0,
                run: 4.0,
            },
        }
    }

    /// Verify that the table has what was measured, and says what was not.
    #[test]
    fn what_was_not_measured_is_said() {
        let mut found = sample();
        let said = text(&found);
        let row = "sources being there) | 10 min 00 s | 11 min 44 s (11 min 40 s + 4.0 s) |";
        assert!(said.contains(row), "{said}");
        assert!(
            said.contains("90 cases in 45.0 s (2.00 a second)"),
            "{said}"
        );
        found.empty = None;
        let said = text(&found);
        assert!(said.contains("there) | not measured | 11 min"), "{said}");
    }
}
