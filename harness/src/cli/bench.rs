// SPDX-License-Identifier: GPL-2.0-only
//! `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ArmFlag, Common, Source};

/// `bench`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
A figure is PAIR.TRAFFIC.IP.WAY: veth.tcp_rr.v4.redirect_peer, netkit.udp_1400.v6.local.redirect. \
It is the least of five medians of 81 transactions, in instructions of the one CPU that both ends \
share, and each kernel is booted twice: where the boots do not agree, both ends are shown.\n\n\
Promises: beside the baseline, packets that are not redirected cost at most 1.001 (C1); beside \
upstream, redirect_peer costs at most 1.000 (C2). Beside --against, a figure may grow to 1.001. A \
figure that is missing, or whose boots are more than 0.1 % apart, proves nothing. What a new \
connection costs (tcp_crr) is shown and not judged: the boots do not agree on it.\n\n  \
cargo harness bench --base all                           three kernels of each base, C1 and C2\n  \
cargo harness bench --compare patched,upstream           C2 only\n  \
cargo harness bench --only veth.udp_1.v4 --profile       which functions the instructions are in\n  \
cargo harness bench --save before                        and, after a change of the series:\n  \
cargo harness bench --against before\n\n\
A count of instructions is CPU cost. It does not show how long a packet waits for a second softirq \
pass under load: that is what these are for.\n\n  \
cargo harness bench --load                 latencies of 1, 4 and 16 flows on each of 1, 2 and 4 CPUs, in guest time\n  \
cargo harness bench --native               latencies on the kernel that runs here, by the clock; as root\n  \
cargo harness bench --self                 how fast this harness is, beside virtme-ng\n\n\
Exit status: 0 every promise holds (of one --arm: every figure is there), 1 one is broken, 2 the \
request is wrong, 3 could not tell.")]
pub struct Bench {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// A kernel to measure; may be repeated [default: baseline, patched and upstream]
    #[arg(long = "arm", value_enum, value_name = "A")]
    pub arms: Vec<ArmFlag>,
    /// Two kernels to measure and compare, one of them patched; may be repeated [default: patched with each other one]
    #[arg(long, value_name = "ARM,ARM", value_parser = two_arms)]
    pub compare: Vec<(ArmFlag, ArmFlag)>,
    /// Only figures whose name begins so; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Count the instructions of one transaction by function, too, of these figures [default: some of veth.udp_1.v4]
    #[arg(long, value_name = "FIGURE", num_args = 0..)]
    pub profile: Option<Vec<String>>,
    /// Keep what is found in the cache by this name
    #[arg(long, value_name = "NAME")]
    pub save: Option<String>,
    /// Compare with what was kept by this name
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
    /// Latencies of many flows on 1, 2 and 4 CPUs, in guest time, and the counters that explain them [default arm: patched]
    #[arg(long, conflicts_with_all = ["compare", "only", "profile", "save", "against"])]
    pub load: bool,
    /// Latencies by the clock on the kernel that runs here, which must have the helper; as root, and not under emulation
    #[arg(long, conflicts_with_all = ["bases", "tree", "tarball", "arms", "load", "compare", "profile", "save", "against"])]
    pub native: bool,
    /// Criterion's benches of the same transactions, in the guest, or with --native here; --only chooses [default arm: patched]
    #[arg(long, conflicts_with_all = ["load", "itself", "compare", "profile", "save", "against", "results"])]
    pub criterion: bool,
    /// How long this harness takes to the verdict, from an empty cache too, beside virtme-ng on the same tree
    #[arg(long = "self", conflicts_with_all = ["tree", "tarball", "arms", "load", "native", "compare", "only", "profile", "save", "against"])]
    pub itself: bool,
    /// Write bench.json (load.json, native.json, self.json) to this folder, and of the first report.html
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// Two kernels, of which one has the series.
fn two_arms(text: &str) -> Result<(ArmFlag, ArmFlag), String> {
    let arm = |word: &str| {
        ArmFlag::from_str(word.trim(), false)
            .map_err(|_| format!("`{word}` is no arm: baseline, patched or upstream"))
    };
    let (one, other) = text
        .split_once(',')
        .ok_or_else(|| format!("`{text}` is not two arms, such as patched,baseline"))?;
    let both = (arm(one)?, arm(other)?);
    if (both.0 == ArmFlag::Patched) == (both.1 == ArmFlag::Patched) {
        return Err(format!(
            "`{text}`: one of the two, and only one, is `patched`"
        ));
    }
    Ok(both)
}
