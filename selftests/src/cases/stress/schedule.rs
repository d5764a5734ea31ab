// SPDX-License-Identifier: GPL-2.0-only
//! What happens in a storm, in which order, and how many packets are sent before
//! and behind it: a function of the seed and nothing else, so that the same seed
//! gives the same storm again on any kernel and machine.

use std::{fmt, time::Duration};

use crate::{bpf::Hook, link::Pair, seed::Seed, topology::Ip};

/// What can happen during a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    PeerDown,
    HostEndDown,
    PairDeleted,
    NamespaceDestroyed,
    PeerMoved,
    ProgramReplaced,
    ProgramDetached,
    Loop,
    BadTarget,
}

pub(super) const EVENTS: [Event; 9] = [
    Event::PeerDown,
    Event::HostEndDown,
    Event::PairDeleted,
    Event::NamespaceDestroyed,
    Event::PeerMoved,
    Event::ProgramReplaced,
    Event::ProgramDetached,
    Event::Loop,
    Event::BadTarget,
];

impl Event {
    /// What figures and messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PeerDown => "peer_down",
            Self::HostEndDown => "host_end_down",
            Self::PairDeleted => "pair_deleted",
            Self::NamespaceDestroyed => "namespace_destroyed",
            Self::PeerMoved => "peer_moved",
            Self::ProgramReplaced => "program_replaced",
            Self::ProgramDetached => "program_detached",
            Self::Loop => "loop",
            Self::BadTarget => "bad_target",
        }
    }
}

/// A burst, and what happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) event: Event,
    /// Packets of the burst.
    pub(super) burst: u64,
    /// How many of them are sent before it happens; the others are sent meanwhile.
    pub(super) before: u64,
    /// How long it takes until it is undone.
    pub(super) pause: Duration,
}

/// Rounds with one pair of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) pair: Pair,
    /// How the program that redirects is attached.
    pub(super) hook: Hook,
    pub(super) ip: Ip,
    pub(super) rounds: Vec<Round>,
}

/// For the kernel log: `veth, clsact, v4`.
impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}, {:?}, {:?}", self.pair, self.hook, self.ip);
        f.write_str(&text.to_lowercase())
    }
}

/// For the kernel log: `peer_down after 400 of 1000 packets, undone after 3 us`.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} after {} of {} packets, undone after {} us",
            self.event.name(),
            self.before,
            self.burst,
            self.pause.as_micros()
        )
    }
}

/// Packets of a burst: this many, and as many again at the most.
const BURST: u64 = 1_000;
const PAUSE_US: u64 = 2_000;

/// The storm of a seed: `packets` in all. Each thing happens once in each scene,
/// and each kind of scene comes before any comes again.
pub(super) fn schedule(seed: u64, packets: u64) -> Vec<Scene> {
    let mut seed = Seed(seed);
    let mut left = packets;
    let mut kinds = Vec::new();
    let mut scenes = Vec::new();
    while left > 0 {
        if kinds.is_empty() {
            kinds = self::kinds();
            // A sequence of its own: `shuffle` takes it.
            Seed(seed.below(u64::MAX)).shuffle(&mut kinds);
        }
        let mut events = EVENTS;
        Seed(seed.below(u64::MAX)).shuffle(&mut events);
        let mut rounds = Vec::new();
        for event in events {
            if left == 0 {
                break;
            }
            let burst = (BURST + seed.below(BURST)).min(left);
            left -= burst;
            rounds.push(Round {
                event,
                burst,
                before: seed.below(burst / 2 + 1),
                pause: Duration::from_micros(seed.below(PAUSE_US)),
            });
        }
        let Some((pair, hook, ip)) = kinds.pop() else {
            break;
        };
        scenes.push(Scene {
            pair,
            hook,
            ip,
            rounds,
        });
    }
    scenes
}

fn kinds() -> Vec<(Pair, Hook, Ip)> {
    let mut kinds = Vec::new();
    for pair in [Pair::Veth, Pair::Netkit] {
        for hook in [Hook::Clsact, Hook::Tcx] {
            kinds.extend([Ip::V4, Ip::V6].map(|ip| (pair, hook, ip)));
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn packets(scenes: &[Scene]) -> u64 {
        let rounds = scenes.iter().flat_map(|s| &s.rounds);
        rounds.map(|r| r.burst).sum()
    }

    /// Verify that a seed gives one storm, that another gives another, and that
    /// each has as many packets as were asked for.
    #[test]
    fn a_seed_is_a_storm() {
        for (seed, count) in [(1, 100_000), (7, 1_000_000), (0, 1), (9, 1_999), (3, 0)] {
            let storm = schedule(seed, count);
            assert_eq!(storm, schedule(seed, count));
            assert_eq!(packets(&storm), count);
            if count > 10_000 {
                assert_ne!(storm, schedule(seed + 1, count));
            }
        }
    }

    /// Verify that more packets make a storm longer, not another.
    #[test]
    fn a_longer_storm_begins_alike() {
        let (short, long) = (schedule(5, 50_000), schedule(5, 500_000));
        assert_eq!(short[..2], long[..2]);
    }

    /// Verify that every thing happens in every kind of scene, and packets are
    /// left for when it does.
    #[test]
    fn everything_happens_everywhere() {
        let storm = schedule(1, 200_000);
        let kinds: BTreeSet<String> = storm.iter().map(ToString::to_string).collect();
        assert_eq!(kinds.len(), 8, "{kinds:?}");
        for scene in &storm[..8] {
            let events: BTreeSet<Event> = scene.rounds.iter().map(|r| r.event).collect();
            assert_eq!(events.len(), EVENTS.len(), "{scene}");
        }
        for round in storm.iter().flat_map(|s| &s.rounds) {
            assert!(round.before <= round.burst / 2, "{round}");
        }
    }
}
