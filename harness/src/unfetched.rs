// SPDX-License-Identifier: GPL-2.0-only
//! A source package that cannot be had: why, out of what apt says, and what works
//! instead. apt has the same last word for a package that is gone and for a network
//! that is down ("Unable to locate package"), and `apt-get update` succeeds without
//! a network: which it was stands in the lines between.

use std::fmt;

/// A base whose source package cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "base {line} cannot be had: {cause}; what works instead: an archive of Linux {line} from kernel.org with --tarball FILE, or a git tree of it with --tree DIR"
)]
pub struct Unfetched {
    /// The release line, `5.10`.
    pub line: String,
    /// Why.
    pub cause: Cause,
}

/// Why a package cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The archive answers, and does not have it (any more).
    Gone {
        /// The package.
        package: String,
    },
    /// The archive does not answer.
    Unreachable {
        /// What apt said of it.
        said: String,
    },
    /// Nothing on this machine says where the suite is, or whom to trust for it.
    NoMirror {
        /// What is missing, and what to do about it.
        why: String,
    },
    /// The request forbids to fetch.
    Offline {
        /// The package.
        package: String,
    },
    /// There is no apt here.
    NoApt {
        /// The package.
        package: String,
    },
    /// Something else, in apt's words.
    Other {
        /// The package.
        package: String,
        /// What apt said.
        said: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { package } => {
                write!(f, "the archive does not have {package} (any more)")
            }
            Self::Unreachable { said } => {
                write!(f, "the archive cannot be reached ({said})")
            }
            Self::NoMirror { why } => write!(f, "{why}"),
            Self::Offline { package } => write!(
                f,
                "it is not in the cache, and --offline forbids fetching {package} (once without --offline puts it there)"
            ),
            Self::NoApt { package } => {
                write!(f, "this machine has no apt-get to fetch {package} with")
            }
            Self::Other { package, said } => write!(f, "apt does not give {package}: {said}"),
        }
    }
}

impl Unfetched {
    /// Whether another request is what mends it; the machine or the archive otherwise.
    pub fn is_wrong_request(&self) -> bool {
        matches!(self.cause, Cause::Offline { .. } | Cause::NoApt { .. })
    }
}

/// What stands in a line of apt's that tells of a network.
const NETWORK: &[&str] = &[
    "Could not resolve",
    "Temporary failure resolving",
    "Something wicked happened resolving",
    "Could not connect",
    "Unable to connect",
    "Failed to connect",
    "Cannot initiate the connection",
    "Connection failed",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Network is unreachable",
    "No route to host",
];

/// What stands in a line of apt's when the archive answers and has no such thing.
const GONE: &[&str] = &[
    "Unable to locate package",
    "has no installation candidate",
    "as it has no candidate",
    "Can't find a source to download",
    "does not have a Release file",
    " 404 ",
];

/// What goes before such a line when it is about something that failed.
const TROUBLE: &[&str] = &["E: ", "W: ", "Err:"];

/// Why apt did not fetch a package, out of what it said since the lists were
/// asked for. A network counts for more: what is not reached may have it.
pub fn cause(package: &str, said: &str) -> Cause {
    let lines = || said.lines().map(str::trim).filter(|l| !l.is_empty());
    let with = |words: &[&str]| lines().find(|l| words.iter().any(|w| l.contains(w)));
    let package = package.to_owned();
    if let Some(line) = with(NETWORK) {
        Cause::Unreachable {
            said: without_mark(line),
        }
    } else if with(GONE).is_some() {
        Cause::Gone { package }
    } else {
        let trouble = lines().find(|l| l.starts_with("E: "));
        Cause::Other {
            package,
            said: without_mark(trouble.or(lines().next_back()).unwrap_or("it says nothing")),
        }
    }
}

