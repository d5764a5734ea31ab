// SPDX-License-Identifier: GPL-2.0-only
//! What the cover letter says of cost, from `bench`'s figures. Pure.

use std::fmt::Write;

use anyhow::Result;
use protocol::Arm;

use crate::{
    bench::{Bench, Measured, Promise, promises},
    request,
};

/// The ways that are compared in a letter.
const WAYS: [&str; 4] = ["host", "stack", "redirect", "redirect_peer"];

/// What the letter says where nothing was measured: a reviewer of a series that
/// is about cost will ask.
pub const NOT_MEASURED: &str = "The cost was not measured for this posting.";

/// Instructions for a transaction on the kernel with the series, upstream's own
/// where it was measured, and what the comparisons came to. Refuses figures of
/// another commit, and a promise that is broken.
pub fn costs(bench: &Bench, base: &str, patched: &str) -> Result<String> {
    let of = |arm| {
        let mut kernels = bench.kernels.iter();
        kernels.find(|k| k.base == base && k.arm == arm)
    };
    let Some(kernel) = of(Arm::Patched) else {
        return Ok(NOT_MEASURED.into());
    };
    if kernel.commit != patched {
        return Err(request!(
            "bench.json is about {:.12}, and {patched:.12} is what the patches give now; run `cargo harness bench --base {base} --results DIR` again",
            kernel.commit
        ));
    }
    let promises = promises(bench, base);
    if let Some(promise) = promises.iter().find(|p| !p.broken.is_empty()) {
        return Err(request!(
            "bench.json has figures above {} of {}'s: {}; a series with those is not posted",
            promise.most,
            promise.theirs.word(),
            promise.broken.join(", ")
        ));
    }
    let mut out = cost_table(kernel, of(Arm::Upstream));
    for promise in &promises {
        out.push_str(&sentence(promise));
    }
    Ok(out)
}

fn sentence(promise: &Promise) -> String {
    let whose = match promise.theirs {
        Arm::Upstream => "redirect_peer costs at most",
        Arm::Baseline | Arm::Patched => "What is not redirected costs at most",
    };
    let mut out = format!(
        "\n{whose} {} of {}: {} of {} figures",
        promise.most,
        promise.theirs.word(),
        promise.hold,
        promise.hold + promise.open
    );
    if promise.open > 0 {
        out.push_str("; for the others nobody can tell");
    }
    if promise.not_judged > 0 {
        let _ = write!(
            out,
            "\n({} of new connections are not judged: the boots do not agree on them)",
            promise.not_judged
        );
    }
    out.push_str(".\n");
    out
}

/// How far the boots of one kernel may be apart for a figure to be shown.
const APART: f64 = 0.01;

/// The higher of a figure's boots; `None` when they do not agree, or there is
/// only one: such a figure tells a reader nothing.
fn agreed(costs: &[f64]) -> Option<f64> {
    let low = costs.iter().copied().min_by(f64::total_cmp)?;
    let high = costs.iter().copied().max_by(f64::total_cmp)?;
    (costs.len() > 1 && low > 0.0 && high / low <= 1.0 + APART).then_some(high)
}

