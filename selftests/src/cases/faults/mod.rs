// SPDX-License-Identifier: GPL-2.0-only
//! Guests that misbehave on purpose: what the harness tests itself with. They
//! prove nothing of a kernel, so they are not among the cases of `list`.

mod guest;
mod kernel;

use std::{thread, time::Duration};

use protocol::reason;

use self::{
    guest::{done, ended, port, records, scaled},
    kernel::{provoke, write},
};
use super::Case;
use crate::fail::{Verdict, failed};

/// Name, deadline without emulation in milliseconds, and what it does.
type Fault = (&'static str, u64, fn() -> Verdict);

pub(super) fn cases() -> Vec<Case> {
    FAULTS
        .iter()
        .map(|&(name, deadline_ms, run)| Case {
            deadline_ms,
            waits_ms: 0,
            ..Case::closure(
                name,
                &["fault"],
                "Verify that it is not taken for a pass",
                run,
            )
            .dangerous("it misbehaves on purpose, and most take the kernel along")
        })
        .collect()
}

const FAULTS: &[Fault] = &[
    ("fault_none", 2_000, || Ok(())),
    ("fault_none_again", 2_000, || Ok(())),
    ("fault_fails", 2_000, || {
        Err(failed(reason::WRONG_VALUE, "on purpose"))
    }),
    ("fault_fails_if_told", 2_000, guest::fail_if_told),
    ("fault_panics_itself", 2_000, || panic!("on purpose")),
    ("fault_kernel_panics", 6_000, || {
        Ok(write("/proc/sysrq-trigger", b"c")?)
    }),
    ("fault_kernel_oopses", 6_000, || Ok(provoke("EXCEPTION")?)),
    ("fault_kernel_oopses_itself", 6_000, || {
        // The kernel ends this very thread.
        Ok(write(kernel::PROVOKE, b"EXCEPTION")?)
    }),
    ("fault_kernel_bug", 6_000, || Ok(provoke("BUG")?)),
    ("fault_kernel_warns", 6_000, || Ok(provoke("WARNING")?)),
    ("fault_kernel_refcount", 6_000, || {
        Ok(provoke("REFCOUNT_ADD_OVERFLOW")?)
    }),
    ("fault_kernel_array", 6_000, || Ok(provoke("ARRAY_BOUNDS")?)),
    ("fault_kernel_keeps_lock", 6_000, || {
        Ok(provoke("SPINLOCKUP")?)
    }),
    ("fault_kernel_hung_task", 6_000, kernel::hang_a_task),
    ("fault_kernel_overflows", 6_000, || {
        Ok(provoke("SLAB_LINEAR_OVERFLOW")?)
    }),
    ("fault_kernel_uses_freed", 6_000, || {
        Ok(provoke("READ_AFTER_FREE")?)
    }),
    ("fault_kernel_leaks", 6_000, || Ok(provoke("LEAK")?)),
    ("fault_kernel_holds_device", 6_000, kernel::hold_a_device),
    ("fault_kernel_races", 6_000, kernel::race),
    ("fault_kernel_deadlocks", 2_000, || {
        // The first takes the lock, the second waits for it for ever.
        provoke("SPINLOCKUP")?;
        Ok(provoke("SPINLOCKUP")?)
    }),
    ("fault_kernel_spins", 5_000, kernel::spin_without_interrupts),
    (
        "fault_kernel_stalls",
        6_000,
        kernel::spin_without_scheduling,
    ),
    ("fault_sleeps", 2_000, || guest::sleep_for_ever()),
    ("fault_is_slow", 2_000, || {
        // Ten times the tenth of a second that a case takes, and a half of its deadline.
        thread::sleep(scaled(Duration::from_secs(1))?);
        Ok(())
    }),
    ("fault_aborts", 2_000, || std::process::abort()),
    ("fault_powers_off", 6_000, || {
        nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF)
            .map_err(anyhow::Error::from)?;
        Ok(())
    }),
    ("fault_half_a_record", 2_000, || {
        port(HALF_A_RECORD)?;
        std::process::exit(0)
    }),
    ("fault_half_a_record_and_silence", 2_000, || {
        port(HALF_A_RECORD)?;
        guest::sleep_for_ever()
    }),
    ("fault_port_garbage", 2_000, || Ok(port(GARBAGE)?)),
    ("fault_garbage_and_silence", 2_000, || {
        port(GARBAGE)?;
        thread::sleep(scaled(Duration::from_millis(2_600))?);
        Ok(())
    }),
    ("fault_forged_record", 2_000, || {
        // Well formed, but not where the stream is.
        Ok(records(1_000, &[ended("fault_forged_record")])?)
    }),
    ("fault_ends_without_done", 2_000, || {
        records(2, &[ended("fault_ends_without_done")])?;
        std::process::exit(0)
    }),
    ("fault_done_too_early", 2_000, || {
        records(2, &[ended("fault_done_too_early"), done()])?;
        std::process::exit(0)
    }),
    ("fault_done_twice", 2_000, || {
        records(2, &[ended("fault_done_twice"), done(), done()])?;
        std::process::exit(0)
    }),
    ("fault_takes_a_failure_back", 2_000, || {
        guest::take_a_failure_back("fault_takes_a_failure_back")?;
        std::process::exit(0)
    }),
    ("fault_done_and_no_end", 2_000, || {
        guest::when_it_ends(guest::never_end)
    }),
    ("fault_done_and_garbage", 2_000, || {
        guest::when_it_ends(guest::garbage_at_the_end)
    }),
    ("fault_fake_pass", 2_000, guest::fake_pass),
    ("fault_console_garbage", 6_000, guest::console_garbage),
    ("fault_console_flood", 6_000, guest::console_flood),
    (
        "fault_endless_console_flood",
        2_000,
        guest::endless_console_flood,
    ),
    ("fault_warns_in_a_flood", 6_000, guest::warning_in_a_flood),
];

const HALF_A_RECORD: &[u8] = b"{\"seq\":3,\"at_us\":";
const GARBAGE: &[u8] = b"\x00\xff{\"seq\": nonsense}\n";
