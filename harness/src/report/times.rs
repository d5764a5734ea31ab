// SPDX-License-Identifier: GPL-2.0-only
//! Where the time went.

use std::fmt::Write;

use super::text;
use crate::results::Results;

/// A line for each step that took time, and for each boot how long it took to
/// user space.
pub fn times(results: &Results) -> String {
    let mut out = String::from("where the time went\n");
    let longest = |f: &dyn Fn(&crate::results::Step) -> String| {
        results
            .steps
            .iter()
            .map(|s| f(s).chars().count())
            .max()
            .unwrap_or(0)
            .min(40)
    };
    let name = longest(&|s| text::line(&s.name));
    let what = longest(&|s| text::line(&s.what));
    for step in &results.steps {
        let again = if step.cached {
            "  (from the cache)"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  {:>12}  {:<name$}  {:<what$}{again}",
            text::seconds(step.seconds),
            text::line(&step.name),
            text::line(&step.what)
        );
    }
    for run in &results.runs {
        if let Some(boot) = run.boot_seconds {
            let _ = writeln!(
                out,
                "  {:>12}  of run {} to user space",
                text::seconds(boot),
                text::run_name(run)
            );
        }
    }
    let _ = writeln!(out, "  {:>12}  in all", text::seconds(results.seconds));
    out.lines()
        .map(|l| l.trim_end().to_owned() + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Verify that each step has a line and that a cached one says so.
    #[test]
    fn every_step_is_there() {
        let results = sample::good();
        let shown = times(&results);
        for step in &results.steps {
            let line = shown
                .lines()
                .find(|l| l.contains(&step.what) && l.contains(&step.name))
                .unwrap();
            assert_eq!(line.contains("cache"), step.cached, "{line}");
        }
        assert!(shown.ends_with("in all\n"));
    }
}
