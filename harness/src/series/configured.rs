// SPDX-License-Identifier: GPL-2.0-only
//! Whether a configuration has an object. make compiles what it is asked for by
//! name, also when nothing would be linked with it. Pure.

/// Whether a folder's Makefile has the object `name` built with the configuration
/// `config`: by a list of its own, or as a part of one that is built. One that it does
/// not name is not known to be left out.
pub fn configured(makefile: &str, config: &str, name: &str) -> bool {
    let joined = makefile.replace("\\\n", " ");
    let lists: Vec<(&str, &str)> = joined.lines().filter_map(|l| l.split_once('=')).collect();
    has(&lists, config, name, DEPTH)
}

/// How often something may be part of something else: a Makefile in which two are
/// part of each other ends here.
const DEPTH: usize = 8;

/// The same, from the lines as what is left and right of their `=`.
fn has(lists: &[(&str, &str)], config: &str, name: &str, depth: usize) -> bool {
    let mut with_it = lists
        .iter()
        .filter(|(_, objects)| objects.split_whitespace().any(|word| word == name))
        .peekable();
    depth == 0
        || with_it.peek().is_none()
        || with_it.any(|(list, _)| {
            let whole = format!("{}.o", owner(list));
            is_on(config, list)
                && (["obj.o", "lib.o", name].contains(&whole.as_str())
                    || has(lists, config, &whole, depth - 1))
        })
}

/// `ipv6` of `ipv6-y`, `ipv6-objs` and `ipv6-$(CONFIG_SYSCTL)`; `obj` is the folder's own.
fn owner(list: &str) -> &str {
    let list = list.trim_end_matches([' ', '\t', ':', '+']).trim_start();
    let gate = list.find("-$(").or_else(|| list.rfind('-'));
    gate.map_or(list, |at| &list[..at])
}

/// Whether a list's symbol is set, if it has one.
fn is_on(config: &str, list: &str) -> bool {
    let symbol = list
        .split_once("$(CONFIG_")
        .and_then(|(_, rest)| rest.split_once(')'));
    symbol.is_none_or(|(symbol, _)| {
        ["y", "m"].iter().any(|value| {
            let set = format!("CONFIG_{symbol}={value}");
            config.lines().any(|line| line == set)
        })
    })
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

    /// Verify that a part goes with what it is part of, by whatever of them, and by
    /// its own symbol as well; two that are part of each other have an end.
    #[test]
    fn parts_go_with_the_whole() {
        let makefile = "obj-$(CONFIG_IPV6) += ipv6.o\nipv6-y :=\taf_inet6.o \\\n\t\tip6_output.o\n\
                        ipv6-$(CONFIG_SYSCTL) += sysctl.o\nnf-x-objs := both.o\nobj-y += nf-x.o\n\
                        obj-$(subst m,y,$(CONFIG_IPV6)) += tables.o\nself-y := self.o\n\
                        a-y := b.o\nb-y := a.o\n";
        let on = "CONFIG_IPV6=m\nCONFIG_SYSCTL=y\n";
        let off = "CONFIG_SYSCTL=y\n";
        for (name, with, without) in [
            ("ip6_output.o", true, false),
            ("sysctl.o", true, false),
            ("tables.o", true, false),
            ("both.o", true, true),
            ("self.o", true, true),
            ("a.o", true, true),
        ] {
            assert_eq!(configured(makefile, on, name), with, "{name}");
            assert_eq!(configured(makefile, off, name), without, "{name}");
        }
        assert!(!configured(makefile, "CONFIG_IPV6=y\n", "sysctl.o"));
    }
}
