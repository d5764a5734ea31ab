// SPDX-License-Identifier: GPL-2.0-only
//! What `bench --load` found as text: the latencies, whether what was published
//! with the original appears, and why or why not.

use std::fmt::Write;

use protocol::Arm;

use super::{
    latency::Point,
    load::{Boot, Load},
};
use crate::report::text as words;

/// Published with the original, TCP_RR from one host to a container on another
/// over a real NIC, 4 CPUs: by bpf_redirect() and by bpf_redirect_peer().
/// Microseconds; transactions a second.
const PUBLISHED_P50: (f64, f64) = (118.5, 43.25);
const PUBLISHED_RATE: (f64, f64) = (32_666.4, 90_039.5);

/// It appears where median and rate differ by this much at least: half, on the
/// logarithmic scale, of what was published (2.7).
const APPEARS: f64 = 1.65;

/// bpf_redirect() beside bpf_redirect_peer(), everything else alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Effect<'a> {
    redirect: &'a Point,
    peer: &'a Point,
    /// By how much redirect's median is the larger, and its rate the smaller.
    p50: f64,
    rate: f64,
}

/// Each that a boot shows.
pub(super) fn effects(boot: &Boot) -> Vec<Effect<'_>> {
    let of = |redirect: &'_ Point| -> Option<usize> {
        boot.points.iter().position(|p| {
            p.way == "redirect_peer" && p.traffic == redirect.traffic && p.flows == redirect.flows
        })
    };
    let redirects = boot.points.iter().filter(|p| p.way == "redirect");
    redirects
        .filter_map(|redirect| {
            let peer = &boot.points[of(redirect)?];
            Some(Effect {
                p50: ratio(redirect, peer, "p50")?,
                rate: ratio(peer, redirect, "rate")?,
                redirect,
                peer,
            })
        })
        .collect()
}

/// How often a figure of one is in that of another.
fn ratio(of: &Point, to: &Point, figure: &str) -> Option<f64> {
    Some(of.all.get(figure)? / to.all.get(figure).filter(|v| **v > 0.0)?)
}

/// Everything, in Markdown.
pub(super) fn text(found: &Load) -> String {
    let mut out = String::new();
    for boot in &found.boots {
        latencies(&mut out, boot);
    }
    let mut kernels: Vec<(&str, Arm)> = found
        .boots
        .iter()
        .map(|b| (b.source.as_str(), b.arm))
        .collect();
    kernels.dedup();
    for (source, arm) in kernels {
        let boots: Vec<&Boot> = found
            .boots
            .iter()
            .filter(|b| (b.source.as_str(), b.arm) == (source, arm))
            .collect();
        verdict(&mut out, source, arm, &boots);
    }
    for lack in &found.lacks {
        let _ = writeln!(out, "\nCould not tell: {}.", words::markdown(lack));
    }
    out
}

fn latencies(out: &mut String, boot: &Boot) {
    let cpus = words::count(boot.cpus as usize, "CPU");
    let _ = writeln!(
        out,
        "\n## {} {}, {cpus}: transactions in guest time (1 us is 1,000 instructions, of whichever CPU)\n\n\
         | traffic | flows on a CPU | way            |  P50 us |  P90 us |  P99 us | mean us |     tx/s | polls of the backlog | passes | again | waits ns | by ksoftirqd | wake-ups | squeezes | dropped |\n\
         |---------|---------------:|----------------|--------:|--------:|--------:|--------:|---------:|---------------------:|-------:|------:|---------:|-------------:|---------:|---------:|--------:|",
        boot.source,
        boot.arm.word()
    );
    for p in &boot.points {
        let us = |name: &str| p.all.get(name).map(|ns| format!("{:.2}", ns / 1e3));
        let each = |name: &str| p.traced_each(name).map(|n| format!("{n:.2}"));
        let traced = |name: &str| p.traced.get(name).map(|n| format!("{n:.0}"));
        let count = |name: &str| p.counts.get(name).map(|n| format!("{n:.0}"));
        let cells = [
            (7, us("p50")),
            (7, us("p90")),
            (7, us("p99")),
            (7, us("mean")),
            (8, p.all.get("rate").map(|r| format!("{r:.0}"))),
            (20, each("backlog_polls")),
            (6, each("passes")),
            (5, each("again")),
            (8, wait(p).map(|w| format!("{w:.0}"))),
            (12, traced("by_ksoftirqd")),
            (8, traced("ksoftirqd_wakeups")),
            (8, count("time_squeeze")),
            (7, count("dropped")),
        ];
        let _ = write!(
            out,
            "| {:<7} | {:>14} | {:<14} |",
            p.traffic, p.flows, p.way
        );
        for (width, cell) in cells {
            let _ = write!(out, " {:>width$} |", cell.unwrap_or_default());
        }
        out.push('\n');
    }
}

