// SPDX-License-Identifier: GPL-2.0-only
//! Pictures of costs and of latencies, as SVG.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use protocol::Arm;

use super::{
    figures::{Bench, Measured, middle},
    latency::Point,
    table::{WAYS, whats},
};
use crate::report::text;

/// Size of the picture of one kind of traffic, pixels.
const PANEL: (u32, u32) = (500, 260);

/// Room above the highest bar, for what the colours mean.
const LEGEND: f64 = 1.4;

/// Panels beside each other.
const COLUMNS: usize = 2;

/// The bases that were measured.
pub(super) fn bases(bench: &Bench) -> BTreeSet<&str> {
    bench.kernels.iter().map(|k| k.base.as_str()).collect()
}

/// What each way costs on each kernel of a base: a panel for each kind of
/// traffic over IPv4, to a container of either pair, bars from zero.
pub(super) fn costs(bench: &Bench, base: &str) -> Result<String> {
    let kernels: Vec<&Measured> = bench.kernels.iter().filter(|k| k.base == base).collect();
    let all: BTreeSet<&str> = kernels.iter().flat_map(|k| whats(k)).collect();
    let mut panels: Vec<&str> = all.iter().copied().filter(|w| is_shown(w)).collect();
    if panels.is_empty() {
        panels = all.into_iter().take(1).collect();
    }
    draw(panels.len(), |area, n| panel(area, &kernels, panels[n]))
        .map_err(|e| e.context("drawing a picture of costs"))
}

/// How latencies of one boot are spread: a panel for each kind of traffic and
/// number of flows; for each way a line from the least to P99, and on it a bar
/// from P50 to P90.
pub(super) fn latencies(points: &[Point]) -> Result<String> {
    let panels: BTreeSet<(&str, u32)> = points
        .iter()
        .map(|p| (p.traffic.as_str(), p.flows))
        .collect();
    let panels: Vec<Vec<&Point>> = panels
        .into_iter()
        .map(|(traffic, flows)| {
            let is_one = |p: &&Point| p.traffic == traffic && p.flows == flows;
            points.iter().filter(is_one).collect()
        })
        .collect();
    draw(panels.len(), |area, n| spread(area, &panels[n]))
        .map_err(|e| e.context("drawing a picture of latencies"))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// So many panels, each drawn by its number.
fn draw(panels: usize, panel: impl Fn(&Area<'_>, usize) -> Result<()>) -> Result<String> {
    let rows = panels.div_ceil(COLUMNS).max(1);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|e| anyhow!("{e}"))?;
        for (n, area) in root
            .split_evenly((rows, COLUMNS))
            .iter()
            .take(panels)
            .enumerate()
        {
            panel(area, n)?;
        }
        root.present().map_err(|e| anyhow!("{e}"))?;
    }
    Ok(svg)
}

fn is_shown(what: &str) -> bool {
    what.ends_with(".v4")
}

/// A kernel's colour is the same in every picture.
fn colour(arm: Arm) -> RGBColor {
    match arm {
        Arm::Baseline => RGBColor(150, 150, 150),
        Arm::Patched => RGBColor(20, 110, 180),
        Arm::Upstream => RGBColor(230, 140, 30),
    }
}

/// The latencies of one kind of traffic at one number of flows.
fn spread(area: &Area<'_>, points: &[&Point]) -> Result<()> {
    let us = |p: &Point, name: &str| p.all.get(name).copied().unwrap_or(0.0) / 1e3;
    let most = points.iter().map(|p| us(p, "p99")).fold(1.0, f64::max);
    let Some(first) = points.first() else {
        return Ok(());
    };
    let ways = points.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!(
                "{}, {} on a CPU: us",
                first.traffic,
                text::count(first.flows as usize, "flow")
            ),
            ("sans-serif", 14),
        )
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(8)
        .build_cartesian_2d(0.0..most * 1.1, 0.0..ways)
        .map_err(|e| anyhow!("{e}"))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .draw()
        .map_err(|e| anyhow!("{e}"))?;
    // From the top, in the order of the table.
    let line = |n: usize| ways - n as f64 - 0.7;
    chart
        .draw_series(points.iter().enumerate().map(|(n, p)| {
            let ends = [(us(p, "min"), line(n)), (us(p, "p99"), line(n))];
            PathElement::new(ends.to_vec(), colour(Arm::Baseline).stroke_width(2))
        }))
        .map_err(|e| anyhow!("{e}"))?;
    chart
        .draw_series(points.iter().enumerate().map(|(n, p)| {
            let ends = [
                (us(p, "p50"), line(n) - 0.15),
                (us(p, "p90"), line(n) + 0.15),
            ];
            Rectangle::new(ends, colour(Arm::Patched).filled())
        }))
        .map_err(|e| anyhow!("{e}"))?;
    chart
        .draw_series(points.iter().enumerate().map(|(n, p)| {
            EmptyElement::at((0.0, line(n) + 0.5))
                + Text::new(p.way.clone(), (4, 0), ("sans-serif", 10))
        }))
        .map_err(|e| anyhow!("{e}"))?;
    Ok(())
}

