//! A map between byte strings that grows beyond memory: its rows are in a scratch file, and what finds them is an
//! [`EntryIndex`], of which the newest million entries are in memory and no more.

use std::path::PathBuf;

use super::{entry_index::EntryIndex, scratch::Scratch};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::digest::Tag,
};

/// Rows begin at multiples of this, in bytes: so 32 bits name a place in a file of 32 GiB.
const ALIGN: usize = 8;
/// Two lengths of 32 bits.
const HEAD_BYTES: usize = 8;

/// From keys to values; the newest value of a key holds.
pub(crate) struct SpillMap {
    index: EntryIndex,
    rows: Scratch,
    found: Vec<u32>,
}

impl SpillMap {
    /// An empty one, with its files in a directory; the system's own for temporary files when `None`.
    pub(crate) fn new(scratch_dir: Option<PathBuf>) -> Self {
        let index = EntryIndex::new(Scratch::new(scratch_dir.clone()));
        Self { index, rows: Scratch::new(scratch_dir), found: Vec::new() }
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file is full, or larger than 32 GiB.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let too_large = || Error::new(ErrorKind::Exhausted, "a lookup grew past 32 GiB");
        let entry = u32::try_from(self.rows.len() / ALIGN as u64).ok().filter(|entry| *entry < u32::MAX);
        let entry = entry.ok_or_else(too_large)?;
        let mut row = Vec::with_capacity(HEAD_BYTES + key.len() + value.len() + ALIGN);
        for part in [key, value] {
            let len = u32::try_from(part.len()).map_err(|_| too_large())?;
            row.extend_from_slice(&len.to_le_bytes());
        }
        row.extend_from_slice(key);
        row.extend_from_slice(value);
        row.resize(row.len().next_multiple_of(ALIGN), 0);
        self.rows.append(&row)?;
        self.index.insert(tag(key), entry)
    }

    /// The newest value of a key.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.found.clear();
        self.index.candidates(tag(key), &mut self.found)?;
        self.found.sort_unstable_by_key(|entry| std::cmp::Reverse(*entry));
        for entry in &self.found {
            let offset = u64::from(*entry) * ALIGN as u64;
            let mut head = [0; HEAD_BYTES];
            self.rows.read(offset, &mut head)?;
            let [key_len, value_len] =
                [0, 4].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize);
            if key_len != key.len() {
                continue;
            }
            let mut row = vec![0; key_len + value_len];
            self.rows.read(offset + HEAD_BYTES as u64, &mut row)?;
            if row.starts_with(key) {
                return Ok(Some(row.split_off(key_len)));
            }
        }
        Ok(None)
    }
}

/// 40 bits of the key's hash.
fn tag(key: &[u8]) -> Tag {
    let hash = blake3::hash(key);
    hash.as_bytes().iter().take(5).fold(0, |tag, byte| tag << 8 | Tag::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_in_memory_holds(
            pairs in prop::collection::vec((prop::collection::vec(0u8..3, 0..5), any::<Vec<u8>>()), 0..300),
        ) {
            let mut map = SpillMap::new(None);
            let mut plain = HashMap::new();
            for (key, value) in &pairs {
                map.insert(key, value).unwrap();
                plain.insert(key.clone(), value.clone());
            }
            for (key, value) in &plain {
                let found = map.get(key).unwrap();
                prop_assert_eq!(found.as_ref(), Some(value));
            }
            let none = map.get(b"none").unwrap();
            prop_assert_eq!(none, None);
        }
    }
}
