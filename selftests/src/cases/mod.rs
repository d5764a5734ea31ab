// SPDX-License-Identifier: GPL-2.0-only
//! The cases: small, independent, each proving one thing.

mod assigned;
mod backlog;
mod bound;
mod bridges;
mod connectivity;
mod counters;
mod drop_counters;
mod drops;
mod egress_flag;
mod faults;
mod fields;
mod frames;
mod hooks;
mod l3_source;
mod netkit;
mod overlay;
mod qevent;
mod races;
mod reasons;
mod refused;
mod regression;
mod returns;
mod scrub;
mod stale;
pub(crate) mod stress;
mod taps;
mod turned;
mod xdp;

use std::sync::Arc;

use protocol::{Arm, CaseInfo, Expect, Expectation, reason};

use crate::{
    bpf::Redirect,
    fail::{Stop, Verdict, WAITS},
    link::Pair,
    list,
    topology::Ip,
};

const NO_NETKIT: &str = "this kernel is older than netkit and tcx (6.7)";

/// By version, not by trying: a 6.12 that cannot make a netkit pair is broken,
/// not old.
fn is_at_least(major: u32, minor: u32) -> anyhow::Result<bool> {
    let uname = nix::sys::utsname::uname()?;
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    Ok((numbers.next(), numbers.next()) >= (Some(major), Some(minor)))
}

/// Whether the running kernel is new enough for netkit.
pub(crate) fn has_netkit() -> anyhow::Result<bool> {
    is_at_least(6, 7)
}

/// Whether the running kernel says why it drops a packet.
fn has_drop_reasons() -> anyhow::Result<bool> {
    is_at_least(5, 17)
}

/// The kinds of pair and versions of IP that what does not depend on them is tried
/// with, and what the name of a case has of it.
const WAYS: [(Pair, Ip, &str); 4] = [
    (Pair::Veth, Ip::V4, ""),
    (Pair::Veth, Ip::V6, "_v6"),
    (Pair::Netkit, Ip::V4, "_netkit"),
    (Pair::Netkit, Ip::V6, "_netkit_v6"),
];

const NO_EGRESS_FLAG: &str = "this base's redirect_peer has no BPF_F_EGRESS (before 7.3)";

fn has_egress_flag() -> anyhow::Result<bool> {
    is_at_least(7, 3)
}

/// A WARN with this in one of its lines.
fn warning(says: &str) -> Expect {
    Expect::Splat {
        kind: "warning".into(),
        says: says.into(),
    }
}

/// One selftest.
#[derive(Clone)]
pub(crate) struct Case {
    /// Unique; what it proves.
    pub(crate) name: String,
    summary: String,
    proves: Vec<String>,
    expectations: Vec<Expectation>,
    deadline_ms: u64,
    waits_ms: u64,
    /// Why nobody should run it on a machine that is needed, where that does not
    /// follow from the expectations.
    danger: Option<&'static str>,
    /// The test itself, on a thread of its own.
    pub(crate) run: Arc<dyn Fn() -> Verdict + Send + Sync>,
}

