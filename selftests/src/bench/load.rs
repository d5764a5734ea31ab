// SPDX-License-Identifier: GPL-2.0-only
//! `load`: how long transactions take when many flows share each CPU.
//!
//! A flow is a client and a server, two threads pinned to one CPU, that pass a
//! byte to and fro. Packets reach the host by a device that polls a queue of
//! its own, as a NIC does: what is redirected from there to a container goes to
//! the CPU's backlog, which is a second poll, or it does not.

use std::{process::ExitCode, sync::Barrier, thread, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use protocol::{Event, reason};

use crate::{
    bpf::{self, Softirqs, Xdp},
    fail::Stop,
    link::Pair,
    report::Report,
    topology::Ip,
};

use super::{
    clock,
    counters::{self, Counters},
    flow::{self, Flow},
    spread::Spread,
    way::{Prepared, WAYS},
};

/// Transactions of each flow before any that counts.
const WARM_UP: usize = 20;

/// The ways that are compared, without what is about two containers.
const COMPARED: [&str; 4] = ["host", "redirect", "redirect_neigh", "redirect_peer"];

/// Of a measurement with counters on tracepoints, which are not free, so much
/// of the time of one without.
const COUNTED_PART: u32 = 4;

/// What to measure, and where to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Report over a virtio-serial port (`auto`: find it by its name) instead of standard output
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Time is the number of instructions that all CPUs executed, as QEMU's icount counts them
    #[arg(long)]
    instructions: bool,
    /// Flows on each CPU; may be repeated
    #[arg(long = "flows", value_name = "N", default_values_t = [1, 4, 16])]
    flows: Vec<usize>,
    /// tcp_rr or udp_rr; may be repeated
    #[arg(long = "traffic", value_name = "T", default_values_t = ["tcp_rr".to_owned(), "udp_rr".to_owned()])]
    traffic: Vec<String>,
    /// Only this way; may be repeated, and is then tried again
    #[arg(long = "way", value_name = "W", default_values_t = COMPARED.map(str::to_owned))]
    ways: Vec<String>,
    /// How long to measure each, in milliseconds; of instructions, for each CPU
    #[arg(long, value_name = "MS", default_value_t = 50)]
    ms: u64,
    /// Count softirqs too, in a measurement of its own
    #[arg(long)]
    counters: bool,
}

/// Measures, and reports `TRAFFIC.fFLOWS.WAY.rROUND.QUANTITY.CPU` (`all`: of
/// the transactions of all CPUs), and what was counted as `TRAFFIC.fFLOWS.WAY.rROUND.count.COUNTER`.
pub(crate) fn load(args: &Args) -> Result<ExitCode> {
    let mut report = Report::open(args.port.as_deref())?;
    bpf::keep_log();
    report.hello(Vec::new())?;
    let clock = if args.instructions {
        let ticks = clock::of_2000_instructions();
        send(&mut report, "clock.2000", ticks as f64, "ticks")?;
        clock::Clock::Instructions
    } else {
        clock::Clock::Wall
    };
    let cpus = usable()?;
    for &flows in &args.flows {
        for traffic in &args.traffic {
            for (round, way_name) in args.ways.iter().enumerate() {
                let Some((way, _)) = WAYS.iter().find(|(_, n)| n == way_name) else {
                    bail!("`{way_name}` is no way");
                };
                let path = match Prepared::new(Pair::Veth, Ip::V4, *way) {
                    Ok(path) => path,
                    Err(Stop::Failed(f)) if f.reason == reason::HELPER_UNKNOWN => continue,
                    Err(stop) => bail!("{way_name}: {stop:?}"),
                };
                let t = &path.topology;
                let _nic = Xdp::pass_in_driver(&t.fwd, t.src_fwd).map_err(stopped)?;
                let name = format!("{traffic}.f{flows}.{way_name}.r{round}");
                let what = Measure {
                    path: &path,
                    traffic: flow::traffic(traffic)?,
                    cpus: &cpus,
                    flows,
                    clock,
                    // CPUs that take turns take that many times as long.
                    time: Duration::from_millis(args.ms)
                        * if args.instructions {
                            cpus.len() as u32
                        } else {
                            1
                        },
                };
                let (spreads, counted) = what.measure(|| Ok(Counters::default()))?;
                let all = Spread::together(&spreads);
                for (quantity, value, unit) in all.figures() {
                    send(&mut report, &format!("{name}.{quantity}.all"), value, unit)?;
                }
                for (cpu, spread) in cpus.iter().zip(spreads) {
                    for (quantity, value, unit) in spread.figures() {
                        send(
                            &mut report,
                            &format!("{name}.{quantity}.{cpu}"),
                            value,
                            unit,
                        )?;
                    }
                }
                for (counter, value) in counted.all() {
                    send(
                        &mut report,
                        &format!("{name}.count.{counter}"),
                        value as f64,
                        "",
                    )?;
                }
                if !args.counters {
                    continue;
                }
                let shorter = Measure {
                    time: what.time / COUNTED_PART,
                    ..what
                };
                let (spreads, counted) =
                    shorter.measure(|| Ok(Counters::with(Softirqs::count().map_err(stopped)?)))?;
                let all: usize = spreads.iter().map(Spread::transactions).sum();
                let all = ("transactions".to_owned(), all as u64);
                for (counter, value) in counted.all().chain([all]) {
                    send(
                        &mut report,
                        &format!("{name}.traced.{counter}"),
                        value as f64,
                        "",
                    )?;
                }
            }
        }
    }
    report.done(0)?;
    Ok(ExitCode::SUCCESS)
}

