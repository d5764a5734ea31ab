// SPDX-License-Identifier: GPL-2.0-only
//! What a guest that hung was doing: asked of QEMU first, which answers whatever
//! the kernel does, then of the kernel, and told with the most useful first.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{exec::POLL, interrupt, vm::Vm};

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kernel that wrote nothing for so long since it was asked, or since its last
/// line, has nothing more to say.
const SILENCE: Duration = Duration::from_secs(10);

/// A kernel that writes for ever does not end either. Bytes.
const LONGEST: Duration = Duration::from_secs(120);
const MOST_BYTES: u64 = 16 << 20;

/// Lines of the console before the deadline that are kept beside the console
/// itself, and of what the kernel said of its tasks.
const LINES_BEFORE: usize = 200;
const LINES_OF_TASKS: usize = 2_000;

/// What comes before it says most: where each CPU was, and the held locks.
pub const REGISTERS: &str = "-- registers:";

/// Around the locks, from kernel/locking/lockdep.c.
const LOCKS_BEGIN: &str = "Showing all locks held in the system:";
const LOCKS_END: &str = "=====================";
const LOCKDEP_IS_OFF: &str = "lockdep is turned off";

/// What was found out of a guest, but for what is on its console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Registers of each CPU, as QEMU gives them, or why there are none.
    pub registers: Vec<String>,
    /// Why the kernel's answer on the console is not whole; `None` when it came
    /// to its end and the machine with it.
    pub cut: Option<String>,
}

/// Asks for registers, then has the kernel write its tasks and locks to the
/// console and end, and waits until it has or writes no more. What cannot be had
/// is said in its place; the only error is an interruption.
pub fn ask(vm: &mut Vm) -> Result<Answer> {
    let registers = vm
        .registers(PATIENCE)
        .unwrap_or_else(|e| vec![format!("(they could not be had: {e:#})")]);
    interrupt::check()?;
    let before = length(&vm.console());
    if let Err(e) = vm.interrupt_it(PATIENCE) {
        return Ok(Answer {
            registers,
            cut: Some(format!("it could not be asked: {e:#}")),
        });
    }
    let start = Instant::now();
    let mut sign = start;
    let mut seen = before;
    let cut = loop {
        if !matches!(vm.try_wait(), Ok(None)) {
            break None;
        }
        interrupt::check()?;
        let now = length(&vm.console());
        if now > seen {
            (seen, sign) = (now, Instant::now());
        }
        if sign.elapsed() > SILENCE {
            let said = if seen > before {
                "nothing more"
            } else {
                "nothing"
            };
            break Some(format!("it wrote {said} for {} s", SILENCE.as_secs()));
        }
        if start.elapsed() > LONGEST || seen - before > MOST_BYTES {
            break Some(format!(
                "it was still writing after {:.0} s and {} KiB",
                start.elapsed().as_secs_f64(),
                (seen - before) >> 10
            ));
        }
        std::thread::sleep(POLL);
    };
    Ok(Answer { registers, cut })
}

/// How much of the console is looked at for [`tell`]: of what was there before
/// the kernel was asked, and of what came after. Bytes.
pub const LOOKED_AT: (u64, u64) = (256 << 10, MOST_BYTES);

/// Puts it together: locks, registers, the console's last lines before, tasks.
/// `before` and `after` are lines of the console, from before the kernel was
/// asked and from then on.
pub fn tell(answer: Answer, before: Vec<String>, after: Vec<String>) -> Vec<String> {
    let (locks, tasks) = without_locks(after);
    let mut told = vec!["-- held locks:".to_owned()];
    told.extend(say_locks(locks, &tasks, answer.cut.as_deref()));
    told.push(REGISTERS.into());
    told.extend(answer.registers);
    told.push(format!("-- the last {LINES_BEFORE} lines of the console:"));
    let skipped = before.len().saturating_sub(LINES_BEFORE);
    told.extend(before.into_iter().skip(skipped));
    told.push("-- what the kernel said when it was asked for its tasks:".into());
    let more = tasks.len().saturating_sub(LINES_OF_TASKS);
    told.extend(tasks.into_iter().take(LINES_OF_TASKS));
    if more > 0 {
        told.push(format!("... {more} more lines in the console log"));
    }
    if let Some(cut) = answer.cut {
        told.push(format!("(this is not all: {cut})"));
    }
    told
}

/// Whether a CPU was at work in the kernel, or in a program of BPF, rather than
/// halted or in user space, as far as the registers in a state that was told say.
pub fn was_busy(told: &[String]) -> bool {
    let registers = told.iter().skip_while(|l| *l != REGISTERS).skip(1);
    let mut registers = registers.take_while(|l| !l.starts_with("-- "));
    let says = |line: &str, what| line.split_whitespace().any(|w| w == what);
    registers.any(|l| l.starts_with("RIP=") && says(l, "CPL=0") && says(l, "HLT=0"))
}

