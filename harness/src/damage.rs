// SPDX-License-Identifier: GPL-2.0-only
//! Damage for tests: what a parser has to bear of a file that was cut off,
//! overwritten or put together wrongly. The same in every run, unless
//! `DAMAGE_SEED` is set to another number.

/// A source of damage: xorshift, the same for the same seed.
pub(crate) struct Damage(u64);

impl Damage {
    pub(crate) fn new() -> Self {
        let seed = std::env::var("DAMAGE_SEED").ok();
        let seed = seed.and_then(|s| s.parse().ok());
        Self(seed.unwrap_or(0x2545_f491_4f6c_dd1d_u64).max(1))
    }

    /// A number below `most`; 0 when there is none.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % most.max(1)
    }

    /// Overwrites a byte, cuts the end off, takes a piece out or puts one in
    /// somewhere else.
    pub(crate) fn to(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + self.below(300)).min(bytes.len());
        match self.below(4) {
            0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }

    /// So many times a text that was damaged in one to five places, as whoever
    /// reads a file as UTF-8 gets it.
    pub(crate) fn texts(times: usize, sample: &str, mut parse: impl FnMut(&str)) {
        let mut damage = Self::new();
        for _ in 0..times {
            let mut bytes = sample.as_bytes().to_vec();
            for _ in 0..=damage.below(5) {
                damage.to(&mut bytes);
            }
            parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
