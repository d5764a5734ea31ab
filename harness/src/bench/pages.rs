// SPDX-License-Identifier: GPL-2.0-only
//! docs/load.md, docs/native.md and docs/speed.md with their pictures, and the
//! figures in README.md: from what `bench --load`, `--native` and `--self` wrote.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};

use super::{
    document::measured,
    effect,
    itself::Itself,
    itself_table,
    latency::Point,
    load::Load,
    native::{self, Native},
    plot,
    rows::{Row, rows},
};
use crate::{cache::write_whole, report::text, request};

/// What stands around the figures of README.md.
const BEGIN: &str = "<!-- Made by `cargo harness docs` from `bench --self`; do not edit. -->";
const END: &str = "<!-- That was it. -->";

/// A page's first lines.
fn head(title: &str) -> String {
    format!(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # {title}\n\n"
    )
}

/// Writes docs/load.md, and a picture for each kernel, from what was measured.
pub fn write_load(loads: &[Load], to: &Path) -> Result<()> {
    let mut out = head("Latency under load");
    out.push_str(
        "Flows that share a CPU, so that a second pass of the softirq has to wait: transactions in guest time, which is the\n\
         number of instructions that each CPU of the guest executed. QEMU has the CPUs take turns in one thread, and here a\n\
         turn ends with each transaction. *at once* is transactions in a second times the mean of what one takes, for each\n\
         flow (Little's law; of all measurements the one that is farthest from 1): below 1 some flows waited until others\n\
         were done, and more than a tenth off nothing of it is shown. Latencies and rates are medians of all measurements,\n\
         *between* is where the true median of P50 is, 95 % sure, and a P99 is shown where each measurement has five\n\
         transactions beyond it.\n\n\
         *polls of the backlog* (*in the pass of the device*: after a device was polled in the same pass), *passes* (of the\n\
         receive softirq) and *again* (asked for by the pass before) are for a transaction, *waits* is from a softirq's being\n\
         raised to its being run, all counted on tracepoints in measurements of their own; the last four columns are of all\n\
         measurements. In the pictures a line goes from the least to P99, and a bar from P50 to P90.\n",
    );
    for load in loads {
        let _ = writeln!(
            out,
            "\n{}",
            measured(load.started, load.seconds, &load.machine)
        );
        for boot in load.boots.iter().filter(|b| b.cpus == 1) {
            let file = format!("latency-{}-{}.svg", boot.base, boot.arm.word());
            let rows = rows(boot);
            let held = rows.iter().filter(|r| r.holds());
            let points: Vec<Point> = held.filter_map(Row::typical).collect();
            write_whole(&to.join(&file), plot::latencies(&points)?.as_bytes())?;
            let _ = writeln!(
                out,
                "\n![Latency on one CPU of {} {}, by flows and way]({file})",
                boot.source,
                boot.arm.word()
            );
        }
        out.push_str(&effect::text(load));
    }
    write_whole(&to.join("load.md"), out.as_bytes())
}

/// Writes docs/native.md from what was measured.
pub fn write_native(natives: &[Native], to: &Path) -> Result<()> {
    let mut out = head("Latency by the clock");
    out.push_str(
        "The kernel of a machine that is not executed by software, one flow on each CPU. Ways are measured by turns, and an\n\
         answer is *inconclusive* unless redirect differs from redirect_peer by more than from itself.\n",
    );
    for found in natives {
        let _ = writeln!(
            out,
            "\n{}\n{}",
            measured(found.started, found.seconds, &found.machine),
            native::text(found)
        );
    }
    write_whole(&to.join("native.md"), out.as_bytes())
}

/// Writes docs/speed.md from what was measured.
pub fn write_self(selves: &[Itself], to: &Path) -> Result<()> {
    let mut out = head("How long the harness takes");
    out.push_str("`bench --self`: to the verdict, beside virtme-ng's own command.\n");
    for found in selves {
        let _ = writeln!(
            out,
            "\n{}\n{}",
            measured(found.started, found.seconds, &found.machine),
            itself_table::text(found)
        );
    }
    write_whole(&to.join("speed.md"), out.as_bytes())
}

/// Puts the figures of the last one into README.md.
pub fn write_readme(found: &Itself, readme: &Path) -> Result<()> {
    let text =
        fs::read_to_string(readme).with_context(|| format!("reading {}", readme.display()))?;
    let (before, rest) = text.split_once(BEGIN).unzip();
    let after = rest.and_then(|r| Some(r.split_once(END)?.1));
    let (Some(before), Some(after)) = (before, after) else {
        return Err(request!(
            "{} has no place for figures: put them between the lines `{BEGIN}` and `{END}`",
            readme.display()
        ));
    };
    let made = format!(
        "{before}{BEGIN}\n{}, {}, {}, on {} (Linux {} patched, {}; [docs/speed.md](docs/speed.md)):\n\n{}{END}{after}",
        text::markdown(&found.machine.cpu),
        text::count(found.machine.cpus, "CPU"),
        text::markdown(&found.machine.accel),
        &text::utc(found.started)[..10],
        text::markdown(&found.source),
        text::count(found.cases(), "case"),
        itself_table::rows(found)
    );
    write_whole(readme, made.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that the page and the picture have what holds: a way whose flows
    /// waited for others is in no picture.
    #[test]
    fn what_holds_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let shown = |spoilt: bool| {
            let mut points = effect::tests::measured(20.0, 19.0);
            if spoilt {
                points[0].all.insert("rate".into(), 1.0);
            }
            let mut boot = effect::tests::boot(points);
            boot.cpus = 1;
            let load = effect::tests::found(vec![boot]);
            write_load(&[load], dir.path()).unwrap();
            let page = fs::read_to_string(dir.path().join("load.md")).unwrap();
            assert!(page.contains("](latency-6.12-patched.svg)"), "{page}");
            let picture = dir.path().join("latency-6.12-patched.svg");
            fs::read_to_string(picture)
                .unwrap()
                .matches("#146EB4")
                .count()
        };
        assert_eq!(shown(false), 4);
        assert_eq!(shown(true), 3);
    }

    /// Verify that figures are put where they belong, again and again, and that
    /// a page without a place for them is left as it is.
    #[test]
    fn figures_in_the_readme() {
        let dir = tempfile::tempdir().unwrap();
        let readme = dir.path().join("README.md");
        let found = itself_table::tests::sample();
        fs::write(
            &readme,
            format!("before\n{BEGIN}\n| stale |\n{END}\nafter\n"),
        )
        .unwrap();
        for _ in 0..2 {
            write_readme(&found, &readme).unwrap();
            let text = fs::read_to_string(&readme).unwrap();
            assert!(text.starts_with("before\n<!--") && text.ends_with("-->\nafter\n"));
            assert!(!text.contains("stale"), "{text}");
            assert!(text.contains("on 1970-01-01 (Linux 6.12.117 patched, 90 cases;"));
            assert!(
                text.contains("| 10 min 00 s | build 20.0 s | 11 min 44 s |"),
                "{text}"
            );
        }
        fs::write(&readme, "no place\n").unwrap();
        let error = write_readme(&found, &readme).unwrap_err();
        assert!(error.to_string().contains("no place"), "{error}");
        assert_eq!(fs::read_to_string(&readme).unwrap(), "no place\n");
    }
}
