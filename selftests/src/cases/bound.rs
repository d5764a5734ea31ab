// SPDX-License-Identifier: GPL-2.0-only
//! A packet cannot be kept going round for ever.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use protocol::{Arm, Expect, reason};

use super::{Case, WAYS};
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes, failed},
    link::{self, Pair},
    probe::{self, Receiver},
    scene::Kmsg,
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology, dst_address, src_address},
};

const PROBE: &[u8] = b"a probe that goes round";

/// How long the kernel may say nothing of it: its limit, and some more.
const SILENCE: Duration = Duration::from_secs(7);

/// How often a packet may be switched: include/uapi/linux/bpf.h says so.
const LIMIT: u32 = 8;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, ip, way) in WAYS {
        let second = Case::feature(
            format!("second_hop_is_delivered{way}"),
            &["carry"],
            format!(
                "Verify that a container's own program may redirect a packet on, and back, over {pair:?} and IP{ip:?}"
            ),
            move || chain(pair, ip, 2),
        );
        let limit = Case::feature(
            format!("chain_at_the_limit_is_delivered{way}"),
            &["R10"],
            format!(
                "Verify that a packet that is switched as often as is allowed is delivered, over {pair:?} and IP{ip:?}"
            ),
            move || chain(pair, ip, LIMIT),
        );
        cases.extend([second, limit].map(|case| case.over(pair)));
    }
    // Each takes one more guest on kernels that never come back from it: both
    // differences at once.
    for (pair, ip, way) in [WAYS[0], WAYS[3]] {
        let case = Case::feature(
            format!("loop_is_bounded{way}"),
            &["R10"],
            format!(
                "Verify that a packet that two programs redirect to each other's side is dropped, the CPU comes back, and the log says so now and then, over {pair:?} and IP{ip:?}"
            ),
            move || endless(pair, ip),
        );
        cases.push(hangs(case).over(pair));
    }
    let mut many = hangs(Case::feature(
        "loop_does_not_leak",
        &["R10"],
        "Verify that none of 100,000 packets that are caught in a loop stays in memory",
        many,
    ));
    many.deadline_ms = 10_000;
    cases.push(many);
    cases
}

fn hangs(case: Case) -> Case {
    case.on(
        Some(Arm::Upstream),
        &[],
        Expect::Hang,
        "upstream does not bound the rounds: the CPU never comes back",
    )
}

/// Both ends of one pair send a packet to and fro. The device in ns_dst is the
/// peer of dst_fwd, and dst_fwd that of the device.
fn bouncing(
    t: &Topology,
    program: &'static str,
    hops: u32,
) -> Result<[Redirect; 3], crate::fail::Stop> {
    let load = |target| {
        Redirect::load(program, move |r| {
            r.target = target;
            r.chain = hops;
        })
    };
    let programs = [load(t.dst_fwd)?, load(t.dst_dev)?, load(t.dst_fwd)?];
    programs[0].at_ingress(&t.fwd, t.src_fwd)?;
    programs[1].at_ingress(&t.dst, t.dst_dev)?;
    programs[2].at_ingress(&t.fwd, t.dst_fwd)?;
    Ok(programs)
}

fn chain(pair: Pair, ip: Ip, hops: u32) -> Verdict {
    let t = Topology::new(pair)?;
    // An odd number of switches ends in ns_dst, an even one in ns_fwd, where
    // the address is added so that it is delivered as well.
    let ends_in = if hops % 2 == 1 { &t.dst } else { &t.fwd };
    if hops.is_multiple_of(2) {
        t.fwd.enter(|| {
            link::add_address(t.dst_fwd, dst_address(ip))?;
            link::add_route(t.dst_fwd, src_address(ip))
        })?;
    }
    let receiver = Receiver::new(ends_in, ip)?;
    let programs = bouncing(&t, "peer_chain", hops)?;
    probe::send(&t, ip, PROBE)?;
    receiver.must_get(PROBE).map_err(|e| {
        e.with(format!(
            "programs ran: {:?}",
            programs.each_ref().map(Redirect::hits)
        ))
    })?;
    // One run each for every switch, and one that lets it pass.
    becomes(
        reason::WRONG_COUNT,
        "runs of the programs",
        || programs.iter().map(|p| p.hits().1).sum::<u64>(),
        u64::from(hops) + 1,
    )
}

/// The log is looked at as well: in a case of its own it would take one more
/// guest on kernels that never come back from here.
fn endless(pair: Pair, ip: Ip) -> Verdict {
    let t = Topology::new(pair)?;
    let programs = bouncing(&t, "peer_probe", 0)?;
    let mut log = Kmsg::from_now().context("/dev/kmsg cannot be read")?;
    let rounds = 1000;
    for _ in 0..rounds {
        probe::send(&t, ip, PROBE)?;
    }
    // Every switch that is allowed, and the one that is not.
    becomes(
        reason::WRONG_COUNT,
        "runs of the programs",
        || programs.iter().map(|p| p.hits().1).sum::<u64>(),
        rounds * (u64::from(LIMIT) + 1),
    )?;
    told(&t, ip, &mut log)
}

/// The log names an end of the pair, and not for each packet. The kernel's limit
/// is ten messages in five seconds for all of the network code: cases before this
/// one may have used them up.
fn told(t: &Topology, ip: Ip, log: &mut Kmsg) -> Verdict {
    const MOST: usize = 50;
    let start = Instant::now();
    let messages = loop {
        let mut lines = log.all();
        lines.retain(|l| l.contains("redirect_peer loop on"));
        if !lines.is_empty() || start.elapsed() > SILENCE {
            break lines;
        }
        thread::sleep(Duration::from_millis(100));
        probe::send(t, ip, PROBE)?;
    };
    let names_an_end = |l: &String| l.contains(" on dst, ") || l.contains(" on dst_fwd, ");
    if messages.is_empty() || messages.len() > MOST || !messages.iter().all(names_an_end) {
        return Err(failed(
            reason::WRONG_COUNT,
            format!(
                "the kernel log: expected 1 to {MOST} messages that name dst or dst_fwd, got {}, the first: {:?}",
                messages.len(),
                messages.first()
            ),
        ));
    }
    Ok(())
}

/// What they would take is a hundred times what may be left of any case.
fn many() -> Verdict {
    const FRAMES: u64 = 100_000;
    let t = Topology::quiet(Pair::Veth)?;
    let programs = bouncing(&t, "peer_probe", 0)?;
    let frame = probe::frame(
        MAC_SRC_FWD,
        MAC_SRC,
        libc::ETH_P_IP as u16,
        &probe::udp_packet(PROBE),
    );
    probe::Sender::new(&t.src, t.src_dev)?.send_each(&frame, FRAMES)?;
    becomes(
        reason::WRONG_COUNT,
        "runs of the programs",
        || programs.iter().map(|p| p.hits().1).sum::<u64>(),
        FRAMES * (u64::from(LIMIT) + 1),
    )
}
