// SPDX-License-Identifier: GPL-2.0-only
//! docs/load.md and docs/native.md with their pictures, from what `bench --load`
//! and `bench --native` wrote.

use std::{fmt::Write, path::Path};

use anyhow::Result;

use super::{
    document::measured,
    effect,
    latency::Point,
    load::Load,
    native::{self, Native},
    plot,
    rows::{Row, rows},
};
use crate::{cache::write_whole, report::text};

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
