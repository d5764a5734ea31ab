// SPDX-License-Identifier: GPL-2.0-only
//! The command line, as `--help` shows it.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::Arm;

/// Applies the bpf_redirect_peer() series to a kernel, builds it, boots it,
/// tests it, and says what is true.
#[derive(Debug, Parser)]
#[command(
    name = "cargo harness",
    version,
    after_help = "Exit status: 0 everything is as it should be; 1 at least one bad verdict; \
                  2 the request is wrong; 3 the harness could not tell.\n\n\
                  Begin with `cargo harness verify`: it sets everything up itself."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prove the series: build each arm, boot it, run the cases, print the verdicts
    Verify(Verify),
    /// The project's own tests, everything: what CI runs
    Check(Check),
    /// Say which requirement is proved by what; bad when one has no proof
    Cases(Cases),
    /// Break the series on purpose, one requirement at a time, and see that the cases notice
    Mutate(Mutate),
    /// Measure what each way into a container costs, in instructions, and compare kernels
    Bench(Bench),
    /// Test the harness itself: guests that misbehave on purpose, each with the verdict that is due
    Faults(Faults),
    /// Interrupt a second harness in each step, fill its disk, damage its files
    Disturb(Disturb),
    /// Find the commit that broke it, or the patch of a series that makes a case pass or fail
    Bisect(Bisect),
    /// One commit for `git bisect run`: exit status 0 good, 1 bad, 125 skip, 128 cannot tell
    BisectStep(BisectStep),
    /// Make a history to try `bisect` on: the patched tree and commits on top, with two culprits
    #[command(hide = true)]
    BisectHistory(BisectHistory),
    /// Try `bisect` itself, for real, on a history whose culprits are known (nightly; an hour and more)
    BisectProof(BisectProof),
    /// Packets through the helper while devices, namespaces and programs come and go
    Stress(Stress),
    /// Say what this machine lacks and the command that mends it
    Doctor(Doctor),
    /// Build one kernel
    Build(Build),
    /// Run a command in one kernel, as root, with the host's files read-only
    Run(RunCommand),
    /// The kernel patches: check them, export them as mails, take changed commits back, apply them to a tree
    #[command(subcommand)]
    Series(Series),
    /// Make the figures in docs/ from what `verify --results` wrote
    Docs(Docs),
    /// Remove the cache folder
    Clean(Clean),
    /// Run a program that ends when standard input closes (used by the harness itself)
    #[command(name = "supervise", hide = true)]
    Supervise {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
}

/// Flags that every command has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// What executes the guest; `auto` uses KVM only after a trial boot under it
    #[arg(long, value_enum, default_value_t = AccelFlag::Auto, value_name = "A", help_heading = "Common")]
    pub accel: AccelFlag,
    /// Parallel jobs of make, and guests at once [default: the CPUs of this machine; guests as its memory allows]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Common")]
    pub jobs: Option<usize>,
    /// The folder for everything the harness makes [default: ~/.cache/redirect-peer]
    #[arg(long, value_name = "DIR", help_heading = "Common")]
    pub cache: Option<PathBuf>,
    /// Fetch nothing
    #[arg(long, help_heading = "Common")]
    pub offline: bool,
    /// Print results.json instead of tables
    #[arg(long, help_heading = "Common")]
    pub json: bool,
    /// Show the reasons of expected failures too
    #[arg(short, long, help_heading = "Common")]
    pub verbose: bool,
}

/// With none at a time, nothing would ever be done.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1; leave it out for as many as fit".into()),
        Ok(number) => Ok(number),
        Err(e) => Err(format!("{e}")),
    }
}

/// `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccelFlag {
    /// KVM where a kernel boots under it, software emulation elsewhere.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// `--arm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArmFlag {
    /// The base, stripped of upstream's helper.
    Baseline,
    /// The baseline and the series.
    Patched,
    /// The base untouched.
    Upstream,
}

impl From<ArmFlag> for Arm {
    fn from(flag: ArmFlag) -> Self {
        match flag {
            ArmFlag::Baseline => Self::Baseline,
            ArmFlag::Patched => Self::Patched,
            ArmFlag::Upstream => Self::Upstream,
        }
    }
}

/// Which kernel source.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// A release line, from its Debian source package; may be repeated, `all` for every one [default: 6.12]
    #[arg(long = "base", value_name = "B")]
    pub bases: Vec<String>,
    /// Your own kernel git tree instead; its checkout is not touched
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bases", "tarball"])]
    pub tree: Option<PathBuf>,
    /// What to use of --tree
    #[arg(long, value_name = "REV", default_value = "HEAD", requires = "tree")]
    pub rev: String,
    /// A kernel archive instead, as kernel.org has them
    #[arg(long, value_name = "FILE", conflicts_with = "bases")]
    pub tarball: Option<PathBuf>,
    /// Look for a newer source package although one is in the cache
    #[arg(long)]
    pub update: bool,
    /// A folder of *.patch files to use instead of the project's series
    #[arg(long, value_name = "DIR")]
    pub series: Option<PathBuf>,
}

