// SPDX-License-Identifier: GPL-2.0-only
//! What is sent, and what a transaction of it costs.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use crate::{
    link,
    topology::{dst_address, src_address},
};

use super::{clock, still::Shift, way::Prepared};

/// Where both ends meet.
pub(super) const PORT: u16 = 9155;

/// Transactions before the first that counts: caches fill, windows open.
const WARM_UP: usize = 100;

/// Transactions that count, in sets. A set has an odd number, so that the median
/// is one of them.
const SETS: usize = 5;
const SAMPLES: usize = 81;

/// A packet that does not arrive ends the bench with an error; on a machine that
/// is busy enough a thread of `bench --native` has its turn after seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Traffic {
    /// A byte there and a byte back on one connection.
    TcpRr,
    /// A connection, a byte there, a byte back.
    TcpCrr,
    /// A byte there and a byte back.
    UdpRr,
    /// A datagram of so many bytes there.
    Udp(usize),
    /// 64 KiB there on one connection, in GSO super-packets.
    TcpStream,
}

impl Traffic {
    /// Whether a transaction has an answer.
    pub(super) fn goes_to_and_fro(self) -> bool {
        matches!(self, Self::TcpRr | Self::TcpCrr | Self::UdpRr)
    }
}

/// All of it, by the name in a figure.
pub(super) const TRAFFIC: [(Traffic, &str); 6] = [
    (Traffic::TcpRr, "tcp_rr"),
    (Traffic::TcpCrr, "tcp_crr"),
    (Traffic::UdpRr, "udp_rr"),
    (Traffic::Udp(1), "udp_1"),
    (Traffic::Udp(1400), "udp_1400"),
    (Traffic::TcpStream, "tcp_stream"),
];

/// Transactions, one after the other, for as long as it gives `Ok`.
pub(super) trait Repeat {
    /// What came of them.
    type Found;

    /// Repeats a transaction.
    fn repeat(self, transaction: impl FnMut() -> Result<()>) -> Result<Self::Found>;
}

/// What one takes.
struct Typical;

impl Repeat for Typical {
    /// Ticks of the clock: of each set the median, and of these the smallest.
    /// Timers, RCU and new slabs come now and then and cost what they cost; they
    /// are not the path, which is why it is a median. And where two objects of
    /// one transaction happen to be the last of their slabs, each of it takes
    /// the allocator's slow path, until something moves them: there is one more
    /// object in the way of each set than in that of the one before.
    type Found = u64;

    fn repeat(self, mut transaction: impl FnMut() -> Result<()>) -> Result<u64> {
        for _ in 0..WARM_UP {
            transaction()?;
        }
        let mut shift = Shift::new()?;
        let mut medians = Vec::with_capacity(SETS);
        for _ in 0..SETS {
            let mut taken = Vec::with_capacity(SAMPLES);
            for _ in 0..SAMPLES {
                let start = clock::now();
                transaction()?;
                taken.push(clock::now() - start);
            }
            taken.sort_unstable();
            medians.push(taken[SAMPLES / 2]);
            shift.by_one()?;
        }
        medians.into_iter().min().context("no transaction was made")
    }
}

/// For ever, after saying that it is warm.
struct Spin<F>(F);

impl<F: FnOnce() -> Result<()>> Repeat for Spin<F> {
    type Found = Infallible;

    fn repeat(self, mut transaction: impl FnMut() -> Result<()>) -> Result<Infallible> {
        for _ in 0..WARM_UP {
            transaction()?;
        }
        self.0()?;
        loop {
            // Where one transaction ends and the next begins.
            nix::unistd::getppid();
            transaction()?;
        }
    }
}

impl Prepared {
    /// Ticks of the clock that a transaction takes: instructions where it
    /// counts those.
    pub(super) fn cost(&self, traffic: Traffic) -> Result<u64> {
        self.repeat(traffic, Typical)
    }

    /// Repeats a transaction until somebody ends it, with a call of getppid()
    /// between two; an error when one fails. Calls `warm` before.
    pub(super) fn spin(
        &self,
        traffic: Traffic,
        warm: impl FnOnce() -> Result<()>,
    ) -> Result<Infallible> {
        self.repeat(traffic, Spin(warm))
    }

