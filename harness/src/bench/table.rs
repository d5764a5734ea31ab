// SPDX-License-Identifier: GPL-2.0-only
//! What `bench` found, in Markdown: it reads well on a terminal, too.

use std::{collections::BTreeSet, fmt::Write};

use protocol::Arm;

use super::{
    figures::{Answer, Bench, Measured, agreement, answer, exact, limit, middle, name, won_back},
    profile::Profile,
};

/// The order in which ways are shown.
pub(super) const WAYS: [&str; 5] = [
    "host",
    "stack",
    "redirect",
    "redirect_neigh",
    "redirect_peer",
];

/// Beside a saved figure a figure may be so much more.
const MOST_GROWTH: f64 = 1.001;

/// Functions shown of a profile, those that differ most.
const FUNCTIONS: usize = 24;

/// Costs of each kernel, then each promise: in short, or every figure of it.
pub(super) fn table(bench: &Bench, everything: bool) -> String {
    let mut out = String::new();
    for kernel in &bench.kernels {
        costs(&mut out, kernel);
        profiles(&mut out, kernel);
    }
    for (ours, theirs) in pairs(bench) {
        comparison(&mut out, ours, theirs, everything);
    }
    out
}

/// Every answer that the kernels give.
pub(super) fn answers(bench: &Bench) -> Vec<Answer> {
    pairs(bench)
        .flat_map(|(ours, theirs)| compare(ours, theirs))
        .map(|c| c.answer)
        .collect()
}

/// What a comparison of one base came to, for a cover letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The other kernel.
    pub theirs: Arm,
    /// The most that a figure may be of theirs, `1.001`.
    pub most: String,
    /// Figures that hold.
    pub hold: usize,
    /// Figures of which the boots do not agree whether they do.
    pub open: usize,
    /// Names of the figures that do not.
    pub broken: Vec<String>,
}

/// Each promise that the kernels of a base were compared for.
pub fn promises(bench: &Bench, base: &str) -> Vec<Promise> {
    let of_base = pairs(bench).filter(|(ours, _)| ours.base == base);
    of_base
        .map(|(ours, theirs)| {
            let all = compare(ours, theirs);
            let number = |answer| all.iter().filter(|c| c.answer == answer).count();
            let broken = all.iter().filter(|c| c.answer == Answer::Broken);
            Promise {
                theirs: theirs.arm,
                most: all
                    .first()
                    .map_or_else(String::new, |c| format!("{:.3}", c.most)),
                hold: number(Answer::Holds),
                open: number(Answer::CouldNotTell),
                broken: broken.map(|c| c.full.to_owned()).collect(),
            }
        })
        .filter(|p| p.hold + p.open + p.broken.len() > 0)
        .collect()
}

/// What must not stay the last word: each kernel and figure of an answer other
/// than that a requirement holds.
pub(super) fn disputed(bench: &Bench) -> BTreeSet<(String, Arm, String)> {
    let mut found = BTreeSet::new();
    for (ours, theirs) in pairs(bench) {
        let all = compare(ours, theirs).into_iter();
        for disputed in all.filter(|c| c.answer != Answer::Holds) {
            for kernel in [ours, theirs] {
                found.insert((kernel.base.clone(), kernel.arm, disputed.full.to_owned()));
            }
        }
    }
    found
}

/// Each patched kernel with each other one of its base.
fn pairs(bench: &Bench) -> impl Iterator<Item = (&Measured, &Measured)> {
    let patched = bench.kernels.iter().filter(|k| k.arm == Arm::Patched);
    patched.flat_map(|ours| {
        let others = bench.kernels.iter();
        others
            .filter(|k| k.base == ours.base && k.arm != Arm::Patched)
            .map(move |theirs| (ours, theirs))
    })
}

/// Names of traffic, `veth.tcp_rr.v4`.
pub(super) fn whats(kernel: &Measured) -> BTreeSet<&str> {
    let names = kernel.costs.keys();
    names.filter_map(|full| Some(name(full)?.what)).collect()
}

