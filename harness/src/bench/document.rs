// SPDX-License-Identifier: GPL-2.0-only
//! docs/performance.md, docs/load.md and their pictures, from what
//! `bench --results` and `bench --load --results` wrote.

use std::{fmt::Write, path::Path};

use anyhow::Result;

use super::{effect, figures::Bench, load::Load, plot, table};
use crate::{cache::write_whole, report::text, results::Machine};

/// Writes performance.md, and a picture for each base.
pub fn write_docs(benches: &[Bench], to: &Path) -> Result<()> {
    let mut out = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # What each way into a container costs\n\n\
         Instructions of one CPU for a transaction, both ends on it, counted by QEMU: the least of five medians of 81,\n\
         in each of two boots. This is cost, not latency: how long a packet waits for a second softirq pass under load\n\
         does not show. What then does not hold is measured by itself, in two boots of both kernels, and judged by that. `~`\n\
         marks what the boots did not agree on. *won back* is (redirect - redirect_peer) /\n\
         (redirect - host); where there are answers, half of that way is `bpf_redirect()`'s still. The wire is a veth\n\
         pair.\n",
    );
    for bench in benches {
        let _ = writeln!(
            out,
            "\n{}",
            measured(bench.started, bench.seconds, &bench.machine)
        );
        for base in plot::bases(bench) {
            let file = format!("cost-{base}.svg");
            write_whole(&to.join(&file), plot::costs(bench, base)?.as_bytes())?;
            let _ = writeln!(
                out,
                "\n![Instructions for a transaction on {base}, by way and kernel]({file})"
            );
        }
        out.push_str(&table::table(bench, true));
    }
    write_whole(&to.join("performance.md"), out.as_bytes())
}

/// Writes docs/load.md, and a picture for each kernel, from what was measured.
pub fn write_load(loads: &[Load], to: &Path) -> Result<()> {
    let mut out = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # Latency under load\n\n\
         Flows that share a CPU, so that a second pass of the softirq has to wait: transactions in guest time, which is the\n\
         number of instructions that all CPUs of the guest executed. With more than one CPU they have turns of up to\n\
         milliseconds, which the tails show; transactions a second, of all CPUs together, do not suffer from that.\n\n\
         *polls of the backlog*, *passes* (of the receive softirq) and *again* (asked for by the pass before) are for a\n\
         transaction, *waits* is from a softirq's being raised to its being run, all counted on tracepoints in a measurement\n\
         of its own; the last four columns are of the whole measurement. In the pictures a line goes from the least to P99, and\n\
         a bar from P50 to P90.\n",
    );
    for load in loads {
        let _ = writeln!(
            out,
            "\n{}",
            measured(load.started, load.seconds, &load.machine)
        );
        for boot in load.boots.iter().filter(|b| b.cpus == 1) {
            let file = format!("latency-{}-{}.svg", boot.base, boot.arm.word());
            write_whole(&to.join(&file), plot::latencies(&boot.points)?.as_bytes())?;
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

/// When, for how long and where: a paragraph.
fn measured(started: u64, seconds: f64, machine: &Machine) -> String {
    format!(
        "Measured on {}, in {}: {}, {}; {}; {}; {}; virtme-ng {}.",
        text::utc(started),
        text::seconds(seconds),
        text::markdown(&machine.cpu),
        text::count(machine.cpus, "CPU"),
        text::markdown(&machine.os),
        text::markdown(&machine.compiler),
        text::markdown(&machine.qemu),
        text::markdown(&machine.virtme_ng),
    )
}
