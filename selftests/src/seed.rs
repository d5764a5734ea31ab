// SPDX-License-Identifier: GPL-2.0-only
//! Numbers that look random and are the same for the same seed, on every
//! machine (splitmix64).

/// Where a sequence is.
#[derive(Debug, Clone)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// The next number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        z % limit
    }

    /// Puts things into an order that the seed decides.
    pub(crate) fn shuffle<T>(mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    /// Verify that a seed gives one order, that another gives another, and
    /// that nothing is lost.
    #[test]
    fn orders() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            Seed(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
