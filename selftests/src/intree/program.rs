// SPDX-License-Identifier: GPL-2.0-only
//! A selftest as the only test of `test_progs`.

use std::{path::Path, process::Command};

use protocol::reason;

use super::{PATH, ended, last, said_by};
use crate::fail::{Stop, Verdict, failed};

/// Runs one subtest of `test`, `name` on the list.
pub(super) fn subtest(dir: &Path, test: &str, number: u32, name: &str) -> Verdict {
    let mut command = Command::new(dir.join("test_progs"));
    command
        .args(["-v", "-n", &format!("1/{number}")])
        .current_dir("/tmp")
        .env("PATH", PATH);
    let (said, success) = said_by(&mut command)?;
    judge(&said, test, number, name, success)
}

/// What it says of the subtest: `#1/3     tc_redirect/tc_redirect_peer_l3:OK`.
/// Nothing said, or an exit status that does not go with it, is a failure.
fn judge(said: &str, test: &str, number: u32, name: &str, success: bool) -> Verdict {
    let label = format!("#1/{number}");
    let mut results = said.lines().filter_map(|line| {
        let (first, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim().strip_prefix(test)?.strip_prefix('/')?;
        (first == label).then_some(rest.rsplit_once(':')?)
    });
    let result = results.next();
    let contradicted = results.any(|other| Some(other) != result);
    let Some((told, word)) = result else {
        return Err(failed(
            reason::IN_TREE,
            format!("it says nothing of subtest {number}:\n{}", last(said)),
        ));
    };
    // On the list the kind of device is behind the name, and nothing else is:
    // tc_redirect_peer is another subtest than tc_redirect_peer_l3_veth.
    let is_it = name
        .strip_prefix(told)
        .is_some_and(|rest| ["", "_veth", "_netkit"].contains(&rest));
    match word {
        "OK" if success && is_it && !contradicted => Ok(()),
        "SKIP" if success && is_it && !contradicted => Err(Stop::Skipped(last(said))),
        word => Err(failed(
            reason::IN_TREE,
            format!(
                "it says {word} of {told}, with {}:\n{}",
                ended(success),
                last(said)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "\
serial_test_x:PASS
#1/3     tc_redirect/tc_redirect_peer_l3:OK
#1       tc_redirect:OK
Summary: 1/1 PASSED, 0 SKIPPED, 0 FAILED
";
    const TEST: &str = "tc_redirect";
    const NAME: &str = "tc_redirect_peer_l3_veth";

    fn passes(said: &str, number: u32, success: bool) -> bool {
        judge(said, TEST, number, NAME, success).is_ok()
    }

    /// Verify that only a subtest that says OK, itself and once, with a good exit
    /// status, has passed.
    #[test]
    fn only_ok_passes() {
        assert!(passes(OK, 3, true));
        for (said, number, success) in [
            (OK, 3, false),
            (OK, 1, true),
            (OK, 33, true),
            ("", 3, true),
            (&OK.replace(":OK", ":FAIL"), 3, true),
            (&OK.replace("l3:OK", "l3:OKAY"), 3, true),
            (&OK.replace("#1/3     ", "#1/3"), 3, true),
            (&OK.replace("peer_l3:OK", "neigh:OK"), 3, true),
            (&OK.replace("peer_l3:OK", "peer_l:OK"), 3, true),
            (&format!("{OK}{}", OK.replace("l3:OK", "l3:FAIL")), 3, true),
            (&OK[..40], 3, true),
        ] {
            assert!(!passes(said, number, success), "{said}");
        }
        assert!(matches!(
            judge(&OK.replace("l3:OK", "l3:SKIP"), TEST, 3, NAME, true),
            Err(Stop::Skipped(_))
        ));
        // Another test's subtest of that number and name is another.
        assert!(judge(OK, "redirect", 3, NAME, true).is_err());
    }

    /// Verify that a subtest is itself with the kind of its devices or without,
    /// and never one whose name begins alike.
    #[test]
    fn names_are_whole() {
        let of = |listed: &str, told: &str| {
            let said = format!("#1/3     tc_redirect/{told}:OK\n");
            judge(&said, TEST, 3, listed, true).is_ok()
        };
        for (listed, told, wanted) in [
            ("tc_redirect_peer_l3_veth", "tc_redirect_peer_l3_veth", true),
            ("tc_redirect_peer_l3_veth", "tc_redirect_peer_l3", true),
            ("tc_redirect_peer_l3_netkit", "tc_redirect_peer_l3", true),
            ("tc_redirect_peer_l3_veth", "tc_redirect_peer", false),
            ("tc_redirect_peer_ing", "tc_redirect_peer", false),
            ("tc_redirect_peer_veth", "tc_redirect", false),
        ] {
            assert_eq!(of(listed, told), wanted, "{told} where {listed} is due");
        }
    }

    /// Verify that output that ends early, or of which any byte is another, is
    /// never a pass that the whole is not.
    #[test]
    fn damage_never_passes() {
        let bad = OK.replace("l3:OK", "l3:FAIL");
        let line = OK.find(":OK").unwrap();
        for at in 0..bad.len() {
            assert!(!passes(&bad[..at], 3, true), "cut at {at}");
            for byte in [b'#', b':', b'O', b'K', b'\n', b' ', 0] {
                let mut bytes = bad.clone().into_bytes();
                bytes[at] = byte;
                let said = String::from_utf8_lossy(&bytes).into_owned();
                assert!(!passes(&said, 3, true), "{byte} at {at}: {said}");
            }
        }
        for at in 0..line {
            assert!(!passes(&OK[..at], 3, true), "cut at {at}");
        }
    }
}
