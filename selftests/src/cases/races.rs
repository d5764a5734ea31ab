// SPDX-License-Identifier: GPL-2.0-only
//! Taking things away while packets go through them.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use protocol::reason;

use super::Case;
use crate::{
    bpf::{Filter, Hook, Redirect},
    fail::{Verdict, failed, patience},
    link::{self, End, Pair},
    netns::Netns,
    probe::{self, PORT, Receiver},
    topology::{Ip, MAC_DST, MAC_DST_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"the probe after the storm";
const ROUNDS: u32 = 4;
/// Packets that are to come before something happens, and after it.
const SOME: u64 = 20;
const PAUSE: Duration = Duration::from_millis(10);

type Work = fn(&mut Scene) -> Result<()>;

const WORKS: [(&str, &str, Work); 6] = [
    (
        "program_taken_off",
        "taking the program off and putting it on again",
        program,
    ),
    ("peer_down", "taking the peer down and up again", peer_down),
    (
        "pair_deleted",
        "deleting the pair, and making it anew,",
        pair,
    ),
    ("netns_deleted", "deleting the container's namespace", netns),
    (
        "program_replaced",
        "replacing the program by another",
        replaced,
    ),
    (
        "peer_moved",
        "moving the peer to another namespace, and back,",
        moved,
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, hook, way) in [
        (Pair::Veth, Hook::Clsact, ""),
        (Pair::Netkit, Hook::Clsact, "_netkit"),
        (Pair::Veth, Hook::Tcx, "_tcx"),
    ] {
        for (name, what, work) in WORKS {
            let case = Case::feature(
                format!("{name}{way}_under_load"),
                &["R15"],
                format!("Verify that {what} under load is safe ({pair:?}, {hook:?})"),
                move || under_load(pair, hook, work),
            );
            cases.push(if hook == Hook::Tcx {
                case.needs_netkit()
            } else {
                case.over(pair)
            });
        }
    }
    cases
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

/// What the load goes through.
struct Scene {
    pair: Pair,
    t: Topology,
    filter: Filter,
    elsewhere: Netns,
}

/// Does `work` a few times with packets on their way, then has a probe arrive.
fn under_load(pair: Pair, hook: Hook, work: Work) -> Verdict {
    let t = Topology::new(pair)?;
    let redirect = Redirect::to("peer_probe", t.dst_fwd)?;
    let filter = redirect.by(hook, &t.fwd, t.src_fwd)?;
    let mut scene = Scene {
        pair,
        t,
        filter: filter.context("the program cannot be taken off again")?,
        elsewhere: Netns::new("ns_elsewhere")?,
    };
    let load = Load::start(&scene.t)?;
    for _ in 0..ROUNDS {
        comes_through(&redirect, &load)?;
        work(&mut scene)?;
        comes_through(&redirect, &load)?;
    }
    drop(load);
    let receiver = Receiver::new(&scene.t.dst, Ip::V4)?;
    probe::send(&scene.t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)
}

/// Waits until the program has seen packets that it had not seen before.
fn comes_through(redirect: &Redirect, load: &Load) -> Verdict {
    let (start, before) = (Instant::now(), redirect.hits().1);
    while redirect.hits().1 < before + SOME {
        if start.elapsed() > patience() {
            return Err(failed(
                reason::WRONG_COUNT,
                format!(
                    "ns_fwd, src_fwd: the program saw {} packets since {before}, of {} sent by now",
                    redirect.hits().1 - before,
                    load.sent()
                ),
            ));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn program(scene: &mut Scene) -> Result<()> {
    scene.t.fwd.enter(|| {
        scene.filter.detach()?;
        thread::sleep(PAUSE);
        scene.filter.attach()
    })
}

fn replaced(scene: &mut Scene) -> Result<()> {
    let other = match Redirect::to("peer", scene.t.dst_fwd) {
        Ok(other) => other,
        Err(stop) => bail!("loading the other program: {stop:?}"),
    };
    scene.t.fwd.enter(|| {
        other.in_place_of(&mut scene.filter)?;
        thread::sleep(PAUSE);
        scene.filter.attach()
    })
}

fn moved(scene: &mut Scene) -> Result<()> {
    let Scene { t, elsewhere, .. } = scene;
    t.dst.enter(|| link::move_to(t.dst_dev, elsewhere))?;
    elsewhere.enter(|| {
        link::set_up(t.dst_dev, true)?;
        thread::sleep(PAUSE);
        link::move_to(t.dst_dev, &t.dst)
    })?;
    t.dst.enter(|| {
        link::set_up(t.dst_dev, true)?;
        link::add_address(t.dst_dev, dst_address(Ip::V4))
    })
}

fn peer_down(scene: &mut Scene) -> Result<()> {
    let t = &scene.t;
    t.dst.enter(|| {
        link::set_up(t.dst_dev, false)?;
        thread::sleep(PAUSE);
        link::set_up(t.dst_dev, true)
    })
}

fn pair(scene: &mut Scene) -> Result<()> {
    let t = &scene.t;
    t.fwd.enter(|| link::delete(t.dst_fwd))?;
    container(scene.pair, t)
}

fn netns(scene: &mut Scene) -> Result<()> {
    let t = &mut scene.t;
    // The old one goes with its last descriptor, in the kernel's own time, and
    // takes both devices along.
    t.dst = Netns::new("ns_dst")?;
    t.fwd.enter(|| {
        let start = Instant::now();
        while link::index("dst_fwd").is_ok() {
            if start.elapsed() > patience() {
                bail!(
                    "dst_fwd is still there {:?} after its peer's namespace was let go",
                    start.elapsed()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    })?;
    container(scene.pair, t)
}

/// A new pair with the indices of the one that is gone.
pub(super) fn container(pair: Pair, t: &Topology) -> Result<()> {
    let end = |name, mac, index| End {
        name,
        mac,
        queues: 1,
        index,
    };
    t.fwd.enter(|| {
        link::add_pair(
            pair,
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
