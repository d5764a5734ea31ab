// SPDX-License-Identifier: GPL-2.0-only
//! IPsec: one ESP tunnel, with the null cipher, between two addresses.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::protocols::NETLINK_XFRM;

use crate::netlink::Raw;

// include/uapi/linux/xfrm.h
const XFRM_MSG_NEWSA: u16 = 0x10;
const XFRM_MSG_NEWPOLICY: u16 = 0x13;
const XFRMA_ALG_AUTH: u16 = 1;
const XFRMA_ALG_CRYPT: u16 = 2;
const XFRMA_TMPL: u16 = 5;
const XFRM_MODE_TUNNEL: u8 = 1;
const XFRM_POLICY_OUT: u8 = 1;
const AF_INET: u16 = 2;
const ESP: u8 = 50;
const SPI: u32 = 0x155;
const ID: u32 = 1;

/// The outer addresses of a tunnel, and the inner ones that go through it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tunnel {
    /// Where it begins.
    pub(crate) from: Ipv4Addr,
    /// Where it ends.
    pub(crate) to: Ipv4Addr,
    /// Source of what goes through it.
    pub(crate) inner_from: Ipv4Addr,
    /// Destination of what goes through it.
    pub(crate) inner_to: Ipv4Addr,
}

/// C structs, field by field, as the kernel's headers lay them out.
#[derive(Default)]
struct Struct(Vec<u8>);

impl Struct {
    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn u16(self, value: u16) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// xfrm_address_t
    fn address(self, address: Ipv4Addr) -> Self {
        self.put(&address.octets()).zeros(12)
    }

    /// struct xfrm_selector, 56 bytes
    fn selector(self, from: Ipv4Addr, to: Ipv4Addr) -> Self {
        self.address(to)
            .address(from)
            .zeros(8) // ports and masks
            .u16(AF_INET)
            .put(&[32, 32, 0]) // prefix lengths, any protocol
            .zeros(3 + 4 + 4) // padding, device, user
    }

    /// struct xfrm_id, 24 bytes
    fn id(self, to: Ipv4Addr, spi: u32) -> Self {
        self.address(to)
            .put(&spi.to_be_bytes())
            .put(&[ESP])
            .zeros(3)
    }

    /// struct xfrm_lifetime_cfg, 64 bytes: no limits
    fn lifetime(self) -> Self {
        self.put(&[0xff; 32]).zeros(32)
    }
}

/// struct xfrm_algo
fn algorithm(name: &str, key: &[u8]) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(64, 0);
    bytes.extend((key.len() as u32 * 8).to_ne_bytes());
    bytes.extend(key);
    bytes
}

/// Makes the association in this namespace: both ends need it.
pub(crate) fn add_state(tunnel: &Tunnel) -> Result<()> {
    // struct xfrm_usersa_info, 224 bytes
    let info = Struct::default()
        .selector(tunnel.inner_from, tunnel.inner_to)
        .id(tunnel.to, SPI)
        .address(tunnel.from)
        .lifetime()
        .zeros(32 + 12) // struct xfrm_lifetime_cur, struct xfrm_stats
        .u32(0) // sequence number
        .u32(ID)
        .u16(AF_INET)
        .put(&[XFRM_MODE_TUNNEL, 32, 0]) // replay window, no flags
        .zeros(7);
    Raw::new(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, &info.0)
        .attribute(XFRMA_ALG_AUTH, &algorithm("hmac(sha256)", &[7; 32]))
        .attribute(XFRMA_ALG_CRYPT, &algorithm("ecb(cipher_null)", &[]))
        .ask(NETLINK_XFRM)
        .context("adding an ESP association")
}

/// Has what leaves this namespace between the inner addresses go through it.
pub(crate) fn add_policy_out(tunnel: &Tunnel) -> Result<()> {
    // struct xfrm_userpolicy_info, 168 bytes
    let info = Struct::default()
        .selector(tunnel.inner_from, tunnel.inner_to)
        .lifetime()
        .zeros(32) // struct xfrm_lifetime_cur
        .u32(0) // priority
        .u32(0) // index
        .put(&[XFRM_POLICY_OUT, 0, 0, 0]) // direction, allow, no flags, not shared
        .zeros(4);
    // struct xfrm_user_tmpl, 64 bytes
    let template = Struct::default()
        .id(tunnel.to, SPI)
        .u16(AF_INET)
        .zeros(2)
        .address(tunnel.from)
        .u32(ID)
        .put(&[XFRM_MODE_TUNNEL, 0, 0, 0])
        .put(&[0xff; 12]); // any algorithms
    Raw::new(XFRM_MSG_NEWPOLICY, NLM_F_CREATE | NLM_F_EXCL, &info.0)
        .attribute(XFRMA_TMPL, &template.0)
        .ask(NETLINK_XFRM)
        .context("adding an IPsec policy")
}
