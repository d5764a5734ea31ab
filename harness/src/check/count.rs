// SPDX-License-Identifier: GPL-2.0-only
//! How many tests there were, and what each came to.

use crate::disturb::{Came, Trial};

/// What has been counted so far.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    /// Trials of the harness itself that could not be made here, each with why.
    untried: Vec<String>,
}

impl Count {
    pub(super) fn one(&mut self, name: &str, good: bool) {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        println!("{} {name}", if good { "ok  " } else { "FAIL" });
    }

    /// A trial of the harness; one that could not be made here is no pass.
    pub(super) fn trial(&mut self, kind: &str, trial: &Trial) {
        let name = format!("{kind}: {}", trial.what);
        match &trial.came {
            Came::Due => self.one(&name, true),
            Came::Wrong(came) => {
                self.one(&name, false);
                println!("     {came}");
            }
            Came::Untried(why) => self.untried(format!("{name}: {why}")),
        }
    }

    pub(super) fn untried(&mut self, what: String) {
        println!("skip {what}");
        self.untried.push(what);
    }

    /// What cargo's runner said of the unit tests. None at all are no good sign.
    pub(super) fn unit_tests(&mut self, said: &str, good: bool) -> bool {
        let (mut passed, mut failed) = (0, 0);
        for line in said.lines().filter(|l| l.starts_with("test result:")) {
            passed += number_before(line, " passed").unwrap_or(0);
            failed += number_before(line, " failed").unwrap_or(0);
            self.skipped += number_before(line, " ignored").unwrap_or(0);
        }
        self.passed += passed;
        let good = good && failed == 0 && passed > 0;
        // A test that does not even build counts as one that failed.
        self.failed += if good { 0 } else { failed.max(1) };
        println!(
            "{} unit tests: {passed} passed, {failed} failed",
            if good { "ok  " } else { "FAIL" }
        );
        good
    }

    /// The last words, and whether all is good; `deny` makes a trial that could
    /// not be made a failure.
    pub(super) fn close(&self, deny: bool) -> (String, bool) {
        let mut said = String::new();
        for what in &self.untried {
            said.push_str(&format!("not tried here: {what}\n"));
        }
        let skipped = self.skipped + if deny { 0 } else { self.untried.len() };
        let failed = self.failed + if deny { self.untried.len() } else { 0 };
        said.push_str(&format!("{} passed, {failed} failed", self.passed));
        if skipped > 0 {
            said.push_str(&format!(", {skipped} skipped"));
        }
        (said, failed == 0 && self.passed > 0)
    }
}

pub(super) fn number_before(line: &str, word: &str) -> Option<usize> {
    line.split(word)
        .next()?
        .rsplit([' ', ';'])
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that no unit test at all is a failure, and so is one that did not build.
    #[test]
    fn no_unit_test_is_a_failure() {
        let of = |said: &str, good| {
            let mut count = Count {
                passed: 7,
                ..Count::default()
            };
            let said_so = count.unit_tests(said, good);
            (said_so, count.close(false).1)
        };
        let line = |passed, failed| {
            format!("test result: x. {passed} passed; {failed} failed; 0 ignored\n")
        };
        assert_eq!(of(&line(3, 0), true), (true, true));
        assert_eq!(of(&line(0, 0), true), (false, false));
        assert_eq!(of("", true), (false, false));
        assert_eq!(of(&line(3, 1), true), (false, false));
        assert_eq!(of(&line(3, 0), false), (false, false));
    }

    /// Verify that a trial that was not made is told with its reason at the end,
    /// and is a failure where that was asked for.
    #[test]
    fn what_was_not_tried_is_told() {
        let mut count = Count {
            passed: 2,
            skipped: 1,
            ..Count::default()
        };
        assert_eq!(
            count.close(true),
            ("2 passed, 0 failed, 1 skipped".into(), true)
        );
        count.untried("a full disk: no mounts here".into());
        let (said, good) = count.close(false);
        assert!(good && said.contains("not tried here: a full disk: no mounts here\n"));
        assert!(said.ends_with("2 passed, 0 failed, 2 skipped"), "{said}");
        let (said, good) = count.close(true);
        assert!(
            !good && said.ends_with("2 passed, 1 failed, 1 skipped"),
            "{said}"
        );
    }

    /// Verify that cargo's own count is read right.
    #[test]
    fn counts_are_read() {
        let line = "test result: ok. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(number_before(line, " passed"), Some(12));
        assert_eq!(number_before(line, " failed"), Some(3));
        assert_eq!(number_before(line, " ignored"), Some(1));
    }
}
