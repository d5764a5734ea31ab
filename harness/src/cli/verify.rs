// SPDX-License-Identifier: GPL-2.0-only
//! `verify`.

use std::path::PathBuf;

use clap::Args;

use super::{ArmFlag, Common, Source};

/// `verify`.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// A kernel to compare; may be repeated [default: baseline and patched]
    #[arg(long = "arm", value_enum, value_name = "A")]
    pub arms: Vec<ArmFlag>,
    /// A set of config fragments, vm/config/F.config; may be repeated [default: default]
    #[arg(long = "flavor", value_name = "F")]
    pub flavors: Vec<String>,
    /// Only the cases that match, as in a shell; may be repeated
    #[arg(long = "case", value_name = "GLOB")]
    pub cases: Vec<String>,
    /// Run the cases in an order that this number decides: what one leaves behind must not matter to the next
    #[arg(long, value_name = "SEED")]
    pub shuffle: Option<u64>,
    /// How long cases wait for what must come, in milliseconds: less on a kernel that is broken on purpose
    #[arg(skip)]
    pub patience: Option<u64>,
    /// Write results.json, reports and consoles to this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Run bad cases again, up to N times, each in a guest of its own; one that is good then is marked flaky, and stays bad
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retry: u32,
    /// Exit with 0 although there are flaky cases, unless one made the kernel report something or crash
    #[arg(long, requires = "retry")]
    pub allow_flaky: bool,
    /// On patched and upstream, run the kernel's own selftest of the helper too, built from the same tree
    #[arg(long)]
    pub in_tree: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

impl Verify {
    /// A base with everything else as it is when no flag is given.
    pub fn of_base(base: &str, common: &Common) -> Self {
        Self {
            source: Source::of_base(base),
            arms: Vec::new(),
            flavors: Vec::new(),
            cases: Vec::new(),
            shuffle: None,
            patience: None,
            results: None,
            retry: 0,
            allow_flaky: false,
            in_tree: false,
            common: common.clone(),
        }
    }
}
