// SPDX-License-Identifier: GPL-2.0-only
//! TUN and TAP devices: userspace is the wire.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, poll};

/// A TUN device: what is written to it arrives on the kernel's side without a
/// link-layer header.
#[derive(Debug)]
pub(crate) struct Tun {
    file: File,
}

impl Tun {
    /// Makes one in this namespace.
    pub(crate) fn new(name: &str) -> Result<Self> {
        Self::with(name, libc::IFF_TUN)
    }

    /// One with a link-layer header: what is written to it arrives as on a NIC
    /// whose driver hands packets to the stack at once, with no queue.
    pub(crate) fn tap(name: &str) -> Result<Self> {
        Self::with(name, libc::IFF_TAP)
    }

    /// As [`Self::tap`], with so many queues: what is written to the last of
    /// them arrives with that queue recorded.
    pub(crate) fn tap_with_queues(name: &str, queues: usize) -> Result<Vec<Self>> {
        (0..queues)
            .map(|_| Self::with(name, libc::IFF_TAP | libc::IFF_MULTI_QUEUE))
            .collect()
    }

    fn with(name: &str, kind: i32) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("opening /dev/net/tun")?;
        // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (kind | libc::IFF_NO_PI) as i16;
        // SAFETY: the descriptor is open and the pointer is to a valid ifreq.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &request) };
        nix::errno::Errno::result(done).with_context(|| format!("making {name}"))?;
        Ok(Self { file })
    }

    /// Has a packet arrive on it.
    pub(crate) fn inject(&mut self, packet: &[u8]) -> Result<()> {
        self.file
            .write_all(packet)
            .context("writing to the TUN device")
    }
}

/// Carries packets between two devices until it is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Connects them.
    pub(crate) fn between(a: Tun, b: Tun) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let ends = [a.file, b.file];
            // What is on its way when it is over is carried as well: a TCP
            // socket that waits for the last acknowledgement keeps its
            // namespace. A packet that a device does not take is one lost.
            while carry(&ends).unwrap_or(true) || !stopped.load(Ordering::Relaxed) {}
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

/// Whether there was anything to carry.
fn carry(ends: &[File; 2]) -> Result<bool> {
    let mut polled = ends
        .each_ref()
        .map(|f| PollFd::new(f.as_fd(), PollFlags::POLLIN));
    poll(&mut polled, 20_u16).context("waiting for a packet")?;
    let ready = polled.each_ref().map(|p| p.any().unwrap_or(false));
    let mut buffer = vec![0; 65_536];
    for (i, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
        let length = (&ends[i]).read(&mut buffer).context("reading a packet")?;
        (&ends[1 - i])
            .write_all(&buffer[..length])
            .context("writing a packet")?;
    }
    Ok(ready.contains(&true))
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
