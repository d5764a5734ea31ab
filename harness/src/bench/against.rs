// SPDX-License-Identifier: GPL-2.0-only
//! What has become dearer or cheaper since something was saved. Pure.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    comparison::rows,
    figures::{Bench, Measured, name},
    promise::{Answer, Beside, Compared, NOT_JUDGED},
};
use crate::report::text;

/// Beside a saved figure a figure may be so much more.
const MOST_GROWTH: f64 = 1.001;

/// A kernel beside what was saved of the same base and arm.
struct Kernel<'a> {
    now: &'a Measured,
    then: Option<&'a Measured>,
    all: Vec<Compared>,
}

/// Each kernel, with every figure of either that is asked for now.
fn kernels<'a>(now: &'a Bench, then: &'a Bench) -> Vec<Kernel<'a>> {
    now.kernels
        .iter()
        .map(|kernel| {
            let saved = saved_of(kernel, then);
            let all = saved.map_or_else(Vec::new, |saved| {
                let names: BTreeSet<&String> =
                    kernel.costs.keys().chain(saved.costs.keys()).collect();
                let asked = names.into_iter().filter(|full| now.asked.wants(full));
                asked.map(|full| compared(full, kernel, saved)).collect()
            });
            Kernel {
                now: kernel,
                then: saved,
                all,
            }
        })
        .collect()
}

fn saved_of<'a>(kernel: &Measured, then: &'a Bench) -> Option<&'a Measured> {
    let mut saved = then.kernels.iter();
    saved.find(|t| t.base == kernel.base && t.arm == kernel.arm)
}

fn compared(full: &str, now: &Measured, then: &Measured) -> Compared {
    Compared {
        full: full.to_owned(),
        requirement: "as before",
        most: MOST_GROWTH,
        judged: name(full).is_some_and(|n| n.traffic() != NOT_JUDGED),
        first: Beside::new(now.costs.get(full), then.costs.get(full), MOST_GROWTH),
        alone: None,
    }
}

/// Whether a figure has shrunk by as much as it may grow.
fn is_cheaper(c: &Compared) -> bool {
    let back = Beside::new(Some(&c.first.theirs), Some(&c.first.ours), MOST_GROWTH);
    back.answer == Answer::Broken
}

/// What has become dearer or cheaper since `then`, and what else is different.
pub(super) fn against(now: &Bench, then: &Bench) -> String {
    let mut out = String::from("\n## Against what was saved\n");
    let ours = [
        ("compiler", &now.machine.compiler, &then.machine.compiler),
        ("QEMU", &now.machine.qemu, &then.machine.qemu),
        ("virtme-ng", &now.machine.virtme_ng, &then.machine.virtme_ng),
        ("measuring program", &now.guest, &then.guest),
    ];
    different(&mut out, "what is measured with", &ours);
    let here = |k: &&Measured| {
        !now.kernels
            .iter()
            .any(|n| n.base == k.base && n.arm == k.arm)
    };
    let gone: Vec<String> = then
        .kernels
        .iter()
        .filter(here)
        .map(|k| format!("{} {}", k.base, k.arm.word()))
        .collect();
    if !gone.is_empty() {
        let _ = writeln!(out, "\nSaved, and not asked for now: {}.", gone.join(", "));
    }
    for kernel in kernels(now, then) {
        let Kernel { now, then, all } = kernel;
        let _ = writeln!(out, "\n### {} {}", now.source, now.arm.word());
        let Some(then) = then else {
            out.push_str("\nNothing of this kernel was saved: could not tell.\n");
            continue;
        };
        let of = [
            ("source", &now.source, &then.source),
            ("patch set", &now.patches, &then.patches),
            ("commit", &now.commit, &then.commit),
        ];
        different(&mut out, "this kernel", &of);
        let cheaper: Vec<&Compared> = all.iter().filter(|c| c.judged && is_cheaper(c)).collect();
        if !cheaper.is_empty() {
            let names: Vec<String> = cheaper
                .iter()
                .map(|c| format!("{} ({:.4})", c.full, c.first.ratio()))
                .collect();
            let _ = writeln!(
                out,
                "\n{} cheaper: {}.",
                text::count(cheaper.len(), "figure"),
                names.join(", ")
            );
        }
        rows(&mut out, &all, "then", "now", false);
    }
    out
}

