// SPDX-License-Identifier: GPL-2.0-only
//! `bench --native`: latencies by the clock, on the kernel that runs here.
//!
//! Ways are measured by turns, round after round, and bpf_redirect() twice in
//! each: what it differs from itself by is no difference.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::Event;
use serde::{Deserialize, Serialize};

use super::{
    confidence::{self, Of, Verdict, compare, middle, percent},
    emulated,
    latency::{self, Point},
    turns::Turns,
};
use crate::{
    cli,
    exec::{Program, describe},
    fail,
    guest::Guest,
    machine, request,
    results::Machine,
    session::Session,
    stream::Stream,
};

/// What is written to the folder of results.
pub(super) const DOCUMENT: &str = "native.json";

/// What a round measures.
const TURNS: Turns = Turns {
    ways: &[
        "redirect",
        "redirect_peer",
        "host",
        "stack",
        "redirect_neigh",
        "redirect",
    ],
    rounds: 12,
};

/// How long each is measured, milliseconds.
const TIME: u64 = 500;

/// All of it may take so long.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What was published with the original, which decides: this traffic, and these
/// of its figures. All others are shown.
const DECIDES: &str = "veth.tcp_rr.v4";
const DECIDING: [&str; 2] = ["p50", "rate"];

/// What redirect and redirect_peer are compared by.
const FIGURES: [&str; 4] = ["p50", "mean", "p99", "rate"];

/// What `bench --native` found, as native.json holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Native {
    /// When it began, seconds since the epoch, UTC.
    pub started: u64,
    /// How long it took, seconds.
    pub(super) seconds: f64,
    /// Where.
    pub(super) machine: Machine,
    /// `uname -r`.
    kernel: String,
    /// The hypervisor's name for itself, where there is one.
    hypervisor: Option<String>,
    /// In the order of measuring.
    points: Vec<Point>,
}

/// The hypervisor's name for itself, if there is one.
///
/// # Errors
///
/// Where the clock proves nothing, and for who is not root.
pub(super) fn hypervisor() -> Result<Option<String>> {
    let hypervisor = match emulated::machine() {
        emulated::Machine::Cpu(hypervisor) => hypervisor,
        emulated::Machine::Emulated => bail!(
            "this machine is executed by software (its CPUID leaf 0x40000000 says TCGTCGTCGTCG), so the clock says \
             nothing of the kernel: measure on a machine with KVM or without a hypervisor, or in instructions (`bench`, `bench --load`)"
        ),
        emulated::Machine::Unknown => bail!(
            "there is no CPUID to ask whether this machine is executed by software, so its clock proves nothing: measure in instructions (`bench`, `bench --load`)"
        ),
    };
    if !nix::unistd::geteuid().is_root() {
        return Err(request!(
            "--native makes network namespaces and loads programs on this machine, which needs root"
        ));
    }
    Ok(hypervisor)
}

/// Measures, prints, and gives the exit status: good with an answer, and "could
/// not tell" without.
pub(super) fn native(
    session: &Session,
    request: &cli::Bench,
    hypervisor: Option<String>,
) -> Result<u8> {
    let start = Instant::now();
    let started = machine::now();
    let guest = Guest::build(&session.project, session.common.offline, &session.progress)?;
    let step = session.progress.begin("bench", "native");
    let (kernel, points) = measure(&guest)?;
    step.done(false);
    session.progress.save(&session.cache)?;
    if !points.iter().any(|p| p.way == "redirect_peer") {
        return Err(request!(
            "this kernel ({kernel}) has no bpf_redirect_peer(): boot a patched one"
        ));
    }
    let found = Native {
        started,
        seconds: start.elapsed().as_secs_f64(),
        machine: machine::here(),
        kernel,
        hypervisor,
        points,
    };
    let json = serde_json::to_string_pretty(&found)? + "\n";
    if let Some(dir) = &request.results {
        crate::cache::write_whole(&dir.join(DOCUMENT), json.as_bytes())?;
    }
    if request.common.json {
        print!("{json}");
    } else {
        print!("{}", text(&found));
    }
    Ok(if is_told(&found.points) {
        fail::GOOD
    } else {
        fail::COULD_NOT_TELL
    })
}

/// Reads a native.json.
pub fn native_of(path: &Path) -> Result<Native> {
    let text =
        fs::read_to_string(path).map_err(|e| request!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| request!("{} is no native.json: {e}", path.display()))
}

