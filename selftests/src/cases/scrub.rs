// SPDX-License-Identifier: GPL-2.0-only
//! What belongs to the host stays on the host.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect},
    fail::{Verdict, same},
    link::Pair,
    probe::{self, Receiver},
    topology::{Ip, Topology},
};

const PROBE: &[u8] = b"a probe for the container";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature("otherhost_is_delivered", &["R6"], "Verify that a packet that the host took for another machine's is delivered in the container", otherhost).on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail { reason: reason::NOT_DELIVERED.into() },
            "5.10 keeps the packet type, and the container's IP stack drops it",
        ),
        Case::feature("assigned_socket_stays_behind", &["R11"], "Verify that a socket of the host, chosen by bpf_sk_assign(), does not receive the container's packet", assigned).on(
            Some(Arm::Upstream),
            &[],
            Expect::Fail { reason: reason::NOT_DELIVERED.into() },
            "the socket that bpf_sk_assign() chose receives the packet across namespaces",
        ),
        Case::feature(
            "tunnel_dst_stays_behind",
            &["R5"],
            "Verify that what a tunnel of the host attached to a packet is not seen in the container",
            tunnelled,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::WRONG_VALUE.into(),
            },
            "5.10 takes the tunnel's dst along",
        ),
    ]
}

fn otherhost() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_otherhost", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    probe::send(&t, Ip::V4, PROBE)?;
    same(
        reason::WRONG_COUNT,
        "ns_dst, dst: probes seen at ingress",
        observer.seen().count,
        1,
    )?;
    receiver.must_get(PROBE)
}

fn assigned() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let host = Receiver::new(&t.fwd, Ip::V4)?;
    let container = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_assigned", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    // Counted after the assignment succeeded.
    same(
        reason::SETUP,
        "ns_fwd, src_fwd: probes assigned to the host's socket",
        program.hits().1,
        1,
    )?;
    container.must_get(PROBE)?;
    host.must_get_nothing()
}

fn tunnelled() -> Verdict {
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_tunnelled", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    let observer = Observer::at_ingress(&t.dst, t.dst_dev)?;
    probe::send(&t, Ip::V4, PROBE)?;
    // Counted after the host's program read the key back.
    same(
        reason::SETUP,
        "ns_fwd, src_fwd: probes given a tunnel key",
        program.hits().1,
        1,
    )?;
    receiver.must_get(PROBE)?;
    let seen = observer.seen();
    same(
        reason::WRONG_VALUE,
        "ns_dst, dst: probes, and those with a tunnel key",
        (seen.count, seen.tunnelled),
        (1, 0),
    )
}
