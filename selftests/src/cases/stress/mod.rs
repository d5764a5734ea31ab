// SPDX-License-Identifier: GPL-2.0-only
//! Packets go through the helper while everything around it is taken down,
//! deleted, moved and replaced, and the kernel says of each what became of it.
//!
//! In rounds: two threads send a burst while something happens. Which things,
//! in which order, over which devices, and how many packets before and behind
//! each, is the seed's to say ([`schedule`]); what a packet meets is chance.

mod schedule;
mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, Barrier, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use protocol::reason;

use self::{
    schedule::{Event, Round, schedule},
    world::World,
};
use super::Case;
use crate::{
    bpf::Freed,
    fail::{Stop, Verdict, becomes, failed},
    link,
    probe::{self, Sender},
    report::mark,
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology},
};

/// Its name, and that of its only case.
pub(crate) const NAME: &str = "stress";

/// IEEE 802 local experimental: nothing else sends it, and nobody receives it,
/// so that the kernel frees each frame where it has come to, with a reason.
const PROTOCOL: u16 = 0x88b5;
/// Packets that arrive: there is no handler for their protocol, or it is off.
const ARRIVED: [&str; 2] = ["UNHANDLED_PROTO", "IPV6DISABLED"];
/// What the bound on the loop drops.
const LOOPED: &str = "TC_REDIRECT_LOOP";
/// What says nothing.
const NO_REASON: &str = "NOT_SPECIFIED";
/// Fewer than the backlog of a CPU holds.
const CALM: u64 = 500;
const SENDERS: u64 = 2;

/// How each round is announced in the kernel log. The host takes what begins with
/// `redirect-peer: ` neither for a report nor, otherwise than protocol::MARK_START,
/// for a case.
const MARK_ROUND: &str = "redirect-peer: stress ";

/// What a run came to, for whoever wants the figures.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Frames that the first device took.
    pub(crate) sent: u64,
    /// Frames that the kernel freed, by the reason it gave.
    pub(crate) freed: BTreeMap<String, u64>,
    /// How often each thing was done.
    pub(crate) done: BTreeMap<&'static str, u64>,
    /// How many frames the first device took while each of them was done.
    pub(crate) meanwhile: BTreeMap<&'static str, u64>,
}

/// The case, and where its figures are when it is over.
pub(crate) fn case(seed: u64, packets: u64) -> (Case, Arc<Mutex<Tally>>) {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let kept = Arc::clone(&tally);
    let mut case = Case::feature(
        NAME,
        &["R10", "R15"],
        format!(
            "Verify that each of {packets} packets is delivered or dropped with a reason while devices, namespaces and programs come and go (seed {seed})"
        ),
        move || {
            let mut tally = Tally::default();
            let verdict = storm(seed, packets, &mut tally);
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = tally;
            verdict
        },
    );
    // A tenth of a millisecond each is ten times what it takes.
    case.deadline_ms = 20_000 + packets / 10;
    let case = case.dangerous(
        "a kernel that does not bound the loop hangs, and any other may show a race that nobody has seen",
    );
    (case, tally)
}

fn storm(seed: u64, packets: u64, tally: &mut Tally) -> Verdict {
    let new_enough = super::has_netkit()?;
    let mut number = 0;
    for scene in schedule(seed, packets) {
        let mut world = World::new(&scene, new_enough)?;
        let protocol = match scene.ip {
            Ip::V4 => PROTOCOL,
            Ip::V6 => libc::ETH_P_IPV6 as u16,
        };
        let frame = frame(scene.ip);
        let scale = Scale {
            freed: Freed::count(protocol)?,
            before: taken(&world.t)?,
        };
        let senders = [
            Sender::new(&world.t.src, world.t.src_dev)?,
            Sender::new(&world.t.src, world.t.src_dev)?,
        ];
        calm(&world.t, &senders[0], &frame)?;
        for round in &scene.rounds {
            number += 1;
            let what = format!("round {number}: {scene}: {round}");
            mark(&format!("{MARK_ROUND}{what}"));
            let told = |stop: Stop| stop.with(format!("in {what}, of seed {seed}"));
            burst(&mut world, round, &senders, &frame, tally).with_context(|| what.clone())?;
            scale.balance(&world.t, round).map_err(told)?;
        }
        calm(&world.t, &senders[0], &frame)?;
        scale.add_to(&world.t, tally)?;
    }
    was_a_storm(tally)
}

/// One that nobody receives: of a protocol that is no one's, or of IPv6, which is
/// off, with nothing behind its header.
fn frame(ip: Ip) -> Vec<u8> {
    match ip {
        Ip::V4 => probe::frame(MAC_SRC_FWD, MAC_SRC, PROTOCOL, &[0; 50]),
        Ip::V6 => {
            let mut packet = vec![0; 50];
            packet[0] = 6 << 4;
            packet[5] = 10; // bytes of payload
            packet[6] = 59; // and no header next
            packet[7] = 64; // hops
            probe::frame(MAC_SRC_FWD, MAC_SRC, libc::ETH_P_IPV6 as u16, &packet)
        }
    }
}