/// How long a pass of the receive softirq waits once it is asked for, ns.
fn wait(p: &Point) -> Option<f64> {
    let passes = p.traced.get("passes").filter(|n| **n > 0.0)?;
    Some(p.traced.get("wait")? / passes)
}

/// Whether it appears on a kernel, and why.
fn verdict(out: &mut String, source: &str, arm: Arm, boots: &[&Boot]) {
    let all: Vec<(u32, Effect<'_>)> = boots
        .iter()
        .flat_map(|b| effects(b).into_iter().map(|e| (b.cpus, e)))
        .collect();
    let _ = writeln!(
        out,
        "\n## {source} {}: does the published effect appear?\n\n\
         Published with the original: P50 {} to {} us ({:.2} times), {:.0} to {:.0} tx/s ({:.2} times).",
        arm.word(),
        PUBLISHED_P50.0,
        PUBLISHED_P50.1,
        PUBLISHED_P50.0 / PUBLISHED_P50.1,
        PUBLISHED_RATE.0,
        PUBLISHED_RATE.1,
        PUBLISHED_RATE.1 / PUBLISHED_RATE.0,
    );
    let largest = |of: fn(&Effect<'_>) -> f64| {
        all.iter()
            .max_by(|a, b| of(&a.1).total_cmp(&of(&b.1)))
            .map(|(cpus, e)| (*cpus, e))
    };
    let (Some((cpus, most)), Some((_, rate))) = (largest(|e| e.p50), largest(|e| e.rate)) else {
        out.push_str("Could not tell: there is no redirect and redirect_peer to compare.\n");
        return;
    };
    let least = all.iter().map(|(_, e)| e.p50).fold(f64::INFINITY, f64::min);
    let appear = all
        .iter()
        .filter(|(_, e)| e.p50 >= APPEARS && e.rate >= APPEARS)
        .count();
    let _ = writeln!(
        out,
        "Here redirect's P50 is {least:.3} to {:.3} times redirect_peer's (most: {}, {} flows on each of {cpus} CPUs), \
         and redirect_peer makes up to {:.3} times as many transactions.",
        most.p50, most.redirect.traffic, most.redirect.flows, rate.rate,
    );
    let _ = writeln!(
        out,
        "{}",
        match appear {
            0 => "**It does not appear.**".to_owned(),
            n if n == all.len() => "**It appears.**".to_owned(),
            n => format!("**It appears in {n} of {} measurements.**", all.len()),
        }
    );
    why(out, &all);
}

/// One of the two.
type Side = for<'p> fn(&Effect<'p>) -> &'p Point;

