// SPDX-License-Identifier: GPL-2.0-only
//! report.html: everything in one file, without network and without scripts, for
//! a desk, a phone and a terminal browser.

mod logs;
mod pictures;
mod tables;

use std::{collections::BTreeSet, path::Path};

use super::{
    problems::{self, context, got},
    text,
};
use crate::{
    results::{CaseResult, OF_THE_RUN, Results, Run},
    splat::clean,
    verdict::Verdict,
};

pub(super) use pictures::measured;

const STYLE: &str = include_str!("style.css");

/// Lines of a dump that are shown: more than the state of a guest has.
const MOST: usize = 4_000;

/// The text of report.html. Consoles are looked for below `dir`.
pub(super) fn html(results: &Results, dir: &Path) -> String {
    let mut page = Page {
        out: String::new(),
        results,
    };
    page.head();
    page.problems();
    page.findings();
    page.grid();
    page.upstream();
    page.figures();
    page.pictures(dir);
    page.splats();
    page.consoles(dir);
    page.states();
    page.times();
    page.made();
    page.out.push_str("</main>\n</body>\n</html>\n");
    page.out
}

struct Page<'a> {
    out: String,
    results: &'a Results,
}

impl Page<'_> {
    fn add(&mut self, html: &str) {
        self.out.push_str(html);
        self.out.push('\n');
    }

    fn head(&mut self) {
        let results = self.results;
        let nothing = results.proves_nothing().is_some();
        let good = results.is_good() && !nothing;
        let word = match (results.is_good(), results.runs.is_empty()) {
            (true, _) if nothing => "Nothing is bad, and nothing was shown",
            (true, _) => "Everything is as it should be",
            (_, true) => "Nothing was run: this proves nothing",
            _ => "Not as it should be",
        };
        let class = if good { "good" } else { "bad" };
        self.add(&head(word));
        self.add(&format!(
            "<body>\n<main>\n<h1>bpf_redirect_peer()</h1>\n<p class=\"verdict {class}\">{word}</p>"
        ));
        let counts: Vec<String> = Verdict::ALL
            .iter()
            .map(|v| (results.count(*v), *v))
            .filter(|(n, _)| *n > 0)
            .map(|(n, v)| format!("<li class=\"{}\"><b>{n}</b> {v}</li>", class_of(v)))
            .collect();
        self.add(&format!("<ul class=\"counts\">{}</ul>", counts.join("\n")));
        self.add(&format!(
            "<p>{} in {}, begun {}, done in {}.</p>",
            text::count(results.cases.len(), "case"),
            text::count(results.runs.len(), "run"),
            text::utc(results.started),
            text::seconds(results.seconds)
        ));
    }

    fn problems(&mut self) {
        let problems = problems::bad(self.results);
        let first = if problems.is_empty() {
            ""
        } else {
            "<a href=\"#problems\">Problems</a>\n"
        };
        self.add(&format!(
            "<nav>{first}<a href=\"#cases\">Cases</a>\n<a href=\"#times\">Times</a>\n<a href=\"#made\">Machine</a></nav>"
        ));
        if problems.is_empty() {
            return;
        }
        self.add("<h2 id=\"problems\">What is not as it should be</h2>");
        let mut shown = BTreeSet::new();
        for problem in problems {
            let name = escape(&problem.name());
            self.add(&format!(
                "<section class=\"problem\">\n<h3><span class=\"{}\">{}</span> {name}</h3>\n<dl>",
                class_of(problem.verdict),
                problem.verdict
            ));
            self.field("on", &problem.places());
            if let Some(case) = problem.case() {
                if problem.cases.len() == 1
                    && let Some(info) = text::case(self.results, &case.name)
                {
                    self.field("it is to", &info.summary);
                    self.field("proves", &info.proves.join(" "));
                }
                self.field("cases", &problem.names());
                self.field("expected", &text::expected(&case.expected));
                self.field("got", &got(case));
            }
            self.field("why", &problems::why(&problem));
            self.field(
                "again",
                &problem.case().map(problems::again).unwrap_or_default(),
            );
            self.add("</dl>");
            if let Some(case) = problem.case() {
                self.block("Context", &context(case), true);
            }
            for splat in problem.splats() {
                if shown.insert(&splat.fingerprint) {
                    self.splat(splat, "");
                } else {
                    let title = escape(&text::line(&splat.title));
                    self.add(&format!(
                        "<p>The kernel logged, as shown above: {title}</p>"
                    ));
                }
            }
            for run in &problem.runs {
                self.state(run, problem.case());
            }
            self.add("</section>");
        }
    }

    /// Where the CPUs of a guest were when a deadline passed. A terminal browser
    /// shows all that could be closed: the whole comes after what is short.
    fn state(&mut self, run: &Run, case: Option<&CaseResult>) {
        let state = problems::in_short(problems::state_of(run, case));
        if !state.is_empty() {
            self.block(&state_title(run, case), &state, false);
            self.add("<p>With its registers and tasks: <a href=\"#states\">below</a></p>");
        }
    }

    /// The state of each guest whose case, or whose run itself, did not go on,
    /// whatever it came to.
    fn states(&mut self) {
        let mut states = Vec::new();
        for run in &self.results.runs {
            let cases = run.cases.iter().map(Some);
            for case in cases.chain([None]) {
                let state = problems::state_of(run, case);
                if !state.is_empty() {
                    states.push((state_title(run, case), state));
                }
            }
        }
        if states.is_empty() {
            return;
        }
        self.add("<h2 id=\"states\">Guests that did not go on</h2>");
        for (title, state) in states {
            self.block(&title, &state, false);
        }
    }

    fn findings(&mut self) {
        let results = self.results;
        let allowed = || {
            let runs = results.runs.iter();
            runs.flat_map(|r| r.allowed.iter().map(move |a| (r, a)))
        };
        if results.findings.is_empty() && allowed().next().is_none() {
            return;
        }
        self.add("<h2 id=\"findings\">What was found besides</h2>\n<dl>");
        for finding in &results.findings {
            self.field(&escape(&text::line(&finding.base)), &finding.what);
        }
        for (run, allowed) in allowed() {
            let times = text::count(allowed.count, "time");
            self.field(
                &escape(&text::run_name(run)),
                &format!(
                    "the kernel logged {times}, as allowed: {} ({})",
                    allowed.title, allowed.reason
                ),
            );
        }
        self.add("</dl>");
    }

    /// A term, as markup, and what is to be said of it, unless that is nothing.
    fn field(&mut self, name: &str, value: &str) {
        if !value.trim().is_empty() {
            self.add(&format!(
                "<dt>{name}</dt><dd>{}</dd>",
                escape(&text::line(value))
            ));
        }
    }

    /// Lines as they are, below a title that opens and closes them.
    fn block(&mut self, title: &str, lines: &[String], open: bool) {
        let lines: Vec<String> = lines.iter().flat_map(|l| text::lines(l)).collect();
        if lines.is_empty() {
            return;
        }
        let open = if open { " open" } else { "" };
        let shown = lines[..lines.len().min(MOST)].join("\n");
        let more = lines.len().saturating_sub(MOST);
        let more = if more > 0 {
            format!("\n... {} in results.json", text::count(more, "more line"))
        } else {
            String::new()
        };
        self.add(&format!(
            "<details{open}><summary>{}</summary>\n<pre>{}{more}</pre></details>",
            escape(title),
            escape(&shown)
        ));
    }

    fn made(&mut self) {
        let results = self.results;
        let machine = &results.machine;
        self.add("<h2 id=\"made\">How this was made</h2>\n<dl>");
        self.field("command", &results.command.join(" "));
        self.field("harness", &results.harness);
        self.field(
            "machine",
            &format!(
                "{}, {} CPUs, {} MiB",
                machine.cpu, machine.cpus, machine.memory_mib
            ),
        );
        self.field("system", &machine.os);
        let why = if machine.accel_why.is_empty() {
            String::new()
        } else {
            format!(": {}", machine.accel_why)
        };
        self.field("accelerator", &format!("{}{why}", machine.accel));
        self.field("QEMU", &machine.qemu);
        self.field("virtme-ng", &machine.virtme_ng);
        self.field("compiler", &machine.compiler);
        for run in &results.runs {
            self.field(
                &escape(&text::run_name(run)),
                &format!("{}, commit {}", run.kernel, run.commit),
            );
        }
        self.add("</dl>\n<p>The same again: <code>sh reproduce.sh</code> in the checkout of the project.</p>");
    }
}

