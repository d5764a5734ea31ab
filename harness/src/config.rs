// SPDX-License-Identifier: GPL-2.0-only
//! Kernel configuration: fragments in, and a check that every symbol that was
//! asked for came out. `make` drops what it cannot have without a word.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    exec::Program,
    project::{Base, Project},
    request,
};

/// Symbols and the values asked for, later fragments having the last word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragment(BTreeMap<String, String>);

impl Fragment {
    /// The fragments of a flavor: `default.config`, then the flavor's own; those of
    /// `debug+faulty` are both. A base leaves out what it lacks and adds what it needs besides.
    pub fn of_flavor(project: &Project, flavor: &str, base: &Base) -> Result<Self> {
        let mut merged = Self::default();
        let mut names = vec!["default"];
        names.extend(flavor.split('+').filter(|name| *name != "default"));
        for name in names {
            let path = project.path(format!("vm/config/{name}.config"));
            let text = fs::read_to_string(&path)
                .map_err(|e| request!("there is no flavor `{name}`: {}: {e}", path.display()))?;
            merged
                .merge(&text)
                .with_context(|| format!("in {}", path.display()))?;
        }
        for symbol in &base.lacks {
            merged.0.remove(symbol);
        }
        merged
            .merge(&base.adds.join("\n"))
            .context("in `adds` of kernel-patches/bases.toml")?;
        Ok(merged)
    }

    fn merge(&mut self, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            if let Some((symbol, value)) = parse_line(line) {
                self.0.insert(symbol.to_owned(), value.to_owned());
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                return Err(request!("line {} is no CONFIG_X=value: {line}", number + 1));
            }
        }
        Ok(())
    }

    /// The same with some symbols set otherwise.
    pub fn with(&self, set: &[(&str, &str)]) -> Self {
        let mut other = self.clone();
        for (symbol, value) in set {
            other.0.insert((*symbol).to_owned(), (*value).to_owned());
        }
        other
    }

    /// The symbols whose value in a final .config is not the one asked for, as
    /// `CONFIG_X=y became n`.
    pub fn unmet(&self, config: &str) -> Vec<String> {
        self.dropped(config)
            .into_iter()
            .map(|(symbol, wanted, got)| format!("CONFIG_{symbol}={wanted} became {got}"))
            .collect()
    }

    /// The fragment as a file for KCONFIG_ALLCONFIG.
    pub fn text(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |mut text, (symbol, value)| {
                let _ = if value == "n" {
                    writeln!(text, "# CONFIG_{symbol} is not set")
                } else {
                    writeln!(text, "CONFIG_{symbol}={value}")
                };
                text
            })
    }

    /// The symbols whose value in a final .config is not the one asked for,
    /// with both values.
    fn dropped(&self, config: &str) -> Vec<(&str, &str, String)> {
        let got: BTreeMap<&str, &str> = config.lines().filter_map(parse_line).collect();
        self.0
            .iter()
            .filter_map(|(symbol, wanted)| {
                let got = got.get(symbol.as_str()).copied().unwrap_or("n");
                (got != wanted).then(|| (symbol.as_str(), wanted.as_str(), got.to_owned()))
            })
            .collect()
    }

    /// Fails unless a final .config has every symbol as asked for; names each
    /// that has not, and what the tree at `src` says it depends on.
    pub fn check(&self, config: &Path, src: &Path) -> Result<()> {
        let text =
            fs::read_to_string(config).with_context(|| format!("reading {}", config.display()))?;
        let dropped = self.dropped(&text);
        if dropped.is_empty() {
            return Ok(());
        }
        let mut message =
            String::from("the kernel's configuration did not take what was asked for:");
        for (symbol, wanted, got) in dropped {
            let _ = write!(message, "\n    CONFIG_{symbol}={wanted} became {got}: ");
            match depends_on(src, symbol)? {
                None => message.push_str("this kernel has no such symbol (name it in `lacks` of bases.toml if the base is too old for it)"),
                Some(lines) if lines.is_empty() => message.push_str("it has no prompt, or something else selects it"),
                Some(lines) => message.push_str(&lines.join("; ")),
            }
        }
        Err(request!("{message}"))
    }
}

