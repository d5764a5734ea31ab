// SPDX-License-Identifier: GPL-2.0-only
//! What was measured, as pictures within the page.

use std::path::Path;

use super::{Page, escape, head};
use crate::bench;

impl Page<'_> {
    pub(super) fn pictures(&mut self, dir: &Path) {
        self.add(&section(dir));
    }
}

/// The text of report.html where nothing was verified, only measured.
pub(in crate::report) fn measured(dir: &Path) -> String {
    format!(
        "{}\n<body>\n<main>\n<h1>bpf_redirect_peer()</h1>\n<p class=\"verdict\">Measured, not verified</p>\n{}\n</main>\n</body>\n</html>\n",
        head("Measured"),
        section(dir)
    )
}

/// The pictures of the figures that a folder holds; empty where it has none.
fn section(dir: &Path) -> String {
    let inner = match bench::pictures(dir) {
        Ok(all) if all.is_empty() => return String::new(),
        Ok(all) => all
            .iter()
            .map(|p| {
                let title = escape(&p.title);
                let svg = inline(&p.svg);
                format!("<figure>\n<figcaption>{title}</figcaption>\n{svg}</figure>\n")
            })
            .collect(),
        Err(e) => format!("<p class=\"bad\">{}</p>\n", escape(&format!("{e:#}"))),
    };
    format!("<h2 id=\"measured\">What was measured</h2>\n{inner}")
}

/// An SVG file as a part of a page: without a name space, which the page gives
/// it, and as wide as there is room.
fn inline(svg: &str) -> String {
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    svg.replacen("<svg ", "<svg class=\"picture\" ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{html::html, sample};

    const BENCH: &str = r#"{"version":3,"started":0,"seconds":1.0,"machine":{"cpu":"","cpus":2,
        "memory_mib":1,"os":"","accel":"tcg","accel_why":"","qemu":"","virtme_ng":"","compiler":""},
        "guest":"g","asked":{"only":[],"compare":[],"named":false},"whole":true,"lacks":[],
        "kernels":[{"base":"6.12","source":"6.12.1","arm":"patched","commit":"c","patches":"p",
        "costs":{"veth.udp_1.v4.host":[1000.0,1000.0]},"alone":{},"profiles":{}}]}"#;

    /// Verify that a page has the pictures of what lies beside it, that they load
    /// nothing, and that a page without has none.
    #[test]
    fn pictures_are_in_the_page() {
        let dir = tempfile::tempdir().unwrap();
        let verified = || html(&sample::good(), dir.path());
        assert!(!verified().contains("<svg"));
        std::fs::write(dir.path().join("bench.json"), BENCH).unwrap();
        for page in [verified(), measured(dir.path())] {
            assert_eq!(page.matches("<svg ").count(), 1);
            assert_eq!(page.matches("</svg>").count(), 1);
            assert!(page.contains("Instructions for a transaction on 6.12"));
            for wrong in ["http://", "url(", "src=", "<?xml"] {
                assert!(!page.contains(wrong), "{wrong}");
            }
        }
        std::fs::write(dir.path().join("bench.json"), "{}").unwrap();
        assert!(verified().contains("is no bench.json"));
    }
}
