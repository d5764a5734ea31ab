// SPDX-License-Identifier: GPL-2.0-only
//! Memory that nothing refers to any more, where the kernel can look for it
//! (CONFIG_DEBUG_KMEMLEAK).

use std::{collections::HashSet, fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};
use protocol::{LEAKED_DURING, LEAKED_OUTSIDE};

use crate::{report::mark, traces::Machine};

const DEBUGFS: &str = "/sys/kernel/debug";
const FILE: &str = "/sys/kernel/debug/kmemleak";

/// Has the jiffies, which kmemleak gives and no clock for programs does.
const TIMERS: &str = "/proc/timer_list";

/// How what is said of an object begins.
const OBJECT: &str = "unreferenced object ";

/// What was allocated this recently is not reported: MSECS_MIN_AGE of mm/kmemleak.c.
const YOUNG: Duration = Duration::from_millis(5_500);

/// Whether this kernel can look for leaks.
pub(crate) fn can_be_found() -> bool {
    Path::new(FILE).exists()
}

/// Mounts debugfs where that was not done yet, so that [`can_be_found`] tells.
pub(crate) fn prepare() -> Result<()> {
    let mounted = mount(
        Some("debugfs"),
        DEBUGFS,
        Some("debugfs"),
        MsFlags::empty(),
        None::<&str>,
    );
    match mounted {
        // EBUSY: it is mounted there. And a kernel without debugfs has no kmemleak
        // either: it has no such file system, and no place for it.
        Ok(()) | Err(Errno::EBUSY | Errno::ENODEV | Errno::ENOENT) => Ok(()),
        Err(e) => Err(e).context("mounting debugfs, without which no leak would be found"),
    }
}

/// What leaked before the first case, by address: it is not theirs.
#[derive(Debug, Default)]
pub(crate) struct Before(HashSet<String>);

impl Before {
    /// Looks for it. In a guest it is forgotten; on somebody's machine it is
    /// theirs to keep, and to look at.
    pub(crate) fn now(machine: Machine) -> Result<Self> {
        if !can_be_found() {
            return Ok(Self::default());
        }
        write("scan")?;
        if machine == Machine::Guest {
            write("clear")?;
            return Ok(Self::default());
        }
        Ok(Self(objects(&found()?).map(str::to_owned).collect()))
    }
}

/// The addresses of the objects in a report.
fn objects(report: &str) -> impl Iterator<Item = &str> {
    let address = |line: &str| -> Option<usize> {
        let rest = line.strip_prefix(OBJECT)?;
        rest.find(' ').map(|at| OBJECT.len() + at)
    };
    report
        .lines()
        .filter_map(move |line| Some(&line[OBJECT.len()..address(line)?]))
}

/// The part of a report that is about objects that were not there before.
fn without(report: &str, before: &Before) -> String {
    let mut kept = String::new();
    let mut keep = true;
    for line in report.lines() {
        if let Some(address) = objects(line).next() {
            keep = !before.0.contains(address);
        }
        if keep {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// When a case ran, in jiffies: kmemleak says in them when something was allocated.
#[derive(Debug)]
pub(crate) struct Span {
    case: String,
    from: u64,
    to: u64,
}

/// The jiffies now; `None` where nothing is to be done with them.
pub(crate) fn now() -> Result<Option<u64>> {
    if !can_be_found() {
        return Ok(None);
    }
    let text = fs::read_to_string(TIMERS).with_context(|| format!("reading {TIMERS}"))?;
    let jiffies = number_after(&text, "jiffies: ");
    Ok(Some(jiffies.with_context(|| {
        format!("{TIMERS} does not say what the jiffies are")
    })?))
}

impl Span {
    /// That of a case that is over, from what [`now`] gave before it.
    pub(crate) fn since(from: Option<u64>, case: &str) -> Result<Option<Self>> {
        let span = from.zip(now()?).map(|(from, to)| Self {
            case: case.to_owned(),
            from,
            to,
        });
        Ok(span)
    }
}

/// Looks for leaks. The kernel logs how many it found, upon which the host
/// reports them; what they are goes to the log as well, each behind the case
/// during which it was allocated. Gives those lines.
pub(crate) fn look(spans: &[Span], before: &Before) -> Result<Vec<String>> {
    if !can_be_found() {
        return Ok(Vec::new());
    }
    thread::sleep(YOUNG);
    // A pointer that was on its way from one object to another during a scan
    // looks like a leak, and is found again by the next.
    for _ in 0..3 {
        write("scan")?;
    }
    let mut lines = told(&without(&found()?, before), spans);
    lines.truncate(100);
    for line in &lines {
        mark(line);
    }
    Ok(lines)
}

fn found() -> Result<String> {
    fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))
}

/// The lines of a report, with the case added to those that have jiffies.
fn told(report: &str, spans: &[Span]) -> Vec<String> {
    report
        .lines()
        .map(|line| match number_after(line, ", jiffies ") {
            Some(at) => {
                let case = spans.iter().find(|s| (s.from..=s.to).contains(&at));
                let when = case.map_or(LEAKED_OUTSIDE.to_owned(), |s| {
                    format!("{LEAKED_DURING}{}", s.case)
                });
                format!("{line}{when}")
            }
            None => line.to_owned(),
        })
        .collect()
}

/// The number behind the first `label`.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    rest[..digits.unwrap_or(rest.len())].parse().ok()
}

fn write(what: &str) -> Result<()> {
    fs::write(FILE, what).with_context(|| format!("writing {what} to {FILE}"))
}

#[cfg(test)]
mod tests {
    use super::{Before, Span, number_after, objects, told, without};

    /// Verify that what was there before is left out, whole, and nothing else.
    #[test]
    fn leaks_of_others() {
        let old = "unreferenced object 0xff01 (size 232):\n  comm \"x\", pid 1, jiffies 1\n";
        let new = "unreferenced object 0xff02 (size 64):\n  comm \"y\", pid 2, jiffies 2\n";
        let before = Before(objects(old).map(str::to_owned).collect());
        assert_eq!(without(&format!("{old}{new}"), &before), new);
        assert_eq!(without(old, &before), "");
        assert_eq!(without(old, &Before::default()), old);
    }

    /// Verify that what leaked is told with the case that it was allocated in,
    /// in the words of old and new kernels.
    #[test]
    fn leaks_have_a_case() {
        let span = |case: &str, from, to| Span {
            case: case.into(),
            from,
            to,
        };
        let spans = [
            span("a", 4_294_900_000, 4_294_900_100),
            span("b", 4_294_900_101, 4_294_900_200),
        ];
        let report = "unreferenced object 0xffff888003be4b40 (size 232):\n  \
                      comm \"softirq\", pid 0, jiffies 4294900150 (age 12.250s)\n  \
                      comm \"b\", pid 7, jiffies 4294900100\n  \
                      comm \"c\", pid 7, jiffies 4294900300\n";
        let lines = told(report, &spans);
        assert_eq!(
            lines[0],
            "unreferenced object 0xffff888003be4b40 (size 232):"
        );
        assert!(lines[1].ends_with("(age 12.250s): allocated during case b"));
        assert!(lines[2].ends_with(": allocated during case a"));
        assert!(lines[3].ends_with(": allocated while no case ran"));
    }

    /// Verify that the jiffies are read from what /proc/timer_list looks like.
    #[test]
    fn jiffies() {
        let text = "  .last_jiffies   : 4294937000\njiffies: 4294937301\n";
        assert_eq!(number_after(text, "jiffies: "), Some(4_294_937_301));
        assert_eq!(number_after("jiffies: \n", "jiffies: "), None);
    }
}