/// What the counters say of the difference, summed over all measurements.
fn why(out: &mut String, all: &[(u32, Effect<'_>)]) {
    let sum = |side: Side, name: &str| -> f64 {
        let of = |e: &Effect<'_>| side(e).traced.get(name).copied().unwrap_or(0.0);
        all.iter().map(|(_, e)| of(e)).sum()
    };
    let redirect: Side = |e| e.redirect;
    let peer: Side = |e| e.peer;
    let each = |side: Side, name: &str| sum(side, name) / sum(side, "transactions");
    if !each(redirect, "passes").is_finite() || !each(peer, "passes").is_finite() {
        out.push_str("Why, could not be told: nothing was counted.\n");
        return;
    }
    let _ = writeln!(
        out,
        "Why: a transaction takes {:.2} polls of the backlog with {:.2} packets by redirect, {:.2} with {:.2} by redirect_peer; \
         the softirq makes {:.2} and {:.2} passes, of which {:.2} and {:.2} were asked for by the pass before.",
        each(redirect, "backlog_polls"),
        each(redirect, "backlog_work"),
        each(peer, "backlog_polls"),
        each(peer, "backlog_work"),
        each(redirect, "passes"),
        each(peer, "passes"),
        each(redirect, "again"),
        each(peer, "again"),
    );
    let again = sum(redirect, "again");
    if again < 0.01 * sum(redirect, "transactions")
        && each(redirect, "backlog_polls") > each(peer, "backlog_polls") + 0.5
    {
        out.push_str(
            "The second poll is made in the pass that asks for it: before it leaves, this kernel's net_rx_action() \
             looks for devices that were added meanwhile, so there is no second pass to wait for.\n",
        );
    } else if again > 0.0 {
        let _ = writeln!(
            out,
            "A pass that the one before asked for begins {:.0} ns after that.",
            sum(redirect, "wait_again") / again
        );
    }
    let late = |side: Side| (sum(side, "by_ksoftirqd"), sum(side, "ksoftirqd_wakeups"));
    let (ours, theirs) = (late(redirect), late(peer));
    let _ = writeln!(
        out,
        "ksoftirqd was woken {:.0} times and made {:.0} passes by redirect, {:.0} and {:.0} by redirect_peer: {}",
        ours.1,
        ours.0,
        theirs.1,
        theirs.0,
        if ours.0 < 0.01 * sum(redirect, "passes") {
            "hardly ever does a packet wait until a thread is scheduled."
        } else {
            "that many packets wait until a thread is scheduled."
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::latency::tests::sample, results::Machine};

    fn found(redirect: (f64, f64), peer: (f64, f64)) -> Load {
        Load {
            started: 0,
            seconds: 1.0,
            machine: Machine::default(),
            lacks: Vec::new(),
            boots: vec![Boot {
                base: "6.12".into(),
                source: "6.12.117".into(),
                arm: Arm::Patched,
                commit: "c".into(),
                cpus: 2,
                points: vec![
                    sample("host", 0, 1.0, 1.0),
                    sample("redirect", 1, redirect.0, redirect.1),
                    sample("redirect_peer", 2, peer.0, peer.1),
                ],
            }],
        }
    }

    /// Verify that what was published is called an effect, that next to nothing
    /// is not, and that without a way to compare nothing is said.
    #[test]
    fn verdicts() {
        let published = found((118_500.0, 32_666.0), (43_250.0, 90_039.0));
        assert!(text(&published).contains("**It appears.**"));
        let nothing = found((20_000.0, 50_000.0), (19_000.0, 52_000.0));
        let said = text(&nothing);
        assert!(said.contains("**It does not appear.**"), "{said}");
        assert!(said.contains("1.053 times"), "{said}");
        assert!(said.contains("nothing was counted"), "{said}");
        let mut lacking = published;
        lacking.boots[0].points.pop();
        lacking
            .lacks
            .push("6.12.117 patched, 4 CPUs: it did not boot".into());
        assert!(text(&lacking).contains("Could not tell: 6.12.117 patched, 4 CPUs"));
        assert!(text(&lacking).contains("Could not tell"));
        assert!(effects(&lacking.boots[0]).is_empty());
    }

    /// Verify that the reason follows the counters.
    #[test]
    fn reasons() {
        let with = |again: f64, by_ksoftirqd: f64| {
            let mut all = found((20_000.0, 50_000.0), (19_000.0, 52_000.0));
            for point in &mut all.boots[0].points {
                let polls = if point.way == "redirect" { 2.0 } else { 1.0 };
                for (name, each) in [
                    ("transactions", 1.0),
                    ("passes", 2.0),
                    ("again", again),
                    ("wait_again", 500.0 * again),
                    ("backlog_polls", polls),
                    ("by_ksoftirqd", by_ksoftirqd),
                ] {
                    point.traced.insert(name.to_owned(), each * 1000.0);
                }
            }
            text(&all)
        };
        assert!(with(0.0, 0.0).contains("no second pass to wait for"));
        assert!(with(1.0, 0.0).contains("begins 500 ns after"));
        assert!(with(1.0, 0.0).contains("hardly ever"));
        assert!(with(1.0, 0.5).contains("that many packets wait"));
    }
}
