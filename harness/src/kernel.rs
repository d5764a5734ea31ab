// SPDX-License-Identifier: GPL-2.0-only
//! From a commit to a kernel image: out of tree, incremental, one folder for
//! each arm and flavor.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use object::{Object, ReadCache};

use crate::{
    cache::{Cache, Key, remove},
    ccache::Ccache,
    config::Fragment,
    exec::{POLL, Program, describe, was_killed},
    interrupt,
    progress::Doing,
    request, source,
    tree::Tree,
    unfinished::Unfinished,
};

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// arch/x86/boot/bzImage.
    pub image: PathBuf,
    /// The ELF file with symbols and line numbers.
    pub vmlinux: PathBuf,
    /// The commit it was built from.
    pub commit: String,
    /// Build ID that the linker gave to vmlinux, in hexadecimal digits.
    pub build_id: String,
    /// Whether nothing had to be built.
    pub cached: bool,
}

/// How a kernel is to be built.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// A name for the build folder: the arm, and the flavor.
    pub slot: String,
    /// The flavor, `default`.
    pub flavor: String,
    /// What the configuration must have.
    pub fragment: Fragment,
    /// Parallel jobs of make.
    pub jobs: usize,
    /// Whether the compiler is to warn as with W=1; make.log has what it said.
    pub warnings: bool,
}

