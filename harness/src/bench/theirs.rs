// SPDX-License-Identifier: GPL-2.0-only
//! virtme-ng's own command, timed: what `bench --self` compares with.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    accel::{Accel, Choice},
    exec::{Program, describe},
    session::Session,
    setup,
};

/// vng builds here, below the sources, as the harness does.
const FOLDER: &str = ".build-vng";

/// A build of virtme-ng's default configuration may take so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// `vng --build` and `vng --run`, seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Theirs {
    pub(super) build: f64,
    /// Boots, runs `true`, powers off.
    pub(super) run: f64,
}

/// virtme-ng's own command, building the sources of the patched arm.
pub(super) struct Vng<'a> {
    program: PathBuf,
    path: OsString,
    src: &'a Path,
    home: tempfile::TempDir,
    modules: tempfile::TempDir,
    emulated: bool,
}

impl<'a> Vng<'a> {
    /// With nothing built yet.
    pub(super) fn new(virtme_run: &Path, src: &'a Path, accel: &Choice) -> Result<Self> {
        let out = src.join(FOLDER);
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("removing {}", out.display()))?;
        }
        fs::create_dir(&out).with_context(|| format!("making {}", out.display()))?;
        let mut path = OsString::from(virtme_run.parent().unwrap_or(Path::new("/")));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Ok(Self {
            program: virtme_run.with_file_name("vng"),
            path,
            src,
            home: tempfile::tempdir().context("making a home for vng")?,
            modules: debian_modules_last()?,
            emulated: accel.accel == Accel::Tcg,
        })
    }

    /// How long a build and a boot take now.
    pub(super) fn measure(&self, session: &Session, when: &str) -> Result<Theirs> {
        let step = session.progress.begin("vng --build", when);
        let build = self.time(&["--build", &format!("O={FOLDER}")])?;
        step.done(false);
        let step = session.progress.begin("vng --run", when);
        let image = format!("{FOLDER}/arch/x86/boot/bzImage");
        // As the harness boots, where vng has a choice.
        let mut args = vec![
            "--run",
            &image,
            "--force-9p",
            "--cpus",
            "2",
            "--exec",
            "true",
        ];
        if self.emulated {
            args.push("--disable-kvm");
        }
        let run = self.time(&args)?;
        step.done(false);
        Ok(Theirs { build, run })
    }

    /// How long a call takes, seconds.
    fn time(&self, args: &[&str]) -> Result<f64> {
        let said = self.home.path().join("said");
        let file = File::create(&said).context("making a file for what vng prints")?;
        let start = Instant::now();
        let status = Program::new(&self.program)
            .args(args)
            .dir(self.src)
            // Nobody's own configuration.
            .env("HOME", self.home.path())
            .env("PYTHONPATH", self.modules.path())
            // It calls programs that lie beside it.
            .env("PATH", &self.path)
            .spawn(file.try_clone()?.into(), file.into())?
            .wait(Some(PATIENCE))?;
        let took = start.elapsed().as_secs_f64();
        if !status.success() {
            let printed = fs::read_to_string(&said).unwrap_or_default();
            bail!(
                "`vng {}` ended with {}; it printed: {}",
                args.join(" "),
                describe(status),
                crate::exec::tail(&printed, 15)
            );
        }
        Ok(took)
    }
}

impl Drop for Vng<'_> {
    fn drop(&mut self) {
        // Safe to leave behind: the next one begins by removing it.
        let _ = fs::remove_dir_all(self.src.join(FOLDER));
    }
}

/// A folder for PYTHONPATH which has Python look where Debian keeps its modules
/// after every other place: what vng needs is there, and perhaps another
/// version of virtme-ng, too, which must not be taken for the pinned one.
fn debian_modules_last() -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir().context("making a folder for Python")?;
    fs::write(
        dir.path().join("sitecustomize.py"),
        format!("import sys\nsys.path.append({:?})\n", setup::PYTHON),
    )
    .context("writing sitecustomize.py")?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that Debian's modules are found, and only where no other place has
    /// one of that name.
    #[test]
    fn debian_modules_come_last() {
        let modules = debian_modules_last().unwrap();
        let path = Program::new("python3")
            .args(["-c", "import sys; print(*sys.path, sep='\\n')"])
            .env("PYTHONPATH", modules.path())
            .read()
            .unwrap();
        assert_eq!(path.lines().last(), Some(setup::PYTHON), "{path}");
    }
}