impl Source {
    /// A base, from its package, with its own series.
    pub fn of_base(base: &str) -> Self {
        Self {
            bases: vec![base.to_owned()],
            tree: None,
            rev: "HEAD".into(),
            tarball: None,
            update: false,
            series: None,
        }
    }
}

impl Verify {
    /// A base with everything else as it is when no flag is given.
    pub fn of_base(base: &str, common: &Common) -> Self {
        Self {
            source: Source::of_base(base),
            arms: Vec::new(),
            flavors: Vec::new(),
            cases: Vec::new(),
            shuffle: None,
            patience: None,
            results: None,
            retry: 0,
            allow_flaky: false,
            in_tree: false,
            common: common.clone(),
        }
    }
}

/// `verify`.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// A kernel to compare; may be repeated [default: baseline and patched]
    #[arg(long = "arm", value_enum, value_name = "A")]
    pub arms: Vec<ArmFlag>,
    /// A set of config fragments, vm/config/F.config; may be repeated [default: default]
    #[arg(long = "flavor", value_name = "F")]
    pub flavors: Vec<String>,
    /// Only the cases that match, as in a shell; may be repeated
    #[arg(long = "case", value_name = "GLOB")]
    pub cases: Vec<String>,
    /// Run the cases in an order that this number decides: what one leaves behind must not matter to the next
    #[arg(long, value_name = "SEED")]
    pub shuffle: Option<u64>,
    /// How long cases wait for what must come, in milliseconds: less on a kernel that is broken on purpose
    #[arg(skip)]
    pub patience: Option<u64>,
    /// Write results.json, reports and consoles to this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Run bad cases again, up to N times, each in a guest of its own; one that is good then is marked flaky, and stays bad
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retry: u32,
    /// Exit with 0 although there are flaky cases, unless one made the kernel report something or crash
    #[arg(long, requires = "retry")]
    pub allow_flaky: bool,
    /// On patched and upstream, run the kernel's own selftest of the helper too, built from the same tree
    #[arg(long)]
    pub in_tree: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Leave out what boots a kernel
    #[arg(long)]
    pub quick: bool,
    /// Nothing but the tests that damage what is parsed, each round with other damage, for so long
    #[arg(long, value_name = "MINUTES", conflicts_with = "quick")]
    pub fuzz: Option<u64>,
    /// A trial of the harness itself that cannot be made on this machine counts as failed
    #[arg(long)]
    pub deny_skips: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `cases`.
