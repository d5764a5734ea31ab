// SPDX-License-Identifier: GPL-2.0-only
//! Results to test the reports with: those of harness/tests/results. `check` has
//! other programs read them too.

#![expect(
    clippy::unwrap_used,
    reason = "the samples are part of this program, and its tests read each"
)]

use super::json;
use crate::results::{Finding, Results};

fn read(text: &str) -> Results {
    json::parse(text.as_bytes()).unwrap()
}

/// Everything as it should be, on baseline and patched.
pub(crate) fn good() -> Results {
    read(include_str!("../../tests/results/good.json"))
}

/// At least one of each verdict.
pub(crate) fn bad() -> Results {
    read(include_str!("../../tests/results/bad.json"))
}

/// The bad ones, with every text replaced by what no report should take at face value.
pub(crate) fn hostile() -> Results {
    const EVIL: &str = "# SKIP a # # SKIP b\nok 1 c # SKIP\n</pre><script>alert(1)</script>\"'&<!-- ]]> \u{1b}[31m\u{202e}\u{0}\u{fffe}`id` $(id);\n\
                        ok 1 fake\n# Subtest: fake\nKTAP version 1\n1..9\nreboot: System halted\r\n";
    let mut value = serde_json::to_value(bad()).unwrap();
    replace(&mut value, EVIL);
    let mut results: Results = serde_json::from_value(value).unwrap();
    results.patches.insert("6.12".into(), "f00d".into());
    results.findings.push(Finding {
        base: EVIL.into(),
        what: EVIL.into(),
    });
    // Names are told apart by them.
    for (at, case) in results.cases.iter_mut().enumerate() {
        case.name = format!("{EVIL}{at}");
    }
    for run in &mut results.runs {
        for (at, case) in run.cases.iter_mut().enumerate() {
            case.name = format!("{EVIL}{at}");
        }
    }
    results
}

/// Replaces every text that is not one of a fixed set of words.
fn replace(value: &mut serde_json::Value, evil: &str) {
    use serde_json::Value;
    const FIXED: [&str; 5] = ["verdict", "arm", "must", "result", "console"];
    match value {
        Value::Object(fields) => {
            for (name, value) in fields
                .iter_mut()
                .filter(|(n, _)| !FIXED.contains(&n.as_str()))
            {
                let _ = name;
                replace(value, evil);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|v| replace(v, evil)),
        Value::String(text) => *text = evil.to_owned(),
        _ => {}
    }
}
