// SPDX-License-Identifier: GPL-2.0-only
//! What the kernels said.

use std::collections::BTreeMap;

use std::path::Path;

use super::{Page, escape};
use crate::{
    report::{
        console::{self, Excerpt},
        text,
    },
    splat::Splat,
};

impl Page<'_> {
    pub(super) fn splat(&mut self, splat: &Splat, place: &str) {
        let times = if splat.count > 1 {
            format!(", {} times", splat.count)
        } else {
            String::new()
        };
        let place = if place.is_empty() {
            String::new()
        } else {
            format!(" ({place})")
        };
        let title = format!("{}{times}: {}{place}", splat.kind, splat.title);
        self.block(&title, &splat.lines, splat.fatal);
    }

    /// Each different report once, whichever runs and cases it was in.
    pub(super) fn splats(&mut self) {
        let mut all: BTreeMap<&str, (&Splat, usize, Vec<String>)> = BTreeMap::new();
        for run in &self.results.runs {
            for (at, splat) in run.splats.iter().enumerate() {
                let entry = all
                    .entry(&splat.fingerprint)
                    .or_insert((splat, 0, Vec::new()));
                entry.1 += splat.count;
                let cases = run.cases.iter().filter(|c| c.splats.contains(&at));
                let mut cases: Vec<&str> = cases.map(|c| c.name.as_str()).collect();
                if cases.is_empty() {
                    cases.push("outside a case");
                }
                let places = cases
                    .iter()
                    .map(|case| format!("{} on {}", text::line(case), text::run_name(run)));
                entry.2.extend(places);
            }
        }
        if all.is_empty() {
            return;
        }
        self.add("<h2 id=\"splats\">What the kernels logged</h2>");
        for (splat, count, places) in all.into_values() {
            let once = Splat {
                count,
                ..splat.clone()
            };
            self.splat(&once, &places.join(", "));
        }
    }

    pub(super) fn consoles(&mut self, dir: &Path) {
        let consoles: Vec<_> = self
            .results
            .runs
            .iter()
            .filter_map(|r| Some((r, console::read(dir, &r.console)?)))
            .collect();
        if consoles.is_empty() {
            return;
        }
        self.add("<h2 id=\"consoles\">Consoles by case</h2>");
        for (run, console) in consoles {
            self.add(&format!(
                "<details><summary>{}</summary>",
                escape(&text::run_name(run))
            ));
            let link = escape(&text::line(&run.console));
            self.add(&format!("<p>Whole: <a href=\"{link}\">{link}</a></p>"));
            self.excerpt("Outside every case", &console.outside);
            for case in &run.cases {
                let Some(excerpt) = console.cases.get(&case.name).filter(|e| e.len() > 0) else {
                    continue;
                };
                self.excerpt(&format!("{}: {}", case.name, case.verdict), excerpt);
            }
            let silent = run
                .cases
                .iter()
                .filter(|c| console.cases.get(&c.name).is_some_and(|e| e.len() == 0))
                .count();
            if silent > 0 {
                self.add(&format!(
                    "<p>The kernel logged nothing during {}.</p>",
                    text::count(silent, "other case")
                ));
            }
            self.add("</details>");
        }
    }

    pub(super) fn excerpt(&mut self, title: &str, excerpt: &Excerpt) {
        self.block(
            &format!(
                "{} ({})",
                text::line(title),
                text::count(excerpt.len(), "line")
            ),
            &excerpt.lines(),
            false,
        );
    }
}
