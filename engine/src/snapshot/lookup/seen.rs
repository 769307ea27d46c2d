//! The set of entries that a run has seen: one bit an entry.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::seal::decompress,
};

/// A set of entry numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenSet {
    words: Vec<u64>,
}

impl SeenSet {
    /// An empty set for entries below `entries`.
    pub(crate) fn new(entries: u32) -> Self {
        Self { words: vec![0; (entries as usize).div_ceil(64)] }
    }

    /// True when the entry is in the set.
    pub(crate) fn contains(&self, entry: u32) -> bool {
        self.words[entry as usize / 64] >> (entry % 64) & 1 == 1
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, entry: u32) {
        self.words[entry as usize / 64] |= 1 << (entry % 64);
    }

    /// As text for a checkpoint: compressed bits in base 64.
    ///
    /// # Errors
    /// `Exhausted` when memory for compression is short.
    pub(crate) fn to_text(&self) -> Result<String> {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let compressed = zstd::bulk::compress(&bytes, 3).map_err(|error| {
            Error::new(ErrorKind::Exhausted, "the seen set could not be compressed").caused_by(error)
        })?;
        Ok(STANDARD_NO_PAD.encode(compressed))
    }

    /// Reads the text of a set for entries below `entries`.
    ///
    /// # Errors
    /// `Corrupt` when it is no such text.
    pub(crate) fn from_text(text: &str, entries: u32) -> Result<Self> {
        let expected = (entries as usize).div_ceil(64) * 8;
        let bytes = STANDARD_NO_PAD.decode(text).ok().and_then(|frame| decompress(&frame, expected));
        let bytes = bytes
            .filter(|bytes| bytes.len() == expected)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a checkpoint's seen set does not fit its parent"))?;
        Ok(Self { words: bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_comes_back_from_its_text(entries in 1u32..2000, picks: Vec<u32>) {
            let mut set = SeenSet::new(entries);
            picks.iter().for_each(|pick| set.insert(pick % entries));
            prop_assert!(picks.iter().all(|pick| set.contains(pick % entries)));
            prop_assert_eq!(SeenSet::from_text(&set.to_text().unwrap(), entries).unwrap(), set.clone());
            prop_assert!(SeenSet::from_text(&set.to_text().unwrap(), entries + 64).is_err());
        }
    }

    #[test]
    fn a_set_of_200_000_records_read_in_key_order_costs_a_few_kilobytes() {
        let mut set = SeenSet::new(200_000);
        (0..100_000).for_each(|entry| set.insert(entry));
        assert!(set.to_text().unwrap().len() < 1000);
    }
}
