// SPDX-License-Identifier: GPL-2.0-only
//! docs/performance.md and its pictures, from what `bench --results` wrote.

use std::{collections::BTreeSet, fmt::Write, path::Path};

use anyhow::Result;

use super::{figures::Bench, plot, table};
use crate::{
    cache::write_whole,
    report::{marks, text},
    results::Machine,
};

/// Writes performance.md, and a picture for each base.
pub fn write_docs(benches: &[Bench], to: &Path) -> Result<()> {
    let mut out = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # What each way into a container costs\n\n\
         Instructions of one CPU for a transaction, both ends on it, counted by QEMU: the least of five medians of 81,\n\
         in each of two boots. This is cost, not latency: how long a packet waits for a second softirq pass under load\n\
         does not show. Where the boots do not agree, `5300-5302` is the least and the most of them. *pass* is a program\n\
         that lets the host route each packet. *won back* is (redirect - redirect_peer) / (redirect - host), where the boots\n\
         agree on all three; where there are answers, half of that way is `bpf_redirect()`'s still. The wire is a veth pair,\n\
         and *host*, which has no container, is measured over nothing else.\n\n\
         A promise holds for a figure if it holds for every boot of one kernel against every boot of the other, and the\n\
         boots of each are at most 0.1 % apart. What then does not hold is measured once more, by itself, in two boots of\n\
         both kernels, and so are as many of those that hold, the ones with the least room: both kinds are judged by that,\n\
         whichever way it goes, and both measurements are shown. Where more than 8 figures of a comparison do not hold,\n\
         none is measured once more. What is said of tcp_crr is not part of a verdict: the boots of one kernel do not\n\
         agree on what a connection costs.\n",
    );
    for bench in benches {
        let _ = writeln!(
            out,
            "\n{}",
            measured(bench.started, bench.seconds, &bench.machine)
        );
        for (base, patches) in patch_sets(bench) {
            let _ = writeln!(out, "\n{}", marks::mark(base, patches));
        }
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

/// The patch sets of the bases of a bench.
fn patch_sets(bench: &Bench) -> BTreeSet<(&str, &str)> {
    let all = bench.kernels.iter();
    all.map(|k| (k.base.as_str(), k.patches.as_str())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::sample;

    /// Verify that the page says which patches it is about, and that this is read.
    #[test]
    fn the_page_names_its_patches() {
        let dir = tempfile::tempdir().unwrap();
        let found = sample(&[("veth.tcp_rr.v4.host", &[1000.0, 1000.0])]);
        write_docs(&[found], dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("performance.md")).unwrap();
        assert_eq!(marks::marks(&page, "6.12"), ["p"], "{page}");
    }
}