#[derive(Debug, Clone, Args)]
pub struct Cases {
    /// As the page docs/cases.md
    #[arg(long)]
    pub markdown: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `mutate`.
#[derive(Debug, Clone, Args)]
pub struct Mutate {
    /// A release line whose mutations are tried; may be repeated, `all` for every one [default: 6.12]
    #[arg(long = "base", value_name = "B")]
    pub bases: Vec<String>,
    /// Only the mutations whose file names match, as in a shell: `0024-*`; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `bench`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
A figure is PAIR.TRAFFIC.IP.WAY: veth.tcp_rr.v4.redirect_peer, netkit.udp_1400.v6.local.redirect. \
It is the least of five medians of 81 transactions, in instructions of the one CPU that both ends \
share, and each kernel is booted twice: where the boots do not agree, both ends are shown.\n\n\
Promises: beside the baseline, packets that are not redirected cost at most 1.001 (C1); beside \
upstream, redirect_peer costs at most 1.000 (C2). Beside --against, a figure may grow to 1.001. A \
figure that is missing, or whose boots are more than 0.1 % apart, proves nothing. What a new \
connection costs (tcp_crr) is shown and not judged: the boots do not agree on it.\n\n  \
cargo harness bench --base all                           three kernels of each base, C1 and C2\n  \
cargo harness bench --compare patched,upstream           C2 only\n  \
cargo harness bench --only veth.udp_1.v4 --profile       which functions the instructions are in\n  \
cargo harness bench --save before                        and, after a change of the series:\n  \
cargo harness bench --against before\n\n\
A count of instructions is CPU cost. It does not show how long a packet waits for a second softirq \
pass under load: that is what these are for.\n\n  \
cargo harness bench --load                 latencies of 1, 4 and 16 flows on each of 1, 2 and 4 CPUs, in guest time\n  \
cargo harness bench --native               latencies on the kernel that runs here, by the clock; as root\n  \
cargo harness bench --self                 how fast this harness is, beside virtme-ng\n\n\
Exit status: 0 every promise holds (of one --arm: every figure is there), 1 one is broken, 2 the \
request is wrong, 3 could not tell.")]
pub struct Bench {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// A kernel to measure; may be repeated [default: baseline, patched and upstream]
    #[arg(long = "arm", value_enum, value_name = "A")]
    pub arms: Vec<ArmFlag>,
    /// Two kernels to measure and compare, one of them patched; may be repeated [default: patched with each other one]
    #[arg(long, value_name = "ARM,ARM", value_parser = two_arms)]
    pub compare: Vec<(ArmFlag, ArmFlag)>,
    /// Only figures whose name begins so; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Count the instructions of one transaction by function, too, of these figures [default: some of veth.udp_1.v4]
    #[arg(long, value_name = "FIGURE", num_args = 0..)]
    pub profile: Option<Vec<String>>,
    /// Keep what is found in the cache by this name
    #[arg(long, value_name = "NAME")]
    pub save: Option<String>,
    /// Compare with what was kept by this name
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
    /// Latencies of many flows on 1, 2 and 4 CPUs, in guest time, and the counters that explain them [default arm: patched]
    #[arg(long, conflicts_with_all = ["compare", "only", "profile", "save", "against"])]
    pub load: bool,
    /// Latencies by the clock on the kernel that runs here, which must have the helper; as root, and not under emulation
    #[arg(long, conflicts_with_all = ["bases", "tree", "tarball", "arms", "load", "compare", "profile", "save", "against"])]
    pub native: bool,
    /// Criterion's benches of the same transactions, in the guest, or with --native here; --only chooses [default arm: patched]
    #[arg(long, conflicts_with_all = ["load", "itself", "compare", "profile", "save", "against", "results"])]
    pub criterion: bool,
    /// How long this harness takes to the verdict, from an empty cache too, beside virtme-ng on the same tree
    #[arg(long = "self", conflicts_with_all = ["tree", "tarball", "arms", "load", "native", "compare", "only", "profile", "save", "against"])]
    pub itself: bool,
    /// Write bench.json (load.json, native.json, self.json) to this folder, and of the first report.html
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// Two kernels, of which one has the series.
fn two_arms(text: &str) -> Result<(ArmFlag, ArmFlag), String> {
    let arm = |word: &str| {
        ArmFlag::from_str(word.trim(), false)
            .map_err(|_| format!("`{word}` is no arm: baseline, patched or upstream"))
    };
    let (one, other) = text
        .split_once(',')
        .ok_or_else(|| format!("`{text}` is not two arms, such as patched,baseline"))?;
    let both = (arm(one)?, arm(other)?);
    if (both.0 == ArmFlag::Patched) == (both.1 == ArmFlag::Patched) {
        return Err(format!(
            "`{text}`: one of the two, and only one, is `patched`"
        ));
    }
    Ok(both)
}

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

/// `faults`.
#[derive(Debug, Clone, Args)]
pub struct Faults {
    /// How often to try them all
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub times: u32,
    /// The kernel: one that can be told to crash, or one that besides looks for bugs, with what only it finds
    #[arg(long, value_enum, default_value_t = FaultyKernel::Faulty, value_name = "F")]
    pub flavor: FaultyKernel,
    /// Only those that have this in their description
    #[arg(value_name = "WORDS")]
    pub only: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `--flavor` of `faults`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultyKernel {
    /// Can be told to crash.
    Faulty,
    /// And has KASAN, kmemleak, lockdep and reference trackers.
    Debug,
    /// And has KCSAN.
    Kcsan,
}

/// `disturb`.
#[derive(Debug, Clone, Args)]
pub struct Disturb {
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

/// `doctor`.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Install what is missing (as root)
    #[arg(long)]
    pub fix: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// Which one kernel.
#[derive(Debug, Clone, Args)]
pub struct One {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// Which arm
    #[arg(long, value_enum, value_name = "A", default_value_t = ArmFlag::Patched)]
    pub arm: ArmFlag,
    /// Which config fragments
    #[arg(
        long,
        value_name = "F",
        help = "Which config fragments [default: default; of `stress`: debug]"
    )]
    pub flavor: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

impl One {
    /// The flavor that was asked for, or the plain one.
    pub fn flavor(&self) -> &str {
        self.flavor.as_deref().unwrap_or("default")
    }
}

/// `stress`.
#[derive(Debug, Clone, Args)]
pub struct Stress {
    /// Which kernel.
    #[command(flatten)]
    pub one: One,
    /// Decides what happens, in which order, and how many packets are sent meanwhile
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// How many packets to send
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub packets: u64,
    /// Write results.json, reports and the console to this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
}

/// `build`.
#[derive(Debug, Clone, Args)]
pub struct Build {
    /// Which kernel.
    #[command(flatten)]
    pub one: One,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunCommand {
    /// Which kernel.
    #[command(flatten)]
    pub one: One,
    /// End the guest after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub limit: u64,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub argv: Vec<OsString>,
}

/// `series`.
#[derive(Debug, Clone, Subcommand)]
pub enum Series {
    /// Judge every patch as a reviewer would: does it apply, compile in each configuration, keep to the style, boot
    Check(SeriesArgs),
    /// Make mails of a base's series, with a cover letter, for `git send-email`
    Export(Export),
    /// Take commits made on top of a base's prepared tree back into kernel-patches/
    Refresh(Refresh),
    /// Apply the series to your tree, on a new branch; its checkout is not touched
    Apply(Apply),
}

/// `series export`.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// Where to write the mails; no *.patch file may be there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The release line whose series is exported
    #[arg(long, value_name = "B", default_value = "6.12")]
    pub base: String,
    /// What `verify --results` (and `bench --results`) wrote: the letter's numbers
    #[arg(long, value_name = "DIR")]
    pub results: PathBuf,
    /// Which posting this is: `[PATCH v2 1/3]`
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub posting: u32,
    /// The tree that is asked to take it: `[PATCH bpf-next 1/3]`
    #[arg(long = "for", value_name = "TREE")]
    pub destination: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `series refresh`.
#[derive(Debug, Clone, Args)]
pub struct Refresh {
    /// The release line whose series is refreshed
    #[arg(long, value_name = "B", default_value = "6.12")]
    pub base: String,
    /// The last commit of the series, in the prepared tree [default: its branch `series`]
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `series apply`.
#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// Your kernel git tree
    #[arg(value_name = "DIR")]
    pub tree: PathBuf,
    /// What to apply it on
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub rev: String,
    /// The new branch
    #[arg(long, value_name = "NAME", default_value = "redirect-peer")]
    pub branch: String,
    /// Take upstream's own helper out first, where the tree has it
    #[arg(long)]
    pub strip: bool,
    /// A folder of *.patch files to use instead of the project's series
    #[arg(long, value_name = "DIR")]
    pub series: Option<PathBuf>,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `series check`.
#[derive(Debug, Clone, Args)]
pub struct SeriesArgs {
    /// Which kernel source.
    #[command(flatten)]
    pub source: Source,
    /// Leave out what builds a whole kernel and boots it
    #[arg(long)]
    pub quick: bool,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// `docs`.
#[derive(Debug, Clone, Args)]
pub struct Docs {
    /// Folders that `verify --results DIR` or `bench --results DIR` wrote, with --load, --native or --self or without
    #[arg(value_name = "DIR", required = true)]
    pub results: Vec<PathBuf>,
    /// Where to write [default: docs/ of the project]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// `clean`.
#[derive(Debug, Clone, Args)]
pub struct Clean {
    /// The folder to remove [default: ~/.cache/redirect-peer]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    /// Verify that no two flags of a command are the same.
    #[test]
    fn flags_are_consistent() {
        super::Cli::command().debug_assert();
    }

