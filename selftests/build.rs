// SPDX-License-Identifier: GPL-2.0-only
//! Compiles bpf/*.bpf.c and generates their skeletons.

use std::{env, path::PathBuf};

use libbpf_cargo::SkeletonBuilder;

const PROGRAMS: [&str; 7] = [
    "freed", "load", "observe", "path", "redirect", "refused", "xdp",
];

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // UAPI headers include <asm/types.h>, which Debian keeps in a folder that
    // clang does not search for the bpf target.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let headers = format!("/usr/include/{arch}-linux-gnu");
    for name in PROGRAMS {
        SkeletonBuilder::new()
            .source(root.join(format!("{name}.bpf.c")))
            .clang_args(["-Wall", "-Werror", "-idirafter", &headers])
            .build_and_generate(out.join(format!("{name}.skel.rs")))
            .unwrap_or_else(|e| panic!("bpf/{name}.bpf.c: {e:?}"));
    }
    println!("cargo:rerun-if-changed={}", root.display());
}
