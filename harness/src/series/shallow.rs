// SPDX-License-Identifier: GPL-2.0-only
//! A shallow build: of a commit only the objects that a patch concerns, in
//! several configurations, for what the compilers have to say about them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    configured::configured,
    messages::{self, Message},
    programs::{clang, sparse},
    symbols::{self, Table},
    variants::{RENAMED, VARIANTS, Variant, WITHOUT_DEBUG_INFO},
};
use crate::{
    cache::{Cache, Key, write_whole},
    ccache::Ccache,
    config::{Fragment, depends_on},
    exec::{Output, Program, tail},
    kernel::Make,
    session::Session,
    tree::Tree,
};

/// Changed whenever a saved [`Built`] would mean something else.
const FORMAT: &str = "4";

/// What became of a list of objects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Built {
    /// What was complained about.
    pub messages: Vec<Message>,
    /// Objects that the configuration does not have.
    pub absent: Vec<String>,
    /// What each object that was compiled defines and needs, where a variant is
    /// about a symbol.
    pub symbols: Table,
    /// End of make's output when it failed and no message says why; empty otherwise.
    pub broken: String,
}

/// The tool of a run of make on objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The variant's compiler, with W=1.
    Compiler,
    /// sparse, on the objects' sources.
    Sparse,
}

/// Whether a variant can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It is configured.
    Yes,
    /// This tree has no such thing, for the reason given.
    NotHere(String),
}

/// A checkout of a tree with a build folder for each variant.
#[derive(Debug)]
pub struct Bench<'a> {
    cache: &'a Cache,
    ccache: Option<Ccache>,
    tree: &'a Tree,
    src: PathBuf,
    fragment: Fragment,
    jobs: usize,
    gcc: String,
    /// The program, and what it says of itself; or why there is none.
    clang: Result<(String, String), String>,
    sparse: Option<String>,
}

impl<'a> Bench<'a> {
    /// A bench in the cache with `commit` checked out, which is any of the
    /// tree's.
    pub fn open(
        session: &'a Session,
        tree: &'a Tree,
        fragment: &Fragment,
        commit: &str,
        jobs: usize,
    ) -> Result<Self> {
        let cache = &session.cache;
        let src = cache.folder(format!("src/{}", tree.slot))?.join("series");
        cache.need_space(
            if src.exists() { 500 } else { 2_500 },
            "a checkout of a kernel with a few build folders",
        )?;
        tree.repo.checkout(&src, commit)?;
        Ok(Self {
            cache,
            ccache: Ccache::find(cache)?,
            tree,
            fragment: fragment.with(WITHOUT_DEBUG_INFO),
            jobs,
            gcc: crate::kernel::compiler()?,
            // First, as it brings apt's lists up to date.
            sparse: sparse(session)?,
            clang: clang(session, &src)?,
            src,
        })
    }

    /// Where the sources are.
    pub fn src(&self) -> &Path {
        &self.src
    }

    /// Parallel jobs of make.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Has the checkout show `commit`.
    pub fn at(&self, commit: &str) -> Result<()> {
        self.tree.repo.checkout(&self.src, commit)
    }

    /// What a tool says of itself, or why it cannot be used here.
    pub fn tool(&self, tool: Tool, variant: &Variant) -> Result<&str, &str> {
        match tool {
            Tool::Sparse => self
                .sparse
                .as_deref()
                .ok_or("sparse is missing; as root: apt-get install sparse"),
            Tool::Compiler if variant.clang => match &self.clang {
                Ok((_, says)) => Ok(says),
                Err(why) => Err(why),
            },
            Tool::Compiler => Ok(&self.gcc),
        }
    }

    fn out(&self, variant: &Variant) -> PathBuf {
        self.src
            .join(format!(".check-{}", variant.name.replace('=', "-")))
    }

    fn make<'s>(&'s self, variant: &Variant, out: &'s Path, jobs: usize) -> Make<'s> {
        Make {
            ccache: self.ccache.as_ref(),
            src: &self.src,
            out,
            jobs,
            compiler: match &self.clang {
                Ok((program, _)) if variant.clang => program,
                _ => "gcc",
            },
        }
    }

