// SPDX-License-Identifier: GPL-2.0-only
//! What reviewers and build robots would find: the quick form of `series check`.

use anyhow::Result;

use super::Count;
use crate::{
    cli::Source,
    series::{
        check::checked,
        finding::{Checked, Outcome},
        table::{Style, table},
    },
    session::{DEFAULT_BASE, Session},
};

/// Checks the default base's series and counts each check of each patch.
pub(super) fn reviewers(session: &Session, count: &mut Count) -> Result<()> {
    let checked = checked(session, &Source::of_base(DEFAULT_BASE), true)?;
    let style = Style {
        colour: false,
        verbose: false,
    };
    print!("{}", table(&checked, style));
    counted(&checked, count);
    Ok(())
}

/// Counts what was checked; what there is nothing of for a patch is no test.
fn counted(checked: &Checked, count: &mut Count) {
    for row in &checked.rows {
        for cell in &row.cells {
            match &cell.outcome {
                Outcome::Good => count.passed += 1,
                Outcome::Found { .. } => count.failed += 1,
                Outcome::NotHere { .. } => {}
                Outcome::Untold { why } => {
                    count.untried(format!("{} of \"{}\": {why}", cell.check, row.subject));
                }
            }
        }
    }
    for why in &checked.missed {
        count.untried(format!("the series: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::finding::{Finding, Row};

    /// Verify that a finding fails, that what could not be checked is no pass, and
    /// that what there is nothing of does not count.
    #[test]
    fn each_outcome_counts_for_itself() {
        let mut row = Row {
            base: "6.12".into(),
            version: "6.12.1".into(),
            number: 1,
            of: 1,
            subject: "net: Do".into(),
            commit: "c".into(),
            cells: Vec::new(),
        };
        let finding = Finding {
            file: "f".into(),
            line: None,
            tool: "t".into(),
            text: "x".into(),
        };
        row.put("a", Outcome::Good);
        row.put("b", Outcome::Good);
        row.put("c", Outcome::of(vec![finding]));
        row.put("d", Outcome::NotHere { why: "w".into() });
        row.put("e", Outcome::Untold { why: "w".into() });
        let checked = Checked {
            rows: vec![row],
            missed: vec!["base 6.1 cannot be had".into()],
        };
        let mut count = Count::default();
        counted(&checked, &mut count);
        assert_eq!((count.passed, count.failed), (2, 1));
        let (said, good) = count.close(false);
        assert!(
            !good && said.ends_with("2 passed, 1 failed, 2 skipped"),
            "{said}"
        );
    }
}
