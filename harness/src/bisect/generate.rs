// SPDX-License-Identifier: GPL-2.0-only
//! A history to try `bisect` on: the patched tree, and commits on top of it as
//! a kernel tree sees them. Most touch only documentation, or drivers that are
//! not built; some do not build, until a later one mends them; one drops a
//! check, and one adds instructions to the fast path. The same numbers give
//! the same commits everywhere.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use protocol::Arm;

use super::plan::{self, Kind, plan};
use crate::{
    cli::{BisectHistory, Verify},
    fail,
    git::Repo,
    request,
    session::{DEFAULT_BASE, Session},
};

const FILTER: &str = "net/core/filter.c";
const CHECK: &str =
    "\tif (unlikely(!(peer->flags & IFF_UP))) {\n\t\treason = SKB_DROP_REASON_DEV_READY;";
const NO_CHECK: &str = "\tif (0) {\n\t\treason = SKB_DROP_REASON_DEV_READY;";
const FAST: &str = "\t/* A socket that bpf_sk_assign() chose";
const SLOW: &str = "\t{\n\t\tint i;\n\n\t\tfor (i = 0; i < 250; i++)\n\t\t\tbarrier();\n\t}\n";

/// Files that are built, and not by everything else.
const BUILT: [&str; 6] = [
    "net/ipv4/udp.c",
    "net/ipv4/icmp.c",
    "net/core/dev_addr_lists.c",
    "net/core/neighbour.c",
    "net/ethernet/eth.c",
    "drivers/net/veth.c",
];
const NOT_BUILT: [&str; 3] = [
    "drivers/net/ethernet/intel/e1000/e1000_main.c",
    "drivers/net/wireless/ath/ath9k/main.c",
    "fs/xfs/xfs_super.c",
];
const DOCUMENTS: [&str; 4] = [
    "Documentation/networking/tuntap.rst",
    "Documentation/networking/bonding.rst",
    "Documentation/bpf/index.rst",
    "MAINTAINERS",
];

/// `bisect-history`: makes the repository and says which commits the culprits are.
pub fn history(request: &BisectHistory) -> Result<u8> {
    if request.commits < 20 {
        return Err(request!("a history has at least 20 commits (--commits)"));
    }
    let session = Session::open(&request.common)?;
    let plain = Verify::of_base(DEFAULT_BASE, &request.common);
    let trees = session.trees(&plain.source)?;
    let tree = trees.first().context("a base has a tree")?;
    let start = tree.arm(&session.project, Arm::Patched, None)?;
    let kinds = plan(request.commits, request.seed);
    let mut stream = Stream::new(&tree.repo, &start);
    for (at, kind) in kinds.iter().enumerate() {
        stream.commit(at, *kind)?;
    }
    let ids = import(&request.to, &tree.repo, &start, &stream.text, kinds.len())?;
    println!("good {start}");
    println!("bad {}", ids[ids.len() - 1]);
    for (kind, name) in [
        (Kind::DropsCheck, "drops-check"),
        (Kind::AddsCost, "adds-cost"),
    ] {
        let at = kinds.iter().position(|k| *k == kind);
        println!("{name} {}", ids[at.context("it was planned")?]);
    }
    // Both it and its parent build.
    let touches_nothing = (1..kinds.len())
        .find(|at| kinds[*at] == Kind::Document && !plan::is_broken(&kinds[..*at]))
        .context("a history has documentation")?;
    println!("touches-nothing {}", ids[touches_nothing]);
    for kind in [
        Kind::Document,
        Kind::NotBuilt,
        Kind::Comment,
        Kind::Work,
        Kind::Break,
        Kind::Mend,
    ] {
        let many = kinds.iter().filter(|k| **k == kind).count();
        println!("{kind:?} {many}");
    }
    println!(
        "\ncargo harness bisect --tree {} --good good --bad history --case dropped_for_peer_down",
        request.to.display()
    );
    Ok(fail::GOOD)
}

/// The commits as `git fast-import` reads them.
struct Stream<'a> {
    repo: &'a Repo,
    start: &'a str,
    /// Files that were changed, as they are now.
    files: BTreeMap<String, String>,
    broken: Option<(String, String)>,
    text: String,
}

impl<'a> Stream<'a> {
    fn new(repo: &'a Repo, start: &'a str) -> Self {
        Self {
            repo,
            start,
            files: BTreeMap::new(),
            broken: None,
            text: String::new(),
        }
    }

    fn file(&self, path: &str) -> Result<String> {
        if let Some(text) = self.files.get(path) {
            return Ok(text.clone());
        }
        self.repo
            .file(self.start, path)?
            .with_context(|| format!("{} has no {path}", self.start))
    }

