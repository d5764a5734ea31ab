// SPDX-License-Identifier: GPL-2.0-only
//! Requests and verdicts that do not belong together.

use protocol::{Arm, Expect, reason};

use super::Case;
use crate::{
    bpf::Redirect,
    fail::{Verdict, becomes},
    link::{self, End, Pair},
    netns,
    probe::{self, Receiver},
    topology::{Ip, MAC_SRC, MAC_SRC_FWD, Topology, dst_address},
};

const PROBE: &[u8] = b"a probe that nobody asked to redirect";
const LAST: &[u8] = b"the one behind it, which is redirected";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::feature(
            "request_not_carried_out_is_gone",
            &["R12"],
            "Verify that a request of a program that then returns TC_ACT_OK does nothing",
            unused,
        ),
        Case::feature(
            "stale_request_is_not_used_by_lwt",
            &["R12"],
            "Verify that a lightweight tunnel's program that returns BPF_REDIRECT without asking does not take over a request of tc ingress",
            lwt,
        )
        .on(
            Some(Arm::Upstream),
            &[],
            Expect::Fail {
                reason: reason::LEFTOVER.into(),
            },
            "the lightweight tunnel leaks the packet that is to go round again, and with it the program of its route",
        ),
        Case::feature(
            "stale_request_is_not_used_by_tc",
            &["R12"],
            "Verify that TC_ACT_REDIRECT without a request does not take over one that was not carried out",
            stale,
        )
        .on(
            Some(Arm::Upstream),
            &["5.10", "6.1"],
            Expect::Fail {
                reason: reason::WRONGLY_DELIVERED.into(),
            },
            "requests are kept per CPU before 6.11 and outlive the program, as those of bpf_redirect() do",
        ),
        Case::feature(
            "stale_request_is_not_used_in_the_same_softirq",
            &["R12"],
            "Verify that TC_ACT_REDIRECT without a request does not take over one that was not carried out for a packet received just before",
            stale_at_once,
        )
        .on(
            Some(Arm::Upstream),
            &[],
            Expect::Fail {
                reason: reason::WRONGLY_DELIVERED.into(),
            },
            "requests are kept for the whole of a softirq, or for a CPU, and outlive the program",
        ),
        Case::closure(
            "verdict_without_request_drops",
            &["R12", "regression"],
            "Verify that TC_ACT_REDIRECT without a request drops the packet",
            verdict_only,
        ),
    ]
}

fn unused() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let program = Redirect::to("peer_unused", t.dst_fwd)?;
    program.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    ran(&program)?;
    only_the_last(&t, "peer_probe", &receiver)
}

/// Nothing has arrived but what a program then redirects, as it should.
fn only_the_last(t: &Topology, program: &'static str, receiver: &Receiver) -> Verdict {
    Redirect::to(program, t.dst_fwd)?.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(t, Ip::V4, LAST)?;
    receiver.must_get_only(LAST)
}

/// The host forwards what its program asked to redirect and then let pass; the
/// route goes through a program that redirects without asking. As many frames
/// as cannot be overlooked in memory if each of them stays there.
fn lwt() -> Verdict {
    const FRAMES: u64 = 30_000;
    probe::stay_on_one_cpu()?;
    let t = Topology::quiet(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let asks = Redirect::to("peer_unused", t.dst_fwd)?;
    let returns = Redirect::load("verdict_only_lwt", |_| {})?;
    asks.at_ingress(&t.fwd, t.src_fwd)?;
    returns.at_route(&t.fwd, t.dst_fwd, dst_address(Ip::V4))?;
    t.fwd.enter(|| netns::sysctl("ipv4/ip_forward", "1"))?;
    let frame = probe::frame(
        MAC_SRC_FWD,
        MAC_SRC,
        libc::ETH_P_IP as u16,
        &probe::udp_packet(PROBE),
    );
    probe::Sender::new(&t.src, t.src_dev)?.send_each(&frame, FRAMES)?;
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd: packets that the program of the route saw",
        || returns.hits().0,
        FRAMES,
    )?;
    only_the_last(&t, "peer_probe", &receiver)
}

fn stale() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let asks = Redirect::to("peer_unused", t.dst_fwd)?;
    asks.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    ran(&asks)?;
    returns_only(&t)?;
    only_the_last(&t, "peer_probe", &receiver)
}

/// What the first program let pass, the host sends through a pair of its own: its
/// other end receives it in the softirq that is under way.
fn stale_at_once() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let asks = Redirect::to("peer_unused", t.dst_fwd)?;
    let returns = Redirect::load("verdict_only", |_| {})?;
    asks.at_ingress(&t.fwd, t.src_fwd)?;
    let end = |name, last| End {
        name,
        mac: [2, 0, 0, 0, 0, last],
        queues: 1,
        index: 0,
    };
    let loop_in = t.fwd.enter(|| {
        netns::sysctl("ipv4/ip_forward", "1")?;
        link::add_pair(
            Pair::Veth,
            &end("loop_out", 44),
            &end("loop_in", 45),
            &t.fwd,
        )?;
        let (out, back) = (link::index("loop_out")?, link::index("loop_in")?);
        link::set_up(out, true)?;
        link::set_up(back, true)?;
        link::wait_for_carrier("loop_out")?;
        link::add_route(out, dst_address(Ip::V4))?;
        link::add_neighbour(out, dst_address(Ip::V4), [2, 0, 0, 0, 0, 45])?;
        Ok(back)
    })?;
    returns.at_ingress(&t.fwd, loop_in)?;
    probe::send(&t, Ip::V4, PROBE)?;
    becomes(
        reason::SETUP,
        "ns_fwd: probes seen at ingress of src_fwd, and of loop_in",
        || (asks.hits().1, returns.hits().1),
        (1, 1),
    )?;
    only_the_last(&t, "peer_probe", &receiver)
}

/// On a CPU whose last request was carried out.
fn verdict_only() -> Verdict {
    probe::stay_on_one_cpu()?;
    let t = Topology::new(Pair::Veth)?;
    t.address_frames_to_the_end(Ip::V4)?;
    let receiver = Receiver::new(&t.dst, Ip::V4)?;
    let asks = Redirect::to("plain", t.dst_fwd)?;
    asks.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(&t, Ip::V4, PROBE)?;
    receiver.must_get(PROBE)?;
    returns_only(&t)?;
    only_the_last(&t, "plain", &receiver)
}

fn returns_only(t: &Topology) -> Verdict {
    let returns = Redirect::load("verdict_only", |_| {})?;
    returns.at_ingress(&t.fwd, t.src_fwd)?;
    probe::send(t, Ip::V4, PROBE)?;
    ran(&returns)
}

fn ran(program: &Redirect) -> Verdict {
    becomes(
        reason::WRONG_COUNT,
        "ns_fwd, src_fwd: probes seen at ingress",
        || program.hits().1,
        1,
    )
}
