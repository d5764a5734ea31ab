// SPDX-License-Identifier: GPL-2.0-only
//! What `bench` found, in Markdown: it reads well on a terminal, too.

use std::{collections::BTreeSet, fmt::Write};

use protocol::Arm;

use super::figures::{Answer, Bench, Measured, answer, exact, limit, middle, name, won_back};

/// The order in which ways are shown.
const WAYS: [&str; 7] = [
    "host",
    "stack",
    "redirect",
    "redirect_neigh",
    "redirect_peer",
    "local.redirect",
    "local.redirect_peer",
];

/// Costs of each kernel, then each promise.
pub fn table(bench: &Bench) -> String {
    let mut out = String::new();
    for kernel in &bench.kernels {
        costs(&mut out, kernel);
    }
    for ours in bench.kernels.iter().filter(|k| k.arm == Arm::Patched) {
        for theirs in bench
            .kernels
            .iter()
            .filter(|k| k.base == ours.base && k.arm != Arm::Patched)
        {
            comparison(&mut out, ours, theirs);
        }
    }
    out
}

/// Every answer that the kernels give, the worst last.
pub(super) fn answers(bench: &Bench) -> Vec<Answer> {
    let mut answers = Vec::new();
    for ours in bench.kernels.iter().filter(|k| k.arm == Arm::Patched) {
        for theirs in bench
            .kernels
            .iter()
            .filter(|k| k.base == ours.base && k.arm != Arm::Patched)
        {
            answers.extend(compare(ours, theirs).into_iter().map(|c| c.answer));
        }
    }
    answers.sort();
    answers
}

fn costs(out: &mut String, kernel: &Measured) {
    let whats: BTreeSet<&str> = kernel
        .costs
        .keys()
        .filter_map(|full| Some(name(full)?.what))
        .collect();
    let _ = writeln!(
        out,
        "\n## {} {}: instructions for a transaction\n",
        kernel.source,
        kernel.arm.word()
    );
    let mut head = format!("| {:<18} |", "traffic");
    let mut rule = format!("|{}|", "-".repeat(20));
    for way in WAYS {
        let _ = write!(head, " {way:>9} |");
        let _ = write!(rule, "{}:|", "-".repeat(way.len().max(9) + 1));
    }
    let _ = writeln!(out, "{head} won back |\n{rule}---------:|");
    for what in whats {
        let _ = write!(out, "| {what:<18} |");
        for way in WAYS {
            let width = way.len().max(9);
            let cell = kernel
                .costs
                .get(&format!("{what}.{way}"))
                .and_then(|c| {
                    // What two boots did not agree on is marked.
                    let mark = if exact(c) { "" } else { "~" };
                    Some(format!("{mark}{:.0}", middle(c)?))
                })
                .unwrap_or_default();
            let _ = write!(out, " {cell:>width$} |");
        }
        let share = won_back(&kernel.costs, what).map(|s| format!("{:.0} %", s * 100.0));
        let _ = writeln!(out, " {:>8} |", share.unwrap_or_default());
    }
}

struct Compared<'a> {
    full: &'a str,
    requirement: &'static str,
    most: f64,
    ours: f64,
    theirs: f64,
    answer: Answer,
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
            let none = Vec::new();
            let other = theirs.costs.get(full).unwrap_or(&none);
            Some(Compared {
                full,
                requirement: limit.requirement,
                most: limit.most,
                ours: middle(cost).unwrap_or(f64::NAN),
                theirs: middle(other).unwrap_or(f64::NAN),
                answer: answer(cost, other, limit.most),
            })
        })
        .collect()
}

fn comparison(out: &mut String, ours: &Measured, theirs: &Measured) {
    let _ = writeln!(
        out,
        "\n## {}: patched against {}\n\n| requirement | figure | {} | patched | ratio | at most | |\n|---|---|---:|---:|---:|---:|---|",
        ours.source,
        theirs.arm.word(),
        theirs.arm.word()
    );
    for c in compare(ours, theirs) {
        let word = match c.answer {
            Answer::Holds => "holds",
            Answer::CouldNotTell => "could not tell",
            Answer::Broken => "BROKEN",
        };
        let _ = writeln!(
            out,
            "| {} | {} | {:.1} | {:.1} | {:.4} | {:.3} | {word} |",
            c.requirement,
            c.full,
            c.theirs,
            c.ours,
            c.ours / c.theirs,
            c.most
        );
    }
}