/// A line for each thing that is not what it was.
fn different(out: &mut String, of: &str, all: &[(&str, &String, &String)]) {
    let changed: Vec<String> = all
        .iter()
        .filter(|(_, now, then)| now != then)
        .map(|(what, now, then)| {
            let [now, then] = [now, then].map(|t| text::markdown(t));
            format!("{what} (then {then}, now {now})")
        })
        .collect();
    if !changed.is_empty() {
        let _ = writeln!(
            out,
            "\nOf {of} there changed: {}. A difference below may be its doing.",
            changed.join("; ")
        );
    }
}

/// Every answer of [`against`]: a figure that one side does not have gives none
/// that holds, nor does a kernel that nothing was saved of, or that has nothing
/// to judge.
pub(super) fn answers(now: &Bench, then: &Bench) -> Vec<Answer> {
    let mut found = Vec::new();
    for kernel in kernels(now, then) {
        let mut judged = kernel.all.iter().filter(|c| c.judged).peekable();
        if judged.peek().is_none() {
            found.push(Answer::CouldNotTell);
        }
        found.extend(judged.map(Compared::answer));
    }
    if now.kernels.is_empty() {
        found.push(Answer::CouldNotTell);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::sample;

    const FIGURE: &str = "veth.tcp_rr.v4.host";

    fn with(figures: &[(&str, f64)]) -> Bench {
        let costs: Vec<(&str, Vec<f64>)> =
            figures.iter().map(|(f, c)| (*f, vec![*c, *c])).collect();
        let costs: Vec<(&str, &[f64])> = costs.iter().map(|(f, c)| (*f, &c[..])).collect();
        sample(&costs)
    }

    /// Verify what becomes of a figure that grew since it was saved, and of a
    /// kernel that was not saved.
    #[test]
    fn growth_is_noticed() {
        let then = with(&[(FIGURE, 1000.0)]);
        let now = |cost: f64| with(&[(FIGURE, cost)]);
        assert_eq!(answers(&now(1001.0), &then), [Answer::Holds]);
        assert_eq!(answers(&now(1002.0), &then), [Answer::Broken]);
        let mut other = now(1000.0);
        other.kernels[0].base = "5.10".into();
        assert_eq!(answers(&other, &then), [Answer::CouldNotTell]);
        let text = against(&other, &then);
        assert!(text.contains("could not tell"), "{text}");
        assert!(text.contains("not asked for now: 6.12 patched"), "{text}");
    }

    /// Verify that a figure which only one side has is not passed over, unless
    /// it was not asked for; and that unjudged traffic has no say.
    #[test]
    fn figures_of_both_sides_count() {
        let crr = "veth.tcp_crr.v4.host";
        let more = with(&[(FIGURE, 1000.0), ("veth.udp_rr.v4.host", 900.0)]);
        let less = with(&[(FIGURE, 1000.0)]);
        let both = [Answer::Holds, Answer::CouldNotTell];
        assert_eq!(answers(&less, &more), both);
        assert_eq!(answers(&more, &less), both);
        let mut asked = less.clone();
        asked.asked.only = vec![FIGURE.into()];
        assert_eq!(answers(&asked, &more), [Answer::Holds]);
        let then = with(&[(FIGURE, 1000.0), (crr, 1000.0)]);
        let now = with(&[(FIGURE, 1000.0), (crr, 1400.0)]);
        assert_eq!(answers(&now, &then), [Answer::Holds]);
        let of = |n| with(&[(crr, n)]);
        assert_eq!(answers(&of(1.0), &of(1.0)), [Answer::CouldNotTell]);
    }

    /// Verify that what has become cheaper is said, and what else has changed.
    #[test]
    fn what_changed_is_said() {
        let then = with(&[(FIGURE, 1000.0)]);
        let mut now = with(&[(FIGURE, 990.0)]);
        assert!(!against(&then, &then).contains("cheaper"));
        assert!(!against(&then, &then).contains("changed"));
        now.machine.compiler = "gcc 99".into();
        now.kernels[0].patches = "q".into();
        let text = against(&now, &then);
        for part in [
            "1 figure cheaper: veth.tcp_rr.v4.host (0.9900)",
            "compiler (then , now gcc 99)",
            "patch set (then p, now q)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