fn cost_table(kernel: &Measured, upstream: Option<&Measured>) -> String {
    let mut whats: Vec<&str> = kernel
        .costs
        .keys()
        .filter_map(|k| k.strip_suffix(".redirect_peer"))
        .filter(|w| !w.ends_with(".local"))
        .collect();
    whats.sort_unstable();
    // `None` inside is a figure that nobody measured: netkit is no wire, and has
    // no host.
    let cell = |kernel: &Measured, name: &str| match kernel.costs.get(name) {
        None => Some(None),
        Some(boots) => agreed(boots).map(Some),
    };
    let of = |what: &str| -> Option<Vec<Option<f64>>> {
        let ours = WAYS
            .iter()
            .map(|way| cell(kernel, &format!("{what}.{way}")));
        // Last, so that the two that are compared stand side by side.
        let theirs = upstream.map(|k| cell(k, &format!("{what}.redirect_peer")));
        ours.chain(theirs).collect()
    };
    let (shown, left_out): (Vec<_>, Vec<_>) = whats
        .into_iter()
        .map(|what| (what, of(what)))
        .partition(|(_, costs)| costs.is_some());
    let first = shown.iter().map(|(w, _)| w.len()).max().unwrap_or(0);
    let mut out = format!(
        "Instructions for a transaction on {} with the series, counted by QEMU\n(icount, one CPU; this is CPU cost, not the wait for another softirq pass\nunder load), the higher of the boots:\n\n  {:first$}",
        kernel.source, ""
    );
    for way in WAYS.into_iter().chain(upstream.map(|_| "upstream's")) {
        let _ = write!(out, "  {way:>13}");
    }
    out.push('\n');
    for (what, costs) in &shown {
        let _ = write!(out, "  {what:first$}");
        for cost in costs.iter().flatten() {
            let cost = cost.map_or("-".to_owned(), |c| format!("{c:.0}"));
            let _ = write!(out, "  {cost:>13}");
        }
        out.push('\n');
    }
    if !left_out.is_empty() {
        out.push_str("\nLeft out, as the boots are more than 1 % apart:\n");
        for (what, _) in &left_out {
            let _ = writeln!(out, "  {what}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a figure is shown only where the boots agree, that what is
    /// left out is named, and that figures of another commit are refused.
    #[test]
    fn only_figures_that_boots_agree_on() {
        let cost =
            |what: &str, high: f64| WAYS.map(|way| (format!("{what}.{way}"), vec![100.0, high]));
        let figures = cost("veth.tcp_rr.v4", 100.5)
            .into_iter()
            .chain(cost("veth.tcp_crr.v4", 140.0))
            .chain(cost("netkit.udp_1.v4", 100.2).into_iter().skip(1))
            .collect();
        let kernel = Measured {
            base: "6.12".into(),
            source: "6.12.1".into(),
            arm: Arm::Patched,
            commit: "c".into(),
            patches: "p".into(),
            costs: figures,
            alone: std::collections::BTreeMap::new(),
            profiles: std::collections::BTreeMap::new(),
        };
        let text = cost_table(&kernel, None);
        assert!(text.contains("\n  veth.tcp_rr.v4  "), "{text}");
        assert!(!text.contains("140"), "{text}");
        assert!(text.ends_with("apart:\n  veth.tcp_crr.v4\n"), "{text}");
        // No boot disagrees on what was not measured.
        let line = text.lines().find(|l| l.starts_with("  netkit.udp_1.v4"));
        let cells: Vec<&str> = line.unwrap().split_whitespace().collect();
        assert_eq!(cells, ["netkit.udp_1.v4", "-", "100", "100", "100"]);
        let bench = Bench {
            version: crate::bench::VERSION,
            started: 0,
            seconds: 0.0,
            machine: crate::results::Machine::default(),
            guest: "g".into(),
            asked: crate::bench::Asked::default(),
            whole: true,
            lacks: Vec::new(),
            kernels: vec![kernel],
        };
        assert!(costs_text(&bench, "c").contains("veth.tcp_rr.v4"));
        assert!(costs(&bench, "6.12", "other").is_err());
        assert_eq!(costs(&bench, "6.1", "c").unwrap(), NOT_MEASURED);
    }

    /// Verify that upstream's figure stands beside ours, that a sentence says
    /// what holds, and that a series above a limit is not posted.
    #[test]
    fn costs_beside_upstream() {
        let kernel = |arm, peer: [f64; 2], host: f64| Measured {
            base: "6.12".into(),
            source: "6.12.1".into(),
            arm,
            commit: "c".into(),
            patches: "p".into(),
            alone: std::collections::BTreeMap::new(),
            costs: [
                ("host", vec![host; 2]),
                ("stack", vec![5300.0; 2]),
                ("redirect", vec![6400.0; 2]),
                ("redirect_peer", peer.to_vec()),
            ]
            .map(|(way, cost)| (format!("veth.udp_1.v4.{way}"), cost))
            .into(),
            profiles: std::collections::BTreeMap::new(),
        };
        let bench = |peer, host| Bench {
            version: crate::bench::VERSION,
            started: 0,
            seconds: 0.0,
            machine: crate::results::Machine::default(),
            guest: "g".into(),
            asked: crate::bench::Asked {
                only: ["host", "stack", "redirect_peer"]
                    .map(|way| format!("veth.udp_1.v4.{way}"))
                    .to_vec(),
                compare: vec![Arm::Baseline, Arm::Upstream],
                named: true,
            },
            whole: true,
            lacks: Vec::new(),
            kernels: vec![
                kernel(Arm::Baseline, [0.0; 2], 5000.0),
                kernel(Arm::Patched, peer, host),
                kernel(Arm::Upstream, [5700.0, 5700.0], 5000.0),
            ],
        };
        let text = costs_text(&bench([5690.0, 5690.0], 5005.0), "c");
        assert!(text.contains("redirect_peer     upstream's\n"), "{text}");
        assert!(text.contains("         5690           5700\n"), "{text}");
        assert!(
            text.contains("1.000 of upstream: 1 of 1 figures."),
            "{text}"
        );
        assert!(
            text.contains("1.001 of baseline: 2 of 2 figures."),
            "{text}"
        );
        let text = costs_text(&bench([5690.0, 5710.0], 5005.0), "c");
        assert!(
            text.contains("0 of 1 figures; for the others nobody can tell"),
            "{text}"
        );
        for (peer, host, named) in [
            ([5710.0, 5710.0], 5005.0, "redirect_peer"),
            ([5690.0, 5690.0], 5006.0, "host"),
        ] {
            let error = costs(&bench(peer, host), "6.12", "c").unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    fn costs_text(bench: &Bench, commit: &str) -> String {
        costs(bench, "6.12", commit).expect("figures of this commit")
    }
}