fn costs(out: &mut String, kernel: &Measured) {
    let _ = writeln!(
        out,
        "\n## {} {}: instructions for a transaction",
        kernel.source,
        kernel.arm.word()
    );
    ways(out, kernel, "Pod to remote pod", "");
    ways(out, kernel, "Pod to pod on one host", "local.");
    let (same, all, worst) = agreement(&kernel.costs);
    let _ = write!(out, "\n{same} of {all} figures are the same in each boot");
    if same < all {
        let _ = write!(
            out,
            "; the others (~) differ by at most {:.2} %",
            worst * 100.0
        );
    }
    out.push_str(".\n");
}

fn ways(out: &mut String, kernel: &Measured, title: &str, scope: &str) {
    let remote = scope.is_empty();
    let has = |way: &str| {
        let end = format!(".{scope}{way}");
        kernel
            .costs
            .keys()
            .any(|full| full.ends_with(&end) && full.contains(".local.") != remote)
    };
    let shown: Vec<&str> = WAYS.into_iter().filter(|w| has(w)).collect();
    if shown.is_empty() {
        return;
    }
    let mut head = format!("| {:<20} |", "traffic");
    let mut rule = format!("|{}|", "-".repeat(22));
    for way in &shown {
        let _ = write!(head, " {way:>9} |");
        let _ = write!(rule, "{}:|", "-".repeat(way.len().max(9) + 1));
    }
    if remote {
        head.push_str(" won back |");
        rule.push_str("---------:|");
    }
    let _ = writeln!(out, "\n{title}:\n\n{head}\n{rule}");
    for what in whats(kernel) {
        let _ = write!(out, "| {what:<20} |");
        for way in &shown {
            let width = way.len().max(9);
            let cell = kernel
                .costs
                .get(&format!("{what}.{scope}{way}"))
                .and_then(|c| {
                    // What two boots did not agree on is marked.
                    let mark = if exact(c) { "" } else { "~" };
                    Some(format!("{mark}{:.0}", middle(c)?))
                })
                .unwrap_or_default();
            let _ = write!(out, " {cell:>width$} |");
        }
        if remote {
            let share = won_back(&kernel.costs, what).map(|s| format!("{:.0} %", s * 100.0));
            let _ = write!(out, " {:>8} |", share.unwrap_or_default());
        }
        out.push('\n');
    }
}

/// Instructions by function, a column for each figure that was profiled.
fn profiles(out: &mut String, kernel: &Measured) {
    let all: Vec<(&str, &Profile)> = kernel
        .profiles
        .iter()
        .map(|(name, profile)| (name.as_str(), profile))
        .collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## {} {}: by function, those that differ most\n",
        kernel.source,
        kernel.arm.word()
    );
    functions(out, &all);
}

/// The functions in which the columns differ most, the sum of the others, and
/// the sum of all.
fn functions(out: &mut String, columns: &[(&str, &Profile)]) {
    let names: BTreeSet<&str> = columns
        .iter()
        .flat_map(|(_, p)| p.keys().map(String::as_str))
        .collect();
    let of = |function: &str| -> Vec<u64> {
        columns
            .iter()
            .map(|(_, p)| p.get(function).copied().unwrap_or(0))
            .collect()
    };
    let mut rows: Vec<(&str, Vec<u64>)> = names.into_iter().map(|n| (n, of(n))).collect();
    let spread =
        |counts: &[u64]| counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
    rows.sort_by_key(|(name, counts)| (std::cmp::Reverse(spread(counts)), *name));
    let differ = rows.iter().filter(|(_, c)| spread(c) > 0).count();
    let others = rows.split_off(differ.min(FUNCTIONS));
    let sum = |rows: &[(&str, Vec<u64>)], column: usize| -> u64 {
        rows.iter().map(|(_, counts)| counts[column]).sum()
    };
    let _ = write!(out, "| function |");
    for (title, _) in columns {
        let _ = write!(out, " {title} |");
    }
    let _ = writeln!(out, "\n|---|{}", "---:|".repeat(columns.len()));
    let mut line = |name: &str, counts: Vec<u64>| {
        let cells: Vec<String> = counts.iter().map(u64::to_string).collect();
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    };
    let of_all: Vec<u64> = (0..columns.len())
        .map(|c| sum(&rows, c) + sum(&others, c))
        .collect();
    let of_others: Vec<u64> = (0..columns.len()).map(|c| sum(&others, c)).collect();
    for (name, counts) in rows {
        line(name, counts);
    }
    line(&format!("({} others)", others.len()), of_others);
    line("**all**", of_all);
}