    /// Sets traffic up and repeats its transaction.
    pub(super) fn repeat<R: Repeat>(&self, traffic: Traffic, how: R) -> Result<R::Found> {
        let far = self.far();
        let to = SocketAddr::new(dst_address(self.ip), PORT);
        match traffic {
            Traffic::UdpRr => {
                let (client, server) = self.datagrams(to)?;
                let mut byte = [0x55];
                how.repeat(|| {
                    client.send(&byte)?;
                    server.recv(&mut byte)?;
                    server.send(&byte)?;
                    client.recv(&mut byte)?;
                    Ok(())
                })
            }
            Traffic::Udp(size) => {
                let (client, server) = self.datagrams(to)?;
                let mut datagram = vec![0x55; size];
                how.repeat(|| {
                    client.send(&datagram)?;
                    server.recv(&mut datagram)?;
                    Ok(())
                })
            }
            Traffic::TcpRr => {
                let listener = far.enter(|| Ok(TcpListener::bind(to)?))?;
                let (mut client, mut server) = self.connect(&listener, to)?;
                let mut byte = [0x55];
                how.repeat(|| {
                    client.write_all(&byte)?;
                    server.read_exact(&mut byte)?;
                    server.write_all(&byte)?;
                    client.read_exact(&mut byte)?;
                    Ok(())
                })
            }
            Traffic::TcpStream => {
                let listener = far.enter(|| Ok(TcpListener::bind(to)?))?;
                let (mut client, mut server) = self.connect(&listener, to)?;
                let mut chunk = vec![0x55; 1 << 16];
                let mut transaction = || {
                    client.write_all(&chunk)?;
                    server.read_exact(&mut chunk)?;
                    Ok(())
                };
                self.is_in_super_packets(&mut transaction)?;
                how.repeat(transaction)
            }
            Traffic::TcpCrr => {
                let listener = far.enter(|| Ok(TcpListener::bind(to)?))?;
                let mut byte = [0x55];
                // To go in and out for each connection is no part of it.
                self.topology.src.enter(|| {
                    how.repeat(|| {
                        let (mut client, mut server) = connected(&listener, to)?;
                        client.write_all(&byte)?;
                        server.read_exact(&mut byte)?;
                        server.write_all(&byte)?;
                        client.read_exact(&mut byte)?;
                        // Ports must not run out: no TIME_WAIT, on either side, so
                        // that the client has to be the first to close.
                        setsockopt(&client, sockopt::Linger, &RESET)?;
                        drop(client);
                        drop(server);
                        Ok(())
                    })
                })
            }
        }
    }

    /// Fails unless the packets of a stream's transaction have more than one
    /// segment each, once its window is open.
    fn is_in_super_packets(&self, mut transaction: impl FnMut() -> Result<()>) -> Result<()> {
        for _ in 0..WARM_UP {
            transaction()?;
        }
        let sent = || self.topology.src.enter(|| Ok(link::counters("src")?.tx));
        let before = sent()?;
        transaction()?;
        let after = sent()?;
        has_super_packets(after.0 - before.0, after.1 - before.1)
    }

    /// Two sockets, each connected to the other.
    pub(super) fn datagrams(&self, to: SocketAddr) -> Result<(UdpSocket, UdpSocket)> {
        let server = self.far().enter(|| udp(to))?;
        let any = SocketAddr::new(src_address(self.ip), 0);
        let client = self.topology.src.enter(|| udp(any))?;
        client.connect(to)?;
        server.connect(client.local_addr()?)?;
        Ok((client, server))
    }

    /// A connection, both ends of it.
    pub(super) fn connect(
        &self,
        listener: &TcpListener,
        to: SocketAddr,
    ) -> Result<(TcpStream, TcpStream)> {
        self.topology.src.enter(|| connected(listener, to))
    }
}

/// A connection from this namespace, both ends of it.
fn connected(listener: &TcpListener, to: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((client, server))
}

/// Fails unless so many packets of so many bytes are larger on average than a
/// frame of one segment can be.
fn has_super_packets(packets: u64, bytes: u64) -> Result<()> {
    ensure!(
        packets > 0 && bytes > packets * FRAME,
        "a stream's {packets} packets have {bytes} bytes: these are no GSO super-packets"
    );
    Ok(())
}

/// The largest frame of one segment: the MTU of a pair and an Ethernet header. Bytes.
const FRAME: u64 = 1514;

const RESET: libc::linger = libc::linger {
    l_onoff: 1,
    l_linger: 0,
};

fn udp(at: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(at).with_context(|| format!("binding to {at}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a stream in packets of one segment is noticed, and one of
    /// which no packet was counted.
    #[test]
    fn streams_of_small_packets_are_refused() {
        assert!(has_super_packets(2, 65_536 + 2 * 66).is_ok());
        assert!(has_super_packets(46, 65_536 + 46 * 66).is_err());
        assert!(has_super_packets(0, 65_536).is_err());
    }
}
