// SPDX-License-Identifier: GPL-2.0-only
//! What is measured once more. Pure.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Arm;

use super::{
    figures::Bench,
    promise::{Answer, Compared, comparisons},
};

/// A comparison of which more figures do not hold than this has none of them
/// measured by itself: that is no chance.
const MOST_ALONE: usize = 8;

/// What is to be measured once more, by itself: by base and arm the figures.
///
/// Where memory happens to be laid out so that each transaction takes the slow
/// path of an allocator, the boots of a kernel may agree on it, and another
/// kernel does not. What is the kernel's doing comes again. So that this is no
/// second chance for bad answers alone, as many of those that hold are measured
/// once more, those with the least room, and judged by that, too.
pub(super) fn again(bench: &Bench) -> BTreeMap<(String, Arm), BTreeSet<String>> {
    let mut found: BTreeMap<(String, Arm), BTreeSet<String>> = BTreeMap::new();
    for comparison in comparisons(bench) {
        let Some((ours, theirs)) = comparison.pair else {
            continue;
        };
        let (mut hold, disputed): (Vec<&Compared>, Vec<&Compared>) = comparison
            .judged()
            .partition(|c| c.first.answer == Answer::Holds);
        if disputed.len() > MOST_ALONE {
            continue;
        }
        hold.sort_by(|a, b| {
            let by_room = b.first.ratio().total_cmp(&a.first.ratio());
            by_room.then_with(|| a.full.cmp(&b.full))
        });
        hold.truncate(disputed.len());
        for figure in disputed.into_iter().chain(hold) {
            for kernel in [ours, theirs] {
                let of = found.entry((kernel.base.clone(), kernel.arm)).or_default();
                of.insert(figure.full.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::promise::tests::rows;

    /// Verify that as many that hold are measured again as do not, those with the
    /// least room; that what has no say is not; and that nothing is where there
    /// are too many, as of a kernel that gave hardly a figure.
    #[test]
    fn what_holds_is_measured_again_too() {
        let (bad, tight) = ("veth.udp_1.v4.host", "veth.udp_rr.v4.host");
        let mut found = rows(&[
            (bad, [1000.0, 1002.0]),
            ("veth.udp_1.v6.host", [1000.0, 1000.0]),
            (tight, [1001.0, 1001.0]),
            ("veth.tcp_crr.v4.host", [1500.0, 2000.0]),
        ]);
        assert!(again(&found).is_empty(), "most of veth.* is missing");
        found.asked.only = found.kernels[0].costs.keys().cloned().collect();
        let named = again(&found);
        assert_eq!(named.len(), 2);
        for arm in [Arm::Patched, Arm::Baseline] {
            let due = [bad, tight].map(String::from);
            assert_eq!(named[&("6.12".to_owned(), arm)], due.into());
        }
        found.kernels[0].costs.insert(bad.into(), vec![1000.0; 2]);
        assert!(again(&found).is_empty(), "everything holds");
    }
}
