// SPDX-License-Identifier: GPL-2.0-only
//! Whether the machine that this runs on is executed by software, where the
//! clock says how fast the emulator is and nothing of the kernel.

/// What executes this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Machine {
    /// A CPU; the name of the hypervisor if there is one.
    Cpu(Option<String>),
    /// QEMU's TCG.
    Emulated,
    /// Nobody can tell: no CPUID here.
    Unknown,
}

/// What QEMU's TCG calls itself.
const TCG: &str = "TCGTCGTCGTCG";

/// Asks the CPU.
pub(super) fn machine() -> Machine {
    signature().map_or(Machine::Unknown, judge)
}

/// `None` is a CPU that says nothing of a hypervisor.
fn judge(signature: Option<String>) -> Machine {
    if signature.as_deref() == Some(TCG) {
        Machine::Emulated
    } else {
        Machine::Cpu(signature)
    }
}

/// The hypervisor's signature, from CPUID leaf 0x40000000, which there is where
/// bit 31 of ECX of leaf 1 is set (Intel SDM volume 2, CPUID; KVM's
/// Documentation/virt/kvm/x86/cpuid.rst).
#[cfg(target_arch = "x86_64")]
fn signature() -> Option<Option<String>> {
    #[allow(unused_unsafe, reason = "safe from Rust 1.94 on, and 1.88 must do")]
    // SAFETY: every x86_64 CPU has the instruction.
    let leaf = |number| unsafe { core::arch::x86_64::__cpuid(number) };
    if leaf(1).ecx & 1 << 31 == 0 {
        return Some(None);
    }
    let found = leaf(0x4000_0000);
    let bytes: Vec<u8> = [found.ebx, found.ecx, found.edx]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    let text = String::from_utf8_lossy(&bytes);
    Some(Some(text.trim_end_matches('\0').to_owned()))
}

#[cfg(not(target_arch = "x86_64"))]
fn signature() -> Option<Option<String>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verify that TCG is told from hypervisors and from none.
    #[test]
    fn signatures() {
        assert_eq!(judge(Some("TCGTCGTCGTCG".into())), Machine::Emulated);
        assert_eq!(
            judge(Some("KVMKVMKVM".into())),
            Machine::Cpu(Some("KVMKVMKVM".into()))
        );
        assert_eq!(judge(None), Machine::Cpu(None));
    }
}
