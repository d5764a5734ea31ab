// SPDX-License-Identifier: GPL-2.0-only
//! `bench`: what a transaction costs on each way into a container.
//!
//! One thread holds both ends, so that nothing is scheduled in between: with
//! the clock counting instructions, a figure is the cost of the system calls
//! and of the path, and comes out the same in every boot. It is no latency:
//! waiting for a second softirq pass under load does not show here.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    sys::socket::{setsockopt, sockopt},
    time::{ClockId, clock_gettime},
};
use protocol::{Event, VERSION, reason};

use crate::{
    bpf::{self, Redirect},
    build_id,
    fail::Stop,
    link::{self, Pair},
    netns::sysctl,
    report::Report,
    topology::{Ip, MAC_DST, MAC_SRC, MAC_SRC_FWD, Topology, dst_address, src_address},
};

/// Where both ends meet.
const PORT: u16 = 9155;

/// Transactions whose time is taken together: the clock's own steps do not show.
const BATCH: u32 = 40;

/// Batches. The cheapest counts: timers and other work of the kernel only add.
const BATCHES: usize = 60;

/// A way that packets take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// No container: the far end is on the host. The limit.
    Host,
    /// The host routes.
    Stack,
    /// bpf_redirect() both ways.
    Redirect,
    /// bpf_redirect_neigh() both ways.
    Neigh,
    /// bpf_redirect_peer() into the container, bpf_redirect() out of it.
    Peer,
    /// bpf_redirect() between two containers of one host.
    LocalRedirect,
    /// bpf_redirect_peer() between two containers of one host.
    LocalPeer,
}