    fn commit(&mut self, at: usize, kind: Kind) -> Result<()> {
        let one_of = |list: &[&str]| list[at % list.len()].to_owned();
        let add = |text: String, more: &str| format!("{text}\n{more}\n");
        let replace = |text: String, old: &str, new: &str| -> Result<String> {
            ensure!(
                text.matches(old).count() == 1,
                "{FILTER} does not have exactly one `{}`",
                old.trim()
            );
            Ok(text.replace(old, new))
        };
        let (path, text, subject) = match kind {
            Kind::Document => {
                let path = one_of(&DOCUMENTS);
                let text = add(self.file(&path)?, &format!("Remark {at}."));
                (path, text, "Documentation: Say more")
            }
            Kind::NotBuilt => {
                let path = one_of(&NOT_BUILT);
                let text = add(
                    self.file(&path)?,
                    &format!("static int __maybe_unused history_{at};"),
                );
                (path, text, "drivers: Prepare for later")
            }
            Kind::Comment => {
                let path = one_of(&BUILT);
                let text = add(self.file(&path)?, &format!("/* Remark {at}. */"));
                (path, text, "net: Explain")
            }
            Kind::Work => {
                let path = one_of(&BUILT);
                let more = format!(
                    "int history_{at}(int x);\nint history_{at}(int x)\n{{\n\treturn x + {at};\n}}"
                );
                let text = add(self.file(&path)?, &more);
                (path, text, "net: Add what a later patch needs")
            }
            Kind::Break => {
                let path = one_of(&BUILT);
                let text = self.file(&path)?;
                self.broken = Some((path.clone(), format!("int history_{at} = forgotten_{at};")));
                let text = add(text, &format!("int history_{at} = forgotten_{at};"));
                (path, text, "net: Use what is not there yet")
            }
            Kind::Mend => {
                let (path, line) = self.broken.take().context("something was broken")?;
                let text = self.file(&path)?.replace(&line, "");
                (path, text, "net: Do without it after all")
            }
            Kind::DropsCheck => {
                let text = replace(self.file(FILTER)?, CHECK, NO_CHECK)?;
                (
                    FILTER.into(),
                    text,
                    "bpf: Simplify the peer's state handling",
                )
            }
            Kind::AddsCost => {
                let text = replace(self.file(FILTER)?, FAST, &format!("{SLOW}{FAST}"))?;
                (FILTER.into(), text, "bpf: Settle before the hand-over")
            }
        };
        let message = format!("{subject} ({at})\n");
        let from = if at == 0 {
            format!("from {}\n", self.start)
        } else {
            String::new()
        };
        let who = format!(
            "Developer {n} <developer-{n}@invalid> {} +0000",
            1_700_000_000 + at * 3600,
            n = at % 7
        );
        let _ = write!(
            self.text,
            "commit refs/heads/history\nmark :{}\nauthor {who}\ncommitter {who}\ndata {}\n{message}{from}M 100644 inline {path}\ndata {}\n{text}\n",
            at + 1,
            message.len(),
            text.len()
        );
        self.files.insert(path, text);
        Ok(())
    }
}

/// Makes the repository; gives the commits' names.
fn import(
    to: &Path,
    repo: &Repo,
    start: &str,
    stream: &str,
    commits: usize,
) -> Result<Vec<String>> {
    let (input, marks) = (
        to.join(".git/history.stream"),
        to.join(".git/history.marks"),
    );
    if to.exists() && !marks.is_file() {
        return Err(request!(
            "{} is there already, and not made by this command: name another folder",
            to.display()
        ));
    }
    let git = |args: &[&str]| {
        crate::exec::Program::new("git")
            .arg("-C")
            .arg(to)
            .args(args)
            .read()
    };
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    git(&["init", "--quiet", "--initial-branch=history"])?;
    fs::write(
        to.join(".git/objects/info/alternates"),
        format!("{}\n", repo.dir().join("objects").display()),
    )
    .context("naming the repository that has the base")?;
    fs::write(&input, stream).context("writing the history")?;
    // fast-import reads standard input, which exec keeps for the lifeline.
    let status = Command::new("git")
        .arg("-C")
        .arg(to)
        .args(["fast-import", "--quiet", "--force"])
        .arg(format!("--export-marks={}", marks.display()))
        .stdin(Stdio::from(fs::File::open(&input)?))
        .status()
        .context("starting git")?;
    ensure!(status.success(), "git fast-import ended with {status}");
    git(&["update-ref", "refs/heads/good", start])?;
    fs::remove_file(&input).context("removing the history's text")?;
    let marks = fs::read_to_string(&marks).context("reading the commits' names")?;
    let by_mark: BTreeMap<usize, &str> = marks
        .lines()
        .filter_map(|l| {
            let (mark, id) = l.strip_prefix(':')?.split_once(' ')?;
            Some((mark.parse().ok()?, id))
        })
        .collect();
    (1..=commits)
        .map(|mark| {
            let id = by_mark.get(&mark).context("git named every commit")?;
            Ok((*id).to_owned())
        })
        .collect()
}