/// The first list of held locks, and everything that is in none: the kernel may
/// write it twice.
fn without_locks(lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let (mut locks, mut rest) = (Vec::new(), Vec::new());
    let (mut lists, mut inside) = (0, false);
    for line in lines {
        if line.contains(LOCKS_BEGIN) {
            lists += 1;
            inside = true;
        }
        let ends = inside && line.contains(LOCKS_END);
        match (inside, lists) {
            (true, 1) => locks.push(line),
            (true, _) => {}
            (false, _) => rest.push(line),
        }
        inside &= !ends;
    }
    (locks, rest)
}

/// The held locks, or why there are none to be told.
fn say_locks(locks: Vec<String>, rest: &[String], cut: Option<&str>) -> Vec<String> {
    if !locks.is_empty() {
        let whole = locks.iter().any(|l| l.contains(LOCKS_END));
        let note = (!whole).then(|| "(the list is not whole)".to_owned());
        return locks.into_iter().chain(note).collect();
    }
    let why = if rest.iter().any(|l| l.contains(LOCKDEP_IS_OFF)) {
        "(lockdep was off by then: its first report turns it off, a CPU that has interrupts off makes it report when the kernel is asked, and up to 5.10 the question itself turns it off)".into()
    } else if let Some(cut) = cut {
        format!("(not known: the kernel was asked, and {cut})")
    } else {
        "(no lockdep in this kernel: without CONFIG_LOCKDEP nobody knows who holds which)".into()
    };
    vec![why]
}

/// Length of a file; 0 where there is none. Bytes.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|l| (*l).to_owned()).collect()
    }

    fn answer(cut: Option<&str>) -> Answer {
        Answer {
            registers: lines(&["CPU#0", "RIP=1", "CPU#1", "RIP=2"]),
            cut: cut.map(str::to_owned),
        }
    }

    /// Verify that locks and all registers come before a dump of whatever length,
    /// and that a list of locks that came twice is told once.
    #[test]
    fn the_most_useful_is_first() {
        let list = [
            "[1.0] Showing all locks held in the system:",
            "[1.0] 1 lock held by sh/7:",
            "[1.0]  #0: (sb_writers#5){.+.+}",
            "[1.0] =============================================",
        ];
        let mut after = vec!["[1.0] task:init".to_owned(); LINES_OF_TASKS + 5];
        after.extend(lines(&list));
        after.push("[1.1] between".into());
        after.extend(lines(&list));
        after.push("[1.2] end".into());
        let before = vec!["[0.5] before".to_owned(); LINES_BEFORE + 9];
        let told = tell(answer(None), before, after);
        let at = |what: &str| told.iter().position(|l| l.contains(what)).unwrap();
        assert!(at("sb_writers#5") < at("RIP=1"));
        assert!(at("RIP=2") < at("before") && at("before") < at("task:init"));
        let times = |what: &str| told.iter().filter(|l| l.contains(what)).count();
        assert_eq!((times("sb_writers"), times("RIP=")), (1, 2));
        assert_eq!(times("[0.5] before"), LINES_BEFORE);
        assert_eq!(told.last().unwrap(), "... 7 more lines in the console log");
    }

    /// Verify that only a CPU that QEMU says was at work in the kernel is busy, and
    /// that no line which the guest may have written is taken for QEMU's.
    #[test]
    fn busy_is_what_the_registers_say() {
        let of = |rip: &[&str]| {
            let answer = Answer {
                registers: lines(rip),
                cut: None,
            };
            tell(answer, lines(&[SPINS]), lines(&[SPINS]))
        };
        const SPINS: &str = "RIP=ffffffff81a3c1f0 RFL=00000246 [-] CPL=0 II=0 A20=1 SMM=0 HLT=0";
        let halted = SPINS.replace("HLT=0", "HLT=1");
        let user = SPINS.replace("CPL=0", "CPL=3");
        assert!(was_busy(&of(&["CPU#0", &halted, "CPU#1", SPINS])));
        assert!(!was_busy(&of(&["CPU#0", &halted, "CPU#1", &user])));
        assert!(!was_busy(&of(&["(they could not be had: no answer)"])));
        assert!(!was_busy(&[]));
    }

    /// Verify that no list of locks is told for the reason that there is none.
    #[test]
    fn no_locks_has_a_reason() {
        let said = |cut, after: &[&str]| tell(answer(cut), vec![], lines(after))[1].clone();
        assert!(said(None, &["task:a"]).contains("no lockdep in this kernel"));
        let cut = said(Some("it wrote nothing for 10 s"), &["task:a"]);
        assert!(cut.contains("not known") && cut.contains("10 s"), "{cut}");
        assert!(said(None, &["INFO: lockdep is turned off."]).contains("lockdep was off"));
        let half = tell(answer(Some("x")), vec![], lines(&[LOCKS_BEGIN, "1 lock"]));
        assert_eq!(half[2..4], ["1 lock", "(the list is not whole)"]);
    }
}