    /// Verify that every command in the files for CI and in the README is one.
    #[test]
    fn written_commands_are_commands() {
        for (file, text, least) in [
            ("README.md", include_str!("../../README.md"), 25),
            (
                "GitHub's",
                include_str!("../../.github/workflows/redirect-peer.yml"),
                10,
            ),
            ("GitLab's", include_str!("../../.gitlab-ci.yml"), 10),
            (".ci/run", include_str!("../../.ci/run"), 1),
        ] {
            let mut commands = 0;
            for line in text.lines() {
                let Some((before, command)) = line.split_once("cargo harness ") else {
                    continue;
                };
                let line = command
                    .replace("${{ matrix.base }}", "6.12")
                    .replace(['\'', '"'], "");
                // Prose names commands between ticks, or says so in the middle of a line.
                let command = line
                    .split(['`', '#', '|', '\\', '\''])
                    .next()
                    .unwrap_or_default();
                let words: Vec<&str> = command.split_whitespace().collect();
                let first = words
                    .first()
                    .is_some_and(|w| w.starts_with(char::is_lowercase));
                let name = before.trim().ends_with("name:");
                if !first || name || before.contains('#') {
                    continue;
                }
                commands += 1;
                let parsed = super::Cli::try_parse_from(["harness"].iter().chain(&words));
                // Of the README some words are left out: only what is there is to be right.
                if let Err(e) = parsed
                    && e.kind() != clap::error::ErrorKind::DisplayHelp
                    && e.kind() != clap::error::ErrorKind::MissingRequiredArgument
                {
                    panic!("{file}: {command}: {e}");
                }
            }
            assert!(commands >= least, "{file} has {commands}");
        }
    }
}
