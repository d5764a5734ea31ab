// SPDX-License-Identifier: GPL-2.0-only
//! `bench`: what a transaction costs on each way into a container.
//!
//! One thread holds both ends, so that nothing is scheduled in between: with
//! the clock counting instructions, a figure is the cost of the system calls
//! and of the path, and comes out the same in every boot. It is no latency:
//! waiting for a second softirq pass under load does not show here.

mod clock;
mod counters;
mod cpus;
mod flow;
mod load;
mod paths;
mod spread;
mod still;
mod traffic;
mod way;
mod window;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use protocol::{Event, reason};

use crate::{bpf, fail::Stop, link::Pair, report::Report, topology::Ip};

pub(crate) use self::load::{Args as LoadArgs, load};
pub use self::paths::paths;

use self::{
    traffic::TRAFFIC,
    way::{Prepared, WAYS},
};

/// What to measure, and where to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Report over a virtio-serial port (`auto`: find it by its name) instead of standard output
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Only figures whose name begins so: `veth.tcp_rr.v4`; may be repeated
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Repeat this figure's transaction until the guest is ended, for a profile
    #[arg(long, value_name = "NAME", conflicts_with = "only")]
    spin: Option<String>,
}

/// Measures, and reports each figure as `PAIR.TRAFFIC.IP.WAY`.
pub(crate) fn bench(args: &Args) -> Result<ExitCode> {
    let mut report = Report::open(args.port.as_deref())?;
    bpf::keep_log();
    report.hello(Vec::new())?;
    metric(&mut report, "clock.2000", clock::of_2000_instructions())?;
    still::spread_neighbours().context("making the tables of neighbours large")?;
    let wanted = |name: &str| match &args.spin {
        Some(one) => name == one,
        None => args.only.is_empty() || args.only.iter().any(|o| name.starts_with(o.as_str())),
    };
    let pairs: &[(Pair, &str)] = if crate::cases::has_netkit()? {
        &[(Pair::Veth, "veth"), (Pair::Netkit, "netkit")]
    } else {
        &[(Pair::Veth, "veth")]
    };
    for &(pair, pair_name) in pairs {
        for (ip, ip_name) in [(Ip::V4, "v4"), (Ip::V6, "v6")] {
            for (way, way_name) in WAYS {
                if pair != Pair::Veth && !way.has_container() {
                    continue;
                }
                let figures: Vec<_> = TRAFFIC
                    .iter()
                    .map(|(t, n)| (*t, format!("{pair_name}.{n}.{ip_name}.{way_name}")))
                    .filter(|(_, name)| wanted(name))
                    .collect();
                if figures.is_empty() {
                    continue;
                }
                let path = match Prepared::new(pair, ip, way) {
                    Ok(path) => path,
                    Err(Stop::Failed(f)) if f.reason == reason::HELPER_UNKNOWN => continue,
                    Err(stop) => bail!("{way_name}: {stop:?}"),
                };
                for (traffic, name) in figures {
                    if args.spin.is_some() {
                        let never = path
                            .spin(traffic, || metric(&mut report, &name, 0))
                            .context(name.clone())?;
                        match never {}
                    }
                    let cost = path.cost(traffic).with_context(|| name.clone())?;
                    metric(&mut report, &name, cost)?;
                }
            }
        }
    }
    report.done(0)?;
    Ok(ExitCode::SUCCESS)
}

/// Reports a count of the clock's ticks.
fn metric(report: &mut Report, name: &str, ticks: u64) -> Result<()> {
    report.send(Event::Metric {
        name: name.to_owned(),
        value: ticks as f64,
        unit: "ticks".into(),
    })
}
