// SPDX-License-Identifier: GPL-2.0-only
//! Where and when a run took place: a figure without its machine is no figure.

use std::{fs, time::SystemTime};

use crate::{accel::Choice, exec::Program, results::Machine, setup::VirtmeNg};

/// Describes this machine and what its guests run in.
pub fn describe(choice: &Choice, vng: &VirtmeNg) -> Machine {
    Machine {
        accel: choice.accel.word().to_owned(),
        accel_why: choice.why.clone(),
        qemu: first_line("qemu-system-x86_64"),
        virtme_ng: vng.version.clone(),
        ..here()
    }
}

fn first_line(program: &str) -> String {
    let text = Program::new(program)
        .arg("--version")
        .read()
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Describes this machine by itself. What cannot be read stays empty.
pub fn here() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let value = |l: &str| {
            Some(
                l.strip_prefix(name)?
                    .trim_start_matches([' ', '\t', ':', '='])
                    .trim()
                    .to_owned(),
            )
        };
        text.lines().find_map(value).unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    Machine {
        cpu: field(&read("/proc/cpuinfo"), "model name"),
        cpus: cpus(),
        memory_mib: kib / 1024,
        os: field(&read("/etc/os-release"), "PRETTY_NAME")
            .trim_matches('"')
            .to_owned(),
        compiler: first_line("gcc"),
        ..Machine::default()
    }
}

/// The time by this machine's clock: seconds since the epoch, UTC; 0 if it says that
/// it is before that.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// CPUs that this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// How many guests run at once: one for each CPU, and as many as half of the
/// memory that is free now holds.
pub fn guests() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|l| {
        let kib: u64 = l
            .strip_prefix("MemAvailable:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(kib / 1024)
    });
    let by_memory = available.unwrap_or(0) / 2 / u64::from(crate::run::MOST_MEMORY_MIB);
    cpus().min(by_memory as usize).max(1)
}
