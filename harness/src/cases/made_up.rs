// SPDX-License-Identifier: GPL-2.0-only
//! Cases and mutations that there are not, for the tests.

use std::path::PathBuf;

use protocol::{CaseInfo, Expect, Expectation};

use crate::{mutate::Mutation, session::DEFAULT_BASE};

pub(super) fn case(name: &str, proves: &[&str]) -> CaseInfo {
    CaseInfo {
        name: name.into(),
        summary: "Verify that".into(),
        proves: proves.iter().map(|p| (*p).to_owned()).collect(),
        expectations: vec![],
        deadline_ms: 1,
        waits_ms: 0,
    }
}

/// One that a base cannot run, on any arm.
pub(super) fn skipped_on(name: &str, proves: &[&str], base: &str) -> CaseInfo {
    let expectation = Expectation {
        arm: None,
        bases: vec![base.into()],
        expect: Expect::Skip,
        why: "w".into(),
    };
    CaseInfo {
        expectations: vec![expectation],
        ..case(name, proves)
    }
}

pub(super) fn mutation(breaks: &str, case: &str) -> Mutation {
    Mutation {
        base: DEFAULT_BASE.into(),
        patch: PathBuf::from("0001-p.patch"),
        subject: "Leave out x".into(),
        noticed_by: vec![case.into()],
        verdict: "fail".into(),
        reasons: vec![],
        breaks: vec![breaks.into()],
    }
}
