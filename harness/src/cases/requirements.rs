// SPDX-License-Identifier: GPL-2.0-only
//! What is to be proved, what it says, and by what: section 4 of the series'
//! specification, and the kernel's own tests.

/// What proves a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Cases that declare it.
    Cases,
    /// The series refuses at registration what would break it, which no case
    /// can see of a kernel that is right: a mutation that brings it about.
    Mutation,
    /// A command of the harness that measures it, by name.
    Command(&'static str),
}

/// What is to be proved, what it says, and by what.
pub(super) const REQUIREMENTS: &[(&str, &str, Proof)] = &[
    (
        "helper",
        "what the helper takes, returns and whom it is for",
        Proof::Cases,
    ),
    ("carry", "how the redirect is carried out", Proof::Cases),
    (
        "R1",
        "the peer's MTU does not limit what it receives",
        Proof::Cases,
    ),
    (
        "R2",
        "packets of an L3 device, given a header, are delivered",
        Proof::Cases,
    ),
    (
        "R3",
        "the peer counts each packet once, the host end none",
        Proof::Cases,
    ),
    (
        "R4",
        "a driver without per-CPU counters cannot crash the kernel",
        Proof::Mutation,
    ),
    (
        "R5",
        "what the host attached to a packet stays on the host",
        Proof::Cases,
    ),
    (
        "R6",
        "the packet type of the host does not matter to the container",
        Proof::Cases,
    ),
    ("R7", "mark and delivery time survive", Proof::Cases),
    (
        "R8",
        "internal flags are no flags of the UAPI",
        Proof::Cases,
    ),
    (
        "R9",
        "the helper is safe where no packet is received or sent",
        Proof::Cases,
    ),
    ("R10", "the loop is bounded", Proof::Cases),
    (
        "R11",
        "a socket of the host does not receive the container's packet",
        Proof::Cases,
    ),
    (
        "R12",
        "callers that cannot take the packet back neither leak it nor act on a stale request",
        Proof::Cases,
    ),
    (
        "R13",
        "the receive queue of the host's device is not the peer's",
        Proof::Cases,
    ),
    ("R14", "drops are visible", Proof::Cases),
    ("R15", "taking things away under load is safe", Proof::Cases),
    (
        "C1",
        "packets that are not redirected cost what they cost before",
        Proof::Command("bench"),
    ),
    (
        "C2",
        "redirect_peer costs no more than upstream's",
        Proof::Command("bench"),
    ),
    ("C3", "the backlog is skipped", Proof::Cases),
    (
        "regression",
        "the helper's siblings do what they did before",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_peer",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_peer_l3",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_peer_ing",
        "the kernel's own test of that name, of BPF_F_EGRESS (7.3)",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_neigh",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
    (
        "kernel:tc_redirect_neigh_fib",
        "the kernel's own test of that name",
        Proof::Cases,
    ),
];

/// Requirements that do not exist on some bases, and why.
pub(super) const NOT_ON: &[(&str, &[&str], &str)] = &[(
    "kernel:tc_redirect_peer_ing",
    &["5.10", "6.1", "6.12"],
    "BPF_F_EGRESS came with 7.3",
)];