    /// Configures a variant in what is checked out, unless it is.
    pub fn ready(&self, variant: &Variant) -> Result<Ready> {
        if !variant.symbol.is_empty() && self.named_here(variant.symbol)?.is_none() {
            return Ok(Ready::NotHere(format!(
                "Linux {} has no CONFIG_{}",
                self.tree.version, variant.symbol
            )));
        }
        let plain = self.out(&VARIANTS[0]);
        let out = self.out(variant);
        if out != plain && !out.exists() && plain.join(".config").is_file() {
            // The tools that make builds first are the same in all of them.
            Program::new("cp")
                .args(["--archive", "--reflink=auto"])
                .args([&plain, &out])
                .read()?;
            moved(&plain, &out)?;
        }
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let goal = self.goal(variant)?;
        let wanted = self.fragment.with(variant.set).with(&goal);
        let mut unmet = self.configure(variant, &out, &wanted, &goal)?;
        if !unmet.is_empty() && !variant.further.is_empty() {
            let wanted = wanted.with(variant.further);
            unmet = self.configure(variant, &out, &wanted, &goal)?;
        }
        if variant.symbol == "PREEMPT_RT" && !unmet.is_empty() && !self.has_rt()? {
            return Ok(Ready::NotHere(format!(
                "Linux {} has no PREEMPT_RT on x86",
                self.tree.version
            )));
        }
        if !unmet.is_empty() {
            bail!(
                "the configuration {} cannot be had: {}",
                variant.name,
                unmet.join(", ")
            );
        }
        Ok(Ready::Yes)
    }

    /// What must come out, by the names that this tree has for it.
    fn goal(&self, variant: &Variant) -> Result<Vec<(&'static str, &'static str)>> {
        let here = |(symbol, value): &(&'static str, _)| {
            Ok((self.named_here(symbol)?.unwrap_or(symbol), *value))
        };
        variant.goal.iter().map(here).collect()
    }

