// SPDX-License-Identifier: GPL-2.0-only
//! What differs from boot to boot by chance, made not to matter.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
};

use anyhow::{Context, Result};

use crate::{link, netns::Netns};

/// More neighbours than this and the kernel's table of them has twice as many
/// chains: net/core/neighbour.c, ___neigh_create().
const NEIGHBOURS: u16 = 2050;

/// Index of a namespace's loopback device.
const LOOPBACK: u32 = 1;

/// Makes the kernel's tables of neighbours large. They begin with 8 chains,
/// chosen by a random number, and every packet that is sent walks one: whether
/// a neighbour is the first or the second there is worth 5 to 10 instructions.
/// They never shrink, so what made them grow may go.
pub(super) fn spread_neighbours() -> Result<()> {
    let ns = Netns::new("ns_many")?;
    ns.enter(|| {
        let device = link::add_dummy("many")?;
        link::set_up(device, true)?;
        for n in 0..NEIGHBOURS {
            let [high, low] = n.to_be_bytes();
            let v4 = Ipv4Addr::new(10, 155, high, low);
            let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 155, n);
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                link::add_neighbour(device, address, [2, 0, 0, 1, high, low])?;
            }
        }
        Ok(())
    })
}

/// Objects of the sizes that packets have, which stay where they are: what
/// nobody reads.
#[derive(Debug)]
pub(super) struct Shift {
    listener: TcpListener,
    datagrams: Vec<(UnixDatagram, UnixDatagram)>,
    connections: Vec<(TcpStream, TcpStream)>,
}

impl Shift {
    /// What one datagram has, one for each slab cache that packets come from. Bytes.
    const SIZES: [usize; 4] = [1, 300, 700, 1500];

    /// None yet. Sets the loopback device of this namespace up.
    pub(super) fn new() -> Result<Self> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        link::set_up(LOOPBACK, true)?;
        Ok(Self {
            listener: TcpListener::bind(to).context("listening on the loopback device")?,
            datagrams: Vec::new(),
            connections: Vec::new(),
        })
    }

    /// One more of each size, and one more of the kind that only TCP sends: a
    /// packet and its clone, which have a slab cache of their own.
    pub(super) fn by_one(&mut self) -> Result<()> {
        let (from, to) = UnixDatagram::pair().context("making a pair of sockets")?;
        for size in Self::SIZES {
            from.send(&vec![0; size])
                .context("sending a datagram that nobody reads")?;
        }
        self.datagrams.push((from, to));
        let mut from = TcpStream::connect(self.listener.local_addr()?)
            .context("connecting over the loopback device")?;
        let (to, _) = self.listener.accept()?;
        from.write_all(&[0])
            .context("sending a byte that nobody reads")?;
        self.connections.push((from, to));
        Ok(())
    }
}
