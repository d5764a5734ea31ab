// SPDX-License-Identifier: GPL-2.0-only
//! Taking things away while packets go through them.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use protocol::reason;

use super::Case;
use crate::{
    bpf::{Filter, Redirect},
    fail::{Verdict, failed},
    link::{self, End, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver},
    topology::{Ip, MAC_DST, MAC_DST_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"the probe after the storm";
const ROUNDS: u32 = 4;
const ROUND: Duration = Duration::from_millis(10);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "program_taken_off_under_load",
            &["R15"],
            "Verify that taking the program off and putting it on again under load is safe",
            program,
        ),
        Case::feature(
            "peer_down_under_load",
            &["R15"],
            "Verify that taking the peer down and up again under load is safe",
            peer_down,
        ),
        Case::feature(
            "pair_deleted_under_load",
            &["R15"],
            "Verify that deleting the pair, and making it anew, under load is safe",
            pair,
        ),
        Case::feature(
            "netns_deleted_under_load",
            &["R15"],
            "Verify that deleting the container's namespace under load is safe",
            netns,
        ),
        Case::feature(
            "program_replaced_under_load",
            &["R15"],
            "Verify that replacing the program by another under load is safe",
            replaced,
        ),
        Case::feature(
            "peer_moved_under_load",
            &["R15"],
            "Verify that moving the peer to another namespace, and back, under load is safe",
            moved,
        ),
    ]
}

/// Sends datagrams from ns_src as fast as one thread can, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(t: &Topology) -> Result<Self> {
        let socket = t
            .src
            .enter(|| UdpSocket::bind(("0.0.0.0", 0)).context("binding a UDP socket"))?;
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let to = SocketAddr::new(dst_address(Ip::V4), PORT);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // ICMP errors come back as errors of the socket, as they should.
                let _ = socket.send_to(&[0; 64], to);
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does `work` a few times with packets on their way, then has a probe arrive.
fn under_load(mut work: impl FnMut(&mut Topology, &mut Filter) -> Result<()>) -> Verdict {
    let mut t = Topology::new(Pair::Veth)?;
    let redirect = Redirect::to("peer_probe", t.dst_fwd)?;
    let mut filter = redirect.at_ingress(&t.fwd, t.src_fwd)?;
    let load = Load::start(&t)?;
    for _ in 0..ROUNDS {
        let before = redirect.hits().1;
        thread::sleep(ROUND);
        work(&mut t, &mut filter)?;
        thread::sleep(ROUND);
        if redirect.hits().1 == before {
            return Err(failed(
                reason::WRONG_COUNT,
                format!(
                    "ns_fwd, src_fwd: the program saw no packet meanwhile, of {} sent",
                    load.sent()
                ),
            ));
        }
    }
    drop(load);
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)
}

fn program() -> Verdict {
    under_load(|t, filter| {
        t.fwd.enter(|| {
            filter.detach()?;
            thread::sleep(ROUND);
            filter.attach()
        })
    })
}

fn replaced() -> Verdict {
    under_load(|t, filter| {
        let other = match Redirect::to("peer", t.dst_fwd) {
            Ok(other) => other,
            Err(stop) => bail!("loading the other program: {stop:?}"),
        };
        other.at_ingress(&t.fwd, t.src_fwd)?;
        thread::sleep(ROUND);
        t.fwd.enter(|| filter.attach())
    })
}

fn moved() -> Verdict {
    let elsewhere = Netns::new("ns_elsewhere")?;
    under_load(|t, _| {
        t.dst.enter(|| link::move_to(t.dst_dev, &elsewhere))?;
        elsewhere.enter(|| {
            link::set_up(t.dst_dev, true)?;
            thread::sleep(ROUND);
            link::move_to(t.dst_dev, &t.dst)
        })?;
        t.dst.enter(|| {
            link::set_up(t.dst_dev, true)?;
            link::add_address(t.dst_dev, dst_address(Ip::V4))
        })
    })
}

fn peer_down() -> Verdict {
    under_load(|t, _| {
        t.dst.enter(|| {
            link::set_up(t.dst_dev, false)?;
            thread::sleep(ROUND);
            link::set_up(t.dst_dev, true)
        })
    })
}

fn pair() -> Verdict {
    under_load(|t, _| {
        t.fwd.enter(|| link::delete(t.dst_fwd))?;
        container(t)
    })
}

fn netns() -> Verdict {
    under_load(|t, _| {
        // The old one goes with its last descriptor, in the kernel's own time,
        // and takes both devices along.
        t.dst = Netns::new("ns_dst")?;
        t.fwd.enter(|| {
            for _ in 0..500 {
                if link::index("dst_fwd").is_err() {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(2));
            }
            bail!("dst_fwd is still there a second after its peer's namespace was let go")
        })?;
        container(t)
    })
}

/// A new pair with the indices of the one that is gone.
pub(super) fn container(t: &Topology) -> Result<()> {
    let end = |name, mac, index| End {
        name,
        mac,
        queues: 1,
        index,
    };
    t.fwd.enter(|| {
        link::add_pair(
            Pair::Veth,
            &end("dst_fwd", MAC_DST_FWD, t.dst_fwd),
            &end("dst", MAC_DST, t.dst_dev),
            &t.dst,
        )?;
        link::set_up(t.dst_fwd, true)
    })?;
    t.dst.enter(|| {
        link::set_up(t.dst_dev, true)?;
        link::add_address(t.dst_dev, dst_address(Ip::V4))
    })
}
