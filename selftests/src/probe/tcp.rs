// SPDX-License-Identifier: GPL-2.0-only
//! TCP, which notices each packet that is lost or changed.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, socket, sockopt,
    },
};
use protocol::reason;

use super::{PORT, any, arrive, place};
use crate::{
    fail::{Verdict, failed},
    netns::Netns,
    topology::{Ip, Topology, dst_address},
};

/// A TCP connection from ns_src to ns_dst that carries data both ways.
pub(crate) fn tcp(t: &Topology, ip: Ip) -> Verdict {
    tcp_to(t, dst_address(ip))
}

/// The same to an address of one's own choice in ns_dst.
pub(crate) fn tcp_to(t: &Topology, to: IpAddr) -> Verdict {
    let ip = if to.is_ipv4() { Ip::V4 } else { Ip::V6 };
    let listener = t
        .dst
        .enter(|| TcpListener::bind((any(ip), PORT)).context("listening"))?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = accept_within(&listener, arrive())?;
        stream.set_read_timeout(Some(arrive()))?;
        let mut buffer = [0; 4096];
        stream.read_exact(&mut buffer)?;
        stream.write_all(&buffer)
    });
    let sent: Vec<u8> = (0..4096).map(|i| i as u8).collect();
    let got = t.src.enter(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, PORT), arrive())
            .context("connecting")?;
        stream.set_read_timeout(Some(arrive()))?;
        stream.write_all(&sent).context("sending")?;
        let mut buffer = vec![0; sent.len()];
        stream.read_exact(&mut buffer).context("receiving")?;
        Ok(buffer)
    });
    let served = server
        .join()
        .map_err(|_| failed(reason::PANIC, "the server panicked"))?;
    match got {
        Ok(got) if got == sent => served.map_err(|e| {
            failed(
                reason::NOT_DELIVERED,
                format!("{}: serving TCP on {to}: {e}", place(&t.dst)),
            )
        }),
        Ok(_) => Err(failed(
            reason::WRONG_VALUE,
            format!(
                "{}: other bytes came back over TCP from {to} than were sent",
                place(&t.src)
            ),
        )),
        Err(e) => Err(failed(
            reason::NOT_DELIVERED,
            format!(
                "{}: expected {} bytes back over TCP from {to}, got: {e:#}; {}: {served:?}",
                place(&t.src),
                sent.len(),
                place(&t.dst)
            ),
        )),
    }
}

/// A listening socket of a namespace that nothing waits at.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Opens one on the probes' port.
    pub(crate) fn new(ns: &Netns, ip: Ip) -> Result<Self> {
        let listener = ns.enter(|| TcpListener::bind((any(ip), PORT)).context("listening"))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// A connection that is there.
    pub(crate) fn accepted(&self) -> Result<Option<TcpStream>> {
        match self.0.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e).context("accepting a connection"),
        }
    }
}

/// Begins to connect, and does not wait for an answer. What comes of it is over
/// when it is closed: a socket that waits for its last acknowledgement keeps its
/// namespace.
pub(crate) fn connect(from: &Netns, to: SocketAddr) -> Result<OwnedFd> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    from.enter(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Stream, flags, None).context("opening a TCP socket")?;
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&fd, sockopt::Linger, &at_once).context("setting SO_LINGER")?;
        match nix::sys::socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
            Err(e) => Err(e).with_context(|| format!("connecting to {to}")),
        }
    })
}

fn accept_within(
    listener: &TcpListener,
    wait: Duration,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let start = std::time::Instant::now();
    loop {
        match listener.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < wait => {
                thread::sleep(Duration::from_millis(2));
            }
            Ok((stream, from)) => {
                stream.set_nonblocking(false)?;
                return Ok((stream, from));
            }
            Err(e) => return Err(e),
        }
    }
}

/// So many bytes from ns_src to ns_dst as fast as TCP sends them.
pub(crate) fn bulk(t: &Topology, length: usize) -> Verdict {
    let listener = t
        .dst
        .enter(|| TcpListener::bind((any(Ip::V4), PORT)).context("listening"))?;
    let server = thread::spawn(move || -> std::io::Result<usize> {
        let (mut stream, _) = accept_within(&listener, arrive())?;
        stream.set_read_timeout(Some(arrive()))?;
        let mut buffer = vec![0; 1 << 16];
        let mut got = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(got),
                more => got += more,
            }
        }
    });
    let sent = t.src.enter(|| {
        let to = SocketAddr::new(dst_address(Ip::V4), PORT);
        let mut stream = TcpStream::connect_timeout(&to, arrive()).context("connecting")?;
        stream.set_write_timeout(Some(arrive()))?;
        stream.write_all(&vec![5; length]).context("sending")
    });
    let got = server
        .join()
        .map_err(|_| failed(reason::PANIC, "the server panicked"))?;
    match (sent, got) {
        (Ok(()), Ok(got)) if got == length => Ok(()),
        (sent, got) => Err(failed(
            reason::NOT_DELIVERED,
            format!(
                "{}: expected {length} bytes over TCP, got {got:?}; {}: {sent:?}",
                place(&t.dst),
                place(&t.src)
            ),
        )),
    }
}
