// SPDX-License-Identifier: GPL-2.0-only
//! Flows: a client and a server, each of which may belong to a thread.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use anyhow::{Context, Result, bail};

use crate::topology::dst_address;

use super::{traffic::PORT, way::Prepared};

/// What goes to and fro, and what ends it.
const BYTE: u8 = 0x55;
const LAST: u8 = 0xaa;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Traffic {
    /// A byte there and a byte back on one connection.
    Tcp,
    /// The same in datagrams.
    Udp,
}

/// By the name in a figure.
pub(super) fn traffic(name: &str) -> Result<Traffic> {
    match name {
        "tcp_rr" => Ok(Traffic::Tcp),
        "udp_rr" => Ok(Traffic::Udp),
        _ => bail!("`{name}` is neither tcp_rr nor udp_rr"),
    }
}

/// One end of a flow.
pub(super) trait End: Send {
    /// Sends a byte.
    fn give(&mut self, byte: u8) -> Result<()>;
    /// Waits for a byte.
    fn take(&mut self) -> Result<u8>;
}

impl End for TcpStream {
    fn give(&mut self, byte: u8) -> Result<()> {
        self.write_all(&[byte]).context("sending")
    }

    fn take(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.read_exact(&mut byte).context("waiting for a byte")?;
        Ok(byte[0])
    }
}

impl End for UdpSocket {
    fn give(&mut self, byte: u8) -> Result<()> {
        self.send(&[byte]).context("sending")?;
        Ok(())
    }

    fn take(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.recv(&mut byte).context("waiting for a datagram")?;
        Ok(byte[0])
    }
}

/// Both ends.
pub(super) struct Flow {
    pub(super) client: Box<dyn End>,
    pub(super) server: Box<dyn End>,
}

/// A byte there, a byte back.
pub(super) fn transact(client: &mut dyn End) -> Result<()> {
    client.give(BYTE)?;
    client.take()?;
    Ok(())
}

/// Tells the server that there is no more.
pub(super) fn end(client: &mut dyn End) -> Result<()> {
    client.give(LAST)
}

/// Answers until it is told that there is no more; calls `after` after each answer.
pub(super) fn serve(server: &mut dyn End, after: impl Fn()) -> Result<()> {
    while server.take()? != LAST {
        server.give(BYTE)?;
        after();
    }
    Ok(())
}

impl Prepared {
    /// So many flows.
    pub(super) fn flows(&self, traffic: Traffic, count: usize) -> Result<Vec<Flow>> {
        let address = dst_address(self.ip);
        match traffic {
            Traffic::Tcp => {
                let to = SocketAddr::new(address, PORT);
                let listener = self.far().enter(|| Ok(TcpListener::bind(to)?))?;
                (0..count)
                    .map(|_| {
                        let (client, server) = self.connect(&listener, to)?;
                        Ok(Flow {
                            client: Box::new(client),
                            server: Box::new(server),
                        })
                    })
                    .collect()
            }
            Traffic::Udp => (PORT..)
                .take(count)
                .map(|port| {
                    let (client, server) = self.datagrams(SocketAddr::new(address, port))?;
                    Ok(Flow {
                        client: Box::new(client),
                        server: Box::new(server),
                    })
                })
                .collect(),
        }
    }
}
