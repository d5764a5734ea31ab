// SPDX-License-Identifier: GPL-2.0-only
//! The compilers that a machine has, and what they say of themselves.

use std::path::Path;

use anyhow::Result;

use crate::{exec::Program, source};

/// A clang that is new enough for the kernel at `src`: `clang`, or the newest of
/// those with their number in the name. Else why there is none.
pub(super) fn clang_for(src: &Path) -> Result<Result<(String, String), String>> {
    // Lines before 5.13 have no such script, and take any clang that is about.
    let script = "scripts/min-tool-version.sh";
    let least = if src.join(script).is_file() {
        Program::new("sh").args([script, "llvm"]).dir(src).read()?
    } else {
        String::new()
    };
    let least = least.trim();
    let numbered = (11..40).rev().map(|n| format!("clang-{n}"));
    let mut found = None;
    for program in std::iter::once("clang".to_owned()).chain(numbered) {
        let Some(says) = first_line(&program)? else {
            continue;
        };
        if new_enough(&says, least) {
            return Ok(Ok((program, says)));
        }
        found.get_or_insert(says);
    }
    let major = least.split('.').next().unwrap_or_default();
    Ok(Err(match found {
        Some(says) => format!(
            "{says} is older than the {least} that this kernel asks for; as root: apt-get install clang-{major} (or a later one)"
        ),
        None => "clang is missing; as root: apt-get install clang".into(),
    }))
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
pub(super) fn first_line(program: &str) -> Result<Option<String>> {
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
}
