// SPDX-License-Identifier: GPL-2.0-only
//! Network namespaces without names: they end with the last thing that refers
//! to them, so a case that fails leaves none behind.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};

use crate::netlink;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Netns {
    /// What messages call it.
    pub(crate) name: &'static str,
    file: Arc<File>,
}

/// Those that a case made, for a look at them when something fails: by it, or
/// by whoever sees what it has left behind.
static MADE: Mutex<Vec<(&'static str, Weak<File>)>> = Mutex::new(Vec::new());

fn current() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("opening this thread's network namespace")
}

impl Netns {
    /// Makes a namespace with nothing but its loopback device.
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        let before = current()?;
        unshare(CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("making network namespace {name} (this needs root)"))?;
        let made = current().and_then(|file| {
            // Noise would be counted: no router solicitations, no link-local
            // addresses, no duplicate address detection, nothing forwarded.
            for (path, value) in [
                ("ipv6/conf/default/addr_gen_mode", "1"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/default/router_solicitations", "0"),
                ("ipv6/conf/all/forwarding", "0"),
                ("ipv4/ip_forward", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
            ] {
                sysctl(path, value)?;
            }
            let file = Arc::new(file);
            let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((name, Arc::downgrade(&file)));
            Ok(Self { name, file })
        });
        setns(before, CloneFlags::CLONE_NEWNET).context("going back to the first namespace")?;
        let made = made?;
        netlink::give_id(made.fd())?;
        Ok(made)
    }

    /// Runs `work` with this thread in the namespace.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = current()?;
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("entering {}", self.name))?;
        let result = work().with_context(|| format!("in {}", self.name));
        setns(before, CloneFlags::CLONE_NEWNET).context("going back to the first namespace")?;
        result
    }

    /// The namespaces that were made and that this process still holds.
    pub(crate) fn alive() -> Vec<Self> {
        let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, file)| file.strong_count() > 0);
        all.iter()
            .filter_map(|(name, file)| file.upgrade().map(|file| Self { name, file }))
            .collect()
    }

    /// The namespace as a descriptor, for netlink.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Writes a value below /proc/sys/net of the current namespace.
pub(crate) fn sysctl(path: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{path}");
    std::fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))
}
