//! A map between byte strings that grows beyond memory: its rows are in a scratch file, and what finds them is an
//! [`EntryIndex`], of which the newest million entries are in memory and no more.
//!
//! Keys and values are a person's data, or may be: an address by which a record is known is one, and a product may use one
//! as a record's id. So nothing of either lies in the files. A row is a keyed digest of the key, the length of the value and
//! the value sealed; the index has the first bytes of the same digest. Both secrets are drawn for this map alone and are in
//! memory alone, so that nobody can read the files or try guesses on them, neither beside the process nor after it. What they
//! do tell is how many rows there are, which rows have the same key, and how long the values are.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{entry_index::EntryIndex, scratch::Scratch};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::Random,
    snapshot::{
        digest::Tag,
        seal::{SealKey, Section, TAG_BYTES},
    },
};

/// Rows begin at multiples of this, in bytes: so 32 bits name a place in a file of 32 GiB.
const ALIGN: usize = 8;
/// What stands for a key. Two of 2^32 keys share one with a probability of 2^-65.
const DIGEST_BYTES: usize = 16;
/// The digest, and the length of the value in 32 bits.
const HEAD_BYTES: usize = DIGEST_BYTES + 4;

/// From keys to values; the newest value of a key holds.
pub(crate) struct SpillMap {
    index: EntryIndex,
    rows: Scratch,
    found: Vec<u32>,
    digest_key: Zeroizing<[u8; 32]>,
    seal_key: SealKey,
}

impl SpillMap {
    /// An empty one, with its files in a directory; the system's own for temporary files when `None`.
    ///
    /// # Errors
    /// `Bug` when the cipher refuses the key that was drawn.
    pub(crate) fn new(scratch_dir: Option<PathBuf>, random: &dyn Random) -> Result<Self> {
        let [digest_key, seal_key] = [(); 2].map(|()| {
            let mut key = Zeroizing::new([0; 32]);
            random.fill(&mut *key);
            key
        });
        let index = EntryIndex::new(Scratch::new(scratch_dir.clone()));
        let rows = Scratch::new(scratch_dir);
        Ok(Self { index, rows, found: Vec::new(), digest_key, seal_key: SealKey::new(&seal_key)? })
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file is full, or larger than 32 GiB.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let too_large = || Error::new(ErrorKind::Exhausted, "a lookup grew past 32 GiB");
        let entry = u32::try_from(self.rows.len() / ALIGN as u64).ok().filter(|entry| *entry < u32::MAX);
        let entry = entry.ok_or_else(too_large)?;
        let value_len = u32::try_from(value.len()).map_err(|_| too_large())?;
        let digest = self.digest(key);
        let mut row = Vec::with_capacity(HEAD_BYTES + value.len() + TAG_BYTES + ALIGN);
        row.extend_from_slice(&digest);
        row.extend_from_slice(&value_len.to_le_bytes());
        row.extend_from_slice(value);
        row.extend_from_slice(&[0; TAG_BYTES]);
        // A place is written once, so its number meets this map's key once.
        self.seal_key.seal(Section::Scratch, entry, &digest, &mut row[HEAD_BYTES..])?;
        row.resize(row.len().next_multiple_of(ALIGN), 0);
        self.rows.append(&row)?;
        self.index.insert(tag(&digest), entry)
    }

    /// The newest value of a key.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read, or was altered.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let digest = self.digest(key);
        self.found.clear();
        self.index.candidates(tag(&digest), &mut self.found)?;
        self.found.sort_unstable_by_key(|entry| std::cmp::Reverse(*entry));
        for entry in &self.found {
            let offset = u64::from(*entry) * ALIGN as u64;
            let mut head = [0; HEAD_BYTES];
            self.rows.read(offset, &mut head)?;
            let [stored @ .., a, b, c, d] = head;
            if stored != digest {
                continue;
            }
            let mut sealed = vec![0; u32::from_le_bytes([a, b, c, d]) as usize + TAG_BYTES];
            self.rows.read(offset + HEAD_BYTES as u64, &mut sealed)?;
            let value = self.seal_key.open(Section::Scratch, *entry, &digest, sealed);
            let altered = || Error::new(ErrorKind::Exhausted, "the scratch file was altered; run this again");
            return value.map(Some).ok_or_else(altered);
        }
        Ok(None)
    }

    fn digest(&self, key: &[u8]) -> [u8; DIGEST_BYTES] {
        let [digest @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *blake3::keyed_hash(&self.digest_key, key).as_bytes();
        digest
    }
}

/// The first 40 bits of a key's digest.
fn tag(digest: &[u8; DIGEST_BYTES]) -> Tag {
    digest.iter().take(5).fold(0, |tag, byte| tag << 8 | Tag::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Every secret is of this one byte.
    struct Same(u8);

    impl Random for Same {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    /// All bytes of both files of a map with these pairs, every entry of the index among them.
    fn stored(secret: u8, pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut map = SpillMap::new(None, &Same(secret)).unwrap();
        for (key, value) in pairs {
            map.insert(key, value).unwrap();
        }
        map.index.spill().unwrap();
        let mut all = Vec::new();
        for file in [&map.rows, map.index.scratch()] {
            let mut bytes = vec![0; file.len() as usize];
            file.read(0, &mut bytes).unwrap();
            all.extend(bytes);
        }
        all
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn nothing_of_a_key_or_value_lies_in_the_files() {
        let (key, value) = (b"ada@example.org".as_slice(), b"charles@example.org".as_slice());
        let bytes = stored(1, &[(key, value)]);
        for text in [key, value] {
            assert!(text.windows(4).all(|part| !holds(&bytes, part)), "{bytes:?}");
        }
    }

    #[test]
    fn who_guesses_a_key_cannot_see_from_the_files_whether_it_is_there() {
        let key = b"ada@example.org".as_slice();
        let [first, second] = [1, 2].map(|secret| stored(secret, &[(key, b"17")]));
        assert_eq!(first, stored(1, &[(key, b"17")]), "or else this shows nothing");
        // With another secret not even the five bytes that the index has of a digest come again.
        for guess in first.windows(5).filter(|part| !part.contains(&0)) {
            assert!(!holds(&second, guess), "{guess:?} is in {second:?}");
        }
        assert!(!holds(&first, &blake3::hash(key).as_bytes()[..4]));
    }

    #[test]
    fn a_row_that_was_altered_is_not_believed() {
        let mut map = SpillMap::new(None, &Same(1)).unwrap();
        map.insert(b"one", b"first").unwrap();
        map.rows.overwrite(HEAD_BYTES as u64, b"x").unwrap();
        assert_eq!(map.get(b"one").unwrap_err().kind(), ErrorKind::Exhausted);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_in_memory_holds(
            pairs in prop::collection::vec((prop::collection::vec(0u8..3, 0..5), any::<Vec<u8>>()), 0..300),
        ) {
            let mut map = SpillMap::new(None, &Same(7)).unwrap();
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
