// SPDX-License-Identifier: GPL-2.0-only
//! The compilers that a machine has, and what they say of themselves.

use std::path::Path;

use anyhow::Result;

use crate::{exec::Program, session::Session, setup, source};

/// A clang that is new enough for the kernel at `src`: the program, and what it
/// says of itself. Where there is none it is installed, if that may be done; else why
/// there is none.
pub(super) fn clang(session: &Session, src: &Path) -> Result<Result<(String, String), String>> {
    let least = least_clang(src)?;
    let Some(older) = (match newest_clang(&least)? {
        Ok(found) => return Ok(Ok(found)),
        Err(older) => older,
    }) else {
        return Ok(Err(
            "clang is missing; as root: apt-get install clang".into()
        ));
    };
    let package = package_for(&least, &setup::offered("clang-")?);
    if let Some(package) = &package {
        setup::install_if_possible(package, session.common.offline, &session.progress)?;
    }
    Ok(newest_clang(&least)?.map_err(|_| {
        let remedy = package.map_or("apt here offers none".into(), |package| {
            format!("as root: apt-get install {package}")
        });
        format!("{older} is older than the {least} that this kernel asks for; {remedy}")
    }))
}

/// What sparse says of itself, installed where it is missing and that may be done.
pub(super) fn sparse(session: &Session) -> Result<Option<String>> {
    if let Some(says) = first_line("sparse")? {
        return Ok(Some(says));
    }
    setup::install_if_possible("sparse", session.common.offline, &session.progress)?;
    first_line("sparse")
}

/// The oldest clang that a kernel takes; empty where it takes any.
fn least_clang(src: &Path) -> Result<String> {
    // Lines before 5.13 have no such script, and take any clang that is about.
    let script = "scripts/min-tool-version.sh";
    if !src.join(script).is_file() {
        return Ok(String::new());
    }
    let said = Program::new("sh").args([script, "llvm"]).dir(src).read()?;
    Ok(said.trim().to_owned())
}

/// `clang`, or the newest of those with their number in the name, that is at least
/// `least`; else what the first of them says of itself, if there is any.
fn newest_clang(least: &str) -> Result<Result<(String, String), Option<String>>> {
    let numbered = (11..40).rev().map(|n| format!("clang-{n}"));
    let mut older = None;
    for program in std::iter::once("clang".to_owned()).chain(numbered) {
        let Some(says) = first_line(&program)? else {
            continue;
        };
        if new_enough(&says, least) {
            return Ok(Ok((program, says)));
        }
        older.get_or_insert(says);
    }
    Ok(Err(older))
}

/// The oldest of the packages `clang-19`... that is new enough: what is newer than
/// that, a kernel of its day was not tried with.
fn package_for(least: &str, offered: &[String]) -> Option<String> {
    let number = |package: &str| package.strip_prefix("clang-")?.parse::<u32>().ok();
    let least: u32 = least.split('.').next()?.parse().ok()?;
    offered
        .iter()
        .filter(|package| number(package).is_some_and(|n| n >= least))
        .min_by_key(|package| number(package))
        .cloned()
}

/// Whether `clang version 14.0.6 ...` is at least `least`, `17.0.1`.
fn new_enough(says: &str, least: &str) -> bool {
    let number = |text: &str| -> Vec<u32> {
        text.split('.')
            .map_while(|p| {
                let digits: String = p.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().ok()
            })
            .collect()
    };
    let version = says.split("version ").nth(1).unwrap_or_default();
    number(version) >= number(least)
}

/// First line of what a program says of itself; `None` when there is none.
fn first_line(program: &str) -> Result<Option<String>> {
    if !source::has(program) {
        return Ok(None);
    }
    let text = Program::new(program).arg("--version").read()?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(if line.contains(program) {
        line.to_owned()
    } else {
        format!("{program} {line}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that versions are compared as numbers, and that no demand is met by any.
    #[test]
    fn clang_must_be_new_enough() {
        let says = "Debian clang version 14.0.6";
        assert!(new_enough(says, "13.0.1"));
        assert!(!new_enough(says, "17.0.1"));
        assert!(new_enough(
            "Debian clang version 19.1.7 (3~deb12u1)",
            "9.0.0"
        ));
        assert!(new_enough(says, ""));
    }

    /// Verify that of the packages the oldest that will do is taken, and no other
    /// whose name begins alike.
    #[test]
    fn package_is_the_least_that_will_do() {
        let offered = [
            "clang-22",
            "clang-19-doc",
            "clang-16",
            "clang-19",
            "clang-format",
        ];
        let offered = offered.map(str::to_owned);
        let package = |least| package_for(least, &offered);
        assert_eq!(package("17.0.1").as_deref(), Some("clang-19"));
        assert_eq!(package("16.0.0").as_deref(), Some("clang-16"));
        assert_eq!(package("23.0.0"), None);
        assert_eq!(package(""), None);
    }
}
