// SPDX-License-Identifier: GPL-2.0-only
//! Whether what was published with the original appears in what `bench --load`
//! found, and all of that as text.

use std::fmt::Write;

use protocol::Arm;

use super::{
    confidence::{Interval, SURE, interval, middle},
    load::{Boot, Load, TURNS},
    reason,
    rows::{Row, counts, rows, traced},
};
use crate::report::text as words;

/// Published with the original, TCP_RR from one host to a container on another
/// over a real NIC, 4 CPUs: by bpf_redirect() and by bpf_redirect_peer().
/// Microseconds; transactions a second.
pub(super) const PUBLISHED_P50: (f64, f64) = (118.5, 43.25);
const PUBLISHED_RATE: (f64, f64) = (32_666.4, 90_039.5);

/// It appears where median and rate differ by this much at least: half, on the
/// logarithmic scale, of what was published (2.7).
const APPEARS: f64 = 1.65;

/// bpf_redirect() beside bpf_redirect_peer(), everything else alike.
#[derive(Debug, Clone)]
pub(super) struct Effect<'a> {
    pub(super) cpus: u32,
    pub(super) redirect: Row<'a>,
    pub(super) peer: Row<'a>,
    /// By how much redirect's median is the larger, and its rate the smaller.
    p50: Option<Difference>,
    rate: Option<Difference>,
}

/// How often one is in the other.
#[derive(Debug, Clone, Copy)]
struct Difference {
    found: Interval,
    /// How often the same thing is in itself.
    control: Interval,
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Appears,
    DoesNot,
    CouldNotTell(String),
}

/// Each that a boot shows.
pub(super) fn effects(boot: &Boot) -> Vec<Effect<'_>> {
    let rows = rows(boot);
    let beside = |redirect: &Row<'_>| {
        let is_it = |r: &&Row<'_>| {
            (r.way, r.traffic, r.flows) == ("redirect_peer", redirect.traffic, redirect.flows)
        };
        rows.iter().find(is_it).cloned()
    };
    let redirects = rows.iter().filter(|r| r.way == "redirect");
    redirects
        .filter_map(|redirect| {
            let peer = beside(redirect)?;
            let points: Vec<_> = redirect
                .points
                .iter()
                .chain(&peer.points)
                .copied()
                .collect();
            let difference = |figure| {
                let ratios = TURNS.ratios(&points, figure);
                Some(Difference {
                    found: interval(&ratios.found, SURE)?,
                    control: interval(&ratios.control, SURE)?,
                })
            };
            let inverse = |d: Difference| Difference {
                found: d.found.inverse(),
                control: d.control.inverse(),
            };
            Some(Effect {
                cpus: boot.cpus,
                p50: difference("p50"),
                rate: difference("rate").map(inverse),
                redirect: redirect.clone(),
                peer,
            })
        })
        .collect()
}