struct Compared<'a> {
    full: &'a str,
    requirement: &'static str,
    most: f64,
    ours: f64,
    theirs: f64,
    answer: Answer,
}

impl Compared<'_> {
    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }
}

fn compare<'a>(ours: &'a Measured, theirs: &Measured) -> Vec<Compared<'a>> {
    ours.costs
        .iter()
        .filter_map(|(full, cost)| {
            let name = name(full)?;
            // A boot has each new connection cost 100,000 or 140,000 instructions
            // throughout, by when RCU frees the ones before: no basis for an answer.
            if name.what.contains(".tcp_crr.") {
                return None;
            }
            let limit = limit(name.way, theirs.arm)?;
            Some(compared(full, limit.requirement, limit.most, cost, theirs))
        })
        .collect()
}

fn compared<'a>(
    full: &'a str,
    requirement: &'static str,
    most: f64,
    cost: &[f64],
    theirs: &Measured,
) -> Compared<'a> {
    let none = Vec::new();
    let other = theirs.costs.get(full).unwrap_or(&none);
    Compared {
        full,
        requirement,
        most,
        ours: middle(cost).unwrap_or(f64::NAN),
        theirs: middle(other).unwrap_or(f64::NAN),
        answer: answer(cost, other, most),
    }
}

fn comparison(out: &mut String, ours: &Measured, theirs: &Measured, everything: bool) {
    let all = compare(ours, theirs);
    let word = theirs.arm.word();
    let _ = writeln!(out, "\n## {}: patched against {word}", ours.source);
    rows(out, &all, word, "patched", everything);
    for (figure, profile) in &ours.profiles {
        if let Some(other) = theirs.profiles.get(figure) {
            let _ = writeln!(out, "\n{figure}, by function:\n");
            functions(out, &[(word, other), ("patched", profile)]);
        }
    }
}

/// A sentence for each requirement, and a line for each figure that does not
/// hold, or for each figure.
fn rows(out: &mut String, all: &[Compared<'_>], theirs: &str, ours: &str, everything: bool) {
    let requirements: BTreeSet<&str> = all.iter().map(|c| c.requirement).collect();
    for requirement in requirements {
        let of: Vec<&Compared<'_>> = all
            .iter()
            .filter(|c| c.requirement == requirement)
            .collect();
        let hold = of.iter().filter(|c| c.answer == Answer::Holds).count();
        let worst = of.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let least = of.iter().min_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        if let (Some(worst), Some(least)) = (worst, least) {
            let _ = writeln!(
                out,
                "\n{requirement}: {hold} of {} figures hold; ratios {:.4} ({}) to {:.4} ({}), at most {:.3}.",
                of.len(),
                least.ratio(),
                least.full,
                worst.ratio(),
                worst.full,
                worst.most
            );
        }
    }
    let shown: Vec<_> = all
        .iter()
        .filter(|c| everything || c.answer != Answer::Holds)
        .collect();
    if shown.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n| requirement | figure | {theirs} | {ours} | ratio | at most | |\n|---|---|---:|---:|---:|---:|---|"
    );
    for c in shown {
        let word = match c.answer {
            Answer::Holds => "holds",
            Answer::CouldNotTell => "could not tell",
            Answer::Broken => "BROKEN",
        };
        let _ = writeln!(
            out,
            "| {} | {} | {:.0} | {:.0} | {:.4} | {:.3} | {word} |",
            c.requirement,
            c.full,
            c.theirs,
            c.ours,
            c.ratio(),
            c.most
        );
    }
}

/// Each kernel beside what was saved of the same base and arm.
fn beside<'a>(now: &'a Bench, then: &'a Bench) -> Vec<(&'a Measured, Vec<Compared<'a>>)> {
    let same = |k: &Measured| {
        then.kernels
            .iter()
            .find(|t| t.base == k.base && t.arm == k.arm)
    };
    now.kernels
        .iter()
        .map(|kernel| {
            let all = same(kernel).into_iter().flat_map(|before| {
                kernel
                    .costs
                    .iter()
                    .map(move |(full, cost)| compared(full, "as before", MOST_GROWTH, cost, before))
            });
            (kernel, all.collect())
        })
        .collect()
}

