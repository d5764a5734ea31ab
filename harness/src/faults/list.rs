// SPDX-License-Identifier: GPL-2.0-only
//! What goes wrong in each guest, and the verdict that is due.

use crate::verdict::Verdict;

/// Something that goes wrong, and what must be said of it.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// The case in the guest; the well-behaved one when the fault is elsewhere.
    pub(super) case: &'static str,
    /// What goes wrong, in words.
    pub(super) what: &'static str,
    /// Where it goes wrong.
    pub(super) at: At,
    /// What the case must come to.
    pub(super) verdict: Verdict,
    /// What the run must come to.
    pub(super) run: Verdict,
    /// What a case after it must come to: another boot must have run it.
    pub(super) after: Verdict,
    /// What the case must come to when it is run again.
    pub(super) again: &'static [Verdict],
    /// Each must be in what is said of the run, the case or the kernel's reports.
    pub(super) says: &'static [&'static str],
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// In the case.
    Case,
    /// The kernel gets this parameter.
    Kernel(&'static str),
    /// QEMU gets this argument.
    Qemu(&'static str),
    /// QEMU is killed while the case runs.
    Killed,
    /// QEMU is killed after the guest has said that it is done.
    KilledWhenDone,
    /// QEMU gets a tenth of the time, from its start to its end.
    Slowed,
    /// What is bad is run again, with the kernel parameter in the first boot only.
    Retried(&'static str),
}

pub(super) const fn fault(
    case: &'static str,
    what: &'static str,
    verdict: Verdict,
    says: &'static [&'static str],
) -> Fault {
    Fault {
        case,
        what,
        at: At::Case,
        verdict,
        run: verdict,
        after: Verdict::Pass,
        again: &[],
        says,
    }
}

const fn elsewhere(
    what: &'static str,
    at: At,
    run: Verdict,
    says: &'static [&'static str],
) -> Fault {
    Fault {
        case: "fault_none",
        what,
        at,
        verdict: Verdict::Missing,
        run,
        after: Verdict::Missing,
        again: &[],
        says,
    }
}

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    fault("fault_none", "nothing goes wrong", Verdict::Pass, &[]),
    fault(
        "fault_fails",
        "a case fails",
        Verdict::Fail,
        &["on purpose"],
    ),
    fault(
        "fault_panics_itself",
        "a case panics",
        Verdict::Fail,
        &["it panicked: on purpose"],
    ),
    fault(
        "fault_fake_pass",
        "a case prints that it passed, and fails",
        Verdict::Fail,
        &["on purpose"],
    ),
    fault(
        "fault_console_flood",
        "the console is flooded",
        Verdict::Pass,
        &[],
    ),
    fault(
        "fault_is_slow",
        "a case takes ten times as long as usual",
        Verdict::Pass,
        &[],
    ),
    Fault {
        at: At::Slowed,
        ..fault(
            "fault_none",
            "the whole guest takes ten times as long as usual",
            Verdict::Pass,
            &[],
        )
    },
    fault(
        "fault_console_garbage",
        "garbage and forged messages are on the console, the kernel warns behind them, and the case passes",
        Verdict::Splat,
        &["WARNING"],
    ),
    Fault {
        at: At::Retried(protocol::FAIL),
        again: &[Verdict::Pass],
        ..fault(
            "fault_fails_if_told",
            "a case fails, and passes when it is run again",
            Verdict::Fail,
            &["on purpose"],
        )
    },
    Fault {
        at: At::Retried("quiet"),
        again: &[Verdict::Fail],
        ..fault(
            "fault_fails",
            "a case fails, and fails when it is run again",
            Verdict::Fail,
            &["on purpose"],
        )
    },
    fault(
        "fault_kernel_warns",
        "the kernel warns, and the case passes",
        Verdict::Splat,
        &["WARNING"],
    ),
    fault(
        "fault_kernel_oopses",
        "the kernel oopses, and the case passes",
        Verdict::Crash,
        &["NULL pointer"],
    ),
    fault(
        "fault_kernel_bug",
        "the kernel finds a bug, and the case passes",
        Verdict::Crash,
        &["invalid opcode"],
    ),
    fault(
        "fault_kernel_panics",
        "the kernel panics",
        Verdict::Crash,
        &["sysrq triggered crash"],
    ),
    fault(
        "fault_kernel_deadlocks",
        "a CPU waits for a lock for ever",
        Verdict::Hang,
        &["in queued_spin_lock_slowpath+"],
    ),
    fault(
        "fault_kernel_spins",
        "a CPU spins with interrupts off",
        Verdict::Hang,
        &["in lkdtm_HARDLOCKUP+", "hard LOCKUP"],
    ),
    fault(
        "fault_sleeps",
        "a case never ends",
        Verdict::Hang,
        &["task:selftests"],
    ),
    fault(
        "fault_aborts",
        "the guest's program is killed by a signal",
        Verdict::Lost,
        &[],
    ),
    fault(
        "fault_powers_off",
        "the guest powers off in a case",
        Verdict::Lost,
        &[],
    ),
    fault(
        "fault_half_a_record",
        "the guest ends within a record",
        Verdict::Lost,
        &["record "],
    ),
    fault(
        "fault_port_garbage",
        "garbage comes over the port",
        Verdict::Lost,
        &["record "],
    ),
    fault(
        "fault_forged_record",
        "a record comes out of order",
        Verdict::Lost,
        &["record "],
    ),
    fault(
        "fault_garbage_and_silence",
        "garbage comes over the port, then nothing for longer than the deadline",
        Verdict::Lost,
        &["record "],
    ),
    Fault {
        verdict: Verdict::Pass,
        ..fault(
            "fault_ends_without_done",
            "the guest ends after a case, without a word",
            Verdict::Lost,
            &["no `done`"],
        )
    },
    Fault {
        verdict: Verdict::Pass,
        after: Verdict::Missing,
        ..fault(
            "fault_done_too_early",
            "the guest says that it is done before it is",
            Verdict::Lost,
            &["or none at its end"],
        )
    },
    Fault {
        verdict: Verdict::Pass,
        ..fault(
            "fault_done_twice",
            "the guest says twice that it is done",
            Verdict::Lost,
            &["after `done`"],
        )
    },
    Fault {
        verdict: Verdict::Fail,
        ..fault(
            "fault_takes_a_failure_back",
            "a case that failed runs again, and passes",
            Verdict::Lost,
            &["had run already"],
        )
    },
    fault(
        "fault_kernel_oopses_itself",
        "the kernel ends the thread of a case with an oops",
        Verdict::Crash,
        &["NULL pointer"],
    ),
    Fault {
        at: At::Killed,
        ..fault(
            "fault_sleeps",
            "QEMU is killed",
            Verdict::Lost,
            &["no `done`"],
        )
    },
    fault(
        "fault_kernel_refcount",
        "a reference count overflows, and the case passes",
        Verdict::Splat,
        &["refcount_t: "],
    ),
    fault(
        "fault_kernel_array",
        "the kernel writes past an array, and the case passes",
        Verdict::Splat,
        &["UBSAN: array-index-out-of-bounds"],
    ),
    fault(
        "fault_kernel_keeps_lock",
        "the kernel returns to user space with a lock held, and the case passes",
        Verdict::Splat,
        &["lock held when returning to user space"],
    ),
    fault(
        "fault_kernel_hung_task",
        "a task waits for ever, and the case passes",
        Verdict::Splat,
        &["blocked for more than"],
    ),
    fault(
        "fault_warns_in_a_flood",
        "the kernel warns while the console is flooded, and the case passes",
        Verdict::Splat,
        &["WARNING"],
    ),
    fault(
        "fault_endless_console_flood",
        "the console is flooded without end",
        Verdict::Hang,
        &["task:selftests"],
    ),
    fault(
        "fault_kernel_stalls",
        "a CPU spins with interrupts on",
        Verdict::Hang,
        &[
            // With interrupts on, the registers may be those of an interrupt's
            // handler: of the kernel's own reports one names the function.
            "lkdtm_SOFTLOCKUP+",
            "soft lockup",
            "stall",
            "Showing all locks held",
            "held by sh/",
        ],
    ),
    fault(
        "fault_half_a_record_and_silence",
        "the guest stops in the middle of a record",
        Verdict::Hang,
        &["task:selftests"],
    ),
    Fault {
        verdict: Verdict::Pass,
        ..fault(
            "fault_done_and_garbage",
            "garbage comes over the port after the guest is done",
            Verdict::Lost,
            &["record "],
        )
    },
    Fault {
        verdict: Verdict::Pass,
        ..fault(
            "fault_done_and_no_end",
            "the guest is done, and does not end",
            Verdict::Hang,
            &["no progress in shutdown", "task:selftests"],
        )
    },
    // What the cases came to stands: the kernel log has the start and the end of
    // each. What it had to say after them, a leak or a reference that nobody
    // dropped among it, nobody has seen: the run is not good.
    Fault {
        at: At::KilledWhenDone,
        verdict: Verdict::Pass,
        ..fault(
            "fault_done_and_no_end",
            "QEMU is killed after the guest is done",
            Verdict::Lost,
            &["to say was not seen"],
        )
    },
    elsewhere(
        "the kernel panics as it boots",
        At::Kernel("rootfstype=none"),
        Verdict::Crash,
        &["Unable to mount root"],
    ),
    elsewhere(
        "init never starts",
        At::Kernel("rootdelay=100000"),
        Verdict::Hang,
        &["before mounting root device"],
    ),
    elsewhere(
        "the machine never starts",
        At::Qemu("-S"),
        Verdict::Hang,
        &["no progress in boot"],
    ),
];