fn stopped(stop: Stop) -> anyhow::Error {
    anyhow!("{stop:?}")
}

fn send(report: &mut Report, name: &str, value: f64, unit: &str) -> Result<()> {
    report.send(Event::Metric {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
    })
}

/// The CPUs that this process may use.
fn usable() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking which CPUs may be used")?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect())
}

/// Has this thread run on one CPU only.
fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to CPU {cpu}"))
}

/// One measurement.
#[derive(Clone, Copy)]
struct Measure<'a> {
    path: &'a Prepared,
    traffic: flow::Traffic,
    cpus: &'a [usize],
    /// On each CPU.
    flows: usize,
    clock: clock::Clock,
    time: Duration,
}

impl Measure<'_> {
    /// What the transactions on each CPU took, and what was counted from
    /// `begin` on, which is called when everything is warm.
    fn measure(self, begin: impl FnOnce() -> Result<Counters>) -> Result<(Vec<Spread>, Counters)> {
        let mut flows = Vec::new();
        let all: Vec<usize> = self
            .cpus
            .iter()
            .flat_map(|cpu| vec![*cpu; self.flows])
            .collect();
        for (ends, cpu) in self
            .path
            .flows(self.traffic, all.len())?
            .into_iter()
            .zip(all)
        {
            flows.push((cpu, ends));
        }
        let count = flows.len();
        // Everybody is warm; the counters were read; everybody has stopped counting.
        let (warm, go, stop) = (
            Barrier::new(count + 1),
            Barrier::new(count + 1),
            Barrier::new(count + 1),
        );
        let (warm, go, stop) = (&warm, &go, &stop);
        thread::scope(|scope| {
            let mut clients = Vec::new();
            let mut servers = Vec::new();
            for (
                cpu,
                Flow {
                    mut client,
                    mut server,
                },
            ) in flows
            {
                servers.push(scope.spawn(move || {
                    pin(cpu)?;
                    flow::serve(server.as_mut())
                }));
                clients.push(scope.spawn(move || {
                    let ready = pin(cpu).and_then(|()| {
                        (0..WARM_UP).try_for_each(|_| flow::transact(client.as_mut()))
                    });
                    // Nobody may miss a barrier, or the others wait for ever.
                    warm.wait();
                    go.wait();
                    let taken = ready.and_then(|()| self.transact(client.as_mut()));
                    stop.wait();
                    flow::end(client.as_mut())?;
                    anyhow::Ok((cpu, taken?))
                }));
            }
            warm.wait();
            let before = begin();
            let at_first = counters::read();
            let start = self.clock.ns();
            go.wait();
            stop.wait();
            let lasted = self.clock.ns() - start;
            let counted = before.and_then(|mut c| {
                c.since(at_first?)?;
                Ok(c)
            });
            let mut taken: Vec<Vec<u64>> = vec![Vec::new(); self.cpus.len()];
            for client in clients {
                let (cpu, some) = joined(client)?;
                if let Some(at) = self.cpus.iter().position(|c| *c == cpu) {
                    taken[at].extend(some);
                }
            }
            for server in servers {
                joined(server)?;
            }
            let spreads = taken.into_iter().map(|t| Spread::of(t, lasted)).collect();
            Ok((spreads, counted?))
        })
    }

    /// Transactions for as long as it is to be measured; nanoseconds of each.
    fn transact(self, client: &mut dyn flow::End) -> Result<Vec<u64>> {
        let mut taken = Vec::with_capacity(1 << 12);
        let first = self.clock.ns();
        let mut start = first;
        while u128::from(start - first) < self.time.as_nanos() {
            flow::transact(client)?;
            let end = self.clock.ns();
            taken.push(end - start);
            start = end;
        }
        Ok(taken)
    }
}

/// What a thread came to.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|p| anyhow!("a thread panicked: {p:?}"))
        .and_then(|r| r)
}
