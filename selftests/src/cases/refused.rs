// SPDX-License-Identifier: GPL-2.0-only
//! Who may call the helper.

use protocol::reason;

use super::Case;
use crate::{
    bpf::load_as,
    fail::{Stop, Verdict, failed},
};

const TYPES: [&str; 23] = [
    "xdp",
    "socket_filter",
    "cgroup_skb",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "sk_skb",
    "sock_ops",
    "flow_dissector",
    "kprobe",
    "tracepoint",
    "raw_tracepoint",
    "perf_event",
    "sk_msg",
    "cgroup_sock_addr",
    "sk_lookup",
    "sk_reuseport",
    "lwt_seg6local",
    "cgroup_sock",
    "cgroup_device",
    "cgroup_sysctl",
    "cgroup_sockopt",
    "raw_tracepoint_writable",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::feature(
        "allowed_for_sched_act",
        &["helper"],
        "Verify that a SCHED_ACT program may call the helper",
        || load_as("as_act"),
    )];
    cases.extend(TYPES.map(case));
    cases.push(case("syscall").needs(
        || super::is_at_least(5, 14),
        &["5.10"],
        "this kernel has no programs of that type (before 5.14)",
    ));
    cases.push(case("netfilter").needs(
        || super::is_at_least(6, 4),
        &["5.10", "6.1"],
        "this kernel has no programs of that type (before 6.4)",
    ));
    cases
}

fn case(program: &'static str) -> Case {
    Case::feature(
        format!("refused_for_{program}"),
        &["helper"],
        format!("Verify that the verifier refuses the helper to a program of type {program}"),
        move || refused(program),
    )
}

fn refused(program: &str) -> Verdict {
    // On a kernel without the helper every type is refused, which proves nothing.
    load_as("as_tc")?;
    match load_as(&format!("as_{program}")) {
        Ok(()) => Err(failed(
            reason::WRONGLY_ACCEPTED,
            format!("a {program} program that calls the helper was loaded"),
        )),
        Err(Stop::Failed(f)) if f.reason == reason::HELPER_UNKNOWN => Ok(()),
        Err(other) => Err(other),
    }
}