impl Effect<'_> {
    /// Whether it is the published one.
    pub(super) fn answer(&self) -> Answer {
        for row in [&self.redirect, &self.peer] {
            if !row.holds() {
                return Answer::CouldNotTell(format!(
                    "on average {} of {}'s flows were at work at once",
                    row.at_once().map_or("?".into(), |n| format!("{n:.2}")),
                    row.way
                ));
            }
        }
        let (Some(p50), Some(rate)) = (self.p50, self.rate) else {
            return Answer::CouldNotTell("too few measurements".into());
        };
        let both = [p50, rate];
        let noise = |d: &Difference| d.control.high.max(1.0 / d.control.low);
        if both.iter().any(|d| noise(d) >= APPEARS) {
            return Answer::CouldNotTell("the same measured twice differs as much".into());
        }
        if both.iter().all(|d| d.found.low >= APPEARS) {
            Answer::Appears
        } else if both.iter().any(|d| d.found.high < APPEARS) {
            Answer::DoesNot
        } else {
            Answer::CouldNotTell(format!("it may be more than {APPEARS} times, or less"))
        }
    }
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
        let boots = found.boots.iter();
        let effects: Vec<Effect<'_>> = boots
            .filter(|b| (b.source.as_str(), b.arm) == (source, arm))
            .flat_map(effects)
            .collect();
        verdict(&mut out, source, arm, &effects);
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
        "\n## {} {}, {cpus}: transactions in guest time (1 us is 1,000 instructions of each CPU)\n\n\
         | traffic        | flows on a CPU | way            | at once |  P50 us |     between     |  P90 us |  P99 us | mean us |     tx/s | polls of the backlog | in the pass of the device | passes | again | waits ns | by ksoftirqd | wake-ups | squeezes | dropped |\n\
         |----------------|---------------:|----------------|--------:|--------:|:---------------:|--------:|--------:|--------:|---------:|---------------------:|--------------------------:|-------:|------:|---------:|-------------:|---------:|---------:|--------:|",
        boot.source,
        boot.arm.word()
    );
    for row in rows(boot) {
        let us = |figure: &str| row.median(figure).map(|ns| format!("{:.2}", ns / 1e3));
        let between = row
            .interval("p50")
            .map(|i| format!("{:.2} - {:.2}", i.low / 1e3, i.high / 1e3));
        let sum = |name: &str| row.sum(traced, name);
        let each = |name: &str| Some(sum(name)? / sum("transactions")?);
        let two = |n: Option<f64>| n.filter(|n| n.is_finite()).map(|n| format!("{n:.2}"));
        let whole = |n: Option<f64>| n.filter(|n| n.is_finite()).map(|n| format!("{n:.0}"));
        let wait = || Some(sum("wait")? / sum("passes")?);
        let latencies = [
            (7, us("p50")),
            (15, between),
            (7, us("p90")),
            (7, us("p99")),
            (7, us("mean")),
            (8, whole(row.median("rate"))),
        ];
        let counters = [
            (20, two(each("backlog_polls"))),
            (25, two(each("backlog_after_device"))),
            (6, two(each("passes"))),
            (5, two(each("again"))),
            (8, whole(wait())),
            (12, whole(sum("by_ksoftirqd"))),
            (8, whole(sum("ksoftirqd_wakeups"))),
            (8, whole(row.sum(counts, "time_squeeze"))),
            (7, whole(row.sum(counts, "dropped"))),
        ];
        let _ = write!(
            out,
            "| {:<14} | {:>14} | {:<14} | {:>7} |",
            row.traffic,
            row.flows,
            row.way,
            two(row.at_once()).unwrap_or_default()
        );
        for (width, cell) in latencies {
            // What is not of all flows at once is no figure.
            let cell = if row.holds() { cell } else { Some("?".into()) };
            let _ = write!(out, " {:>width$} |", cell.unwrap_or_default());
        }
        for (width, cell) in counters {
            let _ = write!(out, " {:>width$} |", cell.unwrap_or_default());
        }
        out.push('\n');
    }
}

