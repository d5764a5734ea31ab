// SPDX-License-Identifier: GPL-2.0-only
//! Packets go through the helper while everything around it is taken down,
//! deleted, moved and replaced, and the kernel says of each what became of it.
//!
//! In rounds: two threads send a burst while something happens. Which things,
//! in which order, and how many packets meanwhile, is the seed's to say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::reason;

use super::{Case, races::container};
use crate::{
    bpf::{Filter, Path, Redirect},
    fail::{Stop, Verdict, becomes, failed},
    link::{self, Pair},
    netns::Netns,
    probe::{self, Sender},
    seed::Seed,
    topology::{MAC_SRC, MAC_SRC_FWD, Topology},
    tracefs::Format,
};

/// Its name, and that of its only case.
pub(crate) const NAME: &str = "stress";

/// IEEE 802 local experimental: nothing else sends it, and nobody receives it,
/// so that the kernel frees each frame where it has come to, with a reason.
const PROTOCOL: u16 = 0x88b5;
/// Packets that arrive: there is no handler for their protocol.
const ARRIVED: &str = "UNHANDLED_PROTO";
const BURST: u64 = 2_000;
/// Fewer than the backlog of a CPU holds.
const CALM: u64 = 500;
const SENDERS: u64 = 2;

/// What a run came to, for whoever wants the figures.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Frames that the first device took.
    pub(crate) sent: u64,
    /// Frames that the kernel freed, by the reason it gave.
    pub(crate) freed: BTreeMap<String, u64>,
    /// How often each thing was done.
    pub(crate) done: BTreeMap<&'static str, u64>,
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
    (case, tally)
}

