// SPDX-License-Identifier: GPL-2.0-only
//! Whether a configuration has an object. make compiles what it is asked for by
//! name, also when nothing would be linked with it. Pure.

/// Whether a folder's Makefile has the object `name` built with the configuration
/// `config`. One that it does not name by itself is part of another, and is taken
/// for built.
pub fn configured(makefile: &str, config: &str, name: &str) -> bool {
    let joined = makefile.replace("\\\n", " ");
    let mut gates = Vec::new();
    for line in joined.lines() {
        let Some((left, right)) = line.split_once('=') else {
            continue;
        };
        if !right.split_whitespace().any(|word| word == name) {
            continue;
        }
        let gate = left
            .split_once("$(CONFIG_")
            .and_then(|(_, rest)| rest.split_once(')'));
        match gate {
            Some((symbol, _)) => gates.push(symbol),
            None => return true,
        }
    }
    let on = |symbol: &&str| {
        let set = |value| {
            config
                .lines()
                .any(|l| l == format!("CONFIG_{symbol}={value}"))
        };
        set("y") || set("m")
    };
    gates.is_empty() || gates.iter().any(on)
}

#[cfg(test)]
mod tests {
    use super::configured;

    /// Verify that an object goes with the symbol in its line, with any of several,
    /// and that one without a symbol is always there.
    #[test]
    fn objects_go_with_symbols() {
        let makefile = "obj-$(CONFIG_NETKIT) += netkit.o\nobj-$(CONFIG_VETH) += veth.o\nobj-y += dev.o \\\n\tfilter.o\nobj-$(CONFIG_A) += ab.o\nobj-$(CONFIG_B) += ab.o\n";
        let config = "# CONFIG_NETKIT is not set\nCONFIG_VETH=m\nCONFIG_B=y\nCONFIG_NETKIT_X=y\n";
        for (name, is) in [
            ("netkit.o", false),
            ("veth.o", true),
            ("dev.o", true),
            ("filter.o", true),
            ("ab.o", true),
            ("part.o", true),
        ] {
            assert_eq!(configured(makefile, config, name), is, "{name}");
        }
    }
}
