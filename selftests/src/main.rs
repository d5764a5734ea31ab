// SPDX-License-Identifier: GPL-2.0-only
//! The program: what it does is in the library, for benches/ to use, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    selftests::main()
}
