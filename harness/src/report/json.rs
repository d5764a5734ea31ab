// SPDX-License-Identifier: GPL-2.0-only
//! results.json, written and read back.

use std::{io::Read, path::Path};

use anyhow::{Context, Result, bail};

use super::evidence;
use crate::results::{self, Results};

/// A file of results larger than this is none of ours. Bytes.
const LARGEST: u64 = 256 << 20;

/// The text of results.json.
pub(super) fn json(results: &Results) -> Result<String> {
    Ok(serde_json::to_string_pretty(results).context("writing results.json")? + "\n")
}

/// Reads saved results, with suspicion: each verdict is judged again, and what
/// does not follow from what was seen is refused.
pub fn load(path: &Path) -> Result<Results> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(LARGEST + 1).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", path.display()))?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "{} is larger than {} MiB: no results are",
            path.display(),
            LARGEST >> 20
        );
    }
    parse(&bytes).with_context(|| {
        format!(
            "{} does not hold results of this version of the harness",
            path.display()
        )
    })
}

pub(super) fn parse(bytes: &[u8]) -> Result<Results> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    // By itself first: another version need not have the other fields.
    let found: Version = serde_json::from_slice(bytes).context("it is damaged")?;
    if found.version != results::VERSION {
        bail!(
            "it is of version {}, this harness reads {}: make them anew",
            found.version,
            results::VERSION
        );
    }
    let results: Results = serde_json::from_slice(bytes).context("it is damaged")?;
    evidence::check(&results).context(
        "its verdicts are not what follows from what was seen: make it anew, `cargo harness verify --results DIR`",
    )?;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        damage::{Damage, memory},
        verdict::Verdict,
    };

    const GOOD: &str = include_str!("../../tests/results/good.json");
    const BAD: &str = include_str!("../../tests/results/bad.json");

    /// Verify that what was written is read back the same.
    #[test]
    fn round_trip() {
        for text in [GOOD, BAD] {
            let results = parse(text.as_bytes()).unwrap();
            let again = parse(json(&results).unwrap().as_bytes()).unwrap();
            assert_eq!(json(&results).unwrap(), json(&again).unwrap());
        }
        assert!(parse(GOOD.as_bytes()).unwrap().is_good());
        assert!(!parse(BAD.as_bytes()).unwrap().is_good());
    }

    /// Verify that another version is named, whatever else is in the file.
    #[test]
    fn other_versions_are_refused() {
        let error = parse(br#"{"version": 99}"#).unwrap_err();
        assert!(error.to_string().contains("99"), "{error}");
    }

    /// Verify that no damage makes the reader panic or turns bad results good.
    #[test]
    fn damage_never_makes_good() {
        let mut damage = Damage::new();
        for round in 0..3_000 {
            let mut bytes = BAD.as_bytes().to_vec();
            for _ in 0..=round % 4 {
                damage.to(&mut bytes);
            }
            memory::bounded(bytes.len(), || {
                if let Ok(results) = parse(&bytes) {
                    assert!(!results.is_good(), "round {round}");
                }
            });
        }
    }

    /// The places in a document at which a verdict is written.
    fn verdicts(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let at = format!("{at}/{name}");
                    match value {
                        Value::String(_) if name == "verdict" => found.push(at),
                        _ => verdicts(&at, value, found),
                    }
                }
            }
            Value::Array(values) => {
                for (i, value) in values.iter().enumerate() {
                    verdicts(&format!("{at}/{i}"), value, found);
                }
            }
            _ => {}
        }
    }

    /// Verify that no verdict can be written over another, in any case of any run,
    /// without being refused, and that the case is named.
    #[test]
    fn verdicts_cannot_be_edited() {
        for text in [GOOD, BAD] {
            let whole: Value = serde_json::from_str(text).unwrap();
            let mut places = Vec::new();
            verdicts("", &whole, &mut places);
            assert!(places.len() > 10);
            for place in places {
                for verdict in Verdict::ALL {
                    let mut edited = whole.clone();
                    let at = edited.pointer_mut(&place).unwrap();
                    if at == verdict.word() {
                        continue;
                    }
                    *at = verdict.word().into();
                    let came = parse(edited.to_string().as_bytes());
                    let place = format!("{place} made {verdict}");
                    let Some((run, case)) = place.split_once("/cases/") else {
                        // What is wrong with a run itself is said in words only.
                        let harmless = |r: Results| !verdict.is_good() && !r.is_good();
                        assert!(came.map_or(true, harmless), "{place}");
                        continue;
                    };
                    let number = case.split('/').next().unwrap();
                    let name = &whole
                        .pointer(&format!("{run}/cases/{number}/name"))
                        .unwrap();
                    // One bad word for another, where the kernel said something or the
                    // guest nothing, is as bad as it was.
                    match came {
                        Ok(came) => assert!(!verdict.is_good() && !came.is_good(), "{place}"),
                        // One bad word for another may contradict the run only.
                        Err(e) => assert!(
                            format!("{e:#}").contains(name.as_str().unwrap())
                                || !verdict.is_good() && format!("{e:#}").contains("the run"),
                            "{place}: {e:#}"
                        ),
                    }
                }
            }
        }
    }

    /// Verify that bad results do not become good by whatever is done to their
    /// verdicts, whys and declared ends at once.
    #[test]
    fn damaged_verdicts_never_make_good() {
        let mut damage = Damage::new();
        for _ in 0..2_000 {
            let mut results = parse(BAD.as_bytes()).unwrap();
            let many = damage.below(4) == 0;
            for run in &mut results.runs {
                for case in &mut run.cases {
                    if many || damage.below(8) == 0 {
                        case.verdict = match damage.below(3) {
                            0 => Verdict::ALL[damage.below(Verdict::ALL.len())],
                            1 => Verdict::ExpectedFail,
                            _ => Verdict::Pass,
                        };
                        case.again = vec![Verdict::Pass; damage.below(2)];
                    }
                }
                if many || damage.below(3) == 0 {
                    run.verdict = Verdict::ALL[damage.below(3)];
                    run.why.clear();
                }
            }
            results.allow_flaky = damage.below(2) == 0;
            if let Ok(results) = parse(json(&results).unwrap().as_bytes()) {
                assert!(!results.is_good() && !results.is_acceptable());
            }
        }
    }
}
