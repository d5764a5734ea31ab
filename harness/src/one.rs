// SPDX-License-Identifier: GPL-2.0-only
//! The commands about one machine or one kernel: `doctor`, `build`, `run`, `clean`.

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    cache::Cache,
    cli::{Build, Clean, Doctor, RunCommand},
    exec::POLL,
    fail, interrupt, request,
    scratch::Scratch,
    session::Session,
    setup,
    vm::{SHARE, Spec},
};

/// `doctor`: says what the machine lacks.
pub fn doctor(request: &Doctor) -> Result<u8> {
    let missing = setup::missing();
    if missing.is_empty() {
        println!("this machine has every package that is needed");
        return Ok(fail::GOOD);
    }
    if request.fix {
        // Opening a session installs what is missing.
        return Session::open(&request.common).map(|_| fail::GOOD);
    }
    for (package, what_for) in &missing {
        println!("missing: {package:<18} {what_for}");
    }
    let packages: Vec<&str> = missing.iter().map(|m| m.0).collect();
    println!("\nas root, run: {}", setup::install_command(&packages));
    Ok(fail::COULD_NOT_TELL)
}

/// `build`: builds one kernel and prints where it is.
pub fn build(request: &Build) -> Result<u8> {
    let one = &request.one;
    let session = Session::open(&one.common)?;
    for tree in session.trees(&one.source)? {
        let commit = session.commit(&tree, one.arm.into(), one.source.series.as_deref())?;
        let kernel = session.kernel(&tree, one.arm.into(), one.flavor(), &commit)?;
        println!("{}", kernel.image.display());
    }
    session.progress.save(&session.cache)?;
    Ok(fail::GOOD)
}

/// `run`: runs a command in one kernel; gives the command's own exit status.
pub fn run(request: &RunCommand) -> Result<u8> {
    let one = &request.one;
    let session = Session::open(&one.common)?;
    let vng = session.virtme_ng()?;
    let trees = session.trees(&one.source)?;
    let [tree] = trees.as_slice() else {
        return Err(request!("`run` takes one base"));
    };
    let commit = session.commit(tree, one.arm.into(), one.source.series.as_deref())?;
    let kernel = session.kernel(tree, one.arm.into(), one.flavor(), &commit)?;
    let choice = session.accel(&vng, &kernel.image)?;
    let share = Scratch::new("what the guest sees")?;
    write_script(share.path(), &request.argv)?;
    let script = format!("exec /bin/sh {SHARE}/command");
    let spec = Spec {
        vng: &vng,
        accel: choice.accel,
        image: &kernel.image,
        background: false,
        cpus: 2,
        memory_mib: 2048,
        script: &script,
        share: share.path(),
        devices: Vec::new(),
    };
    let mut vm = spec.boot()?;
    let start = Instant::now();
    let mut shown = 0;
    let status = loop {
        let ended = vm.try_wait()?;
        let output = fs::read(vm.output()).unwrap_or_default();
        let _ = std::io::stdout().write_all(&output[shown.min(output.len())..]);
        let _ = std::io::stdout().flush();
        shown = output.len();
        if let Some(status) = ended {
            break status;
        }
        interrupt::check()?;
        if start.elapsed() > Duration::from_secs(request.limit) {
            bail!(
                "the command did not end within {} s (--limit)",
                request.limit
            );
        }
        std::thread::sleep(POLL);
    };
    if shown == 0 && !status.success() {
        let console = fs::read(vm.console()).unwrap_or_default();
        crate::say!(
            "{}",
            crate::exec::tail(&String::from_utf8_lossy(&console), 20)
        );
    }
    Ok(status.code().unwrap_or(i32::from(fail::COULD_NOT_TELL)) as u8)
}

/// The command as a script of its own: its words are data, and a kernel command
/// line is no place for them.
fn write_script(share: &Path, argv: &[std::ffi::OsString]) -> Result<()> {
    let words: Vec<String> = argv
        .iter()
        .map(|a| format!("'{}'", a.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    fs::write(share.join("command"), format!("exec {}\n", words.join(" ")))
        .context("writing the command")
}

/// `clean`: removes the cache folder.
pub fn clean(request: &Clean) -> Result<u8> {
    let dir = match &request.cache {
        Some(dir) => dir.clone(),
        None => Cache::default_dir()?,
    };
    if !dir.exists() {
        println!("{} is not there", dir.display());
        return Ok(fail::GOOD);
    }
    // Any folder may be named: only one that the harness made is removed.
    if !dir.join("layout").is_file() || !dir.join("lock").is_file() {
        return Err(request!(
            "{} was not made by this harness: remove it by hand if you mean it",
            dir.display()
        ));
    }
    // Not below a run that is under way: it is waited for.
    let path = dir.join("lock");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let _lock = crate::cache::lock(file, &dir)?;
    fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    println!("removed {}", dir.display());
    Ok(fail::GOOD)
}
