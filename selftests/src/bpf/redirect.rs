// SPDX-License-Identifier: GPL-2.0-only
//! The programs that redirect.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use libbpf_rs::{
    Link, ProgramInput, ProgramMut,
    skel::{OpenSkel, SkelBuilder},
};

use super::{
    Filter, Hook, attach, find, now, only, refusal, room,
    skel::redirect::{RedirectSkel, RedirectSkelBuilder, types::rodata as Rodata},
    take_log,
};
use crate::{
    fail::{Stop, Verdict},
    netns::Netns,
    tc,
};

/// One program of redirect.bpf.c, loaded.
pub(crate) struct Redirect {
    skel: RedirectSkel<'static>,
    program: &'static str,
}

impl Redirect {
    /// Loads it with its constants set.
    pub(crate) fn load(program: &'static str, set: impl FnOnce(&mut Rodata)) -> Result<Self, Stop> {
        take_log();
        let mut open = RedirectSkelBuilder::default()
            .open(room())
            .context("opening redirect.bpf.o")?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            set(rodata);
        }
        only(open.open_object_mut(), program);
        let skel = open.load().map_err(|e| refusal(&e))?;
        Ok(Self { skel, program })
    }

    /// One that redirects to `target` (or its peer).
    pub(crate) fn to(program: &'static str, target: u32) -> Result<Self, Stop> {
        Self::load(program, |r| r.target = target)
    }

    /// Whether the verifier takes a program that calls bpf_redirect_peer(). What
    /// it has taken once need not be asked again; what it refuses, it refuses
    /// each time.
    pub(crate) fn helper_is_known() -> Verdict {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if !TAKEN.load(Ordering::Relaxed) {
            Self::load("peer", |_| {})?;
            TAKEN.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How many packets it was run for, and how many of them were probes.
    pub(crate) fn hits(&self) -> (u64, u64) {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or((0, 0), |b| (now(&b.hits), now(&b.probes)))
    }

    /// skb->csum of the last probe that peer_checksum ran for; negative when its
    /// checksum was not CHECKSUM_COMPLETE.
    pub(crate) fn checksum(&self) -> i64 {
        self.skel
            .maps
            .bss_data
            .as_deref()
            .map_or(-1, |b| now(&b.csum))
    }

    fn program(&self) -> Result<ProgramMut<'_>> {
        find(libbpf_rs::skel::Skel::object(&self.skel), self.program)
    }

    /// What it returns for a packet that is made up: no device is involved.
    pub(crate) fn returns(&self) -> Result<u32> {
        let packet = [0_u8; 64];
        let input = ProgramInput {
            data_in: Some(&packet),
            ..Default::default()
        };
        Ok(self
            .program()?
            .test_run(input)
            .context("running a program for a made-up packet")?
            .return_value)
    }

    /// Attaches it to a device's clsact ingress in `ns`.
    pub(crate) fn at_ingress(&self, ns: &Netns, index: u32) -> Result<Filter> {
        attach::clsact(&self.program()?, ns, index, false)
    }

    /// Attaches it to a device's clsact egress in `ns`.
    pub(crate) fn at_egress(&self, ns: &Netns, index: u32) -> Result<Filter> {
        attach::clsact(&self.program()?, ns, index, true)
    }

    /// Attaches it to a device's ingress by tcx; it is taken off with the filter.
    pub(crate) fn at_tcx_ingress(&self, ns: &Netns, index: u32) -> Result<Filter> {
        attach::tcx_ingress(&self.program()?, ns, index)
    }

    /// Attaches it to a device's ingress in the way that is asked for; what there
    /// is to hold, it is to be held.
    pub(crate) fn by(&self, hook: Hook, ns: &Netns, index: u32) -> Result<Option<Filter>> {
        match hook {
            Hook::Clsact => self.at_ingress(ns, index).map(Some),
            Hook::Tcx => self.at_tcx_ingress(ns, index).map(Some),
            Hook::Action => self.as_action(ns, index).map(|()| None),
        }
    }

    /// Has it run where another program does, in its place. Of the namespace that
    /// this thread is in.
    pub(crate) fn in_place_of(&self, filter: &mut Filter) -> Result<()> {
        filter.put(self.program()?.as_fd())
    }

    /// Has a netkit pair run it for what one of its devices transmits; `index` is
    /// the primary one's. It is detached with the link.
    pub(crate) fn at_netkit(&self, ns: &Netns, index: u32) -> Result<Link> {
        attach::netkit(&self.program()?, ns, index)
    }

    /// Has a matchall filter at a device's ingress run it as an action.
    pub(crate) fn as_action(&self, ns: &Netns, index: u32) -> Result<()> {
        ns.enter(|| tc::add_clsact(index))?;
        self.as_action_for(tc::Match::All, ns, index)
    }

    /// The same for some packets, behind the filters that are there.
    pub(crate) fn as_action_for(&self, what: tc::Match, ns: &Netns, index: u32) -> Result<()> {
        let program = self.program()?;
        let action = tc::Action::Program(program.as_fd());
        ns.enter(|| tc::add_filter(index, 9, what, action))
    }

    /// Has the early drops of a RED queue, which is made, run it.
    pub(crate) fn at_red_event(&self, ns: &Netns, index: u32) -> Result<()> {
        let program = self.program()?;
        ns.enter(|| tc::red_with_program(index, program.as_fd()))
    }

    /// Has packets for `to` that leave by a device go through it (lwt_xmit).
    pub(crate) fn at_route(&self, ns: &Netns, index: u32, to: std::net::IpAddr) -> Result<()> {
        let program = self.program()?;
        ns.enter(|| crate::link::add_route_through(index, to, program.as_fd()))
    }
}