/// Set for every make: what would otherwise differ between two builds of the
/// same commit, or between a worktree and an unpacked archive.
const FIXED: [(&str, &str); 5] = [
    ("KBUILD_BUILD_USER", "redirect-peer"),
    ("KBUILD_BUILD_HOST", "harness"),
    ("KBUILD_BUILD_TIMESTAMP", "2000-01-01"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LOCALVERSION", ""),
];

const STAMP: &str = ".redirect-peer";

/// Builds `commit` of `tree`, or finds that it is built.
pub fn build(
    cache: &Cache,
    tree: &Tree,
    commit: &str,
    recipe: &Recipe,
    step: &Doing<'_>,
) -> Result<Kernel> {
    let src = cache
        .folder(format!("src/{}", tree.slot))?
        .join(&recipe.slot);
    // A folder directly below the source has it as `..`: no absolute path gets
    // into a command line, and ccache serves one arm with another's objects.
    let out = src.join(format!(".build-{}", recipe.flavor));
    let compiler = compiler()?;
    let key = Key::new("kernel")
        .with(commit)
        .with(recipe.fragment.text())
        .with(&compiler);
    let key = if recipe.warnings {
        key.with("W=1").hex()
    } else {
        key.hex()
    };
    let image = out.join("arch/x86/boot/bzImage");
    let vmlinux = out.join("vmlinux");
    let kernel = |cached| -> Result<Kernel> {
        Ok(Kernel {
            build_id: build_id(&vmlinux)?,
            image: image.clone(),
            vmlinux: vmlinux.clone(),
            commit: commit.to_owned(),
            cached,
        })
    };
    let stamp = out.join(STAMP);
    if let Some((built, digest)) = read_stamp(&stamp)
        && built == key
        && image.is_file()
    {
        let Some(damaged) = damaged(&image, &digest, &vmlinux)? else {
            return kernel(true);
        };
        step.note(&format!(
            "{} is damaged: it is not what was built there, and is made anew",
            damaged.display()
        ));
        // make goes by times alone, and would leave it as it is.
        remove(damaged)?;
    }
    // Gone while a build is under way, so that half a build is never taken for one.
    let _ = fs::remove_file(&stamp);
    cache.need_space(
        if out.is_dir() { 1_000 } else { 5_000 },
        "building a kernel",
    )?;
    step.at("checking the sources out");
    tree.repo.checkout(&src, commit)?;
    let default = src.join(".build-default");
    if !out.exists() && default.join(STAMP).is_file() {
        // make does again only what depends on a symbol that differs. By rename,
        // so that half a copy is never taken for a build.
        step.at("copying the default flavor's build");
        let copy = src.join(format!(".build-{}.tmp", recipe.flavor));
        if copy.exists() {
            fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))?;
        }
        Program::new("cp")
            .args(["--archive", "--reflink=auto"])
            .args([&default, &copy])
            .read()?;
        fs::remove_file(copy.join(STAMP))
            .with_context(|| format!("removing the stamp in {}", copy.display()))?;
        fs::rename(&copy, &out).with_context(|| format!("making {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let (build, removed) = Unfinished::begin(&out)?;
    if removed > 0 {
        step.note(&format!(
            "an earlier build in {} was killed: removed the {removed} files that it wrote",
            out.display()
        ));
    }
    let ccache = Ccache::find(cache)?;
    let make = Make {
        ccache: ccache.as_ref(),
        src: &src,
        out: &out,
        jobs: recipe.jobs,
        compiler: "gcc",
    };
    let made = configure(&make, &recipe.fragment, &compiler, step)
        .and_then(|()| compile(&make, recipe.warnings, step));
    build.over()?;
    made?;
    if !image.is_file() {
        bail!("make succeeded without making {}", image.display());
    }
    let digest = crate::cache::digest(&image)?;
    crate::cache::write_whole(&stamp, format!("{key} {digest}").as_bytes())?;
    kernel(false)
}

/// What of a build is not as it was made, if anything. No verdict rests on more of
/// vmlinux than its build ID, which a guest must have too, and it is large: what
/// says where everything is in it is at its end, and gone when any of it is cut off.
fn damaged<'a>(image: &'a Path, digest: &str, vmlinux: &'a Path) -> Result<Option<&'a Path>> {
    if crate::cache::digest(image)? != digest {
        return Ok(Some(image));
    }
    Ok(build_id(vmlinux).is_err().then_some(vmlinux))
}

/// What was built, and what its image is.
fn read_stamp(stamp: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(stamp).ok()?;
    let (key, digest) = text.trim_end().split_once(' ')?;
    Some((key.to_owned(), digest.to_owned()))
}

/// The build ID of an ELF file, in hexadecimal digits.
fn build_id(vmlinux: &Path) -> Result<String> {
    let file = fs::File::open(vmlinux).with_context(|| format!("opening {}", vmlinux.display()))?;
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache)
        .with_context(|| format!("reading {} as an ELF file", vmlinux.display()))?;
    let id = elf
        .build_id()
        .with_context(|| format!("reading the notes of {}", vmlinux.display()))?
        .with_context(|| format!("{} has no build ID", vmlinux.display()))?;
    Ok(id.iter().map(|b| format!("{b:02x}")).collect())
}

impl Kernel {
    /// Whether `running`, the build ID that a guest read, is this kernel's. An
    /// image that does not hold the kernel that was built would have every
    /// verdict be about another kernel, so that nothing can be told.
    pub fn is_what_ran(&self, running: Option<&str>) -> Result<()> {
        if running == Some(&self.build_id) {
            return Ok(());
        }
        let folder = self.vmlinux.parent().unwrap_or(Path::new("."));
        bail!(
            "the guest ran a kernel with build ID {}, and {} has {}: the image is not what was built, so nothing can be said of it; remove {} to have it built anew",
            running.unwrap_or("(none)"),
            self.vmlinux.display(),
            self.build_id,
            folder.display()
        )
    }
}

/// First line of what the compiler says of itself.
pub fn compiler() -> Result<String> {
    if !source::has("gcc") {
        return Err(request!(
            "the compiler gcc is missing: `cargo harness doctor` names everything that is, and the command that installs it"
        ));
    }
    let text = Program::new("gcc").arg("--version").read()?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// How make is called on a kernel.
pub(crate) struct Make<'a> {
    /// The compiler's own cache, where there is one.
    pub(crate) ccache: Option<&'a Ccache>,
    /// The sources.
    pub(crate) src: &'a Path,
    /// A folder directly below them.
    pub(crate) out: &'a Path,
    /// Parallel jobs.
    pub(crate) jobs: usize,
    /// `gcc` or `clang`.
    pub(crate) compiler: &'a str,
}

impl Make<'_> {
    pub(crate) fn call(&self) -> Program {
        let mut make = Program::new("make")
            .arg("-C")
            .arg(self.src)
            .arg(format!(
                "O={}",
                self.out.file_name().unwrap_or_default().to_string_lossy()
            ))
            .arg(format!("-j{}", self.jobs));
        make = match self.ccache {
            Some(ccache) => ccache.wrap(make, self.compiler),
            None => make.arg(format!("CC={}", self.compiler)),
        };
        FIXED
            .iter()
            .fold(make, |m, (name, value)| m.env(name, value))
    }

    fn log(&self) -> PathBuf {
        self.out.join("make.log")
    }
}