/// Whether it appears on a kernel, and why.
fn verdict(out: &mut String, source: &str, arm: Arm, all: &[Effect<'_>]) {
    let _ = writeln!(
        out,
        "\n## {source} {}: does the published effect appear?\n\n\
         Published with the original: P50 {} to {} us ({:.2} times), {:.0} to {:.0} tx/s ({:.2} times).\n\
         It appears where both are at least {APPEARS} times, {:.0} % sure.",
        arm.word(),
        PUBLISHED_P50.0,
        PUBLISHED_P50.1,
        PUBLISHED_P50.0 / PUBLISHED_P50.1,
        PUBLISHED_RATE.0,
        PUBLISHED_RATE.1,
        PUBLISHED_RATE.1 / PUBLISHED_RATE.0,
        SURE * 100.0,
    );
    if all.is_empty() {
        out.push_str("Could not tell: there is no redirect and redirect_peer to compare.\n");
        return;
    }
    out.push_str(
        "\n| CPUs | traffic        | flows on a CPU | P50, redirect's to redirect_peer's | the same measured twice | tx/s, redirect_peer's to redirect's | the same measured twice | does it appear? |\n\
         |-----:|----------------|---------------:|:----------------------------------:|:-----------------------:|:-----------------------------------:|:-----------------------:|-----------------|\n",
    );
    for e in all {
        let answer = e.answer();
        let refused = !(e.redirect.holds() && e.peer.holds());
        let times = |i: Option<Interval>| match i {
            Some(i) if !refused => format!("{:.3} ({:.3} - {:.3})", i.median, i.low, i.high),
            _ => "?".into(),
        };
        let said = match answer {
            Answer::Appears => "yes".into(),
            Answer::DoesNot => "no".into(),
            Answer::CouldNotTell(why) => format!("could not tell: {why}"),
        };
        let _ = writeln!(
            out,
            "| {:>4} | {:<14} | {:>14} | {:^34} | {:^23} | {:^35} | {:^23} | {said} |",
            e.cpus,
            e.redirect.traffic,
            e.redirect.flows,
            times(e.p50.map(|d| d.found)),
            times(e.p50.map(|d| d.control)),
            times(e.rate.map(|d| d.found)),
            times(e.rate.map(|d| d.control)),
        );
    }
    let told: Vec<&Effect<'_>> = all
        .iter()
        .filter(|e| !matches!(e.answer(), Answer::CouldNotTell(_)))
        .collect();
    let appears = told
        .iter()
        .filter(|e| e.answer() == Answer::Appears)
        .count();
    let typical = |of: fn(&Effect<'_>) -> Option<Difference>| {
        let medians: Vec<f64> = told
            .iter()
            .filter_map(|e| Some(of(e)?.found.median))
            .collect();
        middle(&medians)
    };
    let said = match (appears, told.len()) {
        (_, 0) => "**Could not tell.**".to_owned(),
        (0, n) => format!("**It does not appear** in any of {n} comparisons."),
        (a, n) if a == n => format!("**It appears** in each of {n} comparisons."),
        (a, n) => format!("**It appears in {a} of {n}** comparisons."),
    };
    let _ = write!(out, "\n{said}");
    if let (Some(p50), Some(rate)) = (typical(|e| e.p50), typical(|e| e.rate)) {
        let _ = write!(
            out,
            " Half of them have a P50 of redirect that is more than {p50:.3} times redirect_peer's, and more than {rate:.3} times as many transactions by redirect_peer."
        );
    }
    let _ = match all.len() - told.len() {
        0 => writeln!(out),
        n => writeln!(out, " Of {n} more nothing could be told."),
    };
    out.push_str(&reason::why(&told));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        bench::latency::{Point, tests::sample},
        results::Machine,
    };

    /// A boot of two CPUs.
    pub(in crate::bench) fn boot(points: Vec<Point>) -> Boot {
        Boot {
            base: "6.12".into(),
            source: "6.12.117".into(),
            arm: Arm::Patched,
            commit: "c".into(),
            cpus: 2,
            points,
        }
    }

    /// P50 (us) of each way, on two CPUs that are never idle; a little more with
    /// each measurement.
    pub(in crate::bench) fn measured(redirect: f64, peer: f64) -> Vec<Point> {
        let order = TURNS.order().enumerate();
        order
            .map(|(at, way)| {
                let us = match way {
                    "redirect" => redirect,
                    "redirect_peer" => peer,
                    _ => 10.0,
                };
                let ns = us * 1e3 * (1.0 + 0.001 * at as f64);
                let mut point = sample(way, at as u32, ns, 1e9 / ns);
                point.all.insert("rate".into(), 2e9 / ns);
                point
            })
            .collect()
    }

    pub(in crate::bench) fn found(boots: Vec<Boot>) -> Load {
        Load {
            started: 0,
            seconds: 1.0,
            machine: Machine::default(),
            lacks: Vec::new(),
            boots,
        }
    }

    /// Verify that what was published is called an effect, that next to nothing
    /// is not, and that without a way to compare nothing is said.
    #[test]
    fn verdicts() {
        let published = found(vec![boot(measured(118.5, 43.25))]);
        let said = text(&published);
        assert!(said.contains("**It appears** in each of 1"), "{said}");
        let said = text(&found(vec![boot(measured(20.0, 19.0))]));
        assert!(said.contains("**It does not appear**"), "{said}");
        assert!(said.contains("1.053 ("), "{said}");
        assert!(said.contains("nothing was counted"), "{said}");
        let mut lacking = published;
        lacking.boots[0].points.retain(|p| p.way != "redirect_peer");
        lacking
            .lacks
            .push("6.12.117 patched, 4 CPUs: it did not boot".into());
        let said = text(&lacking);
        assert!(said.contains("Could not tell: 6.12.117 patched, 4 CPUs"));
        assert!(said.contains("Could not tell: there is no redirect"));
        assert!(effects(&lacking.boots[0]).is_empty());
    }

    /// Verify that flows which waited until others were done give no figure, and
    /// that noise as large as the effect is none.
    #[test]
    fn what_cannot_be_told() {
        let mut points = measured(118.5, 43.25);
        points[0].all.insert("rate".into(), 8_000.0);
        let said = text(&found(vec![boot(points)]));
        assert!(
            said.contains("could not tell: on average 0.47 of"),
            "{said}"
        );
        assert!(said.contains("**Could not tell.**"), "{said}");
        assert!(said.contains("|    0.47 |       ? |"), "{said}");
        assert!(!said.contains("|  118."), "{said}");
        let mut noisy = measured(118.5, 43.25);
        for point in noisy.iter_mut().step_by(TURNS.ways.len()) {
            for (figure, factor) in [("p50", 2.0), ("mean", 2.0), ("rate", 0.5)] {
                *point.all.get_mut(figure).unwrap() *= factor;
            }
        }
        let found = found(vec![boot(noisy)]);
        assert!(matches!(
            effects(&found.boots[0])[0].answer(),
            Answer::CouldNotTell(why) if why.contains("twice")
        ));
    }
}
