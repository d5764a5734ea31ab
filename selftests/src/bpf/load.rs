// SPDX-License-Identifier: GPL-2.0-only
//! The counters of how the receive softirq comes to run.

use anyhow::Context;
use libbpf_rs::{
    Link,
    skel::{OpenSkel, Skel, SkelBuilder},
};

use super::{
    attach_all, now, refusal, room,
    skel::load::{LoadSkel, LoadSkelBuilder},
};
use crate::{fail::Stop, tracefs::Format};

const PROGRAMS: [&str; 5] = ["on_raise", "on_entry", "on_exit", "on_wakeup", "on_poll"];

/// Programs on tracepoints, for as long as it lives.
pub(crate) struct Softirqs {
    skel: LoadSkel<'static>,
    _links: Vec<Link>,
}

impl Softirqs {
    /// Counts from now on.
    pub(crate) fn count() -> Result<Self, Stop> {
        let mut open = LoadSkelBuilder::default()
            .open(room())
            .context("opening load.bpf.o")?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.vec_at = Format::of("irq", "softirq_raise")?.offset("vec")?;
            rodata.comm_at = Format::of("sched", "sched_wakeup")?.offset("comm")?;
            let poll = Format::of("napi", "napi_poll")?;
            rodata.work_at = poll.offset("work")?;
            rodata.name_at = poll.offset("dev_name")?;
        }
        let skel = open.load().map_err(|e| refusal(&e))?;
        Ok(Self {
            _links: attach_all(skel.object(), &PROGRAMS)?,
            skel,
        })
    }

    /// What was counted so far on all CPUs, by name; waits in nanoseconds.
    pub(crate) fn counted(&self) -> [(&'static str, u64); 11] {
        let cpus = self.skel.maps.bss_data.as_deref().map(|b| &b.cpus[..]);
        let cpus = cpus.unwrap_or_default();
        macro_rules! sum {
            ($field:ident) => {
                (
                    stringify!($field),
                    cpus.iter().map(|c| now(&c.$field)).sum(),
                )
            };
        }
        [
            sum!(passes),
            sum!(again),
            sum!(by_ksoftirqd),
            sum!(wait),
            sum!(wait_again),
            sum!(ksoftirqd_wakeups),
            sum!(backlog_polls),
            sum!(backlog_work),
            sum!(device_polls),
            sum!(device_work),
            sum!(backlog_after_device),
        ]
    }
}
