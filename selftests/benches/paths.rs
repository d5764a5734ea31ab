// SPDX-License-Identifier: GPL-2.0-only
//! `cargo bench -p selftests`: a transaction on each way into a container by the
//! clock of the machine that this runs on, as root. Names are those of `cargo
//! harness bench`, and choose as criterion lets them: `cargo bench -p selftests
//! -- veth.udp_rr.v4`.

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let measured = selftests::paths(|name, transaction| {
        let mut failed = None;
        criterion.bench_function(name, |b| {
            b.iter(|| {
                if failed.is_none() {
                    failed = transaction().err();
                }
            });
        });
        failed.map_or(Ok(()), Err)
    });
    criterion.final_summary();
    if let Err(e) = measured {
        eprintln!("error: {e:#}");
        std::process::exit(3);
    }
}
