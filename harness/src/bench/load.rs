// SPDX-License-Identifier: GPL-2.0-only
//! `bench --load`: latencies of many flows on 1, 2 and 4 CPUs, and whether what
//! was published with the original appears.
//!
//! Guest time is the number of instructions that all CPUs of the guest executed
//! (QEMU lets them run by turns in one thread), so a busy machine changes
//! nothing. A transaction that is under way on one CPU while another has its
//! turn, which may be as long as milliseconds, seems to last longer: with more
//! than one CPU the tails say that, and not what the path takes. Transactions a
//! second, of all CPUs together, do not suffer from it.

use std::{
    fmt::Write,
    path::Path,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result};
use protocol::Arm;
use serde::{Deserialize, Serialize};

use super::{
    latency::{self, Point},
    measure::{self, Counted},
    plot, table,
};
use crate::{
    accel::{Accel, Choice},
    cache::write_whole,
    cli, fail,
    guest::Guest,
    machine,
    report::text as words,
    request,
    results::Machine,
    session::Session,
    vm::SHARE,
};

/// CPUs of the guest, one boot each.
const CPUS: [u32; 3] = [1, 2, 4];

/// Published with the original, TCP_RR from one host to a container on another
/// over a real NIC, 4 CPUs: by bpf_redirect() and by bpf_redirect_peer().
/// Microseconds; transactions a second.
const PUBLISHED_P50: (f64, f64) = (118.5, 43.25);
const PUBLISHED_RATE: (f64, f64) = (32_666.4, 90_039.5);

/// It appears where median and rate differ by this much at least: half, on the
/// logarithmic scale, of what was published (2.7).
const APPEARS: f64 = 1.65;

/// What `bench --load` found, as load.json holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Where.
    pub machine: Machine,
    /// One for each kernel and number of CPUs.
    pub(super) boots: Vec<Boot>,
    /// What was not measured, and why: `5.10.262 patched, 2 CPUs: ...`.
    #[serde(default)]
    pub(super) lacks: Vec<String>,
}

/// One boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Boot {
    /// Release line, `6.12`.
    pub(super) base: String,
    /// Full version, `6.12.117`.
    pub(super) source: String,
    /// The arm.
    pub(super) arm: Arm,
    /// The commit that was built.
    pub(super) commit: String,
    /// CPUs of the guest.
    pub(super) cpus: u32,
    /// What was measured. A nanosecond is an instruction, of whichever CPU.
    pub(super) points: Vec<Point>,
}

/// Measures, prints, and gives the exit status: whatever is true is the result,
/// so it is good unless nothing could be told.
pub(super) fn load(session: &Session, request: &cli::Bench) -> Result<u8> {
    let start = Instant::now();
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let vng = session.virtme_ng()?;
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let arms: Vec<Arm> = if request.arms.is_empty() {
        vec![Arm::Patched]
    } else {
        request.arms.iter().map(|a| Arm::from(*a)).collect()
    };
    let (mut boots, mut lacks) = (Vec::new(), Vec::new());
    for tree in session.trees(&request.source)? {
        for &arm in &arms {
            let commit = session.commit(&tree, arm, request.source.series.as_deref())?;
            let kernel = session.kernel(&tree, arm, "default", &commit)?;
            let bench = measure::Bench {
                vng: &vng,
                guest: &guest,
                kernel: &kernel,
            };
            let step = session
                .progress
                .begin("load", &format!("{} {}", tree.base.line, arm.word()));
            for cpus in CPUS {
                step.at(format!("{cpus} CPUs"));
                let scratch = tempfile::tempdir().context("making a folder for the console")?;
                let script = format!(
                    "exec {SHARE}/selftests load --port auto --instructions --counters 2>&1"
                );
                let console = scratch.path().join("console");
                let found = match bench.boot(&script, cpus, &console, &step)? {
                    Counted::Figures(found) => found,
                    Counted::Nothing(why) => {
                        let of = (&tree.version, arm.word(), count(cpus));
                        lacks.push(format!("{} {}, {}: {why}", of.0, of.1, of.2));
                        continue;
                    }
                };
                let mut points = latency::points(found.iter().map(|(n, v)| (n.as_str(), *v)))?;
                let place = |way: &str| table::WAYS.iter().position(|w| *w == way);
                points.sort_by_key(|p| (p.traffic.clone(), p.flows, place(&p.way)));
                boots.push(Boot {
                    base: tree.base.line.clone(),
                    source: tree.version.clone(),
                    arm,
                    commit: commit.clone(),
                    cpus,
                    points,
                });
            }
            step.done(false);
        }
    }
    session.progress.save(&session.cache)?;
    let choice = Choice {
        accel: Accel::Tcg,
        why: "instructions are counted by software emulation".into(),
    };
    let found = Load {
        started,
        seconds: start.elapsed().as_secs_f64(),
        machine: machine::describe(&choice, &vng),
        boots,
        lacks,
    };
    let json = serde_json::to_string_pretty(&found)? + "\n";
    if let Some(dir) = &request.results {
        write_whole(&dir.join("load.json"), json.as_bytes())?;
    }
    if request.common.json {
        print!("{json}");
    } else {
        print!("{}", text(&found));
    }
    let unknown = found.boots.iter().any(|b| effects(b).is_empty());
    Ok(if unknown || !found.lacks.is_empty() {
        fail::COULD_NOT_TELL
    } else {
        fail::GOOD
    })
}

/// Reads a load.json.
pub fn load_of(path: &Path) -> Result<Load> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| request!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| request!("{} is no load.json: {e}", path.display()))
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
        let machine = &load.machine;
        let _ = writeln!(
            out,
            "\nMeasured on {}, in {}: {}, {}; {}; {}; {}; virtme-ng {}.",
            words::utc(load.started),
            words::seconds(load.seconds),
            words::markdown(&machine.cpu),
            words::count(machine.cpus, "CPU"),
            words::markdown(&machine.os),
            words::markdown(&machine.compiler),
            words::markdown(&machine.qemu),
            words::markdown(&machine.virtme_ng),
        );
        for boot in load.boots.iter().filter(|b| b.cpus == CPUS[0]) {
            let file = format!("latency-{}-{}.svg", boot.base, boot.arm.word());
            write_whole(&to.join(&file), plot::latencies(&boot.points)?.as_bytes())?;
            let _ = writeln!(
                out,
                "\n![Latency on one CPU of {} {}, by flows and way]({file})",
                boot.source,
                boot.arm.word()
            );
        }
        out.push_str(&text(load));
    }
    write_whole(&to.join("load.md"), out.as_bytes())
}

/// bpf_redirect() beside bpf_redirect_peer(), everything else alike.
#[derive(Debug, Clone, PartialEq)]
struct Effect<'a> {
    redirect: &'a Point,
    peer: &'a Point,
    /// By how much redirect's median is the larger, and its rate the smaller.
    p50: f64,
    rate: f64,
}

/// Each that a boot shows.
fn effects(boot: &Boot) -> Vec<Effect<'_>> {
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

fn count(cpus: u32) -> String {
    match cpus {
        1 => "1 CPU".into(),
        n => format!("{n} CPUs"),
    }
}

fn latencies(out: &mut String, boot: &Boot) {
    let cpus = count(boot.cpus);
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
    use crate::bench::latency::tests::sample;

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
