// SPDX-License-Identifier: GPL-2.0-only
//! The program that runs inside the guest: built here, and asked here what its
//! cases promise.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use protocol::CaseInfo;

use crate::{
    cache::{digest, write_whole},
    exec::Program,
    progress::Progress,
    project::Project,
    request,
};

/// How the folders are called in which the guest finds the kernel's own selftests,
/// below its share; their numbers follow.
const IN_TREE: &str = "in-tree-";

/// The guest program and its cases.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The binary.
    pub program: PathBuf,
    /// What its cases promise.
    pub cases: Vec<CaseInfo>,
    /// Folders of [`crate::intree`], whose cases are among these.
    pub in_tree: Vec<PathBuf>,
    /// Decides the order of the cases; the one in which they are listed otherwise.
    pub shuffle: Option<u64>,
    /// How long, in milliseconds, its cases wait for what must come; 10 s otherwise.
    pub patience: Option<u64>,
}

impl Guest {
    /// Builds the guest program and reads its list of cases.
    pub fn build(project: &Project, offline: bool, progress: &Progress) -> Result<Self> {
        let step = progress.begin("selftests", "build");
        let target = project.path("target");
        let program = target.join("guest/selftests");
        let record = target.join("guest/.redirect-peer");
        let written = || fs::metadata(&program).and_then(|m| m.modified()).ok();
        let before = written();
        compile(project, &target, offline)?;
        let mut cached = before == written();
        // Cargo goes by times, and would leave damage as it is.
        if cached && fs::read_to_string(&record).is_ok_and(|r| Some(r) != digest(&program).ok()) {
            step.note(&format!(
                "{} is damaged: it is not what was built there, and is made anew",
                program.display()
            ));
            remove(&program)?;
            compile(project, &target, offline)?;
            cached = false;
        }
        let cases = list(&program, &[])?;
        if cases.is_empty() {
            bail!("the selftests have no cases");
        }
        write_whole(&record, digest(&program)?.as_bytes())?;
        step.done(cached);
        Ok(Self {
            program,
            cases,
            in_tree: Vec::new(),
            shuffle: None,
            patience: None,
        })
    }

    /// The same with the selftest of the kernel's own that `dir` holds, behind its cases.
    pub fn with_in_tree(&self, dir: &Path) -> Result<Self> {
        let mut guest = self.clone();
        let more = list(&self.program, &["--in-tree".as_ref(), dir.as_os_str()])?;
        guest.cases.extend(more);
        guest.in_tree.push(dir.to_owned());
        Ok(guest)
    }

    /// The words that have the guest program run the cases that it finds in
    /// `share`, a folder as the guest sees it.
    pub fn words(&self, share: &str) -> String {
        let mut words = format!("run --cases-file {share}/cases");
        for at in 0..self.in_tree.len() {
            words += &format!(" --in-tree {share}/{IN_TREE}{at}");
        }
        for (flag, value) in [("--shuffle", self.shuffle), ("--patience", self.patience)] {
            words.extend(value.map(|value| format!(" {flag} {value}")));
        }
        words
    }

    /// Cases that misbehave on purpose.
    pub fn faults(&self) -> Result<Vec<CaseInfo>> {
        list(&self.program, &["--faults".as_ref()])
    }

    /// The cases whose name matches any of `globs`; all when there are none.
    pub fn select(&self, globs: &[String]) -> Result<Vec<CaseInfo>> {
        let matches = |g: &String, c: &CaseInfo| glob_matches(g, &c.name);
        for glob in globs {
            if !self.cases.iter().any(|c| matches(glob, c)) {
                let near: Vec<&str> = self.cases.iter().map(|c| c.name.as_str()).collect();
                return Err(request!(
                    "no case matches `{glob}`; the cases are: {}",
                    near.join(" ")
                ));
            }
        }
        Ok(self
            .cases
            .iter()
            .filter(|c| globs.is_empty() || globs.iter().any(|g| matches(g, c)))
            .cloned()
            .collect())
    }

    /// Puts into `share` what the guest needs to run `cases`.
    pub fn share(&self, share: &Path, cases: &[String]) -> Result<()> {
        link_or_copy(&self.program, &share.join("selftests"))?;
        for (at, dir) in self.in_tree.iter().enumerate() {
            let to = share.join(format!("{IN_TREE}{at}"));
            fs::create_dir(&to).with_context(|| format!("making {}", to.display()))?;
            for file in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
                let file = file?;
                link_or_copy(&file.path(), &to.join(file.file_name()))?;
            }
        }
        fs::write(share.join("cases"), cases.join("\n") + "\n")
            .with_context(|| format!("writing {}", share.join("cases").display()))
    }
}

/// Has cargo build the guest program below `target`.
fn compile(project: &Project, target: &Path, offline: bool) -> Result<()> {
    let mut cargo = Program::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "guest",
            "--package",
            "selftests",
        ])
        .arg("--target-dir")
        .arg(target)
        .dir(project.path(""));
    if offline {
        cargo = cargo.arg("--offline");
    }
    let out = cargo.output()?;
    if !out.status.success() {
        bail!(
            "the selftests do not build:\n{}",
            crate::exec::tail(&out.stderr, 30)
        );
    }
    Ok(())
}

/// Removes a program that cargo made, under both names that cargo has for it:
/// from the other one it would make this one again.
fn remove(program: &Path) -> Result<()> {
    let deps = program.with_file_name("deps");
    let same = fs::metadata(program).map(|m| m.ino()).ok();
    for entry in fs::read_dir(&deps).with_context(|| format!("reading {}", deps.display()))? {
        let entry = entry.with_context(|| format!("reading {}", deps.display()))?;
        if entry.metadata().map(|m| m.ino()).ok() == same {
            fs::remove_file(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    fs::remove_file(program).with_context(|| format!("removing {}", program.display()))
}

/// A link costs nothing; another file system needs a copy.
fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

fn list(program: &Path, which: &[&OsStr]) -> Result<Vec<CaseInfo>> {
    let list = Program::new(program)
        .args(["list", "--json"])
        .args(which)
        .read()
        .with_context(|| {
            format!(
                "asking the guest program for its cases; if it is damaged, remove {} to have it built anew",
                program.display()
            )
        })?;
    serde_json::from_str(&list).context("reading the list of cases of the selftests")
}

/// `*` stands for any characters, `?` for one.
pub fn glob_matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        if g < glob.len() && glob[g] == '*' {
            back = Some((g, n));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == name[n]) {
            g += 1;
            n += 1;
        } else if let Some((star, at)) = back {
            g = star + 1;
            n = at + 1;
            back = Some((star, n));
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    /// Verify that case patterns match as a shell's do.
    #[test]
    fn globs() {
        for (glob, name, wanted) in [
            ("*", "", true),
            ("peer_*", "peer_veth", true),
            ("*veth*v4", "peer_veth_tcp_v4", true),
            ("peer_?eth", "peer_veth", true),
            ("peer", "peer_veth", false),
            ("*v4", "tcp_v4_v6", false),
        ] {
            assert_eq!(glob_matches(glob, name), wanted, "{glob} {name}");
        }
    }
}
