// SPDX-License-Identifier: GPL-2.0-only
//! What a boot of a kernel is for: to see cases pass or fail, or to read a
//! figure.

use std::time::Instant;

use anyhow::Result;

use super::sight::{Boot, Sight};
use crate::{
    bench::measure::{Bench, Counted, plain},
    progress::Progress,
    request,
    run::{self, Job},
};

/// Boots a kernel and says what it showed.
pub trait Meter {
    /// Boots the job's kernel. An error means that nothing can be said, of any
    /// commit; what is wrong with this kernel goes into the [`Sight`].
    fn boot(&mut self, job: &Job<'_>, progress: &Progress) -> Result<Boot>;
}

/// Runs the cases: `--case`.
#[derive(Debug)]
pub struct Cases;

impl Meter for Cases {
    fn boot(&mut self, job: &Job<'_>, progress: &Progress) -> Result<Boot> {
        let run = run::run(job, progress)?;
        Ok(Boot {
            sight: Sight::of_run(&run),
            starts: starts(job),
            seconds: run.seconds,
            console: job.console.display().to_string(),
        })
    }
}

/// Counts the instructions of a figure of `bench`: `--metric`.
#[derive(Debug)]
pub struct Counts {
    /// The figure's whole name, `veth.tcp_rr.v4.redirect_peer`.
    pub name: String,
}

impl Meter for Counts {
    fn boot(&mut self, job: &Job<'_>, progress: &Progress) -> Result<Boot> {
        let step = progress.begin("run", &format!("{} {}", job.base, self.name));
        let start = Instant::now();
        let bench = Bench {
            vng: job.vng,
            guest: job.guest,
            kernel: job.kernel,
        };
        let counted = bench.count(std::slice::from_ref(&self.name), job.console, &step)?;
        step.done(false);
        let sight = match counted {
            Counted::Nothing(why) => Sight::unmeasured(why),
            Counted::Figures(all) => match all.get(&self.name) {
                Some(value) => Sight::Measured(*value),
                None => Sight::unmeasured(format!(
                    "this kernel has no figure `{}`; {FIGURES}",
                    self.name
                )),
            },
        };
        Ok(Boot {
            sight,
            starts: starts(job),
            seconds: start.elapsed().as_secs_f64(),
            console: job.console.display().to_string(),
        })
    }
}

/// How figures are named.
const FIGURES: &str = "figures are PAIR.TRAFFIC.IP.WAY, such as veth.tcp_rr.v4.redirect_peer, or WAY.TRAFFIC for those of veth and IPv4; `cargo harness bench` shows all";

/// The whole name of a figure, of which `redirect_peer.tcp_rr` is enough.
pub(super) fn figure(name: &str) -> Result<String> {
    plain(name)?;
    let parts: Vec<&str> = name.split('.').collect();
    let whole = match parts.as_slice() {
        [_, _, "v4" | "v6", _, ..] => name.to_owned(),
        [_, _, "v4" | "v6"] | [_] => {
            return Err(request!("`{name}` (--metric) names no figure: {FIGURES}"));
        }
        [way @ .., traffic] => format!("veth.{traffic}.v4.{}", way.join(".")),
        [] => name.to_owned(),
    };
    Ok(whole)
}

/// How often the guest was started: its console, which is one file for all of
/// a run's boots, has the kernel's first line for each.
fn starts(job: &Job<'_>) -> usize {
    let bytes = std::fs::read(job.console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .filter(|l| l.contains("Linux version "))
        .count()
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a figure is known by its short name, and that half a name
    /// is not taken for one.
    #[test]
    fn figures_have_two_names() {
        for (name, whole) in [
            ("redirect_peer.tcp_rr", "veth.tcp_rr.v4.redirect_peer"),
            (
                "local.redirect_peer.udp_1400",
                "veth.udp_1400.v4.local.redirect_peer",
            ),
            ("netkit.tcp_rr.v6.host", "netkit.tcp_rr.v6.host"),
            (
                "veth.udp_1.v4.local.redirect",
                "veth.udp_1.v4.local.redirect",
            ),
        ] {
            assert_eq!(figure(name).unwrap(), whole);
        }
        for name in ["tcp_rr", "veth.tcp_rr.v4", "", "a b.c"] {
            assert!(figure(name).is_err(), "{name}");
        }
    }
}
