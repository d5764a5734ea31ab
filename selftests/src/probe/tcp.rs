// SPDX-License-Identifier: GPL-2.0-only
//! TCP, which notices each packet that is lost or changed.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Context;
use protocol::reason;

use super::{PORT, any, arrive};
use crate::{
    fail::{Verdict, failed},
    netns::Netns,
    scene,
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
                format!("{}: serving TCP on {to}: {e}", of(&t.dst)),
            )
        }),
        Ok(_) => Err(failed(
            reason::WRONG_VALUE,
            format!(
                "{}: other bytes came back over TCP from {to} than were sent",
                of(&t.src)
            ),
        )),
        Err(e) => Err(failed(
            reason::NOT_DELIVERED,
            format!(
                "{}: expected {} bytes back over TCP from {to}, got: {e:#}; {}: {served:?}",
                of(&t.src),
                sent.len(),
                of(&t.dst)
            ),
        )),
    }
}

/// A namespace and its devices, for a message.
fn of(ns: &Netns) -> String {
    format!("{}, {}", ns.name, scene::names(ns))
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
                of(&t.dst),
                of(&t.src)
            ),
        )),
    }
}
