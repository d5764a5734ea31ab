// SPDX-License-Identifier: GPL-2.0-only
//! What tracefs says about tracepoints, which kernels without BTF say nowhere
//! else.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

const ROOT: &str = "/sys/kernel/tracing";

/// The format file of a tracepoint.
#[derive(Debug)]
pub(crate) struct Format {
    text: String,
    name: String,
}

impl Format {
    /// Reads it; mounts tracefs where that was not done yet. It stays mounted,
    /// as on any machine that traces.
    pub(crate) fn of(group: &str, event: &str) -> Result<Self> {
        if !Path::new(ROOT).join("events").exists() {
            mount(
                Some("tracefs"),
                ROOT,
                Some("tracefs"),
                MsFlags::empty(),
                None::<&str>,
            )
            .with_context(|| format!("mounting tracefs on {ROOT}"))?;
        }
        let path = format!("{ROOT}/events/{group}/{event}/format");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Ok(Self { text, name: path })
    }

    /// Whether the tracepoint has a field.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.offset(field).is_ok()
    }

    /// Where a field is in the record, in bytes.
    pub(crate) fn offset(&self, field: &str) -> Result<u32> {
        offset(&self.text, field).with_context(|| format!("{} has no field {field}", self.name))
    }

    /// Names of a field's values, where the format prints them as such.
    pub(crate) fn symbols(&self) -> HashMap<usize, String> {
        symbols(&self.text)
    }
}

fn offset(text: &str, field: &str) -> Option<u32> {
    let line = text.lines().find(|l| {
        l.trim_start()
            .strip_prefix("field:")
            .and_then(|l| l.split(';').next())
            .and_then(|d| d.split_whitespace().last())
            .is_some_and(|name| name.split('[').next() == Some(field))
    })?;
    let (_, rest) = line.split_once("offset:")?;
    rest.split(';').next()?.trim().parse().ok()
}

/// `{ 2, "NOT_SPECIFIED" }, ...` as `__print_symbolic` has it.
fn symbols(text: &str) -> HashMap<usize, String> {
    let mut found = HashMap::new();
    for pair in text.split('{').skip(1).filter_map(|p| p.split('}').next()) {
        if let Some((number, name)) = pair.split_once(',')
            && let Ok(number) = number.trim().parse()
        {
            found.insert(number, name.trim().trim_matches('"').to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{offset, symbols};

    const FORMAT: &str = "\
name: kfree_skb
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned short protocol;\toffset:32;\tsize:2;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:36;\tsize:4;\tsigned:0;

print fmt: \"reason: %s\", __print_symbolic(REC->reason, { 1, \"CONSUMED\" }, { 2, \"NOT_SPECIFIED\" })
";

    /// Verify that fields are found by their whole name, of whatever type.
    #[test]
    fn fields() {
        assert_eq!(offset(FORMAT, "protocol"), Some(32));
        assert_eq!(offset(FORMAT, "name"), Some(36));
        assert_eq!(offset(FORMAT, "col"), None);
    }

    /// Verify that the names of values are read.
    #[test]
    fn names() {
        let symbols = symbols(FORMAT);
        assert_eq!(symbols.len(), 2);
        assert_eq!(symbols[&2], "NOT_SPECIFIED");
    }
}