/// Everything before the body.
fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}: bpf_redirect_peer()</title>\n<style>\n{STYLE}</style>\n</head>"
    )
}

fn state_title(run: &Run, case: Option<&CaseResult>) -> String {
    format!(
        "State of {} when the deadline of {} had passed",
        text::run_name(run),
        case.map_or(OF_THE_RUN.to_owned(), |c| text::line(&c.name)),
    )
}

fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        good if good.is_good() => "expected",
        _ => "bad",
    }
}

/// Text as HTML has it, in and outside of attributes. Its lines stay lines.
fn escape(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(clean).collect();
    let mut out = String::with_capacity(text.len());
    for c in lines.join("\n").chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{report::sample, results::STATE_OF};

    fn page(results: &Results) -> String {
        html(
            results,
            &PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/results")),
        )
    }

    /// The tags of a page, in their order.
    fn tags(page: &str) -> Vec<&str> {
        page.split('<')
            .skip(1)
            .map(|t| {
                &t[..t
                    .find(|c: char| c.is_whitespace() || c == '>')
                    .unwrap_or(t.len())]
            })
            .collect()
    }

    /// Verify that nothing a guest says becomes a tag, an attribute or a script.
    #[test]
    fn text_stays_text() {
        let plain = page(&sample::bad());
        let known = tags(&plain);
        let page = page(&sample::hostile());
        let tags = tags(&page);
        assert!(tags.iter().all(|t| known.contains(t)), "{tags:?}");
        assert!(!page.contains("<script") && !page.contains("javascript:"));
        assert!(
            !page
                .chars()
                .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
        );
    }

    /// Verify that every element is closed, in the right order.
    #[test]
    fn elements_are_closed() {
        for of in [sample::good(), sample::bad(), sample::hostile()] {
            let page = page(&of);
            let mut open: Vec<&str> = Vec::new();
            for tag in tags(&page) {
                match tag.strip_prefix('/') {
                    Some(closed) => assert_eq!(open.pop(), Some(closed)),
                    None if ["!DOCTYPE", "meta", "br", "wbr"].contains(&tag) => {}
                    None => open.push(tag),
                }
            }
            assert!(open.is_empty(), "{open:?}");
        }
    }

    /// Verify that the page loads nothing and runs nothing.
    #[test]
    fn one_file_is_all() {
        let page = page(&sample::bad());
        for wrong in [
            "src=", "<link", "@import", "url(", "http://", "https://", "onclick",
        ] {
            assert!(!page.contains(wrong), "{wrong}");
        }
    }

    /// Verify that the state of a guest is shown to its last line, whatever its
    /// case came to and whether it had to.
    #[test]
    fn states_are_shown() {
        for verdict in [Verdict::Crash, Verdict::ExpectedFail, Verdict::Hang] {
            let mut results = sample::bad();
            let run = &mut results.runs[1];
            let case = &mut run.cases[0];
            case.verdict = verdict;
            run.post_mortem = vec![format!("{STATE_OF}{}: no progress", case.name)];
            run.post_mortem.extend(vec!["task".to_owned(); 2_500]);
            run.post_mortem.push("the last of its tasks".into());
            let page = page(&results);
            assert_eq!(
                page.matches("the last of its tasks").count(),
                1,
                "{verdict}"
            );
        }
    }

    /// Verify that the page shows what it is for.
    #[test]
    fn everything_is_there() {
        let page = page(&sample::bad());
        for part in [
            "Not as it should be",
            "Difference to upstream",
            "net/core/filter.c:2490",
            "case_x",
        ] {
            assert_eq!(page.contains(part), part != "case_x", "{part}");
        }
        assert!(
            page.contains("&lt;script&gt;alert"),
            "the console of the case that hung"
        );
        assert!(self::page(&sample::good()).contains("Everything is as it should be"));
    }
}
