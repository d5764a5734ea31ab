// SPDX-License-Identifier: GPL-2.0-only
//! Where the instructions of a transaction are, function by function, in
//! Markdown.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    figures::{Measured, middle},
    profile::Profile,
};

/// Functions shown of a profile, those that differ most.
const FUNCTIONS: usize = 24;

/// The functions of a transaction add up to its figure, which is counted in
/// another way, but for so much.
const SUM_APART: f64 = 0.001;

/// Instructions by function, a column for each figure that was profiled.
pub(super) fn profiles(out: &mut String, kernel: &Measured) {
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
    functions(out, &all, to_the_limit(&all));
    sums(out, kernel, &all);
}

/// What bpf_redirect_peer() still costs more than the host itself, of the first
/// traffic that both were profiled of: the columns of the two.
fn to_the_limit(columns: &[(&str, &Profile)]) -> Option<(usize, usize)> {
    columns.iter().enumerate().find_map(|(peer, (name, _))| {
        let what = name.strip_suffix(".redirect_peer")?;
        let host = format!("{what}.host");
        let at = columns.iter().position(|(name, _)| *name == host)?;
        Some((peer, at))
    })
}

/// Whether each column adds up to the figure.
fn sums(out: &mut String, kernel: &Measured, columns: &[(&str, &Profile)]) {
    let mut agree = 0;
    out.push('\n');
    for (name, profile) in columns {
        let sum = profile.values().sum::<u64>() as f64;
        let Some(figure) = kernel.costs.get(*name).and_then(|c| middle(c)) else {
            let _ = writeln!(out, "{name} was not measured beside its profile.");
            continue;
        };
        let apart = (sum / figure - 1.0).abs();
        if apart <= SUM_APART {
            agree += 1;
        } else {
            let _ = writeln!(
                out,
                "The functions of {name} add up to {sum:.0}, and the figure is {figure:.0}: {:.2} % apart.",
                apart * 100.0
            );
        }
    }
    if agree > 0 {
        let _ = writeln!(
            out,
            "{agree} of {} columns add up to their figures, within {:.1} %.",
            columns.len(),
            SUM_APART * 100.0
        );
    }
}

/// The functions in which the columns differ most, the sum of the others, and
/// the sum of all. `difference` are two columns: the first less the second is a
/// column of its own.
pub(super) fn functions(
    out: &mut String,
    columns: &[(&str, &Profile)],
    difference: Option<(usize, usize)>,
) {
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
    let mut titles: Vec<String> = columns.iter().map(|(t, _)| (*t).to_owned()).collect();
    if let Some((more, less)) = difference {
        let last = |at: usize| titles[at].rsplit('.').next().unwrap_or_default().to_owned();
        titles.push(format!("{} - {}", last(more), last(less)));
    }
    let _ = writeln!(out, "| function | {} |", titles.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(titles.len()));
    let mut line = |name: &str, counts: &[u64]| {
        let mut cells: Vec<String> = counts.iter().map(u64::to_string).collect();
        if let Some((more, less)) = difference {
            cells.push(format!("{:+}", counts[more] as i64 - counts[less] as i64));
        }
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    };
    let of_all: Vec<u64> = (0..columns.len())
        .map(|c| sum(&rows, c) + sum(&others, c))
        .collect();
    let of_others: Vec<u64> = (0..columns.len()).map(|c| sum(&others, c)).collect();
    for (name, counts) in &rows {
        line(name, counts);
    }
    line(&format!("({} others)", others.len()), &of_others);
    line("**all**", &of_all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::measured;
    use protocol::Arm;

    /// Verify that the functions which differ come first, that the columns add
    /// up, and that the difference of two is a column.
    #[test]
    fn functions_add_up() {
        let of = |a, b| Profile::from([("same".into(), 50), ("a".into(), a), ("b".into(), b)]);
        let lines = |difference| {
            let mut out = String::new();
            functions(
                &mut out,
                &[("t.x", &of(10, 5)), ("t.y", &of(12, 1))],
                difference,
            );
            out
        };
        assert_eq!(
            lines(None),
            "| function | t.x | t.y |\n|---|---:|---:|\n| b | 5 | 1 |\n| a | 10 | 12 |\n| (1 others) | 50 | 50 |\n| **all** | 65 | 63 |\n"
        );
        let text = lines(Some((1, 0)));
        for part in [
            "| t.y | y - x |",
            "| b | 5 | 1 | -4 |",
            "| **all** | 65 | 63 | -2 |",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    /// Verify that a profile which does not add up to its figure is said, and
    /// that the way is set beside the limit.
    #[test]
    fn sums_are_checked() {
        let host = ("v.udp_1.v4.host", &[5000.0, 5000.0][..]);
        let peer = ("v.udp_1.v4.redirect_peer", &[6000.0, 6000.0][..]);
        let mut kernel = measured(Arm::Patched, &[host, peer]);
        for (name, sum) in [(host.0, 5005), (peer.0, 6012), ("v.udp_1.v4.redirect", 1)] {
            let profile = Profile::from([("f".to_owned(), sum)]);
            kernel.profiles.insert(name.into(), profile);
        }
        let mut text = String::new();
        profiles(&mut text, &kernel);
        for part in [
            "| redirect_peer - host |",
            "| f | 5005 | 1 | 6012 | +1007 |",
            "The functions of v.udp_1.v4.redirect_peer add up to 6012, and the figure is 6000: 0.20 % apart.",
            "v.udp_1.v4.redirect was not measured",
            "1 of 3 columns add up to their figures, within 0.1 %.",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
