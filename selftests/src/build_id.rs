// SPDX-License-Identifier: GPL-2.0-only
//! Which kernel it is that runs.

/// The note type of a build ID, NT_GNU_BUILD_ID of elf.h.
const GNU_BUILD_ID: u32 = 3;

/// Build ID of the running kernel, in hexadecimal digits, if it can be read.
pub(crate) fn running() -> Option<String> {
    let id = in_notes(&std::fs::read("/sys/kernel/notes").ok()?)?;
    Some(id.iter().map(|b| format!("{b:02x}")).collect())
}

/// Finds the build ID in ELF notes: for each the sizes of name and content and
/// the type, of 4 bytes each, then name and content, padded to 4 bytes.
fn in_notes(mut notes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let (head, rest) = notes.split_first_chunk::<12>()?;
        let word = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            u32::from_ne_bytes(bytes)
        };
        let (name_size, size) = (word(0) as usize, word(4) as usize);
        let name = rest.get(..name_size)?;
        let rest = rest.get(name_size.checked_next_multiple_of(4)?..)?;
        let content = rest.get(..size)?;
        if name == b"GNU\0" && word(8) == GNU_BUILD_ID {
            return Some(content.to_vec());
        }
        notes = rest.get(size.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::in_notes;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len() as u32, content.len() as u32, kind] {
            note.extend(word.to_ne_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    /// Verify that the build ID is found behind other notes, and that notes that
    /// end too early have none.
    #[test]
    fn build_id_is_found() {
        let mut notes = note(b"Xen\0", 6, b"linux");
        notes.extend(note(b"GNU\0", 3, &[0xab, 1, 2]));
        assert_eq!(in_notes(&notes), Some(vec![0xab, 1, 2]));
        for end in 0..notes.len() - 4 {
            assert_eq!(in_notes(&notes[..end]), None, "{end}");
        }
    }
}
