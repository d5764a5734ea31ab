// SPDX-License-Identifier: GPL-2.0-only
//! Traffic control that libbpf has no call for: actions.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netlink::Raw;

// include/uapi/linux/rtnetlink.h and pkt_sched.h
const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_INGRESS: u32 = 0xffff_fff2;

/// struct tcmsg
fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for word in [index, handle, parent, info] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// Has everything that arrives on a device go through a program of act_bpf.
pub(crate) fn matchall_action(index: u32, program: BorrowedFd<'_>) -> Result<()> {
    let create = NLM_F_CREATE | NLM_F_EXCL;
    Raw::new(
        RTM_NEWQDISC,
        create,
        &tcmsg(index, CLSACT_HANDLE, CLSACT, 0),
    )
    .text(TCA_KIND, "clsact")
    .ask(NETLINK_ROUTE)
    .context("making the clsact qdisc")?;

    let every_protocol = u32::from((libc::ETH_P_ALL as u16).to_be());
    let priority = 1 << 16;
    let fd = program.as_raw_fd().to_ne_bytes();
    // TCA_MATCHALL_ACT = 2; one action, TCA_ACT_KIND = 1, TCA_ACT_OPTIONS = 2;
    // TCA_ACT_BPF_PARMS = 2 (struct tc_act_bpf, all zero: the program decides),
    // TCA_ACT_BPF_FD = 5, TCA_ACT_BPF_NAME = 6.
    Raw::new(
        RTM_NEWTFILTER,
        create,
        &tcmsg(index, 0, CLSACT_INGRESS, priority | every_protocol),
    )
    .text(TCA_KIND, "matchall")
    .nest(TCA_OPTIONS, |r| {
        r.nest(2, |r| {
            r.nest(1, |r| {
                r.text(1, "bpf").nest(2, |r| {
                    r.attribute(2, &[0; 20])
                        .attribute(5, &fd)
                        .text(6, "selftests")
                })
            })
        })
    })
    .ask(NETLINK_ROUTE)
    .with_context(|| format!("adding a matchall filter with act_bpf to device {index}"))
}
