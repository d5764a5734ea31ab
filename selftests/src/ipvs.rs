// SPDX-License-Identifier: GPL-2.0-only
//! IPVS: one UDP service with one server, by the socket options that ipvsadm
//! used before there was netlink.

use std::{net::SocketAddrV4, os::fd::AsRawFd};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket},
};

// include/uapi/linux/ip_vs.h
const IP_VS_SO_SET_ADD: libc::c_int = 1152 + 2;
const IP_VS_SO_SET_ADDDEST: libc::c_int = 1152 + 7;
const SCHEDULER: [u8; 16] = *b"rr\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Has IPVS of this namespace send what is for `service` to `server`, with the
/// addresses translated.
pub(crate) fn add_service(service: SocketAddrV4, server: SocketAddrV4) -> Result<()> {
    let service = service_user(service);
    set(IP_VS_SO_SET_ADD, &service).context("adding an IPVS service (CONFIG_IP_VS_RR)")?;
    let both = [service, server_user(server)].concat();
    set(IP_VS_SO_SET_ADDDEST, &both).context("adding a server to an IPVS service")
}

/// struct ip_vs_service_user, 44 bytes
fn service_user(address: SocketAddrV4) -> Vec<u8> {
    let mut bytes = vec![libc::IPPROTO_UDP as u8, 0, 0, 0];
    bytes.extend(address.ip().octets());
    bytes.extend(address.port().to_be_bytes());
    bytes.extend([0; 2 + 4]); // padding, no mark
    bytes.extend(SCHEDULER);
    bytes.extend([0; 4 + 4]); // no flags, no timeout
    bytes.extend([0xff; 4]); // one client at a time
    bytes
}

/// struct ip_vs_dest_user, 24 bytes
fn server_user(address: SocketAddrV4) -> Vec<u8> {
    let mut bytes = address.ip().octets().to_vec();
    bytes.extend(address.port().to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(0_u32.to_ne_bytes()); // IP_VS_CONN_F_MASQ
    bytes.extend(1_u32.to_ne_bytes()); // weight
    bytes.extend([0; 4 + 4]); // no thresholds
    bytes
}

fn set(option: libc::c_int, value: &[u8]) -> Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )
    .context("opening a raw socket")?;
    // SAFETY: value is valid for reads of its length, and the kernel keeps no
    // pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{server_user, service_user};

    /// Verify that the structs are as long as the kernel's, which refuses any
    /// other length.
    #[test]
    fn lengths() {
        let address = "192.0.2.1:80".parse().unwrap();
        assert_eq!(service_user(address).len(), 44);
        assert_eq!(server_user(address).len(), 24);
    }
}
