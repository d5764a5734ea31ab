// SPDX-License-Identifier: GPL-2.0-only
//! What was run, where, and how long it took: docs/figures.md.

use std::fmt::Write;

use super::text;
use crate::{results::Results, verdict::Verdict};

/// A section for each invocation, in Markdown.
pub(super) fn figures(results: &[Results]) -> String {
    let mut out = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <!-- Made by `cargo harness docs`; do not edit. -->\n\
         # What was run\n",
    );
    for results in results {
        let machine = &results.machine;
        let _ = writeln!(
            out,
            "\n## {}\n\n{}, {}, {} MiB; {}; {}; {}; virtme-ng {}; {}\n\n{} in all{}.\n",
            text::utc(results.started),
            text::markdown(&machine.cpu),
            text::count(machine.cpus, "CPU"),
            machine.memory_mib,
            text::markdown(&machine.os),
            text::markdown(&machine.compiler),
            text::markdown(&machine.qemu),
            text::markdown(&machine.virtme_ng),
            text::markdown(&machine.accel),
            text::seconds(results.seconds),
            if results.is_good() && results.proves_nothing().is_none() {
                ", everything as it should be"
            } else {
                ", **not everything as it should be**"
            }
        );
        out.push_str("| kernel | arm | verdict | cases |");
        out.push_str(" build | to user space | run |\n|---|---|---|---|---|---|---|\n");
        for run in &results.runs {
            let mut counts: Vec<String> = Verdict::ALL
                .iter()
                .map(|v| (run.cases.iter().filter(|c| c.verdict == *v).count(), v))
                .filter(|(n, _)| *n > 0)
                .map(|(n, v)| format!("{n} {v}"))
                .collect();
            let flavor = if run.flavor == "default" {
                String::new()
            } else {
                format!(" {}", run.flavor)
            };
            let what = format!("{} {}{flavor}", run.base, run.arm.word());
            match run.cases.as_slice() {
                [one] => counts.push(format!("of {} alone", text::markdown(&one.name))),
                cases if cases.iter().all(|c| c.name.starts_with("in_tree_")) => {
                    counts.push("of the kernel's own selftest".into());
                }
                _ => {}
            }
            let build = results
                .steps
                .iter()
                .find(|s| s.name == "build" && s.what == what)
                .map_or_else(String::new, |s| {
                    if s.cached {
                        "cached".into()
                    } else {
                        text::seconds(s.seconds)
                    }
                });
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {build} | {} | {} |",
                text::markdown(&format!("{}{flavor}", run.source)),
                run.arm.word(),
                run.verdict,
                counts.join(", "),
                run.boot_seconds.map_or_else(String::new, text::seconds),
                text::seconds(run.seconds)
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Verify that a bad run is called so and a good one is not.
    #[test]
    fn bad_is_called_bad() {
        assert!(figures(&[sample::bad()]).contains("**not everything"));
        assert!(!figures(&[sample::good()]).contains("**not everything"));
    }
}
