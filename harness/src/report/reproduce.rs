// SPDX-License-Identifier: GPL-2.0-only
//! reproduce.sh: the same kernel and case again.

use super::{
    problems::{self, is_bad_itself},
    text,
};
use crate::results::{CaseResult, Results};

/// Flags that say which kernel, or in which order, and so have to be there again. Which base, arm,
/// flavor and case is for the script to say.
const KEPT: [&str; 7] = [
    "--tree",
    "--rev",
    "--tarball",
    "--series",
    "--shuffle",
    "--accel",
    "--cache",
];

/// The text of reproduce.sh.
pub(super) fn script(results: &Results) -> String {
    let mut out = String::from(
        "#!/bin/sh\n\
         # SPDX-License-Identifier: GPL-2.0-only\n\
         #\n\
         # Runs what was bad once more, one case on one kernel; without anything bad, everything.\n\
         # Start it in the checkout of the project:\n\
         #\n\
         #   sh reproduce.sh        the first of the list\n\
         #   sh reproduce.sh 3      the third\n\
         #   sh reproduce.sh list   what there is\n\
         #   sh reproduce.sh all    the whole command as it was\n",
    );
    for run in &results.runs {
        let (name, commit) = (text::run_name(run), text::line(&run.commit));
        out.push_str(&format!(
            "#\n# {name}: Linux {}, built from commit {commit}\n",
            text::line(&run.source)
        ));
    }
    let rounds = rounds(results);
    out.push_str("\nset -eu\n\nlist() {\n");
    for (at, (what, _)) in rounds.iter().enumerate() {
        out.push_str(&format!(
            "\tprintf '%s\\n' {}\n",
            quote(&format!("{:>3}  {what}", at + 1))
        ));
    }
    if rounds.is_empty() {
        out.push_str("\techo 'nothing was bad'\n");
    }
    out.push_str("}\n\nif ! cargo harness --version >/dev/null 2>&1; then\n");
    out.push_str("\techo 'start this in the checkout of the project, where `cargo harness` is known' >&2\n\texit 2\nfi\n\n");
    let first = if rounds.is_empty() { "all" } else { "1" };
    out.push_str(&format!("case \"${{1:-{first}}}\" in\nlist) list ;;\n"));
    let command = command(results);
    let whole = quoted(command.iter().skip(1).map(String::as_str));
    out.push_str(&format!("all) exec cargo harness {whole} ;;\n"));
    for (at, (_, words)) in rounds.iter().enumerate() {
        let words = quoted(words.iter().map(String::as_str));
        out.push_str(&format!("{}) exec cargo harness {words} ;;\n", at + 1));
    }
    out.push_str(
        "*)\n\techo \"there is no '$1' in the list:\" >&2\n\tlist >&2\n\texit 2\n\t;;\nesac\n",
    );
    out
}

/// The command line, with the commit that a revision was then in place of its name.
fn command(results: &Results) -> Vec<String> {
    let Some(rev) = &results.rev else {
        return results.command.clone();
    };
    let mut command = Vec::new();
    let mut words = results.command.iter();
    while let Some(word) = words.next() {
        if word == "--rev" {
            words.next();
        } else if !word.starts_with("--rev=") {
            command.push(word.clone());
        }
    }
    // Behind the program and the subcommand.
    let at = command.len().min(2);
    command.splice(at..at, ["--rev".to_owned(), rev.clone()]);
    command
}

/// What each round is, and its words.
fn rounds(results: &Results) -> Vec<(String, Vec<String>)> {
    let kept = kept(&command(results));
    let own_tree = kept
        .iter()
        .any(|w| ["--tree", "--tarball"].contains(&w.as_str()));
    let mut rounds = Vec::new();
    for problem in problems::bad(results) {
        for (run, case) in problem
            .runs
            .iter()
            .flat_map(|r| each(&problem).map(move |c| (r, c)))
        {
            let mut words = vec!["verify".to_owned()];
            if !own_tree {
                words.extend(["--base".to_owned(), run.base.clone()]);
            }
            words.extend(["--arm".to_owned(), run.arm.word().to_owned()]);
            words.extend(["--flavor".to_owned(), run.flavor.clone()]);
            let what = match case {
                // A run that went wrong as a whole needs all of its cases.
                None => "the run itself".to_owned(),
                Some(_) if is_bad_itself(run) => continue,
                Some(case) => {
                    words.extend(["--case".to_owned(), case.name.clone()]);
                    text::line(&case.name)
                }
            };
            words.extend(kept.iter().cloned());
            rounds.push((
                format!("{what} on {}: {}", text::run_name(run), problem.verdict),
                words,
            ));
        }
    }
    rounds
}

