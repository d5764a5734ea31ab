// SPDX-License-Identifier: GPL-2.0-only
//! Ways that are measured by turns, round after round, with bpf_redirect() twice
//! in each: what it differs from itself by is no difference. Pure.

use super::latency::Point;

/// The ways of each round. The order of a round is turned round in every second
/// one, so that what drifts cancels out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns {
    /// `redirect` is the first and the last.
    pub(super) ways: &'static [&'static str],
    pub(super) rounds: usize,
}

/// Ratios, one of each round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ratios {
    /// redirect to redirect_peer.
    pub(super) found: Vec<f64>,
    /// redirect to itself.
    pub(super) control: Vec<f64>,
}

impl Turns {
    /// Every way of every round, in order.
    pub(super) fn order(self) -> impl Iterator<Item = &'static str> {
        (0..self.rounds).flat_map(move |round| {
            let mut ways = self.ways.to_vec();
            if round % 2 == 1 {
                ways.reverse();
            }
            ways
        })
    }

    /// Of a figure of measurements of the same traffic and number of flows. A
    /// round that lacks one is left out.
    pub(super) fn ratios(self, points: &[&Point], figure: &str) -> Ratios {
        let redirect = self.by_round(points, "redirect", figure);
        let peer = self.by_round(points, "redirect_peer", figure);
        let mut ratios = Ratios::default();
        for (round, (twice, once)) in redirect.iter().zip(&peer).enumerate() {
            if let ([a, b], [p]) = (&twice[..], &once[..]) {
                // Of a round that is turned round, the first is the last.
                let control = if round % 2 == 0 { a / b } else { b / a };
                ratios.control.push(control);
                ratios.found.push((a + b) / 2.0 / p);
            }
        }
        ratios
    }

    /// A figure of a way in each round: of each time that it was measured there.
    fn by_round(self, points: &[&Point], way: &str, figure: &str) -> Vec<Vec<f64>> {
        let mut all = vec![Vec::new(); self.rounds];
        for p in points.iter().filter(|p| p.way == way) {
            if let (Some(round), Some(value)) = (
                all.get_mut(p.round as usize / self.ways.len()),
                p.all.get(figure).filter(|v| **v > 0.0),
            ) {
                round.push(*value);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::latency::tests::sample;

    /// Verify that a drift larger than the difference cancels out, and that a
    /// round which is not whole is left out.
    #[test]
    fn drift_cancels_out() {
        let turns = Turns {
            ways: &["redirect", "redirect_peer", "redirect"],
            rounds: 4,
        };
        let mut points: Vec<Point> = turns
            .order()
            .enumerate()
            .map(|(at, way)| {
                let slower = if way == "redirect" { 1.1 } else { 1.0 };
                sample(way, at as u32, slower * (100.0 + 10.0 * at as f64), 1.0)
            })
            .collect();
        let all: Vec<&Point> = points.iter().collect();
        let ratios = turns.ratios(&all, "p50");
        assert_eq!(ratios.found.len(), 4);
        assert!(ratios.found.iter().all(|r| (r - 1.1).abs() < 1e-9));
        // The same drift, once this way and once that way.
        assert!(ratios.control[0] < 1.0 && ratios.control[1] > 1.0);
        points.pop();
        let rest: Vec<&Point> = points.iter().collect();
        assert_eq!(turns.ratios(&rest, "p50").found.len(), 3);
    }
}
