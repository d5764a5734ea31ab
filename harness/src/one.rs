// SPDX-License-Identifier: GPL-2.0-only
//! The commands about one machine or one kernel: `doctor`, `build`, `clean`.

use std::fs;

use anyhow::{Context, Result};

use crate::{
    cache::Cache,
    cli::{Build, Clean, Doctor},
    fail, request,
    session::Session,
    setup,
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
