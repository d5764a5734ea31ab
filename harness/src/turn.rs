// SPDX-License-Identifier: GPL-2.0-only
//! Guests boot in turn. A booting guest keeps all its CPUs busy, a guest that
//! runs cases mostly one: two that boot at once on two CPUs take twice as long
//! to `hello` as one after the other, and their cases begin later.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;

use crate::{interrupt, machine};

/// CPUs of a guest.
pub const CPUS: u32 = 2;

/// How many are booting.
static BOOTING: Mutex<usize> = Mutex::new(0);
static ONE_LESS: Condvar = Condvar::new();

/// A guest may boot, until this is dropped.
#[derive(Debug)]
pub struct Turn(());

impl Turn {
    /// Waits until no more guests are booting than this machine has CPUs for.
    pub fn wait() -> Result<Self> {
        let most = (machine::cpus() / CPUS as usize).max(1);
        let mut booting = lock();
        while *booting >= most {
            interrupt::check()?;
            booting = ONE_LESS
                .wait_timeout(booting, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *booting += 1;
        Ok(Self(()))
    }
}

/// Waits for a guest to begin to boot, but not for long: what is started after
/// that has its turn after it.
pub fn until_one_boots() {
    let mut booting = lock();
    for _ in 0..50 {
        if *booting > 0 {
            return;
        }
        booting = ONE_LESS
            .wait_timeout(booting, Duration::from_millis(20))
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock() -= 1;
        ONE_LESS.notify_one();
    }
}

fn lock() -> MutexGuard<'static, usize> {
    BOOTING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Verify that there are never more at once than CPUs allow, and that all
    /// get their turn.
    #[test]
    fn never_too_many() {
        let (now, most, all) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = Turn::wait().unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    all.fetch_add(1, Ordering::SeqCst);
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                });
            }
        });
        assert_eq!(all.into_inner(), 8);
        assert!(most.into_inner() <= (machine::cpus() / CPUS as usize).max(1));
    }
}