fn configure(make: &Make<'_>, fragment: &Fragment, compiler: &str, step: &Doing<'_>) -> Result<()> {
    let asked = make.out.join("asked.config");
    // The tree may have changed its Kconfig files: olddefconfig brings an older
    // .config up to date without touching what has not changed.
    let same =
        fs::read_to_string(&asked).is_ok_and(|t| t == format!("{compiler}\n{}", fragment.text()));
    let target = if same && make.out.join(".config").is_file() {
        "olddefconfig"
    } else {
        "allnoconfig"
    };
    step.at("configuring");
    let wanted = make.out.join("fragment.config");
    crate::cache::write_whole(&wanted, fragment.text().as_bytes())?;
    let mut env = OsString::from("KCONFIG_ALLCONFIG=");
    env.push(&wanted);
    let said = make.call().arg("-s").arg(target).arg(env).output()?;
    if !said.status.success() {
        bail!(
            "`make {target}` ended with {}: {}",
            describe(said.status),
            crate::exec::tail(&said.stderr, 10)
        );
    }
    fragment.check(&make.out.join(".config"), make.src)?;
    crate::cache::write_whole(
        &asked,
        format!("{compiler}\n{}", fragment.text()).as_bytes(),
    )
}

fn compile(make: &Make<'_>, warnings: bool, step: &Doing<'_>) -> Result<()> {
    let log = make.log();
    let _ = fs::remove_file(&log);
    let file = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
    let mut running = make
        .call()
        .args(warnings.then_some("W=1"))
        .arg("bzImage")
        .spawn(file.try_clone()?.into(), file.into())?;
    let status = loop {
        if let Some(status) = running.try_wait()? {
            break status;
        }
        interrupt::check()?;
        if let Ok(meta) = fs::metadata(&log) {
            step.at(format!("{} lines of make", meta.len() / 40));
        }
        std::thread::sleep(POLL.max(Duration::from_millis(50)));
    };
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    if text.contains("No space left on device") {
        bail!(
            "the disk is full: make room where {} is, or name another folder with --cache DIR",
            make.out.display()
        );
    }
    interrupt::check()?;
    if was_killed(status) {
        bail!("make ended with {}: {}", describe(status), log.display());
    }
    // A series that does not build is a finding about the request.
    Err(request!(
        "the kernel does not build (all of it in {}):\n{}",
        log.display(),
        errors_in(&text)
    ))
}

/// The lines of a build log that say what is wrong; its end when none does.
fn errors_in(log: &str) -> String {
    let wrong: Vec<&str> = log
        .lines()
        .filter(|l| {
            l.contains("error:") || l.contains("undefined reference") || l.contains("*** [")
        })
        .take(12)
        .collect();
    if wrong.is_empty() {
        crate::exec::tail(log, 12)
    } else {
        wrong.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that nothing is said of a kernel other than the one that was built.
    #[test]
    fn another_kernel_is_noticed() {
        let kernel = Kernel {
            image: "b/bzImage".into(),
            vmlinux: "b/vmlinux".into(),
            commit: "c".into(),
            build_id: "0a".into(),
            cached: true,
        };
        assert!(kernel.is_what_ran(Some("0a")).is_ok());
        for other in [Some("0b"), None] {
            let error = kernel.is_what_ran(other).unwrap_err();
            assert_eq!(crate::fail::status(&error), crate::fail::COULD_NOT_TELL);
        }
    }

    /// Verify that a build is not used of which a part is cut off, wherever, or gone.
    #[test]
    fn damaged_builds_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (image, vmlinux) = (dir.path().join("bzImage"), dir.path().join("vmlinux"));
        fs::write(&image, "image").unwrap();
        let digest = crate::cache::digest(&image).unwrap();
        let elf = fs::read(std::env::current_exe().unwrap()).unwrap();
        fs::write(&vmlinux, &elf).unwrap();
        assert_eq!(damaged(&image, &digest, &vmlinux).unwrap(), None);
        for length in [0, 10, elf.len() / 2, elf.len() - 1] {
            fs::write(&vmlinux, &elf[..length]).unwrap();
            let found = damaged(&image, &digest, &vmlinux).unwrap();
            assert_eq!(found, Some(vmlinux.as_path()), "{length} bytes");
            remove(&vmlinux).unwrap();
            assert!(!vmlinux.exists());
        }
        assert_eq!(
            damaged(&image, &digest, &vmlinux).unwrap(),
            Some(vmlinux.as_path())
        );
        remove(&vmlinux).unwrap();
        fs::write(&vmlinux, &elf).unwrap();
        fs::write(&image, "other").unwrap();
        assert_eq!(
            damaged(&image, &digest, &vmlinux).unwrap(),
            Some(image.as_path())
        );
    }

    /// Verify that of a long log what is wrong is shown, and the end when nothing says so.
    #[test]
    fn errors_are_found_in_a_log() {
        let log = "  CC a.o\nnet/core/filter.c:12:3: error: unknown type\n  CC b.o\nmake[3]: *** [x] Error 1\n";
        assert_eq!(errors_in(log).lines().count(), 2);
        assert_eq!(errors_in("one\ntwo\n"), "one\ntwo");
    }
}