/// The cases of a problem; `None` for the run itself.
fn each<'a>(problem: &problems::Problem<'a>) -> impl Iterator<Item = Option<&'a CaseResult>> {
    let itself = problem.cases.is_empty().then_some(None);
    let cases = problem.cases.clone();
    itself.into_iter().chain(cases.into_iter().map(Some))
}

/// The flags of the command line that say which kernel, each as two words.
fn kept(command: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = command.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if KEPT.contains(&flag)
            && let Some(value) = value.or_else(|| words.next().cloned())
        {
            kept.extend([flag.to_owned(), value]);
        } else if ["--offline", "--in-tree"].contains(&word.as_str()) {
            kept.push(word.clone());
        }
    }
    kept
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A word that the shell takes as it is.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/=:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // No shell word holds a zero byte, and no name of ours does.
    format!("'{}'", word.replace('\0', "").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::report::sample;

    /// Runs the script with a `cargo` that prints its words, one a line.
    fn run(results: &Results, argument: &str) -> (String, bool) {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let cargo = dir.path().join("cargo");
        fs::write(&cargo, "#!/bin/sh\nprintf '<%s>\\n' \"$@\"\n").unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("reproduce.sh"), script(results)).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let out = Command::new("sh")
            .args(["reproduce.sh", argument])
            .current_dir(dir.path())
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(
            fs::read_dir(dir.path()).unwrap().count() == 2,
            "the script made a file"
        );
        (String::from_utf8(out.stdout).unwrap(), out.status.success())
    }

    /// Verify that each round names one kernel and one case, and keeps the series
    /// and where cases come from.
    #[test]
    fn one_kernel_and_case() {
        let mut bad = sample::bad();
        bad.command.push("--in-tree".into());
        let (said, ok) = run(&bad, "2");
        assert!(said.contains("<--in-tree>\n"), "{said}");
        assert!(
            ok && said.contains("<--case>\n<") && said.contains("<--series>\n<my series>"),
            "{said}"
        );
        assert_eq!(said.matches("<--arm>").count(), 1);
        assert_eq!(said.matches("<--flavor>").count(), 1);
        assert!(!said.contains("--results"));
        assert!(!run(&sample::bad(), "999").1);
    }

    /// Verify that a good result is done again as a whole, its words as they were.
    #[test]
    fn good_results_are_done_again() {
        let (said, ok) = run(&sample::good(), "all");
        assert!(ok);
        assert_eq!(said, "<harness>\n<verify>\n<--results>\n<out/my results>\n");
    }

    /// Verify that a revision is the commit that it was then, and that the order
    /// of the cases is the same.
    #[test]
    fn the_same_commit_and_order() {
        let mut bad = sample::bad();
        bad.command
            .extend(["--tree", "t", "--shuffle=7"].map(str::to_owned));
        let commit = "0123456789abcdef0123456789abcdef01234567";
        bad.rev = Some(commit.into());
        for rev in [&[][..], &["--rev", "HEAD~1"], &["--rev=my-branch"]] {
            let mut typed = bad.clone();
            typed.command.extend(rev.iter().map(|w| (*w).to_owned()));
            for which in ["1", "2", "all"] {
                let (said, ok) = run(&typed, which);
                assert!(ok && said.contains(commit), "{which}: {said}");
                assert!(!said.contains("HEAD~1") && !said.contains("my-branch"));
                assert_eq!(said.matches("--rev").count(), 1, "{said}");
                assert!(said.contains("--shuffle"), "{which}: {said}");
            }
        }
    }

    /// Verify that no name becomes a command.
    #[test]
    fn names_are_words() {
        let hostile = sample::hostile();
        let count = rounds(&hostile).len();
        assert!(count > 0);
        for at in 1..=count {
            assert!(run(&hostile, &at.to_string()).1);
        }
        assert!(run(&hostile, "list").1 && run(&hostile, "all").1);
    }
}
