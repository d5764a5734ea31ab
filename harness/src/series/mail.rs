// SPDX-License-Identifier: GPL-2.0-only
//! Patches as mails: the subject's prefix, headers that are folded, and names
//! of files as `git format-patch -vN` has them. Pure.

use super::refresh::header;

/// Which posting of which series, and of how many patches.
#[derive(Debug, Clone, Copy)]
pub struct Posting<'a> {
    /// From 1.
    pub version: u32,
    /// How many patches, without the cover letter.
    pub of: usize,
    /// `bpf-next`; empty when nobody in particular is asked.
    pub destination: &'a str,
}

impl Posting<'_> {
    /// `[PATCH bpf-next v2 1/3] ` and the rest of a subject.
    pub fn subject(&self, number: usize, subject: &str) -> String {
        let mut inside = String::from("PATCH");
        if !self.destination.is_empty() {
            inside.push(' ');
            inside.push_str(self.destination);
        }
        if self.version > 1 {
            inside.push_str(&format!(" v{}", self.version));
        }
        let width = self.of.to_string().len();
        format!("[{inside} {number:0width$}/{}] {subject}", self.of)
    }

    /// `v2-0001-net-x.patch` for `0001-net-x.patch`.
    pub fn file(&self, name: &str) -> String {
        if self.version > 1 {
            format!("v{}-{name}", self.version)
        } else {
            name.to_owned()
        }
    }

    /// A kept patch as the mail of this posting. `None` when it is no patch
    /// that `git format-patch` made.
    pub fn mail(&self, number: usize, patch: &str) -> Option<String> {
        let (head, body) = patch.split_once("\n\n")?;
        let subject = header(patch, "Subject")?;
        // Whatever it is tagged with already, `[PATCH]` or `[PATCH 2/3]`.
        let plain = match subject.split_once("] ") {
            Some((tag, rest)) if tag.starts_with("[PATCH") => rest,
            _ => &subject,
        };
        let mut out = String::new();
        let mut skipping = false;
        for line in head.lines() {
            if line.starts_with("Subject: ") {
                skipping = true;
                out.push_str(&fold("Subject", &self.subject(number, plain)));
                continue;
            }
            skipping = skipping && line.starts_with(' ');
            if !skipping {
                out.push_str(line);
                out.push('\n');
            }
        }
        Some(format!("{out}\n{body}"))
    }
}

/// A header of a mail, folded before its 78th column, with its line end.
pub fn fold(name: &str, value: &str) -> String {
    let mut out = format!("{name}:");
    let mut column = out.len();
    for word in value.split(' ') {
        if column + 1 + word.len() > 77 && column > name.len() + 1 {
            out.push('\n');
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.len();
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::Damage;

    const PATCH: &str = "From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nDate: Mon, 23 Nov 2026 03:10:23 +0000\nSubject: [PATCH] net: Let a tc redirect send a packet into another receive\n round\nMIME-Version: 1.0\n\nBody.\n\nSubject: not a header\n---\n f | 1 +\n";

    /// Verify that a folded subject gets its tag and is folded again, and that
    /// nothing else of the mail changes.
    #[test]
    fn subject_is_tagged() {
        let posting = Posting {
            version: 2,
            of: 3,
            destination: "bpf-next",
        };
        let mail = posting.mail(2, PATCH).unwrap();
        assert_eq!(
            header(&mail, "Subject").unwrap(),
            "[PATCH bpf-next v2 2/3] net: Let a tc redirect send a packet into another receive round"
        );
        assert!(mail.lines().all(|l| l.len() <= 78), "{mail}");
        assert!(
            mail.contains("\n another receive round\nMIME-Version: 1.0\n\nBody."),
            "{mail}"
        );
        assert!(mail.ends_with("Body.\n\nSubject: not a header\n---\n f | 1 +\n"));
        assert_eq!(posting.file("0002-net.patch"), "v2-0002-net.patch");
    }

    /// Verify that a first posting has no version, and that numbers have the
    /// width of the last one.
    #[test]
    fn first_posting_has_no_version() {
        let posting = Posting {
            version: 1,
            of: 12,
            destination: "",
        };
        assert_eq!(posting.subject(0, "x"), "[PATCH 00/12] x");
        assert_eq!(posting.file("0002-net.patch"), "0002-net.patch");
    }

    /// Verify that a damaged patch is no mail, or one with the posting's tag.
    #[test]
    fn damaged_patches_do_no_harm() {
        let posting = Posting {
            version: 1,
            of: 3,
            destination: "",
        };
        let mut mails = 0;
        Damage::texts(3_000, PATCH, |damaged| {
            if let Some(mail) = posting.mail(2, damaged) {
                mails += 1;
                assert!(mail.contains("Subject: [PATCH 2/3]"), "{mail}");
            }
        });
        assert!(mails > 0, "damage that nothing survives shows nothing");
    }
}