/// What has become dearer or cheaper since `then`.
pub(super) fn against(now: &Bench, then: &Bench) -> String {
    let mut out = String::new();
    for (kernel, all) in beside(now, then) {
        let _ = writeln!(
            out,
            "\n## {} {}: against what was saved\n",
            kernel.source,
            kernel.arm.word()
        );
        if all.is_empty() {
            out.push_str("Nothing of this kernel was saved: could not tell.\n");
        }
        rows(&mut out, &all, "then", "now", false);
    }
    out
}

/// Every answer of [`against`]; a kernel that nothing was saved of gives none
/// that holds.
pub(super) fn answers_against(now: &Bench, then: &Bench) -> Vec<Answer> {
    beside(now, then)
        .into_iter()
        .flat_map(|(_, all)| {
            if all.is_empty() {
                vec![Answer::CouldNotTell]
            } else {
                all.iter().map(|c| c.answer).collect()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::{measured, sample};

    /// Verify that a promise which is broken is named, and that those which hold are not.
    #[test]
    fn broken_promises_are_named() {
        let mut found = sample(&[
            ("veth.tcp_rr.v4.host", &[1002.0, 1002.0]),
            ("veth.tcp_rr.v6.host", &[1000.0, 1000.0]),
            ("veth.tcp_rr.v6.redirect_peer", &[900.0, 900.0]),
        ]);
        found.kernels.push(measured(
            Arm::Baseline,
            &[
                ("veth.tcp_rr.v4.host", &[1000.0, 1000.0]),
                ("veth.tcp_rr.v6.host", &[1000.0, 1000.0]),
            ],
        ));
        assert_eq!(answers(&found).into_iter().max(), Some(Answer::Broken));
        let again = disputed(&found);
        assert!(again.iter().any(|(_, arm, _)| *arm == Arm::Patched));
        assert!(again.iter().any(|(_, arm, _)| *arm != Arm::Patched));
        assert!(again.iter().all(|(_, _, f)| f == "veth.tcp_rr.v4.host"));
        let text = table(&found, false);
        assert!(
            text.contains("| C1 | veth.tcp_rr.v4.host | 1000 | 1002 | 1.0020 | 1.001 | BROKEN |"),
            "{text}"
        );
        assert!(!text.contains("| C1 | veth.tcp_rr.v6.host"), "{text}");
        assert!(text.contains("C1: 1 of 2 figures hold"), "{text}");
        assert!(table(&found, true).contains("| C1 | veth.tcp_rr.v6.host"));
    }

    /// Verify that a figure which boots do not agree on is marked and said.
    #[test]
    fn doubtful_figures_are_marked() {
        let found = sample(&[("veth.tcp_rr.v4.host", &[1000.0, 1001.0])]);
        let text = table(&found, false);
        assert!(text.contains("~1001"), "{text}");
        assert!(text.contains("0 of 1 figures"), "{text}");
    }

    /// Verify what becomes of a figure that grew since it was saved, and of a
    /// kernel that was not saved.
    #[test]
    fn growth_is_noticed() {
        let then = sample(&[("veth.tcp_rr.v4.host", &[1000.0, 1000.0])]);
        let now = |cost: f64| sample(&[("veth.tcp_rr.v4.host", &[cost, cost])]);
        assert_eq!(answers_against(&now(1001.0), &then), [Answer::Holds]);
        assert_eq!(answers_against(&now(1002.0), &then), [Answer::Broken]);
        let mut other = now(1000.0);
        other.kernels[0].base = "5.10".into();
        assert_eq!(answers_against(&other, &then), [Answer::CouldNotTell]);
        assert!(against(&other, &then).contains("could not tell"));
    }

    /// Verify that the functions which differ come first and that the columns add up.
    #[test]
    fn functions_add_up() {
        let of = |a, b| Profile::from([("same".into(), 50), ("a".into(), a), ("b".into(), b)]);
        let mut out = String::new();
        functions(&mut out, &[("x", &of(10, 5)), ("y", &of(12, 1))]);
        let lines: Vec<&str> = out.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| b | 5 | 1 |",
                "| a | 10 | 12 |",
                "| (1 others) | 50 | 50 |",
                "| **all** | 65 | 63 |"
            ]
        );
    }
}
