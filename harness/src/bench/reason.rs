// SPDX-License-Identifier: GPL-2.0-only
//! What the counters say of why bpf_redirect() and bpf_redirect_peer() differ
//! under load, or do not. Pure.

use std::fmt::Write;

use super::{
    effect::{Effect, PUBLISHED_P50},
    latency::{Figures, Point},
    rows::{Row, counts, traced},
};

/// Less than this of a transaction is hardly ever.
const HARDLY: f64 = 0.01;

/// Counters of one way, summed over all comparisons.
struct Side<'a>(Vec<&'a Row<'a>>);

impl Side<'_> {
    fn sum(&self, of: fn(&Point) -> &Figures, counter: &str) -> f64 {
        self.0.iter().filter_map(|row| row.sum(of, counter)).sum()
    }

    /// What was counted on tracepoints, for a transaction.
    fn each(&self, counter: &str) -> f64 {
        self.sum(traced, counter) / self.sum(traced, "transactions")
    }
}

/// Why, in Markdown.
pub(super) fn why(all: &[&Effect<'_>]) -> String {
    let redirect = Side(all.iter().map(|e| &e.redirect).collect());
    let peer = Side(all.iter().map(|e| &e.peer).collect());
    if !redirect.each("passes").is_finite() || !peer.each("passes").is_finite() {
        return "Why, could not be told: nothing was counted.\n".into();
    }
    let mut out = format!(
        "Why: a transaction takes {:.2} polls of the backlog with {:.2} packets by redirect, {:.2} with {:.2} by redirect_peer; \
         the softirq makes {:.2} and {:.2} passes, of which {:.2} and {:.2} were asked for by the pass before.\n",
        redirect.each("backlog_polls"),
        redirect.each("backlog_work"),
        peer.each("backlog_polls"),
        peer.each("backlog_work"),
        redirect.each("passes"),
        peer.each("passes"),
        redirect.each("again"),
        peer.each("again"),
    );
    out.push_str(&second_poll(&redirect, &peer));
    let waits = (redirect.each("wait") / 1e3, peer.each("wait") / 1e3);
    let _ = writeln!(
        out,
        "All its waits for a pass of the softirq are {:.2} us of a transaction by redirect and {:.2} us by redirect_peer: \
         {:.2} us between them, where the published medians have {:.2} us.",
        waits.0,
        waits.1,
        waits.0 - waits.1,
        PUBLISHED_P50.0 - PUBLISHED_P50.1,
    );
    let late = |side: &Side<'_>| {
        format!(
            "{:.0} times and made {:.0} of {:.0} passes",
            side.sum(traced, "ksoftirqd_wakeups"),
            side.sum(traced, "by_ksoftirqd"),
            side.sum(traced, "passes"),
        )
    };
    let share = redirect.sum(traced, "by_ksoftirqd") / redirect.sum(traced, "passes");
    let _ = writeln!(
        out,
        "ksoftirqd was woken {} by redirect, {} by redirect_peer: {}",
        late(&redirect),
        late(&peer),
        if share < HARDLY {
            "hardly ever does a packet wait until a thread is scheduled."
        } else {
            "that many packets wait until a thread is scheduled."
        }
    );
    let squeezes = |side: &Side<'_>| side.sum(counts, "time_squeeze");
    let _ = writeln!(
        out,
        "A pass ended with work left, out of time or budget, {:.0} times in {:.0} transactions by redirect, {:.0} in {:.0} by redirect_peer.",
        squeezes(&redirect),
        redirect.sum(counts, "transactions"),
        squeezes(&peer),
        peer.sum(counts, "transactions"),
    );
    out
}

/// Where the poll is made that redirect takes and redirect_peer does not.
fn second_poll(redirect: &Side<'_>, peer: &Side<'_>) -> String {
    let more = |counter: &str| redirect.each(counter) - peer.each(counter);
    let polls = more("backlog_polls");
    if polls < 0.5 {
        return "redirect takes no poll of the backlog that redirect_peer does not take.\n".into();
    }
    if more("again") >= polls / 2.0 {
        return format!(
            "The poll that redirect takes more has a pass of its own, which the pass before asked for, and which begins {:.0} ns after that.\n",
            redirect.sum(traced, "wait_again") / redirect.sum(traced, "again")
        );
    }
    if more("backlog_after_device") >= polls / 2.0 {
        return "The poll that redirect takes more is made in the pass that polled the device before, and that pass asks for no other: \
                there is no second pass to wait for.\n"
            .into();
    }
    "Which pass makes the poll that redirect takes more, the counters do not say.\n".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::effect::{
        effects,
        tests::{boot, measured},
    };

    /// Verify that the reason follows the counters, and nothing else.
    #[test]
    fn reasons() {
        let with = |again: f64, after_device: f64, by_ksoftirqd: f64| {
            let mut points = measured(20.0, 19.0);
            for point in &mut points {
                let more = f64::from(point.way == "redirect");
                for (name, each) in [
                    ("transactions", 1.0),
                    ("passes", 2.0 + again * more),
                    ("again", again * more),
                    ("wait", 1000.0 + 500.0 * again * more),
                    ("wait_again", 500.0 * again * more),
                    ("backlog_polls", 1.0 + more),
                    ("backlog_after_device", after_device * more),
                    ("by_ksoftirqd", by_ksoftirqd),
                ] {
                    point.traced.insert(name.to_owned(), each * 1000.0);
                }
            }
            let boot = boot(points);
            let effects = effects(&boot);
            why(&effects.iter().collect::<Vec<_>>())
        };
        let same_pass = with(0.0, 1.0, 0.0);
        assert!(same_pass.contains("no second pass to wait for"));
        assert!(same_pass.contains("0.00 us between them"), "{same_pass}");
        let own_pass = with(1.0, 0.0, 0.0);
        assert!(own_pass.contains("begins 500 ns after"), "{own_pass}");
        assert!(own_pass.contains("0.50 us between them"), "{own_pass}");
        assert!(with(0.0, 0.0, 0.0).contains("do not say"));
        assert!(with(1.0, 0.0, 0.0).contains("hardly ever"));
        assert!(with(1.0, 0.0, 0.5).contains("that many packets wait"));
    }
}