/// Sends a burst, the second part of it while the thing happens.
fn burst(
    world: &mut World,
    round: &Round,
    senders: &[Sender; SENDERS as usize],
    frame: &[u8],
    tally: &mut Tally,
) -> Result<()> {
    let begun = Barrier::new(senders.len() + 1);
    let meanwhile = thread::scope(|scope| -> Result<u64> {
        let threads: Vec<_> = senders
            .iter()
            .zip(0..)
            .map(|(sender, at)| {
                let begun = &begun;
                let (before, behind) =
                    (part(round.before, at), part(round.burst - round.before, at));
                scope.spawn(move || {
                    let first = sender.send_each(frame, before);
                    // Whatever came of it: the others wait.
                    begun.wait();
                    first.and_then(|()| sender.send_each(frame, behind))
                })
            })
            .collect();
        begun.wait();
        let taken_before = taken(&world.t);
        let done = world.happens(round.event, round.pause, frame);
        let meanwhile = taken(&world.t)? - taken_before?;
        done?;
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        Ok(meanwhile)
    })?;
    let name = round.event.name();
    *tally.done.entry(name).or_default() += 1;
    *tally.meanwhile.entry(name).or_default() += meanwhile;
    Ok(())
}

/// The part of so many packets that a sender has.
fn part(packets: u64, at: u64) -> u64 {
    packets / SENDERS + u64::from(at < packets % SENDERS)
}

/// While nothing happens, every frame arrives in the container: that is counted
/// by its device, since the kernel frees a frame for the same reason wherever
/// nobody receives it.
fn calm(t: &Topology, sender: &Sender, frame: &[u8]) -> Verdict {
    let received = || t.dst.enter(|| Ok(link::counters("dst")?.rx.0));
    let (sent, before) = (taken(t)?, received()?);
    sender.send(frame, CALM);
    let sent = taken(t)? - sent;
    becomes(
        reason::WRONG_COUNT,
        "ns_dst, dst: frames received while nothing happens, as many as were sent",
        || received().ok().map(|now| now - before),
        Some(sent),
    )
}

/// Frames that the first device took. What the other end of the pair refused is
/// among them, and the system call that sent it has failed: the device tells.
fn taken(t: &Topology) -> Result<u64> {
    let counters = t.src.enter(|| link::counters("src"))?;
    Ok(counters.tx.0 + counters.tx_dropped)
}

/// What was sent in a scene, against what became of it.
struct Scale {
    freed: Freed,
    /// Frames that were taken before the first of it.
    before: u64,
}

impl Scale {
    /// Waits until the kernel has freed as many as were sent, and no more: what
    /// is on its way when a burst is over takes a moment.
    fn balance(&self, t: &Topology, round: &Round) -> Verdict {
        becomes(
            reason::WRONG_COUNT,
            &format!(
                "{}: frames delivered or dropped with a reason, of those that src took",
                round.event.name()
            ),
            || self.freed.all(),
            taken(t)? - self.before,
        )
        .map_err(|stop| stop.with(format!("{:?}", self.freed.by_reason())))?;
        let mute = self.freed.by_reason().remove(NO_REASON).unwrap_or(0);
        if self.freed.has_reasons() && mute > 0 {
            return Err(failed(
                reason::WRONG_VALUE,
                format!(
                    "{}: expected a reason for each frame that was dropped, got {mute} without: {:?}",
                    round.event.name(),
                    self.freed.by_reason()
                ),
            ));
        }
        Ok(())
    }

    fn add_to(&self, t: &Topology, tally: &mut Tally) -> Result<()> {
        tally.sent += taken(t)? - self.before;
        for (reason, count) in self.freed.by_reason() {
            *tally.freed.entry(reason).or_default() += count;
        }
        Ok(())
    }
}

/// Fails when nothing arrived, or nothing was lost, or nothing went round in a loop,
/// or something was done while nobody sent anything.
fn was_a_storm(tally: &Tally) -> Verdict {
    let arrived: u64 = ARRIVED.iter().filter_map(|r| tally.freed.get(*r)).sum();
    let has_reasons = tally.freed.keys().any(|r| !r.starts_with("reason "));
    if has_reasons && (arrived == 0 || arrived == tally.sent) {
        return Err(failed(
            reason::WRONG_COUNT,
            format!(
                "expected some frames to arrive and some to be dropped, got {:?}",
                tally.freed
            ),
        ));
    }
    if has_reasons
        && tally.done.contains_key(Event::Loop.name())
        && !tally.freed.contains_key(LOOPED)
    {
        return Err(failed(
            reason::WRONG_COUNT,
            format!(
                "expected some frames to be dropped as they went round, got {:?}",
                tally.freed
            ),
        ));
    }
    match tally.meanwhile.iter().find(|(_, frames)| **frames == 0) {
        Some((event, _)) => Err(failed(
            reason::SETUP,
            format!("ns_src, src: no frame was sent during any {event}"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a burst is sent whole, whatever its length.
    #[test]
    fn parts_are_the_whole() {
        for packets in [0, 1, 2, 1_999] {
            let parts = (0..SENDERS).map(|at| part(packets, at));
            assert_eq!(parts.sum::<u64>(), packets);
        }
    }

    /// Verify that a storm in which nothing arrived, nothing was lost, or something
    /// met no packets, is none.
    #[test]
    fn what_a_storm_is() {
        let tally = |arrived, dropped, meanwhile| Tally {
            sent: arrived + dropped,
            freed: [("IPV6DISABLED", arrived), ("DEV_READY", dropped)]
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
            done: BTreeMap::new(),
            meanwhile: [("loop", 9), ("peer_down", meanwhile)].into(),
        };
        assert!(was_a_storm(&tally(5, 5, 1)).is_ok());
        assert!(was_a_storm(&tally(0, 5, 1)).is_err());
        assert!(was_a_storm(&tally(5, 0, 1)).is_err());
        assert!(was_a_storm(&tally(5, 5, 0)).is_err());
        let mut looped = tally(5, 5, 1);
        looped.done.insert(Event::Loop.name(), 1);
        assert!(was_a_storm(&looped).is_err());
        looped.freed.insert(LOOPED.into(), 1);
        assert!(was_a_storm(&looped).is_ok());
    }
}