fn panel(area: &Area<'_>, kernels: &[&Measured], what: &str) -> Result<()> {
    let cost = |kernel: &Measured, way: &str| middle(kernel.costs.get(&format!("{what}.{way}"))?);
    let there = |way: &&str| kernels.iter().any(|k| cost(k, way).is_some());
    let ways: Vec<&str> = WAYS.into_iter().filter(there).collect();
    let most = kernels
        .iter()
        .flat_map(|k| ways.iter().filter_map(|w| cost(k, w)))
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{what}: instructions"), ("sans-serif", 14))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..ways.len() as f64, 0.0..most * LEGEND)
        .map_err(|e| anyhow!("{e}"))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(5)
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()
        .map_err(|e| anyhow!("{e}"))?;
    let width = 0.8 / kernels.len().max(1) as f64;
    for (k, kernel) in kernels.iter().enumerate() {
        let bars = ways.iter().enumerate().filter_map(|(w, way)| {
            let left = w as f64 + 0.1 + width * k as f64;
            let ends = [(left, 0.0), (left + width * 0.95, cost(kernel, way)?)];
            Some(Rectangle::new(ends, colour(kernel.arm).filled()))
        });
        let arm = kernel.arm;
        chart
            .draw_series(bars)
            .map_err(|e| anyhow!("{e}"))?
            .label(arm.word())
            .legend(move |(x, y)| {
                Rectangle::new([(x, y - 4), (x + 10, y + 4)], colour(arm).filled())
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 10))
        .draw()
        .map_err(|e| anyhow!("{e}"))?;
    // Below the axis.
    chart
        .draw_series(ways.iter().enumerate().map(|(w, way)| {
            EmptyElement::at((w as f64 + 0.08, 0.0)) + Text::new(*way, (0, 8), ("sans-serif", 10))
        }))
        .map_err(|e| anyhow!("{e}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::bench::{figures::tests::sample, latency};

    /// Verify that a picture has a bar for each cost, and is SVG.
    #[test]
    fn every_cost_has_a_bar() {
        let bars = |costs: &[(&str, &[f64])]| {
            let svg = super::costs(&sample(costs), "6.12").unwrap();
            assert!(svg.starts_with("<svg"), "{svg}");
            svg.matches("#146EB4").count()
        };
        let one = bars(&[("veth.tcp_rr.v4.host", &[10.0])]);
        let three = bars(&[
            ("veth.tcp_rr.v4.host", &[10.0]),
            ("veth.tcp_rr.v4.redirect", &[14.0]),
            ("veth.tcp_rr.v4.redirect_peer", &[12.0]),
        ]);
        assert_eq!(three, one + 2);
        let both = super::costs(
            &sample(&[
                ("veth.tcp_rr.v4.stack", &[10.0]),
                ("veth.tcp_rr.v6.stack", &[10.0]),
                ("netkit.tcp_rr.v4.stack", &[10.0]),
            ]),
            "6.12",
        );
        let both = both.unwrap();
        assert_eq!(both.matches(": instructions").count(), 2, "{both}");
    }

    /// Verify that a picture has a bar for each way, and a panel for each number
    /// of flows.
    #[test]
    fn every_way_has_a_bar() {
        let mut points = vec![
            latency::tests::sample("host", 0, 20_000.0, 1.0),
            latency::tests::sample("redirect", 0, 30_000.0, 1.0),
        ];
        let bars = |points: &[super::Point]| {
            let svg = super::latencies(points).unwrap();
            assert!(svg.starts_with("<svg"), "{svg}");
            (
                svg.matches("#146EB4").count(),
                svg.matches(" on a CPU: us").count(),
            )
        };
        assert_eq!(bars(&points), (2, 1));
        points[1].flows = 4;
        assert_eq!(bars(&points), (2, 2));
    }
}
