// SPDX-License-Identifier: GPL-2.0-only
//! `bisect`, and what tries it.

use std::path::PathBuf;

use clap::Args;

use super::Common;

/// `bisect`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
The two ends are booted first, and it stops with an explanation if they do not differ. Then each \
step builds, boots and runs the cases: good and bad are what the ends show, a commit that does not \
build, does not boot, or fails in another way is passed over. Commits that touch no file that is \
built, and those that come out as the same image, are answered without a boot. One boot decides as \
long as every kernel does the same each time; the one bad answer that counts in the end, the \
culprit's, and the good one of its parent are confirmed by another boot each. Once a kernel was \
seen to pass and fail (or with --flaky) each answer takes as many boots as make it 99 % sure.\n\n\
  cargo harness bisect --tree ~/linux --good v6.12 --bad HEAD --case 'loop_*'\n  \
  cargo harness bisect --tree ~/linux --bad HEAD --series --case peer_veth   no good one is known\n  \
  cargo harness bisect --base 6.12 --case peer_veth    which patch of the series makes it pass?\n  \
  cargo harness bisect --tree ~/linux --good v6.12 --bad HEAD --metric redirect_peer.tcp_rr --limit 0.5%\n  \
  cargo harness bisect --resume                        after Ctrl-C or a reboot\n  \
  cargo harness bisect --log | git bisect replay /dev/stdin\n\n\
Exit status: 0 found; 2 the request is wrong, or the ends do not differ; 3 could not tell.")]
pub struct Bisect {
    /// Your kernel git tree; its checkout is not touched. Without it the patches of a series are searched
    #[arg(long, value_name = "DIR", required_unless_present_any = ["base", "series", "resume", "log"])]
    pub tree: Option<PathBuf>,
    /// A commit where it is good [default: go back from the bad one, twice as far each time]
    #[arg(long, value_name = "REV", requires = "tree")]
    pub good: Option<String>,
    /// A commit where it is bad
    #[arg(long, value_name = "REV", default_value = "HEAD", requires = "tree")]
    pub bad: String,
    /// Search the series that is kept for this release line [default: 6.12]
    #[arg(long, value_name = "B", conflicts_with = "tree")]
    pub base: Option<String>,
    /// With --tree: put these patches (the project's series when DIR is left out) on each commit without the helper. Without: search these patches
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub series: Option<Option<PathBuf>>,
    /// The cases that tell good from bad, as in a shell; may be repeated [default: all]
    #[arg(long = "case", value_name = "GLOB")]
    pub cases: Vec<String>,
    /// Compare this figure of `bench`, in instructions, instead of cases: redirect_peer.tcp_rr
    #[arg(long, value_name = "NAME", requires = "limit")]
    pub metric: Option<String>,
    /// By how much of the good end's the figure may grow: 0.5%
    #[arg(long, value_name = "PCT", requires = "metric", value_parser = percent)]
    pub limit: Option<f64>,
    /// A set of config fragments, vm/config/F.config
    #[arg(long, value_name = "F", default_value = "default")]
    pub flavor: String,
    /// The case fails only now and then: measure how often at both ends, and boot each commit until it is 99 % sure
    #[arg(long)]
    pub flaky: bool,
    /// Go on with the bisection that was worked on last
    #[arg(long, conflicts_with_all = ["tree", "base", "series", "cases", "metric", "log", "flaky"])]
    pub resume: bool,
    /// Print the last bisection as `git bisect replay` takes it
    #[arg(long, conflicts_with_all = ["tree", "base", "series", "cases", "metric", "flaky"])]
    pub log: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// A percentage, with or without its sign.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(p) if p.is_finite() && p >= 0.0 => Ok(p),
        _ => Err(format!("`{text}` is no percentage such as 0.5%")),
    }
}

/// `bisect-step`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
In the tree that is bisected, with the program that `cargo harness` has built, so that nothing \
but the answer is the exit status:\n\n  \
  git bisect start --no-checkout BAD GOOD\n  \
  git bisect run PROJECT/target/debug/harness bisect-step --case 'loop_*'\n\n\
Exit status, as git defines them: 0 good; 1 bad, in two boots; 125 it cannot be tested; 128 could \
not tell, or the request is wrong: git stops.")]
pub struct BisectStep {
    /// The kernel git tree; its checkout is not touched
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub tree: PathBuf,
    /// The commit [default: the one that git bisect is at]
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Put these patches (the project's series when DIR is left out) on a commit without the helper
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub series: Option<Option<PathBuf>>,
    /// The cases, as in a shell; may be repeated
    #[arg(long = "case", value_name = "GLOB", required = true)]
    pub cases: Vec<String>,
    /// A set of config fragments, vm/config/F.config
    #[arg(long, value_name = "F", default_value = "default")]
    pub flavor: String,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// How many commits a generated history has, and which one it is. In this one
/// both searches meet commits that do not build, and are over within the boots
/// that are promised.
pub const HISTORY: (usize, u64) = (64, 10);

/// `bisect-history`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A repository with two refs: `good`, which is Linux 6.12 with the series on it, and `history`, \
the last of the commits on top. About half of them touch only Documentation/ and MAINTAINERS, one in seven a driver \
that is not built, one in ten a comment of a file in net/ that is; others change such a file, and some of those do not \
build until a later one mends them. One drops the check that the peer is up, and one adds instructions to \
bpf_redirect_peer(): which ones is printed, and depends on --seed alone.\n\n\
The objects of the base stay in the cache folder: the repository is of no use without it."
)]
pub struct BisectHistory {
    /// The new repository, or one that this command made earlier: it is made anew
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// How many commits
    #[arg(long, value_name = "N", default_value_t = HISTORY.0)]
    pub commits: usize,
    /// Which history: the same number is the same one everywhere
    #[arg(long, value_name = "N", default_value_t = HISTORY.1)]
    pub seed: u64,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `bisect-proof`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A history as `bisect-history` makes it is searched in every way that `bisect` has: for a case, \
with a Ctrl-C and a kill on the way; for a figure; without a good end; by `git bisect run`; in a range that affects \
nothing; in a series. Each must find the culprit, in no more boots than log2 of the commits and 3. The first build in \
a cache folder takes minutes; every search a few minutes more.\n\n\
Exit status: 0 everything as it should be; 1 something was not."
)]
pub struct BisectProof {
    /// How many commits
    #[arg(long, value_name = "N", default_value_t = HISTORY.0)]
    pub commits: usize,
    /// Which history: the same number is the same one everywhere
    #[arg(long, value_name = "N", default_value_t = HISTORY.1)]
    pub seed: u64,
    /// Only the trials that have this in their description
    #[arg(value_name = "WORDS")]
    pub only: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}
