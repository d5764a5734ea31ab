// SPDX-License-Identifier: GPL-2.0-only
//! What a storm goes over, and what can happen to it.

use std::{thread, time::Duration};

use anyhow::{Result, bail};

use super::schedule::{Event, Scene};
use crate::{
    bpf::{Filter, Hook, Redirect},
    fail::{LONG, Stop},
    link::{self, End, Pair},
    netns::{self, Netns},
    probe::Sender,
    topology::{Ip, MAC_DST, MAC_DST_FWD, Topology},
};

/// Devices, namespaces and programs of a scene.
pub(super) struct World {
    pub(super) t: Topology,
    pair: Pair,
    elsewhere: Netns,
    /// The program at the first device, as the scene has it attached.
    attached: Filter,
    there: Redirect,
    back: Redirect,
    bad: Redirect,
    /// What is sent while the storm's own senders may be done with their burst.
    sender: Sender,
}

/// Frames that are sent into a loop, so that none goes by in between two packets.
const LOOPED: u64 = 16;

impl World {
    /// Makes it, as far as this kernel has it: veth and clsact where it is too
    /// old for netkit and tcx. IPv6 is off in either case, or its own packets
    /// would be counted among those of the storm.
    pub(super) fn new(scene: &Scene, new_enough: bool) -> Result<Self, Stop> {
        let (pair, hook) = if new_enough {
            (scene.pair, scene.hook)
        } else {
            (Pair::Veth, Hook::Clsact)
        };
        let t = Topology::with_wire(Pair::Veth, pair, Ip::V4)?;
        let by_tcx = hook == Hook::Tcx;
        let there = Redirect::to("peer", t.dst_fwd)?;
        let attached = if by_tcx {
            there.at_tcx_ingress(&t.fwd, t.src_fwd)?
        } else {
            there.at_ingress(&t.fwd, t.src_fwd)?
        };
        Ok(Self {
            sender: Sender::new(&t.src, t.src_dev)?,
            pair,
            elsewhere: without_ipv6("ns_elsewhere")?,
            back: Redirect::to("peer", t.dst_dev)?,
            bad: Redirect::to("peer", 0x7fff_fff0)?,
            there,
            attached,
            t,
        })
    }

    /// Does something, and undoes it: the next burst finds everything in order.
    /// `frame` is what the storm is made of.
    pub(super) fn happens(&mut self, event: Event, pause: Duration, frame: &[u8]) -> Result<()> {
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
                self.container()
            }
            Event::NamespaceDestroyed => {
                self.t.dst = without_ipv6("ns_dst")?;
                self.gone(host_end)?;
                self.container()
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
                self.replace_by(Program::Back)?;
                rest();
                self.replace_by(Program::There)
            }
            Event::ProgramDetached => {
                self.detach()?;
                rest();
                self.replace_by(Program::There)
            }
            Event::Loop => {
                let mut ends = [
                    (&self.t.dst, self.back.at_ingress(&self.t.dst, peer)?),
                    (&self.t.fwd, self.there.at_ingress(&self.t.fwd, host_end)?),
                ];
                let sent = self.sender.send_each(frame, LOOPED);
                rest();
                for (ns, filter) in &mut ends {
                    ns.enter(|| filter.detach())?;
                }
                sent
            }
            Event::BadTarget => {
                self.replace_by(Program::Bad)?;
                rest();
                self.replace_by(Program::There)
            }
        }
    }

    /// Has another program run, without a moment in which none does; or attaches
    /// it where none is.
    fn replace_by(&mut self, program: Program) -> Result<()> {
        let program = match program {
            Program::There => &self.there,
            Program::Back => &self.back,
            Program::Bad => &self.bad,
        };
        let attached = &mut self.attached;
        self.t.fwd.enter(|| program.in_place_of(attached))
    }

    fn detach(&mut self) -> Result<()> {
        let attached = &mut self.attached;
        self.t.fwd.enter(|| attached.detach())
    }

    /// A namespace goes in the kernel's own time, and takes both devices along.
    fn gone(&self, host_end: u32) -> Result<()> {
        const POLL: Duration = Duration::from_millis(2);
        self.t.fwd.enter(|| {
            for _ in 0..LONG.as_millis() / POLL.as_millis() {
                if link::index("dst_fwd").is_err() {
                    return Ok(());
                }
                thread::sleep(POLL);
            }
            bail!(
                "dst_fwd ({host_end}) is still there {LONG:?} after its peer's namespace was let go"
            )
        })
    }

    /// A new pair with the indices of the one that is gone.
    fn container(&self) -> Result<()> {
        let end = |name, mac, index| End {
            name,
            mac,
            queues: 1,
            index,
        };
        let dst = &self.t.dst;
        self.t.fwd.enter(|| {
            link::add_pair(
                self.pair,
                &end("dst_fwd", MAC_DST_FWD, self.t.dst_fwd),
                &end("dst", MAC_DST, self.t.dst_dev),
                dst,
            )?;
            link::set_up(self.t.dst_fwd, true)
        })?;
        dst.enter(|| link::set_up(self.t.dst_dev, true))
    }
}

/// A namespace whose devices have no IPv6, as none of the storm's has.
fn without_ipv6(name: &'static str) -> Result<Netns> {
    let ns = Netns::new(name)?;
    ns.enter(|| netns::sysctl("ipv6/conf/default/disable_ipv6", "1"))?;
    Ok(ns)
}

enum Program {
    There,
    Back,
    Bad,
}