/// Runs the guest program here: the kernel's release, and what it measured.
fn measure(guest: &Guest) -> Result<(String, Vec<Point>)> {
    let scratch = tempfile::tempdir().context("making a folder for what is measured")?;
    let (events, said) = (scratch.path().join("events"), scratch.path().join("said"));
    for path in [&events, &said] {
        fs::write(path, "").with_context(|| format!("making {}", path.display()))?;
    }
    let mut program = Program::new(&guest.program)
        .args(["load", "--flows", "1", "--ms"])
        .arg(TIME.to_string())
        .args(["--pair", "veth", "--pair", "netkit"])
        .args(["--ip", "v4", "--ip", "v6"])
        .arg("--port")
        .arg(&events);
    for way in TURNS.order() {
        program = program.args(["--way", way]);
    }
    let file = File::create(&said).context("making a file for what it prints")?;
    let status = program
        .spawn(file.try_clone()?.into(), file.into())?
        .wait(Some(PATIENCE))?;
    let printed = fs::read_to_string(&said).unwrap_or_default();
    if !status.success() {
        bail!(
            "measuring ended with {}; it printed: {}",
            describe(status),
            crate::exec::tail(&printed, 10)
        );
    }
    let bytes = fs::read(&events).with_context(|| format!("reading {}", events.display()))?;
    let mut stream = Stream::default();
    let (mut kernel, mut metrics) = (String::new(), Vec::new());
    for event in stream.push(&bytes) {
        match event {
            Event::Hello { kernel: k, .. } => kernel = k,
            Event::Metric { name, value, .. } => metrics.push((name, value)),
            _ => {}
        }
    }
    if let Some(lacks) = stream.lacks() {
        bail!("what was measured is not whole: {lacks}");
    }
    let points = latency::points(metrics.iter().map(|(n, v)| (n.as_str(), *v)))?;
    Ok((kernel, points))
}

/// The measurements of one kind of traffic.
fn of<'p>(points: &'p [Point], traffic: &str) -> Vec<&'p Point> {
    points.iter().filter(|p| p.traffic == traffic).collect()
}

/// bpf_redirect() beside bpf_redirect_peer(), by figure.
fn verdicts(points: &[&Point]) -> Vec<(&'static str, Verdict)> {
    let of = |figure| {
        let ratios = TURNS.ratios(points, figure);
        compare(&ratios.found, &ratios.control, Of(FIGURES.len()))
    };
    FIGURES.map(|f| (f, of(f))).into()
}

/// Whether what decides is known.
fn is_told(points: &[Point]) -> bool {
    let verdicts = verdicts(&of(points, DECIDES));
    DECIDING.iter().all(|figure| {
        let is_it = |v: &&(&str, Verdict)| v.0 == *figure;
        let found = verdicts.iter().find(is_it);
        found.is_some_and(|v| matches!(v.1, Verdict::Differs(_)))
    })
}

/// Of each traffic the table that was published with the original, for each
/// way, then answers.
pub(super) fn text(found: &Native) -> String {
    let mut out = format!(
        "\n{}, one flow on each CPU, {}, medians of {} rounds (of MIN_LATENCY the least), latencies in us.\n\
         {} of {DECIDES}, which were published with the original, decide whether there is an answer.\n",
        found.kernel,
        found.hypervisor.as_ref().map_or_else(
            || "no hypervisor".to_owned(),
            |h| format!("hypervisor {h:?}")
        ),
        TURNS.rounds,
        DECIDING.join(" and "),
    );
    let traffics: BTreeSet<&str> = found.points.iter().map(|p| p.traffic.as_str()).collect();
    // What decides comes first.
    let mut traffics: Vec<&str> = traffics.into_iter().collect();
    traffics.sort_by_key(|t| *t != DECIDES);
    for traffic in traffics {
        let points = of(&found.points, traffic);
        let _ = writeln!(out, "\n## {traffic}");
        let ways: BTreeSet<&str> = TURNS.ways.iter().copied().collect();
        for way in ways {
            let _ = write!(out, "\n    {way}\n{}", table(&points, way));
        }
        let _ = writeln!(
            out,
            "\nredirect beside redirect_peer, {:.0} % sure, the control being redirect beside itself:\n",
            confidence::SURE * 100.0
        );
        for (figure, verdict) in verdicts(&points) {
            let said = match verdict {
                Verdict::Differs(i) => format!(
                    "redirect's is {} ({} to {})",
                    percent(i.median),
                    percent(i.low),
                    percent(i.high)
                ),
                Verdict::Inconclusive(why) => format!("inconclusive: {why}"),
            };
            let _ = writeln!(out, "- {figure:<5} {said}");
        }
    }
    out
}

