// SPDX-License-Identifier: GPL-2.0-only
//! Damage for tests: what a parser has to bear of a file that was cut off,
//! overwritten or put together wrongly. The same in every run, unless
//! `DAMAGE_SEED` is set to another number, as `check --fuzz` does; a test that
//! fails says which it was. Each has `damage` in its name, by which they are found.

/// The environment variable with another seed.
pub const SEED: &str = "DAMAGE_SEED";

/// A source of damage: xorshift, the same for the same seed.
#[derive(Debug)]
pub struct Damage {
    seed: u64,
    state: u64,
}

impl Damage {
    /// Of the seed that is asked for, or the usual one.
    #[expect(
        clippy::new_without_default,
        reason = "what the environment says is no default"
    )]
    pub fn new() -> Self {
        let seed = std::env::var(SEED).ok().and_then(|s| s.parse().ok());
        Self::of(seed.unwrap_or(0x2545_f491_4f6c_dd1d))
    }

    /// Of a seed; 0 is none, and is taken for 1.
    pub fn of(seed: u64) -> Self {
        let seed = seed.max(1);
        Self { seed, state: seed }
    }

    /// A number below `most`; 0 when there is none.
    pub fn below(&mut self, most: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state as usize % most.max(1)
    }

    /// Overwrites a byte, cuts the end off, takes a piece out or puts one in
    /// somewhere else.
    pub fn to(&mut self, bytes: &mut Vec<u8>) {
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
    /// reads a file as UTF-8 gets it. In the unit tests whoever parses it may take
    /// no more memory than goes with its length.
    pub fn texts(times: usize, sample: &str, mut parse: impl FnMut(&str)) {
        let mut damage = Self::new();
        for _ in 0..times {
            let mut bytes = sample.as_bytes().to_vec();
            for _ in 0..=damage.below(5) {
                damage.to(&mut bytes);
            }
            let text = String::from_utf8_lossy(&bytes);
            #[cfg(test)]
            memory::bounded(text.len(), || parse(&text));
            #[cfg(not(test))]
            parse(&text);
        }
    }
}

impl Drop for Damage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::say!("the damage was that of {SEED}={}", self.seed);
        }
    }
}

/// How much memory a thread has at the most.
#[cfg(test)]
pub(crate) mod memory {
    use std::{
        alloc::{GlobalAlloc, Layout, System},
        cell::Cell,
    };

    /// A parser may take so many bytes for each of its input, and so many besides.
    const EACH: usize = 100;
    const BESIDES: usize = 1 << 20;

    thread_local! {
        static NOW: Cell<isize> = const { Cell::new(0) };
        static MOST: Cell<isize> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    fn count(bytes: isize) {
        let now = NOW.get() + bytes;
        NOW.set(now);
        MOST.set(MOST.get().max(now));
    }

    // SAFETY: everything is passed on to the system's allocator as it came; counting
    // allocates nothing, as the cells need neither set-up nor clean-up.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count(layout.size() as isize);
            // SAFETY: the caller keeps to the contract, which is the same.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            count(-(layout.size() as isize));
            // SAFETY: `at` came from the system's allocator, with this layout.
            unsafe { System.dealloc(at, layout) }
        }
    }

    /// Panics where `parse` takes more than goes with an input of `length` bytes.
    pub(crate) fn bounded(length: usize, parse: impl FnOnce()) {
        let before = NOW.get();
        MOST.set(before);
        parse();
        let most = (MOST.get() - before).max(0) as usize;
        assert!(
            most <= EACH * length + BESIDES,
            "{most} bytes of memory for {length} bytes of input"
        );
    }

    /// Verify that what is taken and given back again is noticed.
    #[test]
    fn damage_is_measured() {
        bounded(10, || drop(vec![0_u8; 1000]));
        let greedy = std::panic::catch_unwind(|| bounded(10, || drop(vec![0_u8; 2 << 20])));
        assert!(greedy.is_err());
    }
}
