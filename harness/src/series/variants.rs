// SPDX-License-Identifier: GPL-2.0-only
//! The configurations in which a series must compile.

/// A way to compile the files of a patch.
#[derive(Debug)]
pub struct Variant {
    /// As the table names it.
    pub name: &'static str,
    /// The symbol that it is about; empty when it is about none. A base that
    /// has no such symbol has no such variant.
    pub symbol: &'static str,
    /// Symbols and values that must come out.
    pub goal: &'static [(&'static str, &'static str)],
    /// What has to be set besides to get there.
    pub set: &'static [(&'static str, &'static str)],
    /// What is set as well on bases where that was not enough.
    pub further: &'static [(&'static str, &'static str)],
    /// Whether clang compiles it; gcc otherwise.
    pub clang: bool,
}

/// Left out of every variant: debug information, which takes time and warns of nothing.
pub const WITHOUT_DEBUG_INFO: &[(&str, &str)] = &[
    ("DEBUG_INFO", "n"),
    ("DEBUG_INFO_DWARF4", "n"),
    ("DEBUG_INFO_REDUCED", "n"),
];

/// Symbols by the names that they have now, and that older lines know them by.
pub const RENAMED: &[(&str, &str)] = &[("MITIGATION_RETPOLINE", "RETPOLINE")];

/// What retpolines need under any of its names; without them INDIRECT_CALL_1()
/// is an ordinary call, and does not name the function that it expects.
const MITIGATIONS: &[(&str, &str)] = &[("CPU_MITIGATIONS", "y"), ("SPECULATION_MITIGATIONS", "y")];

const PLAIN: Variant = Variant {
    name: "W=1",
    symbol: "",
    goal: &[],
    set: &[],
    further: &[],
    clang: false,
};

/// All of them; the first one is the configuration that is booted, and the
/// build folders of the others begin as copies of its own.
pub const VARIANTS: &[Variant] = &[
    PLAIN,
    Variant {
        name: "clang",
        clang: true,
        ..PLAIN
    },
    Variant {
        name: "NET_CLS_ACT=n",
        symbol: "NET_CLS_ACT",
        goal: &[("NET_CLS_ACT", "n")],
        ..PLAIN
    },
    Variant {
        name: "NET_INGRESS=n",
        symbol: "NET_INGRESS",
        goal: &[("NET_INGRESS", "n")],
        set: &[
            ("NET_CLS_ACT", "n"),
            ("NET_SCH_INGRESS", "n"),
            ("NETFILTER_INGRESS", "n"),
        ],
        // From 6.6 on the bpf() system call selects NET_XGRESS, and that NET_INGRESS.
        further: &[("BPF_SYSCALL", "n")],
        ..PLAIN
    },
    Variant {
        name: "VETH=m",
        symbol: "VETH",
        goal: &[("VETH", "m")],
        set: &[("MODULES", "y")],
        ..PLAIN
    },
    Variant {
        name: "NETKIT=n",
        symbol: "NETKIT",
        goal: &[("NETKIT", "n"), ("MITIGATION_RETPOLINE", "y")],
        set: MITIGATIONS,
        ..PLAIN
    },
    Variant {
        name: "IPV6=n",
        symbol: "IPV6",
        goal: &[("IPV6", "n")],
        ..PLAIN
    },
    Variant {
        name: "RETPOLINE",
        symbol: "MITIGATION_RETPOLINE",
        goal: &[("MITIGATION_RETPOLINE", "y")],
        set: MITIGATIONS,
        ..PLAIN
    },
    Variant {
        name: "PREEMPT_RT",
        symbol: "PREEMPT_RT",
        goal: &[("PREEMPT_RT", "y")],
        ..PLAIN
    },
];