/// One way, in the layout that was published with the original.
fn table(points: &[&Point], way: &str) -> String {
    let ours: Vec<&&Point> = points.iter().filter(|p| p.way == way).collect();
    let cpus: Vec<u32> = ours
        .first()
        .map_or_else(Vec::new, |p| p.cpus.keys().copied().collect());
    // Of one CPU, the median of all rounds, and the least where that is asked for.
    let of = |cpu: &u32, name: &str| -> f64 {
        let values: Vec<f64> = ours
            .iter()
            .filter_map(|p| p.cpus.get(cpu)?.get(name).copied())
            .collect();
        if name == "min" {
            return values.into_iter().fold(f64::INFINITY, f64::min);
        }
        middle(&values).unwrap_or(f64::NAN)
    };
    let mut out = String::new();
    let mut line = |title: &str, of_all: f64, each: &[f64]| {
        let each: String = each.iter().map(|v| format!(" {v:>15.3}")).collect();
        let _ = writeln!(
            out,
            "    {title:<17} {of_all:>10.3}         (per CPU:{each})"
        );
    };
    let mean = |each: &[f64]| each.iter().sum::<f64>() / each.len() as f64;
    let rates: Vec<f64> = cpus.iter().map(|cpu| of(cpu, "rate")).collect();
    let trips: Vec<f64> = rates.iter().map(|rate| 1e6 / rate).collect();
    line("RT_LATENCY:", mean(&trips), &trips);
    for (title, name) in [
        ("MEAN_LATENCY:", "mean"),
        ("STDDEV_LATENCY:", "stddev"),
        ("MIN_LATENCY:", "min"),
        ("P50_LATENCY:", "p50"),
        ("P90_LATENCY:", "p90"),
        ("P99_LATENCY:", "p99"),
    ] {
        let each: Vec<f64> = cpus.iter().map(|cpu| of(cpu, name) / 1e3).collect();
        line(title, mean(&each), &each);
    }
    line("TRANSACTION_RATE:", rates.iter().sum(), &rates);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::latency::tests::sample;

    /// What a run would give in which redirect takes `slower` as long as
    /// redirect_peer, and `drift` more with each measurement.
    fn run(slower: f64, drift: f64) -> Vec<Point> {
        TURNS
            .order()
            .enumerate()
            .map(|(at, way)| {
                let by_way = if way == "redirect" { slower } else { 1.0 };
                let p50 = 10_000.0 * by_way * (1.0 + drift * at as f64);
                sample(way, at as u32, p50, 1e9 / p50)
            })
            .collect()
    }

    fn answer(points: &[Point], figure: &str) -> Verdict {
        let all = verdicts(&of(points, DECIDES));
        all.into_iter().find(|v| v.0 == figure).unwrap().1
    }

    /// Verify that a difference is found, through a drift larger than it, and
    /// that none is called inconclusive.
    #[test]
    fn answers() {
        for (slower, drift) in [(1.1, 0.0), (1.1, 0.01)] {
            let Verdict::Differs(found) = answer(&run(slower, drift), "p50") else {
                panic!("{slower} {drift}");
            };
            assert!((found.median - 1.1).abs() < 0.001, "{found:?}");
            let Verdict::Differs(rate) = answer(&run(slower, drift), "rate") else {
                panic!("{slower} {drift}");
            };
            assert!(rate.high < 1.0);
        }
        for (slower, drift) in [(1.0, 0.0), (1.01, 0.01)] {
            let none = answer(&run(slower, drift), "p50");
            assert!(matches!(none, Verdict::Inconclusive(_)));
        }
    }

    /// Verify that the published figures decide, and no other: not a P99 that
    /// says nothing, and not what was measured besides.
    #[test]
    fn what_decides() {
        let mut points = run(1.1, 0.0);
        assert!(is_told(&points));
        for point in &mut points {
            point.all.insert("p99".into(), 1000.0);
        }
        let mut others = run(1.0, 0.0);
        for point in &mut others {
            point.traffic = "netkit.udp_rr.v6".into();
        }
        points.extend(others);
        assert!(matches!(answer(&points, "p99"), Verdict::Inconclusive(_)));
        assert!(is_told(&points));
        for point in &mut points {
            point.all.insert("rate".into(), 1000.0);
        }
        assert!(!is_told(&points));
        assert!(!is_told(&[]));
    }

    /// Verify that the table has the layout that was published, and the least
    /// of all latencies where it says so.
    #[test]
    fn layout() {
        let mut point = sample("redirect", 0, 118_500.0, 8152.2);
        let second = point.cpus.get_mut(&1).unwrap();
        second.insert("rate".into(), 8169.8);
        let mut fast = point.clone();
        for cpu in fast.cpus.values_mut() {
            cpu.insert("min".into(), 46_500.0);
        }
        let table = table(&[&point, &point, &fast], "redirect");
        let lines: Vec<&str> = table.lines().map(str::trim_start).collect();
        assert_eq!(
            lines[0],
            "RT_LATENCY:          122.534         (per CPU:         122.666         122.402)"
        );
        assert_eq!(
            lines[3],
            "MIN_LATENCY:          46.500         (per CPU:          46.500          46.500)"
        );
        assert_eq!(
            lines[4],
            "P50_LATENCY:         118.500         (per CPU:         118.500         118.500)"
        );
        assert_eq!(
            lines[7],
            "TRANSACTION_RATE:  16322.000         (per CPU:        8152.200        8169.800)"
        );
    }
}
