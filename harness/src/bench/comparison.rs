// SPDX-License-Identifier: GPL-2.0-only
//! What comparisons came to, in Markdown: a sentence for each requirement, and
//! a line for each figure.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    figures::{apart, shown},
    functions,
    promise::{APART, Answer, Beside, Compared, Comparison, NOT_JUDGED, by_ratio},
};
use crate::report::text::count;

/// One comparison of one base: in short, or every figure of it.
pub(super) fn comparison(out: &mut String, of: &Comparison<'_>, everything: bool) {
    let word = of.other.word();
    let Some((ours, theirs)) = of.pair else {
        let _ = writeln!(
            out,
            "\n## {}: patched against {word}\n\nNot both of the two kernels were measured: could not tell.",
            of.base
        );
        return;
    };
    let _ = writeln!(out, "\n## {}: patched against {word}", ours.source);
    if of.judged().next().is_none() {
        out.push_str(
            "\nNo figure that something is promised of was asked for: nothing is judged.\n",
        );
    }
    rows(out, &of.all, word, "patched", everything);
    for (figure, profile) in &ours.profiles {
        if let Some(other) = theirs.profiles.get(figure) {
            let _ = writeln!(out, "\n{figure}, by function:\n");
            functions::functions(out, &[(word, other), ("patched", profile)], Some((1, 0)));
        }
    }
}

/// A sentence for each requirement, and a line for each figure that does not
/// hold or was measured by itself, or for each figure.
pub(super) fn rows(out: &mut String, all: &[Compared], theirs: &str, ours: &str, everything: bool) {
    let requirements: BTreeSet<&str> = all.iter().map(|c| c.requirement).collect();
    for requirement in requirements {
        let of = all.iter().filter(|c| c.requirement == requirement);
        let (judged, unjudged): (Vec<_>, Vec<_>) = of.partition(|c| c.judged);
        sentence(out, requirement, &judged);
        alone(out, &judged);
        not_judged(out, &unjudged);
    }
    let is_shown = |c: &&Compared| everything || c.answer() != Answer::Holds || c.alone.is_some();
    let shown: Vec<_> = all.iter().filter(|c| c.judged).filter(is_shown).collect();
    if shown.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n| requirement | figure | {theirs} | {ours} | ratio | at most | |\n|---|---|---:|---:|---:|---:|---|"
    );
    for c in shown {
        let word = c.first.answer.word();
        let first = if c.alone.is_some() {
            format!("at first: {word}")
        } else {
            word.to_owned()
        };
        line(out, c, &c.full, &c.first, &first);
        if let Some(alone) = &c.alone {
            line(out, c, "by itself", alone, alone.answer.word());
        }
    }
}

fn line(out: &mut String, c: &Compared, what: &str, of: &Beside, word: &str) {
    let _ = writeln!(
        out,
        "| {} | {what} | {} | {} | {:.4} | {:.3} | {word} |",
        c.requirement,
        shown(&of.theirs),
        shown(&of.ours),
        of.ratio(),
        c.most
    );
}

/// How many hold, from which ratio to which.
fn sentence(out: &mut String, requirement: &str, judged: &[&Compared]) {
    let number = |answer| judged.iter().filter(|c| c.answer() == answer).count();
    let hold = number(Answer::Holds);
    let known = judged.iter().filter(|c| c.last().ratio().is_finite());
    let mut known: Vec<&&Compared> = known.collect();
    known.sort_by(|a, b| by_ratio(a, b));
    let (Some(least), Some(worst)) = (known.first(), known.last()) else {
        return;
    };
    let _ = write!(
        out,
        "\n{requirement}: {hold} of {} figures hold",
        judged.len()
    );
    for (answer, word) in [
        (Answer::Broken, "broken"),
        (Answer::CouldNotTell, "of which nobody can tell"),
    ] {
        if number(answer) > 0 {
            let _ = write!(out, ", {} {word}", number(answer));
        }
    }
    let _ = writeln!(
        out,
        "; ratios {:.4} ({}) to {:.4} ({}), at most {:.3}.",
        least.last().ratio(),
        least.full,
        worst.last().ratio(),
        worst.full,
        worst.most
    );
    let far = judged.iter().filter(|c| {
        let last = c.last();
        [&last.ours, &last.theirs]
            .iter()
            .any(|boots| apart(boots).is_finite() && apart(boots) > APART)
    });
    let far: Vec<&str> = far.map(|c| c.full.as_str()).collect();
    if !far.is_empty() {
        let _ = writeln!(
            out,
            "\nThe boots of one of the kernels are more than {:.1} % apart, so that none of these holds: {}.",
            APART * 100.0,
            far.join(", ")
        );
    }
}

