// SPDX-License-Identifier: GPL-2.0-only
//! What a kernel's configuration promises to find by itself, and whether it was
//! looking from the first case to the last. A detector that is off is silent,
//! as it is over a kernel without a bug.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use protocol::Detector;

use crate::kernel::Kernel;

/// What was promised, and what the guest said of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Watched {
    /// By the configuration.
    pub promised: BTreeSet<Detector>,
    /// At work at `hello`; `None` before.
    pub at_hello: Option<BTreeSet<Detector>>,
    /// At work at `done`; `None` before.
    pub at_done: Option<BTreeSet<Detector>>,
}

/// What the configuration of a kernel promises.
pub fn promised(kernel: &Kernel) -> Result<BTreeSet<Detector>> {
    let config = kernel.vmlinux.with_file_name(".config");
    let text =
        fs::read_to_string(&config).with_context(|| format!("reading {}", config.display()))?;
    Ok(promised_by(&text))
}

fn promised_by(config: &str) -> BTreeSet<Detector> {
    let has = |detector: &Detector| {
        let symbol = match detector {
            Detector::Kasan => "CONFIG_KASAN",
            Detector::Kcsan => "CONFIG_KCSAN",
            Detector::Kmemleak => "CONFIG_DEBUG_KMEMLEAK",
            Detector::Lockdep => "CONFIG_PROVE_LOCKING",
            Detector::SoftLockup => "CONFIG_SOFTLOCKUP_DETECTOR",
            Detector::HardLockup => "CONFIG_HARDLOCKUP_DETECTOR",
            Detector::HungTask => "CONFIG_DETECT_HUNG_TASK",
        };
        config.lines().any(|l| l.strip_prefix(symbol) == Some("=y"))
    };
    Detector::ALL.into_iter().filter(has).collect()
}

impl Watched {
    /// Why what the kernel did not say proves nothing; `None` when each detector
    /// looked to the end. One that has `reported` may be off by its own report,
    /// which is bad enough.
    pub fn lacks(&self, reported: bool) -> Option<String> {
        let lacking = |at: &Option<BTreeSet<Detector>>| -> Vec<&'static str> {
            at.iter()
                .flat_map(|at| self.promised.difference(at))
                .map(|d| d.word())
                .collect()
        };
        let begun = lacking(&self.at_hello);
        if !begun.is_empty() {
            return Some(format!(
                "this kernel was built with {}, which did not work when the guest came up: it would have found nothing",
                begun.join(", ")
            ));
        }
        let ended = lacking(&self.at_done);
        (!ended.is_empty() && !reported).then(|| {
            format!(
                "{} did not work any more when the last case was over, and nothing says since when: a bug would not have been found",
                ended.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a configuration promises what is built in and nothing else,
    /// and that each detector is promised by something.
    #[test]
    fn promises_are_read() {
        let config = "CONFIG_KASAN=y\nCONFIG_KASAN_INLINE=y\n# CONFIG_KCSAN is not set\n\
                      CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=16000\nCONFIG_PROVE_LOCKING=y\n";
        let promised = promised_by(config);
        assert_eq!(
            promised,
            BTreeSet::from([Detector::Kasan, Detector::Lockdep])
        );
        let fragments = [
            include_str!("../../vm/config/debug.config"),
            include_str!("../../vm/config/kcsan.config"),
        ];
        assert_eq!(
            promised_by(&fragments.concat()),
            BTreeSet::from(Detector::ALL)
        );
    }

    /// Verify that each detector is missed at the start and at the end, in the
    /// latter case unless a report may have turned it off.
    #[test]
    fn each_is_missed() {
        let all = BTreeSet::from(Detector::ALL);
        let whole = Watched {
            promised: all.clone(),
            at_hello: Some(all.clone()),
            at_done: Some(all.clone()),
        };
        assert_eq!(whole.lacks(false), None);
        for detector in Detector::ALL {
            let mut rest = all.clone();
            rest.remove(&detector);
            let never = Watched {
                at_hello: Some(rest.clone()),
                ..whole.clone()
            };
            assert!(never.lacks(true).unwrap().contains(detector.word()));
            let no_more = Watched {
                at_done: Some(rest),
                ..whole.clone()
            };
            assert!(no_more.lacks(false).unwrap().contains(detector.word()));
            assert_eq!(no_more.lacks(true), None);
        }
        // Of a guest that said neither there is worse to say.
        let silent = Watched {
            promised: all,
            ..Watched::default()
        };
        assert_eq!(silent.lacks(false), None);
    }
}
