// SPDX-License-Identifier: GPL-2.0-only
//! Packets that the host takes out of a VXLAN tunnel: the overlay is the NIC.

use std::net::Ipv4Addr;

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::{Observer, Redirect},
    fail::{Verdict, becomes, same},
    link::{self, Pair},
    probe::{self, PORT, Receiver, Tun},
    topology::{Ip, MAC_DST, MAC_SRC, Topology},
};

const PROBE: &[u8] = b"a probe out of a tunnel";
const NETWORK: u32 = 155;
const VXLAN_PORT: u16 = 4789;
const MAC_NIC: link::Mac = [2, 0, 0, 0, 0, 8];
const HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 1);
const OTHER_HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 2);
const INNER_SRC: Ipv4Addr = Ipv4Addr::new(172, 16, 1, 100);
const INNER_DST: Ipv4Addr = Ipv4Addr::new(172, 16, 2, 100);

pub(super) fn cases() -> Vec<Case> {
    [
        Case::feature(
            "overlay_packet_is_delivered",
            &["R6", "carry"],
            "Verify that a packet out of a VXLAN tunnel, for a MAC that is not the tunnel device's, is delivered in the container",
            || decapsulated(Look::Delivery),
        ),
        Case::feature(
            "checksum_complete_survives",
            &["carry"],
            "Verify that the sum of a packet with CHECKSUM_COMPLETE is that of its bytes on the host's side and on the container's",
            || decapsulated(Look::Checksum),
        ),
    ]
    .map(|case| {
        case.on(
            Some(Arm::Upstream),
            &["5.10"],
            Expect::Fail {
                reason: reason::NOT_DELIVERED.into(),
            },
            "5.10 keeps the packet type, and the container's IP stack drops it",
        )
    })
    .into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Delivery,
    Checksum,
}

fn decapsulated(look: Look) -> Verdict {
    let t = Topology::quiet(Pair::Veth)?;
    let (mut nic, overlay) = t.fwd.enter(|| {
        let nic = Tun::tap("nic")?;
        let index = link::index("nic")?;
        link::set_mac(index, MAC_NIC)?;
        link::set_up(index, true)?;
        link::add_address(index, HOST.into())?;
        link::add_route(index, OTHER_HOST.into())?;
        Ok((nic, link::add_vxlan("overlay", NETWORK, VXLAN_PORT)?))
    })?;
    let inner = probe::udp_packet_between(INNER_SRC, INNER_DST, PORT, PROBE);
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_checksum", t.dst_fwd)?;
    program.at_ingress(&t.fwd, overlay)?;
    let observer = Observer::with("observe_checksum", &t.dst, t.dst_dev)?;
    nic.inject(&encapsulated(&inner))?;
    // Without the first there is nothing to be said about the second.
    becomes(
        reason::SETUP,
        "ns_fwd, overlay: probes seen at ingress",
        || program.hits().1,
        1,
    )?;
    if look == Look::Checksum {
        let expected = Some(!probe::checksum(&inner));
        same(
            reason::SETUP,
            "ns_fwd, overlay: sum that came with the probe",
            folded(program.checksum()),
            expected,
        )?;
        becomes(
            reason::WRONG_VALUE,
            "ns_dst, dst: sum that came with the probe",
            || folded(observer.checksum()),
            expected,
        )?;
    }
    receiver.must_get(PROBE)
}

/// The sum of 16-bit words as the packet has them, out of one that the kernel
/// made of its bytes in the machine's order; `None` for an error.
fn folded(sum: i64) -> Option<u16> {
    let mut sum = u32::try_from(sum).ok()?;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    Some(u16::from_be(sum as u16))
}

/// In a frame for the inner device, in VXLAN, in UDP with a checksum: the host
/// has to sum the packet up to check it, and keeps the sum.
fn encapsulated(inner: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x08, 0, 0, 0];
    payload.extend((NETWORK << 8).to_be_bytes());
    payload.extend(probe::frame(MAC_DST, MAC_SRC, libc::ETH_P_IP as u16, inner));
    let outer = probe::udp_packet_between(OTHER_HOST, HOST, VXLAN_PORT, &payload);
    probe::frame(MAC_NIC, MAC_SRC, libc::ETH_P_IP as u16, &outer)
}

#[cfg(test)]
mod tests {
    use super::{PROBE, encapsulated, folded};
    use crate::probe;

    /// Verify that the packets' own checksums are right: what is summed with
    /// its checksum comes to all ones.
    #[test]
    fn checksums() {
        let inner = probe::udp_packet_between(super::INNER_SRC, super::INNER_DST, 9004, PROBE);
        assert_eq!(probe::checksum(&inner[..20]), 0);
        let frame = encapsulated(&inner);
        assert_eq!(probe::checksum(&frame[14..34]), 0);
        assert!(frame.ends_with(PROBE));
    }

    /// Verify that an error is no sum.
    #[test]
    fn errors() {
        assert_eq!(folded(-524), None);
        assert_eq!(folded(0x0001_0203), Some(u16::from_be(0x0204)));
    }
}
