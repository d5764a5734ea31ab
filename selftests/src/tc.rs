// SPDX-License-Identifier: GPL-2.0-only
//! Traffic control that libbpf has no call for: actions, flower, RED's events.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netlink::{Raw, attributes, dump};

// include/uapi/linux/rtnetlink.h and pkt_sched.h
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// struct tcmsg
fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for word in [index, handle, parent, info] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// What a queueing discipline has counted. That of clsact counts for the filters
/// and programs at a device, in both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Qdisc {
    pub(crate) index: u32,
    pub(crate) kind: String,
    pub(crate) packets: u64,
    pub(crate) drops: u64,
}

/// Those of this namespace.
pub(crate) fn qdiscs() -> Result<Vec<Qdisc>> {
    let all = dump(RTM_GETQDISC, &tcmsg(0, 0, 0, 0)).context("listing queueing disciplines")?;
    Ok(all.iter().filter_map(|body| qdisc(body)).collect())
}

fn qdisc(body: &[u8]) -> Option<Qdisc> {
    // include/uapi/linux/rtnetlink.h and gen_stats.h: struct gnet_stats_basic
    // and gnet_stats_queue within TCA_STATS2.
    const TCA_STATS2: u16 = 7;
    const BASIC: u16 = 1;
    const QUEUE: u16 = 3;
    let word = |bytes: &[u8], at: usize| {
        let word = bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(word.try_into().ok()?))
    };
    let mut found = Qdisc {
        index: word(body, 4)?,
        ..Qdisc::default()
    };
    for (kind, value) in attributes(body.get(tcmsg(0, 0, 0, 0).len()..)?) {
        match kind {
            TCA_KIND => {
                found.kind = String::from_utf8_lossy(value).trim_end_matches('\0').into();
            }
            TCA_STATS2 => {
                for (kind, value) in attributes(value) {
                    match kind {
                        BASIC => found.packets = word(value, 8)?.into(),
                        QUEUE => found.drops = word(value, 8)?.into(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(found)
}

/// What a filter does with a packet that it matches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action<'a> {
    /// What a program says (act_bpf).
    Program(BorrowedFd<'a>),
    /// Looks it up in conntrack, attaches the entry, and goes on with the next
    /// filter (act_ct).
    Track,
    /// Drops it (act_gact).
    Drop,
    /// Has a device receive it as it is (act_mirred).
    Receive(u32),
}

/// Which packets a filter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// All (cls_matchall).
    All,
    /// Those with a conntrack entry attached (cls_flower).
    Tracked,
}

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Makes the clsact qdisc of a device of this namespace.
pub(crate) fn add_clsact(index: u32) -> Result<()> {
    Raw::new(
        RTM_NEWQDISC,
        CREATE,
        &tcmsg(index, CLSACT_HANDLE, CLSACT, 0),
    )
    .text(TCA_KIND, "clsact")
    .ask(NETLINK_ROUTE)
    .with_context(|| format!("making the clsact qdisc of device {index}"))
}

/// Adds a filter at a device's ingress, behind those of a lower `priority`.
pub(crate) fn add_filter(index: u32, priority: u16, what: Match, action: Action<'_>) -> Result<()> {
    filter(index, CLSACT_INGRESS, priority, what, action)
}

/// Has another device receive what a device is about to transmit. Unlike a way
/// through a pair, this takes nothing off a packet that the host attached.
pub(crate) fn turn_round(index: u32, other: u32) -> Result<()> {
    add_clsact(index)?;
    filter(index, CLSACT_EGRESS, 1, Match::All, Action::Receive(other))
}

fn filter(index: u32, hook: u32, priority: u16, what: Match, action: Action<'_>) -> Result<()> {
    let info = u32::from(priority) << 16 | every_protocol();
    let filter = Raw::new(RTM_NEWTFILTER, CREATE, &tcmsg(index, 0, hook, info));
    match what {
        // TCA_MATCHALL_ACT = 2
        Match::All => filter
            .text(TCA_KIND, "matchall")
            .nest(TCA_OPTIONS, |r| r.nest(2, |r| add_action(r, action))),
        // TCA_FLOWER_ACT = 3, TCA_FLOWER_KEY_CT_STATE = 91 and its mask = 92
        Match::Tracked => filter.text(TCA_KIND, "flower").nest(TCA_OPTIONS, |r| {
            r.nest(3, |r| add_action(r, action))
                .attribute(91, &CT_TRACKED.to_ne_bytes())
                .attribute(92, &CT_TRACKED.to_ne_bytes())
        }),
    }
    .ask(NETLINK_ROUTE)
    .with_context(|| format!("adding a filter ({what:?}, {action:?}) to device {index}"))
}

/// TCA_FLOWER_KEY_CT_FLAGS_TRACKED
const CT_TRACKED: u16 = 1 << 3;
const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;
const TC_ACT_STOLEN: i32 = 4;
/// include/uapi/linux/tc_act/tc_mirred.h
const TCA_INGRESS_REDIR: i32 = 3;

fn every_protocol() -> u32 {
    u32::from((libc::ETH_P_ALL as u16).to_be())
}

/// The first and only action of a filter: TCA_ACT_KIND = 1, TCA_ACT_OPTIONS = 2.
fn add_action(filter: Raw, action: Action<'_>) -> Raw {
    filter.nest(1, |r| match action {
        // TCA_ACT_BPF_PARMS = 2 (all zero: the program decides), TCA_ACT_BPF_FD
        // = 5, TCA_ACT_BPF_NAME = 6
        Action::Program(fd) => r.text(1, "bpf").nest(2, |r| {
            r.attribute(2, &tc_gen(0))
                .attribute(5, &fd.as_raw_fd().to_ne_bytes())
                .text(6, "selftests")
        }),
        // TCA_CT_PARMS = 1
        Action::Track => r
            .text(1, "ct")
            .nest(2, |r| r.attribute(1, &tc_gen(TC_ACT_UNSPEC))),
        // TCA_GACT_PARMS = 2
        Action::Drop => r
            .text(1, "gact")
            .nest(2, |r| r.attribute(2, &tc_gen(TC_ACT_SHOT))),
        // TCA_MIRRED_PARMS = 2: struct tc_mirred
        Action::Receive(other) => r.text(1, "mirred").nest(2, |r| {
            let mut mirred = tc_gen(TC_ACT_STOLEN);
            mirred.extend(TCA_INGRESS_REDIR.to_ne_bytes());
            mirred.extend(other.to_ne_bytes());
            r.attribute(2, &mirred)
        }),
    })
}

/// tc_gen of include/uapi/linux/pkt_cls.h: index, capabilities, what follows, counts.
fn tc_gen(verdict: i32) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[8..12].copy_from_slice(&verdict.to_ne_bytes());
    bytes
}

/// Gives a device a RED queue that is over its limit from the first packet on,
/// and has a program decide what becomes of each packet that it drops early (a
/// qevent; cls_bpf in direct-action mode).
pub(crate) fn red_with_program(index: u32, program: BorrowedFd<'_>) -> Result<()> {
    /// Any number: blocks belong to a namespace.
    const BLOCK: u32 = 155;
    const ROOT: u32 = 0xffff_ffff;
    /// TCM_IFINDEX_MAGIC_BLOCK: the filter belongs to a block, not to a device.
    const OF_BLOCK: u32 = 0xffff_ffff;
    // struct tc_red_qopt: limit, smallest and greatest threshold, bytes; Wlog, Plog,
    // Scell_log, flags. Nothing is below a greatest threshold of 0.
    let mut options = Vec::new();
    for word in [1_u32 << 20, 0, 0] {
        options.extend(word.to_ne_bytes());
    }
    options.extend([1, 1, 1, 0]);
    // TCA_RED_PARMS = 1, TCA_RED_STAB = 2, TCA_RED_EARLY_DROP_BLOCK = 5
    Raw::new(RTM_NEWQDISC, CREATE, &tcmsg(index, 1 << 16, ROOT, 0))
        .text(TCA_KIND, "red")
        .nest(TCA_OPTIONS, |r| {
            r.attribute(1, &options)
                .attribute(2, &[0; 256])
                .attribute(5, &BLOCK.to_ne_bytes())
        })
        .ask(NETLINK_ROUTE)
        .with_context(|| format!("giving device {index} a RED queue with an event"))?;
    // TCA_BPF_FD = 6, TCA_BPF_NAME = 7, TCA_BPF_FLAGS = 8 (TCA_BPF_FLAG_ACT_DIRECT)
    Raw::new(
        RTM_NEWTFILTER,
        CREATE,
        &tcmsg(OF_BLOCK, 0, BLOCK, 1 << 16 | every_protocol()),
    )
    .text(TCA_KIND, "bpf")
    .nest(TCA_OPTIONS, |r| {
        r.attribute(6, &program.as_raw_fd().to_ne_bytes())
            .text(7, "selftests")
            .attribute(8, &1_u32.to_ne_bytes())
    })
    .ask(NETLINK_ROUTE)
    .context("adding a program to the event of a RED queue")
}

#[cfg(test)]
mod tests {
    use super::{Qdisc, qdisc};

    /// Verify that what a device's programs saw and dropped is read from what the
    /// kernel sends of its clsact qdisc.
    #[test]
    fn counters_of_a_qdisc() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let words =
            |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_ne_bytes()).collect() };
        let stats = [
            attribute(1, &words(&[640, 0, 7, 0])),
            attribute(3, &words(&[0, 0, 2, 0, 0])),
        ]
        .concat();
        let body = [
            super::tcmsg(103, 0, 0, 0),
            attribute(1, b"clsact\0"),
            attribute(7, &stats),
        ]
        .concat();
        let wanted = Qdisc {
            index: 103,
            kind: "clsact".into(),
            packets: 7,
            drops: 2,
        };
        assert_eq!(qdisc(&body), Some(wanted));
        assert_eq!(qdisc(&body[..6]), None);
    }
}