/// A line of apt's without what it begins with.
fn without_mark(line: &str) -> String {
    let mark = TROUBLE.iter().find_map(|m| line.strip_prefix(m));
    mark.unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail;

    const PACKAGE: &str = "linux-source-5.10";

    /// What apt 2.6 printed, with another mirror's name; update and download.
    const UNRESOLVED: &str = "\
Err:1 http://mirror.invalid/debian bullseye-security InRelease
  Could not resolve 'mirror.invalid'
Reading package lists...
W: Failed to fetch http://mirror.invalid/debian/dists/bullseye-security/InRelease  Could not resolve 'mirror.invalid'
W: Some index files failed to download. They have been ignored, or old ones used instead.
E: Unable to locate package linux-source-5.10
E: Couldn't find any package by glob 'linux-source-5.10'
E: Couldn't find any package by regex 'linux-source-5.10'
";
    const REFUSED: &str = "\
Err:1 http://127.0.0.1:9/x linux-source-5.10 1.0
  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)
E: Failed to fetch http://127.0.0.1:9/x/linux-source-5.10_1.0_all.deb  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)
";
    const NO_PACKAGE: &str = "\
Reading package lists...
E: Unable to locate package linux-source-5.10
E: Couldn't find any package by glob 'linux-source-5.10'
";
    const NO_SUITE: &str = "\
Ign:1 http://mirror.invalid/debian no-such-suite InRelease
Err:2 http://mirror.invalid/debian no-such-suite Release
  404  Not Found [IP: 192.0.2.1 80]
E: The repository 'http://mirror.invalid/debian no-such-suite Release' does not have a Release file.
E: Unable to locate package linux-source-5.10
";
    const NO_FILE: &str = "\
Err:1 http://mirror.invalid/debian bookworm/main linux-source-5.10 1.0
  404  Not Found [IP: 192.0.2.1 80]
E: Failed to fetch http://mirror.invalid/x/linux-source-5.10_1.0_all.deb  404  Not Found [IP: 192.0.2.1 80]
";
    const UNSIGNED: &str = "\
W: GPG error: http://mirror.invalid/debian x InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0
E: The repository 'http://mirror.invalid/debian x InRelease' is not signed.
";

    /// Verify that a network that is down is told from a package that is gone,
    /// although apt ends with the same line, and that anything else is quoted.
    #[test]
    fn causes_are_told_apart() {
        for said in [UNRESOLVED, REFUSED] {
            let Cause::Unreachable { said } = cause(PACKAGE, said) else {
                panic!("{said}");
            };
            assert!(said.starts_with("Could not"), "{said}");
        }
        for said in [NO_PACKAGE, NO_SUITE, NO_FILE] {
            let package = PACKAGE.to_owned();
            assert_eq!(cause(PACKAGE, said), Cause::Gone { package });
        }
        let Cause::Other { said, .. } = cause(PACKAGE, UNSIGNED) else {
            panic!("a signature is neither");
        };
        assert!(said.ends_with("is not signed."), "{said}");
        assert!(matches!(cause(PACKAGE, ""), Cause::Other { .. }));
    }

    /// Verify that every message names base, cause and what works instead, and
    /// that only what another request mends is called a wrong one.
    #[test]
    fn messages_can_be_acted_on() {
        let package = || PACKAGE.to_owned();
        for (cause, part, status) in [
            (cause(PACKAGE, NO_PACKAGE), "does not have", 3),
            (cause(PACKAGE, UNRESOLVED), "cannot be reached", 3),
            (
                Cause::NoMirror {
                    why: "no mirror".into(),
                },
                "no mirror",
                3,
            ),
            (Cause::Offline { package: package() }, "--offline", 2),
            (Cause::NoApt { package: package() }, "no apt-get", 2),
        ] {
            let error = anyhow::Error::new(Unfetched {
                line: "5.10".into(),
                cause,
            });
            let text = error.to_string();
            for part in ["base 5.10", part, "--tarball FILE", "--tree DIR"] {
                assert!(text.contains(part), "{part} is missing in: {text}");
            }
            assert_eq!(fail::status(&error), status, "{text}");
        }
    }
}
