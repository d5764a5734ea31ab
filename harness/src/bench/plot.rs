// SPDX-License-Identifier: GPL-2.0-only
//! Pictures of costs, as SVG.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use protocol::Arm;

use super::{
    figures::{Bench, Measured, middle},
    table::{WAYS, whats},
};

/// Size of the picture of one kind of traffic, pixels.
const PANEL: (u32, u32) = (420, 240);

/// Panels beside each other.
const COLUMNS: usize = 2;

/// The bases that were measured.
pub(super) fn bases(bench: &Bench) -> BTreeSet<&str> {
    bench.kernels.iter().map(|k| k.base.as_str()).collect()
}

/// What each way costs on each kernel of a base: a panel for each kind of
/// traffic over veth and IPv4, bars from zero.
pub(super) fn costs(bench: &Bench, base: &str) -> Result<String> {
    let kernels: Vec<&Measured> = bench.kernels.iter().filter(|k| k.base == base).collect();
    let all: BTreeSet<&str> = kernels.iter().flat_map(|k| whats(k)).collect();
    let mut panels: Vec<&str> = all.iter().copied().filter(|w| is_shown(w)).collect();
    if panels.is_empty() {
        panels = all.into_iter().take(1).collect();
    }
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = root
            .fill(&WHITE)
            .map_err(|e| anyhow!("{e}"))
            .and_then(|()| {
                for (area, what) in root.split_evenly((rows, COLUMNS)).iter().zip(&panels) {
                    panel(area, &kernels, what)?;
                }
                root.present().map_err(|e| anyhow!("{e}"))
            });
        drawn.map_err(|e| e.context("drawing a picture of costs"))?;
    }
    Ok(svg)
}

fn is_shown(what: &str) -> bool {
    what.starts_with("veth.") && what.ends_with(".v4")
}

/// A kernel's colour is the same in every picture.
fn colour(arm: Arm) -> RGBColor {
    match arm {
        Arm::Baseline => RGBColor(150, 150, 150),
        Arm::Patched => RGBColor(20, 110, 180),
        Arm::Upstream => RGBColor(230, 140, 30),
    }
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    kernels: &[&Measured],
    what: &str,
) -> Result<()> {
    let cost = |kernel: &Measured, way: &str| middle(kernel.costs.get(&format!("{what}.{way}"))?);
    let most = kernels
        .iter()
        .flat_map(|k| WAYS.iter().filter_map(|w| cost(k, w)))
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{what}: instructions"), ("sans-serif", 14))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..WAYS.len() as f64, 0.0..most * 1.15)
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
        let bars = WAYS.iter().enumerate().filter_map(|(w, way)| {
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
        .draw_series(WAYS.iter().enumerate().map(|(w, way)| {
            EmptyElement::at((w as f64 + 0.08, 0.0)) + Text::new(*way, (0, 8), ("sans-serif", 10))
        }))
        .map_err(|e| anyhow!("{e}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::bench::figures::tests::sample;

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
    }
}
