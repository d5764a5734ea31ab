// SPDX-License-Identifier: GPL-2.0-only
//! The tables of the page.

use std::fmt::Write;

use protocol::Arm;

use super::{Page, class_of, escape};
use crate::{
    report::{problems, text},
    results::{CaseResult, Run},
};

impl Page<'_> {
    pub(super) fn grid(&mut self) {
        let results = self.results;
        if results.runs.is_empty() {
            return;
        }
        self.add("<h2 id=\"cases\">Cases by kernels</h2>\n<div class=\"wide\">\n<table class=\"grid\">\n<thead><tr><th scope=\"col\">case</th>");
        for run in &results.runs {
            let version = if run.source.is_empty() {
                &run.base
            } else {
                &run.source
            };
            let flavor = if run.flavor == "default" {
                String::new()
            } else {
                format!("<br>{}", escape(&run.flavor))
            };
            self.add(&format!(
                "<th scope=\"col\">{}<br>{}{flavor}</th>",
                escape(version),
                run.arm.word()
            ));
        }
        self.add("</tr></thead>\n<tbody>");
        for name in text::case_names(results) {
            let tip = text::case(results, name)
                .map(|c| escape(&text::line(&c.summary)))
                .unwrap_or_default();
            // A narrow screen breaks a name where its words end.
            let shown = escape(&text::line(name)).replace('_', "_<wbr>");
            let mut row = format!("<tr><th scope=\"row\" title=\"{tip}\">{shown}</th>");
            for run in &results.runs {
                row.push_str(&cell(run.cases.iter().find(|c| c.name == name)));
            }
            self.add(&(row + "</tr>"));
        }
        let mut row = String::from("<tr class=\"sum\"><th scope=\"row\">the run</th>");
        for run in &results.runs {
            let _ = write!(
                row,
                "<td class=\"{}\">{}</td>",
                class_of(run.verdict),
                run.verdict
            );
        }
        self.add(&(row + "</tr>\n</tbody>\n</table>\n</div>"));
        self.declared();
    }

    pub(super) fn declared(&mut self) {
        let declared = problems::declared(self.results);
        if declared.is_empty() {
            return;
        }
        self.add("<details><summary>Why what did not pass is as it should be</summary>\n<ul>");
        for one in declared {
            let name = escape(&if one.cases.len() > 1 {
                one.names()
            } else {
                one.name()
            });
            self.add(&format!(
                "<li><b>{name}</b> on {}: {}: {}</li>",
                escape(&one.places()),
                one.verdict,
                escape(&text::line(one.why))
            ));
        }
        self.add("</ul></details>");
    }

    /// Where the series and upstream's own helper come to something else.
    pub(super) fn upstream(&mut self) {
        let results = self.results;
        let mut rows = Vec::new();
        let mut compared = 0;
        for ours in results.runs.iter().filter(|r| r.arm == Arm::Patched) {
            let same =
                |r: &&Run| r.arm == Arm::Upstream && r.base == ours.base && r.flavor == ours.flavor;
            let Some(theirs) = results.runs.iter().find(same) else {
                continue;
            };
            compared += 1;
            for case in &ours.cases {
                let Some(other) = theirs.cases.iter().find(|c| c.name == case.name) else {
                    continue;
                };
                if case.verdict != other.verdict {
                    rows.push(format!(
                        "<tr><th scope=\"row\">{}</th><td>{}</td>{}{}<td class=\"why\">{}</td></tr>",
                        escape(&text::line(&case.name)),
                        escape(&ours.base),
                        cell(Some(case)),
                        cell(Some(other)),
                        escape(&problems::summary(if case.verdict.is_good() { other } else { case }))
                    ));
                }
            }
        }
        if compared == 0 {
            return;
        }
        self.add("<h2 id=\"upstream\">Difference to upstream</h2>");
        if rows.is_empty() {
            self.add("<p>None: each case came to the same on the patched kernel and on upstream's own.</p>");
            return;
        }
        self.add("<div class=\"wide\"><table>\n<thead><tr><th>case</th><th>base</th><th>patched</th><th>upstream</th><th>why</th></tr></thead>\n<tbody>");
        self.add(&rows.join("\n"));
        self.add("</tbody></table></div>");
    }

    pub(super) fn figures(&mut self) {
        if self.results.runs.iter().all(|r| r.metrics.is_empty()) {
            return;
        }
        self.add("<h2 id=\"figures\">Figures</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>figure</th><th>kernel</th><th class=\"number\">value</th><th>unit</th></tr></thead>\n<tbody>");
        for run in &self.results.runs {
            for metric in &run.metrics {
                self.add(&format!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
                    escape(&text::line(&metric.name)),
                    escape(&text::run_name(run)),
                    metric.value,
                    escape(&text::line(&metric.unit))
                ));
            }
        }
        self.add("</tbody></table></div>");
    }

    pub(super) fn times(&mut self) {
        let results = self.results;
        self.add("<h2 id=\"times\">Where the time went</h2>\n<div class=\"wide\"><table class=\"times\">\n<thead><tr><th>step</th><th>of</th><th class=\"number\">time</th><th></th></tr></thead>\n<tbody>");
        let longest = results
            .steps
            .iter()
            .map(|s| s.seconds)
            .filter(|s| s.is_finite())
            .fold(0.001, f64::max);
        for step in &results.steps {
            let share = (step.seconds / longest * 100.0).clamp(0.0, 100.0);
            let share = if share.is_finite() { share } else { 0.0 };
            let again = if step.cached {
                " <small>from the cache</small>"
            } else {
                ""
            };
            self.add(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}{again}</td><td class=\"number\">{}</td>\
                 <td class=\"bar\"><i style=\"width:{share:.1}%\"></i></td></tr>",
                escape(&text::line(&step.name)),
                escape(&text::line(&step.what)),
                text::seconds(step.seconds)
            ));
        }
        self.add("</tbody></table></div>");
        let boots: Vec<String> = results
            .runs
            .iter()
            .filter_map(|r| {
                Some(format!(
                    "{} in {}",
                    escape(&text::run_name(r)),
                    text::seconds(r.boot_seconds?)
                ))
            })
            .collect();
        if !boots.is_empty() {
            self.add(&format!("<p>To user space: {}.</p>", boots.join(", ")));
        }
    }
}

fn cell(case: Option<&CaseResult>) -> String {
    case.map_or_else(
        || "<td>-</td>".into(),
        |c| {
            let why = escape(&problems::summary(c));
            format!(
                "<td class=\"{}\" title=\"{why}\">{}</td>",
                class_of(c.verdict),
                problems::word(c)
            )
        },
    )
}
