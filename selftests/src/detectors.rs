// SPDX-License-Identifier: GPL-2.0-only
//! What this kernel has that finds bugs by itself and is still looking for them.
//! Most of it can turn itself off: its own first report, lack of memory, or a
//! parameter is enough, and nothing more is heard.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::Path,
};

use protocol::Detector;

/// The detectors that are at work now. debugfs must have been mounted.
pub(crate) fn at_work() -> BTreeSet<Detector> {
    below(Path::new("/"))
}

fn below(root: &Path) -> BTreeSet<Detector> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let number = |name: &str| -> i64 {
        let text = text(&format!("proc/sys/kernel/{name}"));
        text.trim().parse().unwrap_or(0)
    };
    let at_work = |detector: &Detector| match detector {
        // It is off after its first report unless it was told otherwise.
        Detector::Kasan => text("proc/cmdline")
            .split_whitespace()
            .any(|word| word == "kasan_multi_shot"),
        Detector::Kcsan => text("sys/kernel/debug/kcsan")
            .lines()
            .any(|l| l.trim() == "enabled: 1"),
        Detector::Kmemleak => takes_orders(&root.join("sys/kernel/debug/kmemleak")),
        // One report of it, an oops, or too many locks turn it off.
        Detector::Lockdep => text("proc/lockdep_stats").lines().any(|l| {
            l.trim()
                .strip_prefix("debug_locks:")
                .is_some_and(|on| on.trim() == "1")
        }),
        Detector::SoftLockup => number("soft_watchdog") == 1 && number("watchdog_thresh") > 0,
        Detector::HardLockup => number("nmi_watchdog") == 1 && number("watchdog_thresh") > 0,
        // It says so many times that a task hangs, and is silent then.
        Detector::HungTask => {
            number("hung_task_timeout_secs") > 0 && number("hung_task_warnings") != 0
        }
    };
    Detector::ALL.into_iter().filter(at_work).collect()
}

/// Whether kmemleak takes an order that changes nothing: once it is off, it refuses.
fn takes_orders(file: &Path) -> bool {
    File::options()
        .write(true)
        .open(file)
        .and_then(|mut f| f.write_all(b"stack=on"))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a kernel whose detectors are all at work.
    const AT_WORK: [(&str, &str, Detector); 7] = [
        (
            "proc/cmdline",
            "console=ttyS0 kasan_multi_shot quiet\n",
            Detector::Kasan,
        ),
        (
            "sys/kernel/debug/kcsan",
            "enabled: 1\nused_watchpoints: 0\n",
            Detector::Kcsan,
        ),
        ("sys/kernel/debug/kmemleak", "", Detector::Kmemleak),
        (
            "proc/lockdep_stats",
            " lock-classes:    1 [max: 8192]\n debug_locks:                             1\n",
            Detector::Lockdep,
        ),
        ("proc/sys/kernel/soft_watchdog", "1\n", Detector::SoftLockup),
        ("proc/sys/kernel/nmi_watchdog", "1\n", Detector::HardLockup),
        (
            "proc/sys/kernel/hung_task_timeout_secs",
            "120\n",
            Detector::HungTask,
        ),
    ];

    fn kernel() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let others = [("hung_task_warnings", "10\n"), ("watchdog_thresh", "10\n")];
        let others = others.map(|(name, text)| (format!("proc/sys/kernel/{name}"), text));
        let all = AT_WORK.map(|(path, text, _)| (path.to_owned(), text));
        for (path, text) in all.into_iter().chain(others) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// Verify that each is seen at work, and that one whose file is missing, or
    /// says that it is off, is the one that is not.
    #[test]
    fn each_is_missed() {
        let all = BTreeSet::from(Detector::ALL);
        assert_eq!(below(kernel().path()), all);
        for (path, _, detector) in AT_WORK {
            let root = kernel();
            fs::remove_file(root.path().join(path)).unwrap();
            let mut rest = all.clone();
            rest.remove(&detector);
            assert_eq!(below(root.path()), rest, "{path} is missing");
        }
        for (path, text, detector) in [
            ("proc/cmdline", "kasan_multi_shot_not", Detector::Kasan),
            ("sys/kernel/debug/kcsan", "enabled: 0\n", Detector::Kcsan),
            (
                "proc/lockdep_stats",
                " debug_locks:    0\n",
                Detector::Lockdep,
            ),
            (
                "proc/sys/kernel/hung_task_warnings",
                "0\n",
                Detector::HungTask,
            ),
            ("proc/sys/kernel/soft_watchdog", "0\n", Detector::SoftLockup),
        ] {
            let root = kernel();
            fs::write(root.path().join(path), text).unwrap();
            assert!(!below(root.path()).contains(&detector), "{path}: {text}");
        }
    }
}
