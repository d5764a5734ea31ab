// SPDX-License-Identifier: GPL-2.0-only
//! What `bench` found, in Markdown: it reads well on a terminal, too.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    comparison::comparison,
    expected::gaps,
    figures::{Bench, Measured, agreement, name, shown, won_back},
    functions::profiles,
    promise::{NOT_JUDGED, comparisons},
};
use crate::report::text;

/// The order in which ways are shown.
pub(super) const WAYS: [&str; 6] = [
    "host",
    "stack",
    "pass",
    "redirect",
    "redirect_neigh",
    "redirect_peer",
];

/// Names of figures that are missing and shown; the others are counted.
const MOST_MISSING: usize = 12;

/// Costs of each kernel, then each promise: in short, or every figure of it.
pub(super) fn table(bench: &Bench, everything: bool) -> String {
    let mut out = String::new();
    lacking(&mut out, bench);
    for kernel in &bench.kernels {
        costs(&mut out, kernel);
        profiles(&mut out, kernel);
    }
    let all = comparisons(bench);
    for of in &all {
        comparison(&mut out, of, everything);
    }
    if all.is_empty() {
        out.push_str("\nNothing was compared: no promise is judged.\n");
    }
    out
}

/// What was asked for and is not there.
fn lacking(out: &mut String, bench: &Bench) {
    let mut all = Vec::new();
    if !bench.whole {
        all.push("The measurement did not come to its end.".to_owned());
    }
    all.extend(bench.lacks.iter().map(|l| text::markdown(l)));
    for kernel in &bench.kernels {
        let gaps = gaps(kernel, &bench.asked);
        for (names, what) in [
            (gaps.missing, "not given by every boot"),
            (gaps.surplus, "given, and this kernel cannot have it"),
        ] {
            if !names.is_empty() {
                all.push(format!(
                    "{} {}: {} {what}: {}",
                    kernel.source,
                    kernel.arm.word(),
                    text::count(names.len(), "figure"),
                    some(&names)
                ));
            }
        }
    }
    if !all.is_empty() {
        let _ = writeln!(
            out,
            "\nNot all is there that was asked for, so that not all can be told:\n\n- {}",
            all.join("\n- ")
        );
    }
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_MISSING);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// Names of traffic, `veth.tcp_rr.v4`.
pub(super) fn whats(kernel: &Measured) -> BTreeSet<&str> {
    let names = kernel.costs.keys();
    names.filter_map(|full| Some(name(full)?.what)).collect()
}

fn costs(out: &mut String, kernel: &Measured) {
    let _ = writeln!(
        out,
        "\n## {} {}: instructions for a transaction\n\nCommit {:.12}, patch set {:.12}.",
        kernel.source,
        kernel.arm.word(),
        kernel.commit,
        kernel.patches
    );
    ways(out, kernel, "Pod to remote pod", "");
    ways(out, kernel, "Pod to pod on one host", "local.");
    agreements(out, kernel);
}

/// How far the boots agree, by traffic.
fn agreements(out: &mut String, kernel: &Measured) {
    let by_traffic = agreement(&kernel.costs);
    let same: usize = by_traffic.values().map(|a| a.same).sum();
    let all: usize = by_traffic.values().map(|a| a.all).sum();
    let _ = write!(out, "\n{same} of {all} figures are the same in each boot");
    let others: Vec<String> = by_traffic
        .iter()
        .filter(|(_, a)| a.same < a.all)
        .map(|(traffic, a)| {
            let unjudged = if *traffic == NOT_JUDGED {
                ", not judged"
            } else {
                ""
            };
            let worst = if a.worst.is_finite() {
                format!("at most {:.2} % apart", a.worst * 100.0)
            } else {
                "not in every boot".to_owned()
            };
            format!(
                "{} of {} of {traffic}, {worst}{unjudged}",
                a.all - a.same,
                a.all
            )
        })
        .collect();
    if !others.is_empty() {
        let _ = write!(out, "; the others are {}", others.join("; "));
    }
    out.push_str(".\n");
}

fn ways(out: &mut String, kernel: &Measured, title: &str, scope: &str) {
    let remote = scope.is_empty();
    let has = |way: &str| {
        let end = format!(".{scope}{way}");
        kernel
            .costs
            .keys()
            .any(|full| full.ends_with(&end) && full.contains(".local.") != remote)
    };
    let columns: Vec<&str> = WAYS.into_iter().filter(|w| has(w)).collect();
    if columns.is_empty() {
        return;
    }
    let mut head = format!("| {:<20} |", "traffic");
    let mut rule = format!("|{}|", "-".repeat(22));
    for way in &columns {
        let width = way.len().max(13);
        let _ = write!(head, " {way:>width$} |");
        let _ = write!(rule, "{}:|", "-".repeat(width + 1));
    }
    if remote {
        head.push_str(" won back |");
        rule.push_str("---------:|");
    }
    let _ = writeln!(out, "\n{title}:\n\n{head}\n{rule}");
    for what in whats(kernel) {
        let _ = write!(out, "| {what:<20} |");
        for way in &columns {
            let width = way.len().max(13);
            let cost = kernel.costs.get(&format!("{what}.{scope}{way}"));
            let cell = cost.map_or_else(String::new, |c| shown(c));
            let _ = write!(out, " {cell:>width$} |");
        }
        if remote {
            let share = won_back(&kernel.costs, what).map(|s| format!("{:.0} %", s * 100.0));
            let _ = write!(out, " {:>8} |", share.unwrap_or_default());
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::sample;

    /// Verify that a figure which boots do not agree on is shown from end to
    /// end, and that traffic is named that they do not agree on.
    #[test]
    fn doubtful_figures_are_marked() {
        let found = sample(&[
            ("veth.tcp_rr.v4.host", &[1000.0, 1001.0]),
            ("veth.tcp_crr.v4.host", &[1000.0, 1450.0]),
        ]);
        let text = table(&found, false);
        for part in [
            " 1000-1001 |",
            "0 of 2 figures are the same in each boot",
            "1 of 1 of tcp_rr, at most 0.10 % apart",
            "1 of 1 of tcp_crr, at most 45.00 % apart, not judged",
            "Commit c, patch set p.",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// Verify that what is missing is named, and why it is.
    #[test]
    fn what_is_missing_is_named() {
        let mut found = sample(&[("veth.tcp_rr.v4.host", &[1000.0, 1000.0])]);
        found.asked.only = vec!["veth.tcp_rr.v4.".into()];
        found.lacks.push("6.12 patched, boot 2: a splat".into());
        found.whole = false;
        let text = table(&found, false);
        for part in [
            "- The measurement did not come to its end.",
            "- 6.12 patched, boot 2: a splat",
            "6.12.117 patched: 9 figures not given by every boot: veth.tcp_rr.v4.local.redirect,",
            "Nothing was compared",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        found.asked.only = vec!["veth.tcp_rr.v4.host".into()];
        found.whole = true;
        found.lacks.clear();
        assert!(!table(&found, false).contains("Not all is there"));
    }
}
