// SPDX-License-Identifier: GPL-2.0-only
//! `load`: how long transactions take when many flows share each CPU.
//!
//! A flow is a client and a server, two threads pinned to one CPU, that pass a
//! byte to and fro. Packets reach the host by a device that polls a queue of
//! its own, as a NIC does: what is redirected from there to a container goes to
//! the CPU's backlog, which is a second poll, or it does not.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use protocol::{Event, reason};

use crate::{
    bpf::{self, Softirqs, Xdp},
    fail::Stop,
    link::Pair,
    report::Report,
    topology::{Ip, Topology},
};

use super::{
    clock::{self, Clock},
    counters::Counters,
    cpus,
    flow::{self, Flow},
    spread::Spread,
    way::{Prepared, WAYS},
    window::Measure,
};

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
    /// Time is the number of instructions that each CPU executed, as QEMU's icount counts them; CPUs that the kernel left out are started
    #[arg(long)]
    instructions: bool,
    /// Flows on each CPU; may be repeated
    #[arg(long = "flows", value_name = "N", default_values_t = [1, 4, 16])]
    flows: Vec<usize>,
    /// tcp_rr or udp_rr; may be repeated
    #[arg(long = "traffic", value_name = "T", default_values_t = ["tcp_rr".to_owned(), "udp_rr".to_owned()])]
    traffic: Vec<String>,
    /// veth or netkit; may be repeated. One that the kernel lacks is left out
    #[arg(long = "pair", value_name = "P", default_values_t = ["veth".to_owned()])]
    pairs: Vec<String>,
    /// v4 or v6; may be repeated
    #[arg(long = "ip", value_name = "V", default_values_t = ["v4".to_owned()])]
    ips: Vec<String>,
    /// Only this way; may be repeated, and is then tried again
    #[arg(long = "way", value_name = "W", default_values_t = COMPARED.map(str::to_owned))]
    ways: Vec<String>,
    /// How long to measure each, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 25)]
    ms: u64,
    /// Count softirqs too, in a measurement of its own
    #[arg(long)]
    counters: bool,
}

/// What is measured, by its name.
struct What<'a> {
    pair: Pair,
    ip: Ip,
    traffic: flow::Traffic,
    /// On each CPU.
    flows: usize,
    way: &'a str,
    name: String,
}

/// Measures, and reports `PAIR.TRAFFIC.IP.fFLOWS.WAY.rROUND.QUANTITY.CPU` (`all`: of
/// the transactions of all CPUs), and what was counted as
/// `PAIR.TRAFFIC.IP.fFLOWS.WAY.rROUND.count.COUNTER`.
pub(crate) fn load(args: &Args) -> Result<ExitCode> {
    let mut report = Report::open(args.port.as_deref())?;
    bpf::keep_log();
    report.hello(Vec::new())?;
    if args.instructions {
        let ticks = clock::of_2000_instructions();
        send(&mut report, "clock.2000", ticks as f64, "ticks")?;
        cpus::start_all()?;
    }
    let cpus = cpus::usable()?;
    let how = Measure {
        cpus: &cpus,
        clock: if args.instructions {
            Clock::Instructions(cpus.len() as u64)
        } else {
            Clock::Wall
        },
        time: Duration::from_millis(args.ms),
    };
    for what in args.all()? {
        one(&what, how, args.counters, &mut report).context(what.name)?;
    }
    report.done(0)?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Everything that is to be measured, in order.
    fn all(&self) -> Result<Vec<What<'_>>> {
        let mut all = Vec::new();
        for pair_name in &self.pairs {
            let pair = match pair_name.as_str() {
                "veth" => Pair::Veth,
                "netkit" => Pair::Netkit,
                _ => bail!("`{pair_name}` is neither veth nor netkit"),
            };
            // Where it is new enough it may still have been built without.
            if pair == Pair::Netkit
                && let Err(why) = Topology::quiet(pair)
            {
                eprintln!("{pair_name} is left out: {why:#}");
                continue;
            }
            for traffic in &self.traffic {
                for ip_name in &self.ips {
                    let ip = match ip_name.as_str() {
                        "v4" => Ip::V4,
                        "v6" => Ip::V6,
                        _ => bail!("`{ip_name}` is neither v4 nor v6"),
                    };
                    for &flows in &self.flows {
                        for (round, way) in self.ways.iter().enumerate() {
                            all.push(What {
                                pair,
                                ip,
                                traffic: flow::traffic(traffic)?,
                                flows,
                                way,
                                name: format!(
                                    "{pair_name}.{traffic}.{ip_name}.f{flows}.{way}.r{round}"
                                ),
                            });
                        }
                    }
                }
            }
        }
        Ok(all)
    }
}

/// Measures one of them. A kernel without the helper leaves it out.
fn one(what: &What<'_>, how: Measure<'_>, counters: bool, report: &mut Report) -> Result<()> {
    let Some((way, _)) = WAYS.iter().find(|(_, n)| *n == what.way) else {
        bail!("`{}` is no way", what.way);
    };
    let path = match Prepared::new(what.pair, what.ip, *way) {
        Ok(path) => path,
        Err(Stop::Failed(f)) if f.reason == reason::HELPER_UNKNOWN => return Ok(()),
        Err(stop) => return Err(stopped(stop)),
    };
    let t = &path.topology;
    let _nic = Xdp::pass_in_driver(&t.fwd, t.src_fwd).map_err(stopped)?;
    let flows = || -> Result<Vec<(usize, Flow)>> {
        let flows = path.flows(what.traffic, how.cpus.len() * what.flows)?;
        let each = |(n, flow)| (how.cpus[n / what.flows], flow);
        Ok(flows.into_iter().enumerate().map(each).collect())
    };
    let name = &what.name;
    let measured = how.measure(flows()?, || Ok(Counters::default()))?;
    let all = Spread::together(&measured.spreads);
    for (quantity, value, unit) in all.figures() {
        send(report, &format!("{name}.{quantity}.all"), value, unit)?;
    }
    for (cpu, spread) in how.cpus.iter().zip(&measured.spreads) {
        for (quantity, value, unit) in spread.figures() {
            send(report, &format!("{name}.{quantity}.{cpu}"), value, unit)?;
        }
    }
    let mut counted = |kind: &str, made: u64, counted: Counters| -> Result<()> {
        for (counter, value) in counted.all().chain([("transactions".to_owned(), made)]) {
            send(
                report,
                &format!("{name}.{kind}.{counter}"),
                value as f64,
                "",
            )?;
        }
        Ok(())
    };
    counted("count", measured.made, measured.counted)?;
    if counters {
        let shorter = Measure {
            time: how.time / COUNTED_PART,
            ..how
        };
        let begin = || Ok(Counters::with(Softirqs::count().map_err(stopped)?));
        let traced = shorter.measure(flows()?, begin)?;
        counted("traced", traced.made, traced.counted)?;
    }
    Ok(())
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