    /// The name that this tree has for a symbol: that, or the one before it was
    /// renamed.
    fn named_here(&self, symbol: &'static str) -> Result<Option<&'static str>> {
        let former = RENAMED.iter().filter(|(new, _)| *new == symbol);
        for name in std::iter::once(symbol).chain(former.map(|(_, old)| *old)) {
            if depends_on(&self.src, name)?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn has_rt(&self) -> Result<bool> {
        let kconfig = fs::read_to_string(self.src.join("arch/x86/Kconfig"))?;
        Ok(kconfig.contains("select ARCH_SUPPORTS_RT"))
    }

    /// Configures unless that was done; gives what did not come out as it must.
    fn configure(
        &self,
        variant: &Variant,
        out: &Path,
        wanted: &Fragment,
        goal: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let compiler = self.tool(Tool::Compiler, variant).unwrap_or_default();
        let stamp = out.join(".redirect-peer-asked");
        let asked = format!("{compiler}\n{}\n{}", self.tree.version, wanted.text());
        let config = out.join(".config");
        if !config.is_file()
            || fs::read_to_string(&stamp).is_ok_and(|s| s != asked)
            || !stamp.is_file()
        {
            let file = out.join("fragment.config");
            write_whole(&file, wanted.text().as_bytes())?;
            let make = self.make(variant, out, self.jobs);
            let mut all = std::ffi::OsString::from("KCONFIG_ALLCONFIG=");
            all.push(&file);
            make.call().args(["-s", "allnoconfig"]).arg(all).read()?;
            write_whole(&stamp, asked.as_bytes())?;
        }
        let text = fs::read_to_string(&config)?;
        Ok(if goal.is_empty() {
            wanted.unmet(&text)
        } else {
            Fragment::default().with(goal).unmet(&text)
        })
    }

    /// Builds what every object needs: headers that are generated, and tools.
    pub fn prepare(&self, variant: &Variant) -> Result<Output> {
        let out = self.out(variant);
        self.make(variant, &out, self.jobs)
            .call()
            .args(["-s", "prepare"])
            .output()
    }

    /// Has `tool` look at `objects` of what is checked out, which is `commit`,
    /// with `jobs` in parallel. What is known is not done again.
    pub fn look(
        &self,
        tool: Tool,
        variant: &Variant,
        commit: &str,
        objects: &[String],
        jobs: usize,
    ) -> Result<Built> {
        let out = self.out(variant);
        let config = fs::read(out.join(".config"))?;
        let key = Key::new("shallow")
            .with(FORMAT)
            .with(commit)
            .with(&config)
            .with(self.tool(tool, variant).unwrap_or_default())
            .with(format!("{tool:?}"))
            .with(objects.join("\n"))
            .hex();
        let saved = format!("series/{key}.json");
        if let Some(known) = self.cache.load(&saved) {
            return Ok(known);
        }
        let config = String::from_utf8_lossy(&config);
        let (here, absent): (Vec<String>, Vec<String>) = objects
            .iter()
            .cloned()
            .partition(|object| self.has(&config, object));
        let objects = here.as_slice();
        if objects.is_empty() {
            return Ok(Built {
                absent,
                ..Built::default()
            });
        }
        let make = self.make(variant, &out, jobs);
        let call = || make.call().args(["-s", "-k", "W=1"]).args(objects);
        let said = match tool {
            Tool::Compiler => {
                // What is up to date would have nothing to say.
                for object in objects {
                    let _ = fs::remove_file(out.join(object));
                }
                call().output()?
            }
            Tool::Sparse => {
                // Compiled first, so that what is printed then is sparse's alone.
                call().output()?;
                call().args(["C=2", "CHECK=sparse"]).output()?
            }
        };
        let mut built = read(&said, objects, &out);
        if tool == Tool::Compiler && !variant.symbol.is_empty() {
            built.symbols = symbols::of(&out, objects)?;
        }
        built.absent.extend(absent);
        self.cache.save(&saved, &built)?;
        Ok(built)
    }

    /// Whether a configuration has an object, as the Makefile beside its source
    /// says.
    fn has(&self, config: &str, object: &str) -> bool {
        let (dir, name) = object.rsplit_once('/').unwrap_or((".", object));
        let makefile = fs::read_to_string(self.src.join(dir).join("Makefile"));
        configured(&makefile.unwrap_or_default(), config, name)
    }
}

fn read(said: &Output, objects: &[String], out: &Path) -> Built {
    let text = format!("{}\n{}", said.stdout, said.stderr);
    let messages = messages::parse(&text);
    let missing: Vec<&String> = objects.iter().filter(|o| !out.join(o).is_file()).collect();
    let no_rule = |o: &str| text.contains(&format!("No rule to make target '{o}'"));
    let (absent, failed): (Vec<&String>, Vec<&String>) = missing
        .into_iter()
        .partition(|o| said.status.success() || no_rule(o));
    let explained = messages.iter().any(|m| m.error);
    let broken = if !explained && !failed.is_empty() {
        tail(&said.stderr, 6)
    } else {
        String::new()
    };
    Built {
        messages,
        absent: absent.into_iter().cloned().collect(),
        broken,
        ..Built::default()
    }
}

/// Has make take the tools in `to`, a copy of `from`, for what they are: their
/// command lines, which it compares, have the folder's name in them.
fn moved(from: &Path, to: &Path) -> Result<()> {
    let tools = to.join("tools");
    if !tools.is_dir() {
        return Ok(());
    }
    let name = |dir: &Path| {
        format!(
            "/{}/",
            dir.file_name().unwrap_or_default().to_string_lossy()
        )
    };
    // Both names are ours, and hold nothing that sed would not take for itself.
    Program::new("find")
        .arg(&tools)
        .args(["-name", ".*.cmd", "-exec", "sed", "-i"])
        .arg(format!("s|{}|{}|g", name(from), name(to)))
        .args(["{}", "+"])
        .read()
        .map(drop)
}