/// The `depends on` lines of a symbol; `None` when the tree has no such symbol.
pub(crate) fn depends_on(src: &Path, symbol: &str) -> Result<Option<Vec<String>>> {
    let files = Program::new("git")
        .arg("-C")
        .arg(src)
        .args([
            "grep",
            "-l",
            "-E",
            &format!("^(menu)?config {symbol}$"),
            "--",
            "*Kconfig*",
        ])
        .output()?
        .stdout;
    let Some(file) = files.lines().next() else {
        return Ok(None);
    };
    let text = fs::read_to_string(src.join(file)).with_context(|| format!("reading {file}"))?;
    let heads = [format!("config {symbol}"), format!("menuconfig {symbol}")];
    Ok(Some(
        text.lines()
            .skip_while(|l| !heads.iter().any(|h| h == l))
            .skip(1)
            .take_while(|l| l.is_empty() || l.starts_with(char::is_whitespace))
            .map(str::trim)
            .filter(|l| l.starts_with("depends on"))
            .map(str::to_owned)
            .collect(),
    ))
}

/// `CONFIG_X=y` and `# CONFIG_X is not set`, as (symbol, value).
fn parse_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        return rest.strip_suffix(" is not set").map(|symbol| (symbol, "n"));
    }
    line.strip_prefix("CONFIG_")?.split_once('=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    /// Verify that a later fragment has the last word and that a symbol may be turned off.
    #[test]
    fn later_fragments_win() {
        let mut f = Fragment::default();
        f.merge("CONFIG_A=y\nCONFIG_B=y\n").unwrap();
        f.merge("# CONFIG_A is not set\nCONFIG_C=\"x=y\"\n")
            .unwrap();
        assert_eq!(
            f.text(),
            "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"x=y\"\n"
        );
    }

    /// Verify that a symbol that is missing, different or on against the request is named.
    #[test]
    fn dropped_symbols_are_named() {
        let mut f = Fragment::default();
        f.merge("CONFIG_A=y\nCONFIG_B=y\nCONFIG_D=y\n# CONFIG_C is not set\n")
            .unwrap();
        let dropped = f.dropped("CONFIG_A=m\nCONFIG_C=y\nCONFIG_D=y\n");
        let names: Vec<&str> = dropped.iter().map(|d| d.0).collect();
        assert_eq!(names, ["A", "B", "C"]);
    }

    /// Verify that what is set otherwise has the last word, and is missed when it is lost.
    #[test]
    fn set_otherwise() {
        let mut f = Fragment::default();
        f.merge("CONFIG_A=y\n").unwrap();
        let other = f.with(&[("A", "n"), ("B", "m")]);
        assert_eq!(other.text(), "# CONFIG_A is not set\nCONFIG_B=m\n");
        assert_eq!(other.unmet("CONFIG_B=m\n"), Vec::<String>::new());
        assert_eq!(
            other.unmet("CONFIG_A=y\nCONFIG_B=m\n"),
            ["CONFIG_A=n became y"]
        );
    }

    /// Verify that of a damaged fragment is asked for what it says, and nothing that
    /// make would read as something else.
    #[test]
    fn damaged_fragments_do_no_harm() {
        let text = include_str!("../../vm/config/debug.config");
        let mut read = 0;
        Damage::texts(3_000, text, |damaged| {
            let mut f = Fragment::default();
            if f.merge(damaged).is_ok() {
                read += 1;
                let mut again = Fragment::default();
                again.merge(&f.text()).unwrap();
                assert_eq!(f, again);
            }
        });
        assert!(read > 0, "damage that nothing survives shows nothing");
    }

    /// Verify that a damaged fragment is refused rather than half read.
    #[test]
    fn damaged_fragment_is_refused() {
        assert!(Fragment::default().merge("CONFIG_A\n").is_err());
    }
}
