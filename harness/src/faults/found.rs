// SPDX-License-Identifier: GPL-2.0-only
//! Faults that pass unnoticed unless something in the kernel looks for them: each
//! kind of report of the flavors `debug` and `kcsan`, once from a real kernel.

use super::list::{Fault, fault};
use crate::{cli::FaultyKernel, verdict::Verdict};

/// What is tried on a kernel; nothing but these on one whose detectors are on.
pub(super) fn on(kernel: FaultyKernel) -> &'static [Fault] {
    match kernel {
        FaultyKernel::Faulty => super::list::FAULTS,
        FaultyKernel::Debug => DEBUG,
        FaultyKernel::Kcsan => KCSAN,
    }
}

const NOTHING: Fault = fault("fault_none", "nothing goes wrong", Verdict::Pass, &[]);

const DEBUG: &[Fault] = &[
    NOTHING,
    fault(
        "fault_kernel_overflows",
        "the kernel writes past an object, and the case passes",
        Verdict::Splat,
        &["BUG: KASAN: slab-out-of-bounds in lkdtm_SLAB_LINEAR_OVERFLOW"],
    ),
    fault(
        "fault_kernel_uses_freed",
        "the kernel reads an object that it has freed, and the case passes",
        Verdict::Splat,
        &["BUG: KASAN: slab-use-after-free in lkdtm_READ_AFTER_FREE"],
    ),
    // Found after the last case, which the report names.
    Fault {
        verdict: Verdict::Pass,
        run: Verdict::Splat,
        ..fault(
            "fault_kernel_leaks",
            "the kernel forgets an object, and the case passes",
            Verdict::Splat,
            &["new suspected memory leak"],
        )
    },
    fault(
        "fault_kernel_holds_device",
        "the kernel keeps a device that is removed, and the case passes",
        Verdict::Splat,
        &["waiting for lkdtm to become free"],
    ),
    fault(
        "fault_kernel_keeps_lock",
        "the kernel returns to user space with a lock held, and the case passes",
        Verdict::Splat,
        &["lock held when returning to user space"],
    ),
    fault(
        "fault_kernel_array",
        "the kernel writes past an array, and the case passes",
        Verdict::Splat,
        &["UBSAN: array-index-out-of-bounds"],
    ),
];

const KCSAN: &[Fault] = &[
    NOTHING,
    fault(
        "fault_kernel_races",
        "two CPUs race for a variable, and the case passes",
        Verdict::Splat,
        &["BUG: KCSAN: data-race in lkdtm_DATA_RACE"],
    ),
];
