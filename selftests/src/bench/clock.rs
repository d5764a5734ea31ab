// SPDX-License-Identifier: GPL-2.0-only
//! The clock that figures are read from.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Ticks since some moment: of the CPU's time stamp counter, which under QEMU's
/// icount counts instructions one by one. The kernel's clocks are derived from
/// it with a rate that is measured at boot, and differ by a little every time.
#[cfg(target_arch = "x86_64")]
pub(super) fn now() -> u64 {
    // SAFETY: every x86_64 CPU has the instruction, and Linux lets programs use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// How many ticks a loop of exactly 2,000 instructions takes: where the clock
/// counts instructions, 2,000 and the few that read it. The least of several
/// times, as an interrupt may come in between.
pub(super) fn of_2000_instructions() -> u64 {
    (0..9).map(|_| loop_of_2000()).min().unwrap_or(u64::MAX)
}

#[cfg(target_arch = "x86_64")]
fn loop_of_2000() -> u64 {
    let start = now();
    // SAFETY: two instructions a thousand times, on a register of their own.
    unsafe {
        core::arch::asm!(
            "2:",
            "dec {count}",
            "jnz 2b",
            count = inout(reg) 1000_u64 => _,
            options(nomem, nostack),
        );
    }
    now() - start
}

/// What nanoseconds are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// Instructions of each of so many CPUs, none of which is ever idle. QEMU has
    /// one clock for all of them, on which an instruction of any is a nanosecond.
    Instructions(u64),
    /// Time that passes.
    Wall,
}

impl Clock {
    /// Nanoseconds since some moment.
    pub(super) fn ns(self) -> u64 {
        match self {
            Self::Instructions(cpus) => now() / cpus,
            Self::Wall => clock_gettime(ClockId::CLOCK_MONOTONIC)
                .map_or(0, |t| Duration::from(t).as_nanos() as u64),
        }
    }

    /// Lets the other CPUs have their turn, where there are turns. QEMU ends the
    /// turn of a CPU that executes PAUSE (target/i386/tcg/misc_helper.c) or HLT,
    /// and otherwise only when the next of its timers is due.
    pub(super) fn turn(self) {
        if matches!(self, Self::Instructions(_)) {
            std::hint::spin_loop();
        }
    }
}