/// What can happen during a burst.
#[derive(Debug, Clone, Copy)]
enum Event {
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

const EVENTS: [(Event, &str); 9] = [
    (Event::PeerDown, "peer_down"),
    (Event::HostEndDown, "host_end_down"),
    (Event::PairDeleted, "pair_deleted"),
    (Event::NamespaceDestroyed, "namespace_destroyed"),
    (Event::PeerMoved, "peer_moved"),
    (Event::ProgramReplaced, "program_replaced"),
    (Event::ProgramDetached, "program_detached"),
    (Event::Loop, "loop"),
    (Event::BadTarget, "bad_target"),
];

struct World {
    t: Topology,
    elsewhere: Netns,
    filter: Filter,
    there: Redirect,
    back: Redirect,
    bad: Redirect,
}

fn storm(seed: u64, packets: u64, tally: &mut Tally) -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let there = Redirect::to("peer", t.dst_fwd)?;
    let back = Redirect::to("peer", t.dst_dev)?;
    let bad = Redirect::to("peer", 0x7fff_fff0)?;
    let filter = there.at_ingress(&t.fwd, t.src_fwd)?;
    let senders = [
        Sender::new(&t.src, t.src_dev)?,
        Sender::new(&t.src, t.src_dev)?,
    ];
    let mut world = World {
        elsewhere: Netns::new("ns_elsewhere")?,
        t,
        filter,
        there,
        back,
        bad,
    };
    let format = Format::of("skb", "kfree_skb")?;
    let path = Path::drops(&format)?;
    let frame = probe::frame(MAC_SRC_FWD, MAC_SRC, PROTOCOL, &[0; 50]);
    let before = taken(&world.t)?;
    calm(&world.t, &senders[0], &frame)?;
    let mut seed = Seed(seed);
    while tally.sent < packets {
        let burst = (BURST / 2 + seed.below(BURST)).min(packets - tally.sent);
        let pause = Duration::from_micros(seed.below(2_000));
        let (event, name) = EVENTS[seed.below(EVENTS.len() as u64) as usize];
        thread::scope(|scope| -> Result<()> {
            for sender in &senders {
                let frame = &frame;
                scope.spawn(move || sender.send(frame, burst / SENDERS + 1));
            }
            thread::sleep(pause);
            world.happens(event, pause).with_context(|| name)
        })?;
        *tally.done.entry(name).or_default() += 1;
        let sent = taken(&world.t)? - before;
        if sent == tally.sent {
            return Err(failed(
                reason::SETUP,
                "ns_src, src: the device took no frame of a burst",
            ));
        }
        tally.sent = sent;
    }
    calm(&world.t, &senders[0], &frame)?;
    tally.sent = taken(&world.t)? - before;
    balance(&path, &format, tally)
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

/// Waits until the kernel has freed as many as were sent, and no more: what is
/// on its way when the last burst is over takes a moment.
fn balance(path: &Path, format: &Format, tally: &mut Tally) -> Result<(), Stop> {
    let names = format.symbols();
    let start = Instant::now();
    loop {
        tally.freed = path
            .dropped()
            .into_iter()
            .map(|(number, count)| {
                let name = names.get(&number).cloned();
                (name.unwrap_or_else(|| format!("reason {number}")), count)
            })
            .collect();
        let freed: u64 = tally.freed.values().sum();
        if freed == tally.sent {
            break;
        }
        if freed > tally.sent || start.elapsed() > Duration::from_secs(3) {
            return Err(failed(
                reason::WRONG_COUNT,
                format!(
                    "expected {} frames delivered or dropped, as many as were sent, got {freed}: {:?}",
                    tally.sent, tally.freed
                ),
            ));
        }
        thread::sleep(Duration::from_millis(5));
    }
    // A storm in which nothing arrived, or nothing was lost, is none.
    let arrived = tally.freed.get(ARRIVED).copied().unwrap_or_default();
    if format.has("reason") && (arrived == 0 || arrived == tally.sent) {
        return Err(failed(
            reason::WRONG_COUNT,
            format!(
                "expected some frames to arrive and some to be dropped, got {:?}",
                tally.freed
            ),
        ));
    }
    Ok(())
}

impl World {
    /// Does something, and undoes it: the next burst finds everything in order.
    fn happens(&mut self, event: Event, pause: Duration) -> Result<()> {
        let rest = || thread::sleep(pause);
        let (host_end, peer) = (self.t.dst_fwd, self.t.dst_dev);
        let take_down = |ns: &Netns, index| {
            ns.enter(|| {
                link::set_up(index, false)?;
                rest();
                link::set_up(index, true)
            })
        };
        match event {
            Event::PeerDown => take_down(&self.t.dst, peer),
            Event::HostEndDown => take_down(&self.t.fwd, host_end),
            Event::PairDeleted => {
                self.t.fwd.enter(|| link::delete(host_end))?;
                rest();
                container(Pair::Veth, &self.t)
            }
            Event::NamespaceDestroyed => {
                self.t.dst = Netns::new("ns_dst")?;
                self.gone(host_end)?;
                container(Pair::Veth, &self.t)
            }
            Event::PeerMoved => {
                self.t.dst.enter(|| link::move_to(peer, &self.elsewhere))?;
                self.elsewhere.enter(|| {
                    link::set_up(peer, true)?;
                    rest();
                    link::move_to(peer, &self.t.dst)
                })?;
                self.t.dst.enter(|| link::set_up(peer, true))
            }
            Event::ProgramReplaced => {
                self.back.at_ingress(&self.t.fwd, self.t.src_fwd)?;
                rest();
                self.attach()
            }
            Event::ProgramDetached => {
                self.t.fwd.enter(|| self.filter.detach())?;
                rest();
                self.attach()
            }
            Event::Loop => {
                let mut ends = [
                    (&self.t.dst, self.back.at_ingress(&self.t.dst, peer)?),
                    (&self.t.fwd, self.there.at_ingress(&self.t.fwd, host_end)?),
                ];
                rest();
                for (ns, filter) in &mut ends {
                    ns.enter(|| filter.detach())?;
                }
                Ok(())
            }
            Event::BadTarget => {
                self.bad.at_ingress(&self.t.fwd, self.t.src_fwd)?;
                rest();
                self.attach()
            }
        }
    }

    fn attach(&mut self) -> Result<()> {
        self.t.fwd.enter(|| self.filter.attach())
    }

    /// A namespace goes in the kernel's own time, and takes both devices along.
    fn gone(&self, host_end: u32) -> Result<()> {
        self.t.fwd.enter(|| {
            for _ in 0..5_000 {
                if link::index("dst_fwd").is_err() {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(2));
            }
            bail!("dst_fwd ({host_end}) is still there 10 s after its peer's namespace was let go")
        })
    }
}
