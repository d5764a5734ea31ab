// SPDX-License-Identifier: GPL-2.0-only
//! Attaching programs to devices.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use libbpf_rs::{Link, ProgramMut, TC_EGRESS, TC_INGRESS, TcAttachPoint, TcHook, TcHookBuilder};

use crate::netns::Netns;

/// A way to have a program run for what arrives on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// cls_bpf at a clsact qdisc.
    Clsact,
    /// tcx, without a qdisc.
    Tcx,
    /// act_bpf, of a filter at a clsact qdisc.
    Action,
}

/// A program at a device that can be taken off, put back and replaced. At a
/// qdisc it stays when this goes, and goes with the namespace; by tcx it is
/// taken off.
#[derive(Debug)]
pub(crate) struct Filter {
    program: OwnedFd,
    index: u32,
    at: At,
}

#[derive(Debug)]
enum At {
    Qdisc(TcAttachPoint),
    Tcx(Option<OwnedFd>),
}

impl Filter {
    /// Puts it back, or on. Of the namespace that this thread is in.
    pub(crate) fn attach(&mut self) -> Result<()> {
        let program = self.program.try_clone().context("copying a descriptor")?;
        self.put(program.as_fd())
    }

    /// Takes it off. Of the namespace that this thread is in.
    pub(crate) fn detach(&mut self) -> Result<()> {
        match &mut self.at {
            At::Qdisc(point) => hook(self.program.as_fd(), self.index, *point)
                .replace(false)
                .detach()
                .context("detaching from a clsact qdisc"),
            At::Tcx(link) => {
                drop(link.take());
                Ok(())
            }
        }
    }

    /// Has a program run there, in place of the one that does.
    pub(super) fn put(&mut self, program: BorrowedFd<'_>) -> Result<()> {
        match &mut self.at {
            At::Qdisc(point) => hook(program, self.index, *point)
                .attach()
                .map(drop)
                .context("attaching to a clsact qdisc"),
            At::Tcx(Some(link)) => {
                // SAFETY: both descriptors are open, and no options are passed.
                let done = unsafe {
                    libbpf_sys::bpf_link_update(
                        link.as_raw_fd(),
                        program.as_raw_fd(),
                        std::ptr::null(),
                    )
                };
                no_error(done).context("replacing a program of tcx")?;
                Ok(())
            }
            At::Tcx(link) => {
                // SAFETY: the descriptor is open, and no options are passed.
                let made = unsafe {
                    libbpf_sys::bpf_link_create(
                        program.as_raw_fd(),
                        self.index as i32,
                        libbpf_sys::BPF_TCX_INGRESS,
                        std::ptr::null(),
                    )
                };
                let made = no_error(made).context("attaching by tcx")?;
                // SAFETY: the descriptor was just made and nothing else owns it.
                *link = Some(unsafe { OwnedFd::from_raw_fd(made) });
                Ok(())
            }
        }
    }
}

/// libbpf's calls give a negative errno.
fn no_error(done: i32) -> std::io::Result<i32> {
    if done < 0 {
        Err(std::io::Error::from_raw_os_error(-done))
    } else {
        Ok(done)
    }
}

fn hook(program: BorrowedFd<'_>, index: u32, point: TcAttachPoint) -> TcHook {
    TcHookBuilder::new(program)
        .ifindex(index as i32)
        .replace(true)
        .handle(1)
        .priority(1)
        .hook(point)
}

/// Attaches to a device's clsact qdisc, which is made where it is missing.
pub(super) fn clsact(
    program: &ProgramMut<'_>,
    ns: &Netns,
    index: u32,
    egress: bool,
) -> Result<Filter> {
    let point = if egress { TC_EGRESS } else { TC_INGRESS };
    ns.enter(|| {
        hook(program.as_fd(), index, point)
            .create()
            .context("making the clsact qdisc")?;
        attached(program, index, At::Qdisc(point))
    })
}

/// Attaches by tcx.
pub(super) fn tcx_ingress(program: &ProgramMut<'_>, ns: &Netns, index: u32) -> Result<Filter> {
    ns.enter(|| attached(program, index, At::Tcx(None)))
}

fn attached(program: &ProgramMut<'_>, index: u32, at: At) -> Result<Filter> {
    let program = program.as_fd().try_clone_to_owned();
    let mut filter = Filter {
        program: program.context("copying a program's descriptor")?,
        index,
        at,
    };
    filter
        .attach()
        .with_context(|| format!("attaching to device {index}"))?;
    Ok(filter)
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
