// SPDX-License-Identifier: GPL-2.0-only
//! The same transactions for whoever measures them in another way: benches/.

use anyhow::{Context, Result, bail};
use protocol::reason;

use crate::{
    bpf,
    fail::Stop,
    link::Pair,
    topology::{Ip, Topology},
};

use super::{
    traffic::{Repeat, TRAFFIC},
    way::{Prepared, WAYS},
};

/// Hands each transaction that goes to and fro, `PAIR.TRAFFIC.IP.WAY`, to
/// `measure`, which may make it as often as it likes. What the kernel lacks is
/// left out. As root.
///
/// # Errors
///
/// What cannot be set up, and what `measure` gives.
pub fn paths(
    mut measure: impl FnMut(&str, &mut dyn FnMut() -> Result<()>) -> Result<()>,
) -> Result<()> {
    bpf::keep_log();
    for (pair, pair_name) in [(Pair::Veth, "veth"), (Pair::Netkit, "netkit")] {
        // Where it is new enough it may still have been built without.
        if pair == Pair::Netkit
            && let Err(why) = Topology::quiet(pair)
        {
            eprintln!("{pair_name} is left out: {why:#}");
            continue;
        }
        for (ip, ip_name) in [(Ip::V4, "v4"), (Ip::V6, "v6")] {
            for (way, way_name) in WAYS {
                if pair != Pair::Veth && !way.has_container() {
                    continue;
                }
                let path = match Prepared::new(pair, ip, way) {
                    Ok(path) => path,
                    Err(Stop::Failed(f)) if f.reason == reason::HELPER_UNKNOWN => continue,
                    Err(stop) => bail!("{way_name}: {stop:?}"),
                };
                for (traffic, name) in TRAFFIC.iter().filter(|(t, _)| t.goes_to_and_fro()) {
                    let name = format!("{pair_name}.{name}.{ip_name}.{way_name}");
                    path.repeat(*traffic, HandedOver(&name, &mut measure))
                        .with_context(|| name.clone())?;
                }
            }
        }
    }
    Ok(())
}

/// Transactions that somebody else makes.
struct HandedOver<'a, M>(&'a str, &'a mut M);

impl<M: FnMut(&str, &mut dyn FnMut() -> Result<()>) -> Result<()>> Repeat for HandedOver<'_, M> {
    type Found = ();

    fn repeat(self, mut transaction: impl FnMut() -> Result<()>) -> Result<()> {
        (self.1)(self.0, &mut transaction)
    }
}
