// SPDX-License-Identifier: GPL-2.0-only
//! Which figures a kernel must give: what is not there was not measured, however
//! the guest came to leave it out. Pure.

use std::collections::BTreeSet;

use protocol::Arm;

use super::figures::{Asked, BOOTS, Measured};

/// What is sent, as the guest program calls it.
const TRAFFIC: [&str; 6] = [
    "tcp_rr",
    "tcp_crr",
    "udp_rr",
    "udp_1",
    "udp_1400",
    "tcp_stream",
];

/// The ways, as the guest program calls them.
const WAYS: [&str; 10] = [
    "host",
    "stack",
    "pass",
    "redirect",
    "redirect_neigh",
    "redirect_peer",
    "local.stack",
    "local.redirect",
    "local.redirect_neigh",
    "local.redirect_peer",
];

/// The first release that has netkit.
const NETKIT: (u32, u32) = (6, 7);

/// Whether a kernel of this version, `6.12.117`, has netkit.
fn has_netkit(version: &str) -> bool {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= NETKIT
}

/// Every figure that was asked for and that an arm of this version has.
pub(super) fn figures(version: &str, arm: Arm, asked: &Asked) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for pair in ["veth", "netkit"] {
        if pair == "netkit" && !has_netkit(version) {
            continue;
        }
        for way in WAYS {
            // The limit has no container, and what is stripped is not there.
            let is_here = match way {
                "host" => pair == "veth",
                _ => arm != Arm::Baseline || !way.ends_with("redirect_peer"),
            };
            if !is_here {
                continue;
            }
            for traffic in TRAFFIC {
                for ip in ["v4", "v6"] {
                    all.insert(format!("{pair}.{traffic}.{ip}.{way}"));
                }
            }
        }
    }
    all.retain(|full| asked.wants(full));
    all
}

/// What of the figures that a kernel must give is not as it must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Not given by each boot.
    pub(super) missing: Vec<String>,
    /// Given although the kernel cannot have it.
    pub(super) surplus: Vec<String>,
}

/// The gaps of a kernel.
pub(super) fn gaps(kernel: &Measured, asked: &Asked) -> Gaps {
    let due = figures(&kernel.source, kernel.arm, asked);
    let boots = |full: &str| kernel.costs.get(full).map_or(0, Vec::len);
    let given = kernel.costs.keys();
    Gaps {
        surplus: given.filter(|f| !due.contains(*f)).cloned().collect(),
        missing: due.into_iter().filter(|f| boots(f) < BOOTS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::measured;

    /// Verify which figures a base and an arm have.
    #[test]
    fn bases_and_arms_differ() {
        let of = |version, arm| figures(version, arm, &Asked::default());
        // Ten ways of veth and nine of netkit, two of each with the helper.
        for (version, arm, due) in [
            ("5.10.262", Arm::Patched, 120),
            ("6.1.192", Arm::Baseline, 96),
            ("6.6.1", Arm::Upstream, 120),
            ("6.7.0-rc1", Arm::Upstream, 228),
            ("6.12.117", Arm::Baseline, 180),
            ("7.3.4", Arm::Patched, 228),
        ] {
            assert_eq!(of(version, arm).len(), due, "{version} {arm:?}");
        }
        let patched = of("6.12.117", Arm::Patched);
        assert!(patched.contains("netkit.udp_1.v6.local.redirect_peer"));
        assert!(!patched.contains("netkit.udp_1.v6.host"));
        assert!(!of("6.12.117", Arm::Baseline).contains("veth.udp_1.v4.redirect_peer"));
    }

    /// Verify that only what was asked for is expected.
    #[test]
    fn only_what_was_asked_for() {
        let asked = Asked {
            only: vec!["veth.udp_1.v4".into()],
            ..Asked::default()
        };
        assert_eq!(figures("6.12.1", Arm::Patched, &asked).len(), 10);
    }

    /// Verify that a figure which the guest left out is missed, that one boot is
    /// not enough, and that a baseline with the helper is noticed.
    #[test]
    fn gaps_are_noticed() {
        let asked = Asked {
            only: vec!["veth.udp_1.v4.redirect_peer".into()],
            ..Asked::default()
        };
        let whole = [("veth.udp_1.v4.redirect_peer", &[9.0, 9.0][..])];
        let once = [("veth.udp_1.v4.redirect_peer", &[9.0][..])];
        let peer = || vec!["veth.udp_1.v4.redirect_peer".to_owned()];
        let of = |arm, costs: &[(&str, &[f64])]| gaps(&measured(arm, costs), &asked);
        assert_eq!(of(Arm::Patched, &whole), Gaps::default());
        assert_eq!(of(Arm::Patched, &once).missing, peer());
        assert_eq!(of(Arm::Patched, &[]).missing, peer());
        assert_eq!(of(Arm::Baseline, &whole).surplus, peer());
        assert_eq!(of(Arm::Baseline, &[]), Gaps::default());
    }
}