/// What was measured once more: of both kinds.
fn alone(out: &mut String, judged: &[&Compared]) {
    let of = |held: bool| {
        let again = judged
            .iter()
            .filter(move |c| c.alone.is_some() && (c.first.answer == Answer::Holds) == held);
        let again: Vec<_> = again.collect();
        let hold = again.iter().filter(|c| c.answer() == Answer::Holds).count();
        (again.len(), hold)
    };
    let ((not, not_hold), (held, held_hold)) = (of(false), of(true));
    if not + held > 0 {
        let _ = writeln!(
            out,
            "\nMeasured once more, by itself, and judged by that: {} that did not hold at first, of which {not_hold} hold, and {} that held, of which {held_hold} hold.",
            count(not, "figure"),
            count(held, "figure")
        );
    }
}

/// What has no say, in numbers.
fn not_judged(out: &mut String, unjudged: &[&Compared]) {
    if unjudged.is_empty() {
        return;
    }
    let boots = unjudged
        .iter()
        .flat_map(|c| [&c.first.ours, &c.first.theirs]);
    let worst = boots
        .map(|b| apart(b))
        .filter(|a| a.is_finite())
        .fold(0.0, f64::max);
    let mut ratios: Vec<f64> = unjudged.iter().map(|c| c.first.ratio()).collect();
    ratios.retain(|r| r.is_finite());
    ratios.sort_by(f64::total_cmp);
    let number = |answer| unjudged.iter().filter(|c| c.first.answer == answer).count();
    let _ = write!(
        out,
        "\nNot judged: {} of {NOT_JUDGED}, on which the boots of a kernel are up to {:.1} % apart",
        count(unjudged.len(), "figure"),
        worst * 100.0
    );
    if let (Some(least), Some(most)) = (ratios.first(), ratios.last()) {
        let _ = write!(out, "; ratios {least:.4} to {most:.4}");
    }
    let _ = writeln!(
        out,
        ". By the rule of the others {} would hold, {} be broken, and of {} nobody could tell.",
        number(Answer::Holds),
        number(Answer::Broken),
        number(Answer::CouldNotTell)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(full: &str, ours: [f64; 2], judged: bool) -> Compared {
        Compared {
            full: full.into(),
            requirement: "C1",
            most: 1.001,
            judged,
            first: Beside::new(Some(&ours.to_vec()), Some(&vec![1000.0; 2]), 1.001),
            alone: None,
        }
    }

    fn text(all: &[Compared], everything: bool) -> String {
        let mut out = String::new();
        rows(&mut out, all, "baseline", "patched", everything);
        out
    }

    /// Verify that a promise which is broken is named, and that those which hold
    /// are not unless everything is shown.
    #[test]
    fn broken_promises_are_named() {
        let all = [
            compared("veth.tcp_rr.v4.host", [1002.0; 2], true),
            compared("veth.tcp_rr.v6.host", [1000.0; 2], true),
        ];
        let short = text(&all, false);
        for part in [
            "| C1 | veth.tcp_rr.v4.host | 1000 | 1002 | 1.0020 | 1.001 | BROKEN |",
            "C1: 1 of 2 figures hold, 1 broken; ratios 1.0000",
        ] {
            assert!(short.contains(part), "{short}");
        }
        assert!(!short.contains("| C1 | veth.tcp_rr.v6.host"), "{short}");
        assert!(text(&all, true).contains("| C1 | veth.tcp_rr.v6.host"));
    }

    /// Verify that what has no say is said with numbers, and boots that are too
    /// far apart are.
    #[test]
    fn what_is_not_judged_is_said() {
        let all = [
            compared("veth.tcp_rr.v4.host", [1000.0; 2], true),
            compared("veth.udp_rr.v4.host", [900.0, 950.0], true),
            compared("veth.tcp_crr.v4.host", [1000.0, 1450.0], false),
        ];
        let short = text(&all, false);
        for part in [
            "C1: 1 of 2 figures hold, 1 of which nobody can tell",
            "more than 0.1 % apart, so that none of these holds: veth.udp_rr.v4.host.",
            "Not judged: 1 figure of tcp_crr, on which the boots of a kernel are up to 45.0 % apart; ratios 1.2250 to 1.2250. By the rule of the others 0 would hold, 0 be broken, and of 1 nobody could tell.",
            "| C1 | veth.udp_rr.v4.host | 1000 | 900-950 |",
        ] {
            assert!(short.contains(part), "{part}\n{short}");
        }
    }

    /// Verify that both measurements of a figure are shown.
    #[test]
    fn both_measurements_are_shown() {
        let mut all = [
            compared("veth.tcp_rr.v4.host", [1002.0; 2], true),
            compared("veth.tcp_rr.v6.host", [1000.0; 2], true),
        ];
        for c in &mut all {
            let ours = vec![1000.0; 2];
            c.alone = Some(Beside::new(Some(&ours), Some(&vec![1000.0; 2]), 1.001));
        }
        let short = text(&all, false);
        for part in [
            "| C1 | veth.tcp_rr.v4.host | 1000 | 1002 | 1.0020 | 1.001 | at first: BROKEN |\n| C1 | by itself | 1000 | 1000 | 1.0000 | 1.001 | holds |",
            "1 figure that did not hold at first, of which 1 hold, and 1 figure that held, of which 1 hold.",
        ] {
            assert!(short.contains(part), "{part}\n{short}");
        }
    }
}
