// SPDX-License-Identifier: GPL-2.0-only
//! docs/performance.md and its pictures, from what `bench --results` wrote.

use std::{fmt::Write, path::Path};

use anyhow::Result;

use super::{figures::Bench, plot, table};
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

/// When, for how long and where: a paragraph.
pub(super) fn measured(started: u64, seconds: f64, machine: &Machine) -> String {
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