const WAYS: [(Way, &str); 7] = [
    (Way::Host, "host"),
    (Way::Stack, "stack"),
    (Way::Redirect, "redirect"),
    (Way::Neigh, "redirect_neigh"),
    (Way::Peer, "redirect_peer"),
    (Way::LocalRedirect, "local.redirect"),
    (Way::LocalPeer, "local.redirect_peer"),
];

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum Traffic {
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

const TRAFFIC: [(Traffic, &str); 6] = [
    (Traffic::TcpRr, "tcp_rr"),
    (Traffic::TcpCrr, "tcp_crr"),
    (Traffic::UdpRr, "udp_rr"),
    (Traffic::Udp(1), "udp_1"),
    (Traffic::Udp(1400), "udp_1400"),
    (Traffic::TcpStream, "tcp_stream"),
];

/// Runs everything, and reports each figure as `PAIR.TRAFFIC.IP.WAY`.
pub(crate) fn bench(port: Option<&str>) -> Result<ExitCode> {
    let mut report = match port {
        Some(port) => Report::to_port(port)?,
        None => Report::to_people(),
    };
    bpf::keep_log();
    let kernel = nix::sys::utsname::uname()?
        .release()
        .to_string_lossy()
        .into_owned();
    report.send(Event::Hello {
        protocol: VERSION,
        kernel,
        build_id: build_id::running(),
        cases: Vec::new(),
    })?;
    let pairs: &[(Pair, &str)] = if crate::cases::has_netkit()? {
        &[(Pair::Veth, "veth"), (Pair::Netkit, "netkit")]
    } else {
        &[(Pair::Veth, "veth")]
    };
    for &(pair, pair_name) in pairs {
        for (ip, ip_name) in [(Ip::V4, "v4"), (Ip::V6, "v6")] {
            for (way, way_name) in WAYS {
                let path = match Prepared::new(pair, ip, way) {
                    Ok(path) => path,
                    Err(Stop::Failed(f)) if f.reason == reason::HELPER_UNKNOWN => continue,
                    Err(stop) => return Err(anyhow::anyhow!("{way_name}: {stop:?}")),
                };
                for (traffic, traffic_name) in TRAFFIC {
                    let name = format!("{pair_name}.{traffic_name}.{ip_name}.{way_name}");
                    let value = path.cost(traffic).with_context(|| name.clone())?;
                    report.send(Event::Metric {
                        name,
                        value,
                        unit: "ns".into(),
                    })?;
                }
            }
        }
    }
    report.send(Event::Done { cases: 0 })?;
    Ok(ExitCode::SUCCESS)
}

/// A way that is ready for traffic.
struct Prepared {
    topology: Topology,
    ip: Ip,
    way: Way,
    _programs: Vec<Redirect>,
}

impl Prepared {
    fn new(pair: Pair, ip: Ip, way: Way) -> Result<Self, Stop> {
        let t = Topology::behind_veth(pair, ip)?;
        // Where the host's own tables send things, for the ways that ask them.
        t.fwd.enter(|| {
            link::add_neighbour(t.src_fwd, src_address(ip), MAC_SRC)?;
            link::add_route(t.src_fwd, src_address(ip))?;
            if way == Way::Host {
                link::add_address(t.src_fwd, dst_address(ip))
            } else {
                link::add_neighbour(t.dst_fwd, dst_address(ip), MAC_DST)?;
                link::add_route(t.dst_fwd, dst_address(ip))
            }
        })?;
        let (there, back) = match way {
            Way::Host => (None, None),
            Way::Stack => {
                t.fwd.enter(|| match ip {
                    Ip::V4 => sysctl("ipv4/ip_forward", "1"),
                    Ip::V6 => sysctl("ipv6/conf/all/forwarding", "1"),
                })?;
                (None, None)
            }
            Way::Redirect | Way::LocalRedirect => (Some("lean_redirect"), Some("lean_redirect")),
            Way::Neigh => (Some("lean_neigh"), Some("lean_neigh")),
            Way::Peer => (Some("lean_peer"), Some("lean_redirect")),
            Way::LocalPeer => (Some("lean_peer"), Some("lean_peer")),
        };
        // What bpf_redirect() transmits is received as it is: it must be for the
        // device that receives it. Into the others frames come as to a host.
        if back == Some("lean_redirect") {
            t.address_frames_to_the_end(ip)?;
        }
        if way == Way::Peer {
            t.src
                .enter(|| link::add_neighbour(t.src_dev, dst_address(ip), MAC_SRC_FWD))?;
        }
        let mut programs = Vec::new();
        for (program, from, to) in [(there, t.src_fwd, t.dst_fwd), (back, t.dst_fwd, t.src_fwd)] {
            if let Some(program) = program {
                let program = Redirect::to(program, to)?;
                program.at_ingress(&t.fwd, from)?;
                programs.push(program);
            }
        }
        Ok(Self {
            topology: t,
            ip,
            way,
            _programs: programs,
        })
    }

    /// Time of a transaction, guest nanoseconds: instructions where the
    /// clock counts those.
    fn cost(&self, traffic: Traffic) -> Result<f64> {
        let far = if self.way == Way::Host {
            &self.topology.fwd
        } else {
            &self.topology.dst
        };
        let to = SocketAddr::new(dst_address(self.ip), PORT);
        match traffic {
            Traffic::UdpRr | Traffic::Udp(_) => {
                let server = far.enter(|| udp(to))?;
                let any: IpAddr = src_address(self.ip);
                let client = self.topology.src.enter(|| udp(SocketAddr::new(any, 0)))?;
                client.connect(to)?;
                server.connect(client.local_addr()?)?;
                let mut buffer = [0; 2048];
                let (size, back) = match traffic {
                    Traffic::Udp(size) => (size, false),
                    _ => (1, true),
                };
                let payload = vec![0x55; size];
                cheapest(|| {
                    client.send(&payload)?;
                    server.recv(&mut buffer)?;
                    if back {
                        server.send(&payload)?;
                        client.recv(&mut buffer)?;
                    }
                    Ok(())
                })
            }
            Traffic::TcpRr | Traffic::TcpStream => {
                let listener = far.enter(|| Ok(TcpListener::bind(to)?))?;
                let (mut client, mut server) = self.connect(&listener, to)?;
                let size = if matches!(traffic, Traffic::TcpRr) {
                    1
                } else {
                    1 << 16
                };
                let payload = vec![0x55; size];
                let mut buffer = vec![0; size];
                cheapest(|| {
                    client.write_all(&payload)?;
                    server.read_exact(&mut buffer)?;
                    if size == 1 {
                        server.write_all(&payload)?;
                        client.read_exact(&mut buffer)?;
                    }
                    Ok(())
                })
            }
            Traffic::TcpCrr => {
                let listener = far.enter(|| Ok(TcpListener::bind(to)?))?;
                let mut byte = [0];
                cheapest(|| {
                    let (mut client, mut server) = self.connect(&listener, to)?;
                    client.write_all(&byte)?;
                    server.read_exact(&mut byte)?;
                    server.write_all(&byte)?;
                    client.read_exact(&mut byte)?;
                    // Ports must not run out: no TIME_WAIT.
                    setsockopt(&client, sockopt::Linger, &RESET)?;
                    Ok(())
                })
            }
        }
    }

    fn connect(&self, listener: &TcpListener, to: SocketAddr) -> Result<(TcpStream, TcpStream)> {
        let client = self
            .topology
            .src
            .enter(|| TcpStream::connect(to).with_context(|| format!("connecting to {to}")))?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(PATIENCE))?;
        }
        Ok((client, server))
    }
}

const RESET: libc::linger = libc::linger {
    l_onoff: 1,
    l_linger: 0,
};

/// A packet that does not arrive ends the bench with an error.
const PATIENCE: Duration = Duration::from_secs(2);

fn udp(at: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(at).with_context(|| format!("binding to {at}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The time that one call takes in the cheapest batch, nanoseconds.
fn cheapest(mut transaction: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..BATCH {
        transaction()?;
    }
    let mut least = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = now()?;
        for _ in 0..BATCH {
            transaction()?;
        }
        least = least.min((now()? - start).as_nanos() as f64 / f64::from(BATCH));
    }
    Ok(least)
}

fn now() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}
