// SPDX-License-Identifier: GPL-2.0-only
//! What was found out, for people and for other tools. Everything here is made
//! from [`Results`] and nothing else but the consoles beside them.
//!
//! Names, messages and console lines come from a guest, a tree or a patch: each
//! report escapes them by its own rules, and none is ever a shell line.

mod console;
mod evidence;
mod explain;
mod figures;
mod html;
mod json;
mod junit;
mod kcidb;
mod ktap;
pub(crate) mod marks;
mod problems;
mod reproduce;
pub(crate) mod sample;
mod table;
mod tested;
pub(crate) mod text;
mod times;
mod upstream;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    cache::{remove, write_whole},
    results::Results,
};

pub(crate) use problems::is_bad_itself;

pub use json::load;
pub use table::{Style, table, table_in};
pub use times::times;

/// What `write_all` writes, and what a script may look at first.
const FILES: [&str; 7] = [
    "results.json",
    "results.ktap",
    "junit.xml",
    "kcidb.json",
    "report.html",
    "tested-by.txt",
    "reproduce.sh",
];

/// Where the consoles are, below the folder of the results.
pub const CONSOLES: &str = "console";

/// Removes what an earlier invocation wrote to `dir`: if this one ends without
/// results, nobody may take those for its own. Files of others are left alone.
pub fn clear(dir: &Path) -> Result<()> {
    let mut old: Vec<PathBuf> = FILES.iter().map(|file| dir.join(file)).collect();
    let consoles = std::fs::read_dir(dir.join(CONSOLES));
    let consoles = consoles.into_iter().flatten().flatten().map(|e| e.path());
    old.extend(consoles.filter(|p| p.extension().is_some_and(|e| e == "log")));
    old.iter().try_for_each(|path| remove(path))
}

/// Writes every report into `dir`, each whole or not at all. `results.json` is
/// the last: where it is, the others are.
pub fn write_all(results: &Results, dir: &Path) -> Result<()> {
    let write = |name: &str, text: String| write_whole(&dir.join(name), text.as_bytes());
    write("results.ktap", ktap::ktap(results))?;
    write("junit.xml", junit::junit(results)?)?;
    write("kcidb.json", kcidb::kcidb(results)?)?;
    write("report.html", html::html(results, dir))?;
    write(
        "tested-by.txt",
        tested::tested_by(results, &tested::identity()),
    )?;
    write("reproduce.sh", reproduce::script(results))?;
    make_executable(&dir.join("reproduce.sh"))?;
    write("results.json", json::json(results)?)
}

/// Writes the report.html of a folder into which figures were written: with the
/// verdicts, where it has some.
pub fn show_pictures(dir: &Path) -> Result<()> {
    let verified = dir.join("results.json");
    let page = if verified.is_file() {
        html::html(&load(&verified)?, dir)
    } else {
        html::measured(dir)
    };
    write_whole(&dir.join("report.html"), page.as_bytes())
}

/// Writes what of docs/ is made from results into `dir`; `results` may come from
/// several invocations, oldest first.
pub fn write_docs(results: &[Results], dir: &Path) -> Result<()> {
    let write = |name: &str, text: String| write_whole(&dir.join(name), text.as_bytes());
    write("figures.md", figures::figures(results))?;
    write("upstream.md", upstream::upstream(results))
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Finding;

    /// Verify that where the CPUs of a guest were and which locks were held is in
    /// each report for other tools, of a case that came to whatever and of the
    /// run itself, and that the registers are not.
    #[test]
    fn states_are_everywhere() {
        use crate::{results::OF_THE_RUN, results::STATE_OF, verdict::Verdict};
        for verdict in [Verdict::Hang, Verdict::Crash, Verdict::ExpectedFail] {
            for itself in [false, true] {
                let mut results = sample::good();
                let run = &mut results.runs[1];
                run.cases[0].verdict = verdict;
                let of = if itself {
                    (run.verdict, run.why) = (Verdict::Hang, "no progress".into());
                    OF_THE_RUN.to_owned()
                } else {
                    run.cases[0].name.clone()
                };
                let state = [
                    "CPU#0 in spin+0x1/0x2",
                    "1 lock held by sh/7",
                    "-- registers:",
                    "RBX=7",
                ];
                run.post_mortem = vec![format!("{STATE_OF}{of}: no progress")];
                run.post_mortem.extend(state.map(str::to_owned));
                for (name, text) in [
                    ("ktap", ktap::ktap(&results)),
                    ("junit", junit::junit(&results).unwrap()),
                    ("kcidb", kcidb::kcidb(&results).unwrap()),
                ] {
                    let shown = text.contains("spin+0x1") && text.contains("held by sh/7");
                    assert!(
                        shown && !text.contains("RBX"),
                        "{name} {verdict} {itself}: {text}"
                    );
                }
            }
        }
    }

    /// Verify that what was found besides verdicts is in every report, and makes
    /// nothing bad.
    #[test]
    fn findings_are_everywhere() {
        let mut results = sample::good();
        let what = "an entry that matched nothing";
        let dir = tempfile::tempdir().unwrap();
        let reports = |results: &Results| {
            [
                ("table", table(results, false, false)),
                ("html", html::html(results, dir.path())),
                ("ktap", ktap::ktap(results)),
                ("junit", junit::junit(results).unwrap()),
                ("kcidb", kcidb::kcidb(results).unwrap()),
                ("json", json::json(results).unwrap()),
            ]
        };
        for (name, text) in reports(&results) {
            assert!(!text.contains(what), "{name}");
        }
        results.findings.push(Finding {
            base: results.runs[0].base.clone(),
            what: what.into(),
        });
        // Nothing of that base was run, and that is what was found.
        let left_out = "no kernel of it was run";
        results.findings.push(Finding {
            base: "5.4".into(),
            what: left_out.into(),
        });
        for (name, text) in reports(&results) {
            assert!(text.contains(what), "{name}");
            assert!(text.contains(left_out), "{name}");
        }
        assert!(results.is_good());
    }
}
