// SPDX-License-Identifier: GPL-2.0-only
//! The objects that a patch concerns: what it changes, and for a header some of
//! what includes it. A whole build covers the rest.

use anyhow::Result;

use super::commits::{Applied, Patch};
use crate::tree::Tree;

/// How many objects more a changed header brings. Headers such as netdevice.h
/// are included by all of the network stack.
const FOR_A_HEADER: usize = 3;

/// Not part of the kernel that is built.
const ELSEWHERE: &[&str] = &[
    "tools/",
    "samples/",
    "scripts/",
    "Documentation/",
    "lib/test",
];

/// The objects that a patch concerns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Concern {
    /// Those whose sources it changes; when it only changes headers, those of
    /// the whole series.
    pub own: Vec<String>,
    /// Those, and some that include a changed header.
    pub all: Vec<String>,
    /// Those whose sources any patch of the series changes: what is compiled after one
    /// patch is then what is needed before the next.
    pub series: Vec<String>,
}

/// Works out what a patch concerns.
pub fn of(patch: &Patch, applied: &Applied, tree: &Tree) -> Result<Concern> {
    let mut own = objects(&patch.files);
    let headers: Vec<&String> = patch
        .files
        .iter()
        .filter(|f| f.ends_with(".h") && in_kernel(f))
        .collect();
    let mut series: Vec<String> = own.clone();
    for other in &applied.patches {
        series.extend(objects(&other.files));
    }
    series.sort();
    series.dedup();
    if own.is_empty() && !headers.is_empty() {
        own.clone_from(&series);
    }
    let mut all = own.clone();
    for header in headers {
        let mut more = includers(header, &patch.commit, tree)?;
        more.retain(|o| !all.contains(o));
        all.extend(more.into_iter().take(FOR_A_HEADER));
    }
    Ok(Concern { own, all, series })
}

fn in_kernel(file: &str) -> bool {
    !ELSEWHERE.iter().any(|e| file.starts_with(e))
}

fn objects(files: &[String]) -> Vec<String> {
    files
        .iter()
        .filter(|f| in_kernel(f))
        .filter_map(|f| Some(format!("{}.o", f.strip_suffix(".c")?)))
        .collect()
}

/// Objects of the core and the network stack whose source includes a header by
/// itself, in the order of their names.
fn includers(header: &str, commit: &str, tree: &Tree) -> Result<Vec<String>> {
    let Some(name) = header.strip_prefix("include/") else {
        return Ok(Vec::new());
    };
    let found = tree
        .repo
        .git(["grep", "-l", "--fixed-strings", "-e"])
        .arg(format!("#include <{name}>"))
        .args([
            commit,
            "--",
            "net/core",
            "net/sched",
            "net/ipv4",
            "kernel/bpf",
            "drivers/net/*.c",
        ])
        .output()?;
    Ok(found
        .stdout
        .lines()
        .filter_map(|l| l.split_once(':').map(|(_, path)| path.to_owned()))
        .filter(|p| p.matches('/').count() <= 2)
        .flat_map(|p| objects(&[p]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::objects;

    /// Verify that only what the kernel is built from becomes an object.
    #[test]
    fn only_the_kernel_is_compiled() {
        let files = [
            "net/core/dev.c",
            "include/linux/netdevice.h",
            "tools/testing/selftests/bpf/x.c",
            "samples/bpf/y.c",
        ]
        .map(str::to_owned);
        assert_eq!(objects(&files), ["net/core/dev.o"]);
    }
}