/// Every case, in the order in which they run.
pub(crate) fn all() -> Vec<Case> {
    [
        regression::cases(),
        connectivity::cases(),
        hooks::cases(),
        l3_source::cases(),
        overlay::cases(),
        frames::cases(),
        returns::cases(),
        egress_flag::cases(),
        refused::cases(),
        drops::cases(),
        netkit::cases(),
        reasons::cases(),
        drop_counters::cases(),
        stale::cases(),
        qevent::cases(),
        counters::cases(),
        fields::cases(),
        scrub::cases(),
        assigned::cases(),
        turned::cases(),
        xdp::cases(),
        taps::cases(),
        backlog::cases(),
        bound::cases(),
        bridges::cases(),
        races::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Cases that misbehave on purpose, for the harness's own tests.
pub(crate) fn faults() -> Vec<Case> {
    faults::cases()
}

impl Case {
    /// A case that uses the helper: without it the verifier refuses its program.
    /// It is asked before anything is set up, as most cases would have to set up
    /// a lot before they have a program to load.
    fn feature(
        name: impl Into<String>,
        proves: &[&str],
        summary: impl Into<String>,
        run: impl Fn() -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let knowing = move || {
            Redirect::helper_is_known()?;
            run()
        };
        Self::closure(name, proves, summary, knowing).on(
            Some(Arm::Baseline),
            &[],
            Expect::Fail {
                reason: reason::HELPER_UNKNOWN.into(),
            },
            "the kernel has no bpf_redirect_peer(): the verifier does not know helper 155",
        )
    }

    /// A case that must pass everywhere.
    fn regression(
        name: impl Into<String>,
        summary: impl Into<String>,
        run: fn() -> Verdict,
    ) -> Self {
        Self::closure(name, &["regression"], summary, run)
    }

    fn closure(
        name: impl Into<String>,
        proves: &[&str],
        summary: impl Into<String>,
        run: impl Fn() -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            proves: proves.iter().map(|p| (*p).to_owned()).collect(),
            expectations: Vec::new(),
            deadline_ms: 8_000,
            waits_ms: WAITS.as_millis() as u64,
            danger: None,
            run: Arc::new(run),
        }
    }

    /// A case that somebody else has written.
    pub(crate) fn foreign(
        name: String,
        proves: &[&str],
        summary: String,
        deadline_ms: u64,
        run: impl Fn() -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self {
            deadline_ms,
            ..Self::closure(name, proves, summary, run)
        }
    }

    /// Declares how it must end otherwise than by a pass; the first that speaks
    /// of a kernel holds.
    pub(crate) fn on(
        mut self,
        arm: Option<Arm>,
        bases: &[&str],
        expect: Expect,
        why: &str,
    ) -> Self {
        self.expectations.push(Expectation {
            arm,
            bases: bases.iter().map(|b| (*b).to_owned()).collect(),
            expect,
            why: why.into(),
        });
        self
    }

    /// Has kernels skip it that lack the kind of pair that it is about.
    fn over(self, pair: Pair) -> Self {
        if pair == Pair::Veth {
            self
        } else {
            self.needs_netkit()
        }
    }

    /// Has kernels before netkit and tcx skip it, as declared for those bases;
    /// goes before every other declaration.
    fn needs_netkit(self) -> Self {
        self.needs(has_netkit, &["5.10", "6.1"], NO_NETKIT)
    }

    /// The same for kernels before BPF_F_EGRESS.
    fn needs_egress_flag(self) -> Self {
        self.needs(has_egress_flag, &["5.10", "6.1", "6.12"], NO_EGRESS_FLAG)
    }

    /// Has kernels that do not meet it skip it, as declared for those bases; goes
    /// before every other declaration.
    fn needs(
        mut self,
        met: fn() -> anyhow::Result<bool>,
        bases: &[&str],
        why: &'static str,
    ) -> Self {
        let run = self.run;
        self.run = Arc::new(move || {
            if met()? {
                run()
            } else {
                Err(Stop::Skipped(why.into()))
            }
        });
        self.expectations.insert(
            0,
            Expectation {
                arm: None,
                bases: bases.iter().map(|b| (*b).to_owned()).collect(),
                expect: Expect::Skip,
                why: why.into(),
            },
        );
        self
    }

    /// Declares that it does harm to a kernel that no expectation speaks of.
    pub(crate) fn dangerous(self, why: &'static str) -> Self {
        Self {
            danger: Some(why),
            ..self
        }
    }

    /// Why nobody should run it on a machine that is needed: what it is declared
    /// to do to some kernels, to be told by a sentence.
    pub(crate) fn danger(&self) -> Option<String> {
        let harms = |e: &&Expectation| match &e.expect {
            Expect::Hang | Expect::Splat { .. } | Expect::Crash { .. } => true,
            // What stays in memory stays until the machine is started again.
            Expect::Fail { reason } => reason == reason::LEFTOVER,
            Expect::Pass | Expect::Skip => false,
        };
        let declared = || self.expectations.iter().find(harms).map(list::elsewhere);
        self.danger.map(str::to_owned).or_else(declared)
    }

    /// The same, but it does nothing and says why.
    pub(crate) fn left_out(self, why: String) -> Self {
        Self {
            run: Arc::new(move || Err(Stop::Skipped(why.clone()))),
            ..self
        }
    }

    /// What it promises.
    pub(crate) fn info(&self) -> CaseInfo {
        CaseInfo {
            name: self.name.clone(),
            summary: self.summary.clone(),
            proves: self.proves.clone(),
            expectations: self.expectations.clone(),
            deadline_ms: self.deadline_ms,
            waits_ms: self.waits_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use crate::fail::LONG;

    /// Verify that whatever does harm to some kernel says so, and nothing else.
    #[test]
    fn dangers_are_known() {
        let dangerous = |case: &super::Case| case.danger().is_some();
        let named: HashSet<String> = super::all()
            .into_iter()
            .filter(dangerous)
            .map(|c| c.name)
            .collect();
        for name in [
            "loop_is_bounded",
            "loop_does_not_leak",
            "drop_reason_loop",
            "drop_counter_loop",
            "generic_xdp_with_fewer_queues",
            "multiqueue_nic_with_generic_xdp",
            "qevent_request_drops",
            "stale_request_is_not_used_by_lwt",
        ] {
            assert!(named.contains(name), "{name}");
        }
        assert!(!named.contains("peer_veth_tcp_v4"));
        assert!(super::faults().iter().all(dangerous));
        assert!(dangerous(&super::stress::case(1, 1).0));
    }

    /// Verify that a case that fails and then leaves something behind is over
    /// before its deadline, with time to work, where nothing is emulated.
    #[test]
    fn deadlines_are_longer_than_all_waits() {
        for case in super::all() {
            let info = case.info();
            let limit = Duration::from_millis(info.deadline_ms + info.waits_ms);
            assert!(limit > LONG * 3, "{}", info.name);
        }
    }

    /// Verify that names are unique, summaries begin alike, every case proves
    /// something, and every declared reason exists and is one that a
    /// declaration may name.
    #[test]
    fn cases_are_well_declared() {
        let mut names = HashSet::new();
        for case in super::all() {
            let info = case.info();
            assert!(
                names.insert(info.name.clone()),
                "{} is there twice",
                info.name
            );
            assert!(info.summary.starts_with("Verify that "), "{}", info.name);
            assert!(!info.proves.is_empty(), "{} proves nothing", info.name);
            for e in info.expectations {
                assert!(!e.why.is_empty(), "{} does not say why", info.name);
                if let protocol::Expect::Fail { reason } = &e.expect {
                    assert!(protocol::reason::ALL.contains(&reason.as_str()), "{reason}");
                    assert!(
                        !["setup", "panic"].contains(&reason.as_str()),
                        "{}",
                        info.name
                    );
                }
                if let protocol::Expect::Splat { kind, says } = &e.expect {
                    let rules = include_str!("../../../vm/splats.toml");
                    assert!(rules.contains(&format!("kind = \"{kind}\"")), "{kind}");
                    assert!(!says.is_empty(), "{}: any {kind} would do", info.name);
                }
            }
        }
    }
}
