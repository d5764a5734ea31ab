// SPDX-License-Identifier: GPL-2.0-only
//! `scripts/checkpatch.pl --strict` of the tree itself.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::finding::{Finding, Outcome};
use crate::{
    exec::{Program, describe, tail},
    project::Project,
};

const TOOL: &str = "checkpatch --strict";

/// Runs the checkpatch of the tree at `src` over a patch file.
pub fn style(src: &Path, patch: &Path, project: &Project) -> Result<Outcome> {
    let patch = patch.canonicalize()?;
    let run = |places: &[&str]| {
        Program::new("perl")
            .arg("scripts/checkpatch.pl")
            .args(["--strict", "--terse", "--show-types", "--no-summary"])
            .arg("--color=never")
            .args(places)
            .arg(&patch)
            .dir(src)
            .output()
    };
    let said = run(&["--showfile"])?;
    let mut findings = read(&said.stdout);
    if findings.iter().any(|f| f.file.is_empty()) {
        // For what is about the message it names no file, and the line that the last
        // patch in it ended with. The lines of the mail it names when asked otherwise.
        let name = project.name_of(&patch);
        in_the_mail(&mut findings, &read(&run(&[])?.stdout), &name);
    }
    // It ends with a failure exactly when it has found something.
    if findings.is_empty() != said.status.success() {
        return Ok(Outcome::Untold {
            why: format!(
                "scripts/checkpatch.pl ended with {}: {}",
                describe(said.status),
                tail(&format!("{}{}", said.stdout, said.stderr), 3)
            ),
        });
    }
    let text = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let asks = |f: &Finding| f.text.contains(NEW_FILE);
    if findings.iter().any(asks) && is_maintained(&text(&patch)?, &text(&src.join("MAINTAINERS"))?)
    {
        findings.retain(|f| !asks(f));
    }
    Ok(Outcome::of(findings))
}

/// With which checkpatch asks of every new file whether MAINTAINERS has to change.
const NEW_FILE: &str = ":FILE_PATH_CHANGES:";

/// The answer: no, where each file that the patch adds is in a folder that somebody
/// maintains, and it takes none away.
fn is_maintained(patch: &str, maintainers: &str) -> bool {
    let mut lines = patch.lines();
    let mut taken = patch
        .lines()
        .filter(|l| l.starts_with("deleted file mode ") || l.starts_with("rename from "));
    let folders: Vec<&str> = maintainers
        .lines()
        .filter_map(|l| l.strip_prefix("F:\t"))
        .filter(|f| f.ends_with('/') && !f.contains('*'))
        .collect();
    let mut added = Vec::new();
    while let Some(line) = lines.next() {
        if line == "--- /dev/null" {
            added.extend(lines.next().and_then(|l| l.strip_prefix("+++ b/")));
        }
    }
    taken.next().is_none()
        && added
            .iter()
            .all(|file| folders.iter().any(|f| file.starts_with(f)))
}

/// Gives findings without a file their place in the mail `name`, from the same
/// findings with all of their places in it.
fn in_the_mail(findings: &mut [Finding], by_mail: &[Finding], name: &str) {
    let mut rest = by_mail.iter();
    for finding in findings {
        let same = rest.find(|f| f.text == finding.text);
        if finding.file.is_empty() {
            name.clone_into(&mut finding.file);
            finding.line = same.and_then(|f| f.line);
        }
    }
}

/// The lines of `--terse`: `net/core/dev.c:12: CHECK:TYPE: text`. What is about
/// the message has no file.
fn read(output: &str) -> Vec<Finding> {
    output
        .lines()
        .filter_map(|l| {
            let at = ["ERROR:", "WARNING:", "CHECK:"]
                .iter()
                .filter_map(|w| l.find(w))
                .min()?;
            let (place, text) = l.split_at(at);
            let mut place = place.trim_end_matches([':', ' ']).rsplitn(2, ':');
            let (last, first) = (place.next().unwrap_or_default(), place.next());
            let (file, line) = match (first, last.parse().ok()) {
                (Some(file), Some(line)) => (file, Some(line)),
                _ => (last, None),
            };
            Some(Finding {
                file: file.to_owned(),
                line,
                tool: TOOL.to_owned(),
                text: text.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that a new file is no finding where its folder has a maintainer, and
    /// is one elsewhere, as is a file that goes.
    #[test]
    fn new_files_of_somebody() {
        let maintainers = "THE REST\nF:\t*\nF:\t*/\n\nBPF\nF:\ttools/bpf/\nF:\ttools/x.c\n";
        let adds = |file: &str| {
            format!("new file mode 100644\n--- /dev/null\n+++ b/{file}\n@@ -0,0 +1 @@\n+a\n")
        };
        assert!(is_maintained(&adds("tools/bpf/a.c"), maintainers));
        assert!(!is_maintained(&adds("tools/a.c"), maintainers));
        let both = adds("tools/bpf/a.c") + &adds("b.c");
        assert!(!is_maintained(&both, maintainers));
        let goes = adds("tools/bpf/a.c") + "deleted file mode 100644\n--- a/b.c\n+++ /dev/null\n";
        assert!(!is_maintained(&goes, maintainers));
    }

    /// Verify that a complaint is read with its place, and one about the message
    /// with its line in the mail.
    #[test]
    fn complaints_have_a_place() {
        let showfile = "net/core/dev.c:12: WARNING:LONG_LINE: line length of 120 exceeds 100 columns\n\
                        :6000: WARNING:COMMIT_LOG_LONG_LINE: too long\n\
                        ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)\n";
        let mail = "/p/0001-x.patch:70: WARNING:LONG_LINE: line length of 120 exceeds 100 columns\n\
                    /p/0001-x.patch:7: WARNING:COMMIT_LOG_LONG_LINE: too long\n\
                    ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)\n";
        let mut found = read(showfile);
        in_the_mail(&mut found, &read(mail), "0001-x.patch");
        let places: Vec<_> = found.iter().map(|f| (f.file.as_str(), f.line)).collect();
        assert_eq!(
            places,
            [
                ("net/core/dev.c", Some(12)),
                ("0001-x.patch", Some(7)),
                ("0001-x.patch", None),
            ]
        );
    }
}
