// SPDX-License-Identifier: GPL-2.0-only
//! When a packet must be dropped: section 3, step 2 of the specification.

use std::net::Ipv4Addr;

use anyhow::Result;
use protocol::reason;

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes},
    link::{self, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver, Tap},
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that must not arrive";
const LAST: &[u8] = b"the one behind it, which must";
const STRANGER: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 9);
const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 16, 2, 100);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "dropped_for_bad_ifindex",
            &["carry"],
            "Verify that a packet for an index without a device is dropped",
            || dropped(|_| Ok(0x7fff_fff0)),
        ),
        Case::feature(
            "dropped_for_zero_ifindex",
            &["carry"],
            "Verify that a packet for index 0 is dropped",
            || dropped(|_| Ok(0)),
        ),
        Case::feature(
            "dropped_for_unpaired_device",
            &["carry"],
            "Verify that a packet for a device that is not one of a pair is dropped",
            || {
                dropped(|t| {
                    t.fwd.enter(|| {
                        let dummy = link::add_dummy("dummy9")?;
                        link::set_up(dummy, true)?;
                        Ok(dummy)
                    })
                })
            },
        ),
        Case::feature(
            "dropped_for_peer_in_same_netns",
            &["carry"],
            "Verify that a packet is dropped when the peer is in the same namespace",
            same_netns,
        ),
        Case::feature(
            "dropped_for_peer_down",
            &["carry"],
            "Verify that a packet for a peer that is down is dropped",
            || {
                dropped(|t| {
                    t.dst.enter(|| link::set_up(t.dst_dev, false))?;
                    Ok(t.dst_fwd)
                })
            },
        ),
        Case::feature(
            "dropped_at_egress",
            &["carry", "R12"],
            "Verify that a packet is dropped when the helper is used at egress",
            egress,
        ),
        Case::feature(
            "dropped_for_other_netns_ifindex",
            &["carry"],
            "Verify that an index is looked up in the namespace of the device, not in the sender's or the container's",
            other_netns,
        ),
    ]
}

/// A probe that is redirected to `target` reaches nobody, and the program saw it.
fn dropped(target: impl FnOnce(&Topology) -> Result<u32>) -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_probe", target(&t)?)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    ran(&program)?;
    // The same with a good target: what was dropped was dropped for its target.
    t.dst.enter(|| link::set_up(t.dst_dev, true))?;
    Redirect::to("peer_probe", t.dst_fwd)?.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, LAST)?;
    receiver.must_get_only(LAST)
}

fn ran(program: &Redirect) -> Verdict {
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )
}

/// No device of the host has the index, but one of ns_src and one of ns_dst have:
/// a pair of these two, so that whichever is looked up has a peer that would do.
fn other_netns() -> Verdict {
    const DECOY: u32 = 155;
    probe::stay_on_one_cpu()?;
    let t = Topology::quiet(Pair::Veth)?;
    t.src.enter(|| {
        let end = |last| link::End {
            name: "decoy",
            mac: [2, 0, 0, 0, 1, last],
            queues: 1,
            index: DECOY,
        };
        link::add_pair(Pair::Veth, &end(1), &end(2), &t.dst)
    })?;
    for ns in [&t.src, &t.dst] {
        ns.enter(|| link::set_up(DECOY, true))?;
    }
    t.src
        .enter(|| link::add_address(DECOY, dst_address(Ip::V4)))?;
    let receivers = [
        Receiver::new(&t.src, Ip::V4)?,
        Receiver::new(&t.dst, Ip::V4)?,
    ];
    let wire = Tap::new(&t.src, t.src_dev)?;
    // Not from ns_src's own address: nobody receives what comes from himself.
    let send = |payload: &[u8]| {
        let packet = probe::udp_packet_between(STRANGER, CONTAINER, PORT, payload);
        let frame = probe::frame(MAC_SRC_FWD, MAC_SRC, libc::ETH_P_IP as u16, &packet);
        t.src.enter(|| wire.send(&frame))
    };
    let program = Redirect::to("peer_probe", DECOY)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    send(PROBE)?;
    ran(&program)?;
    // Either would receive it, if it were switched there.
    for (target, receiver) in [t.src_fwd, t.dst_fwd].into_iter().zip(&receivers) {
        Redirect::to("peer_probe", target)?.at_ingress(&t.fwd, t.src_fwd)?;
        send(LAST)?;
        receiver.must_get_only(LAST)?;
    }
    Ok(())
}

fn same_netns() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    let near = t.fwd.enter(|| pair_in_one_place(Pair::Veth, &t.fwd))?;
    let receiver = Receiver::new(&t.fwd, Ip::V4)?;
    let program = Redirect::to("peer_probe", near)?;
    let mut filter = program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    ran(&program)?;
    // Without the program the host receives it: the address is its own.
    t.fwd.enter(|| filter.detach())?;
    probe::send(&t, Ip::V4, LAST)?;
    receiver.must_get_only(LAST)
}

fn egress() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    t.address_frames_to_the_end(Ip::V4)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    // Leaves the container's own way: to the host end, and there out by dst_fwd.
    let to_egress = Redirect::to("plain", t.dst_fwd)?;
    let program = Redirect::to("peer_probe", t.dst_fwd)?;
    to_egress.at_ingress(&t.fwd, t.src_fwd)?;
    let mut filter = program.at_egress(&t.fwd, t.dst_fwd)?;
    for _ in 0..20 {
        probe::send(&t, Ip::V4, PROBE)?;
    }
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, dst_fwd: probes seen at egress",
        || program.hits().1,
        20,
    )?;
    // It arrives, but for the program.
    t.fwd.enter(|| filter.detach())?;
    probe::send(&t, Ip::V4, LAST)?;
    receiver.must_get_only(LAST)
}

/// Makes a pair with both ends in `ns`, which this thread is in.
pub(super) fn pair_in_one_place(kind: Pair, ns: &Netns) -> Result<u32> {
    let end = |name, last| link::End {
        name,
        mac: [2, 0, 0, 0, 1, last],
        queues: 1,
        index: 0,
    };
    link::add_pair(kind, &end("near", 1), &end("far", 2), ns)?;
    let (near, far) = (link::index("near")?, link::index("far")?);
    link::set_up(near, true)?;
    link::set_up(far, true)?;
    // If a packet were switched, it would be received here.
    link::add_address(far, dst_address(Ip::V4))?;
    Ok(near)
}
