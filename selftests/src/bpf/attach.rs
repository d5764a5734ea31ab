// SPDX-License-Identifier: GPL-2.0-only
//! Attaching programs to devices.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use libbpf_rs::{Link, ProgramMut, TC_EGRESS, TC_INGRESS, TcHook, TcHookBuilder};

use crate::netns::Netns;

/// A program at a device's clsact qdisc. It goes with the namespace, unless it
/// is taken off before.
#[derive(Debug)]
pub(crate) struct Filter {
    hook: TcHook,
}

impl Filter {
    /// Puts it back, or on.
    pub(crate) fn attach(&mut self) -> Result<()> {
        self.hook
            .handle(1)
            .priority(1)
            .replace(true)
            .attach()
            .context("attaching to a clsact qdisc")?;
        Ok(())
    }

    /// Takes it off. Of the namespace that this thread is in.
    pub(crate) fn detach(&mut self) -> Result<()> {
        self.hook
            .handle(1)
            .priority(1)
            .replace(false)
            .detach()
            .context("detaching from a clsact qdisc")
    }
}

/// Attaches to a device's clsact qdisc, which is made where it is missing.
pub(super) fn clsact(
    program: &ProgramMut<'_>,
    ns: &Netns,
    index: u32,
    egress: bool,
) -> Result<Filter> {
    ns.enter(|| {
        let mut builder = TcHookBuilder::new(program.as_fd());
        builder
            .ifindex(index as i32)
            .replace(true)
            .handle(1)
            .priority(1);
        let mut hook = builder.hook(if egress { TC_EGRESS } else { TC_INGRESS });
        hook.create().context("making the clsact qdisc")?;
        let mut filter = Filter { hook };
        filter
            .attach()
            .with_context(|| format!("attaching to device {index}"))?;
        Ok(filter)
    })
}

/// Attaches by tcx; the program is detached with the link.
pub(super) fn tcx_ingress(program: &ProgramMut<'_>, ns: &Netns, index: u32) -> Result<Link> {
    ns.enter(|| {
        // SAFETY: the program outlives the call, and no options are passed.
        let link = unsafe {
            libbpf_sys::bpf_program__attach_tcx(pointer(program), index as i32, std::ptr::null())
        };
        owned(link).context("attaching by tcx")
    })
}

/// Attaches to a netkit pair, by the index of its primary device and as the
/// section of the program says; it is detached with the link.
pub(super) fn netkit(program: &ProgramMut<'_>, ns: &Netns, index: u32) -> Result<Link> {
    ns.enter(|| {
        // SAFETY: the program outlives the call, and no options are passed.
        let link = unsafe {
            libbpf_sys::bpf_program__attach_netkit(pointer(program), index as i32, std::ptr::null())
        };
        owned(link).context("attaching to a netkit pair")
    })
}

fn pointer(program: &ProgramMut<'_>) -> *const libbpf_sys::bpf_program {
    libbpf_rs::AsRawLibbpf::as_libbpf_object(program).as_ptr()
}

/// What libbpf gave for a link, or why it gave none.
fn owned(link: *mut libbpf_sys::bpf_link) -> Result<Link> {
    let link = std::ptr::NonNull::new(link).ok_or_else(std::io::Error::last_os_error)?;
    // SAFETY: libbpf just made the link and nothing else owns it.
    Ok(unsafe { Link::from_ptr(link) })
}
