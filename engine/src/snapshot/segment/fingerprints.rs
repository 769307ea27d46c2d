//! Tables of fingerprints: rows of 14 bytes, block after block, sorted by tag within a block.

use bytes::Bytes;

use crate::snapshot::{
    codec::Malformed,
    digest::{FINGERPRINT_BYTES, Fingerprint, Tag},
};

/// The rows of some consecutive blocks, as they stand in the segment after opening.
#[derive(Clone)]
pub(crate) struct FingerprintTable {
    rows: Bytes,
}

impl FingerprintTable {
    /// Over opened rows.
    pub(crate) fn new(rows: Bytes) -> Result<Self, Malformed> {
        if rows.len().is_multiple_of(FINGERPRINT_BYTES) {
            Ok(Self { rows })
        } else {
            Err(Malformed("a cut fingerprint"))
        }
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() / FINGERPRINT_BYTES
    }

    /// The rows as stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.rows
    }

    /// Row `i`.
    pub(crate) fn get(&self, i: usize) -> Fingerprint {
        Fingerprint::from_row(&self.rows()[i])
    }

    /// The row with `tag` among the rows of one block.
    pub(crate) fn find_in(rows: &[[u8; FINGERPRINT_BYTES]], tag: Tag) -> Option<usize> {
        rows.binary_search_by(|row| tag_of(row).cmp(&tag)).ok()
    }

    /// All rows.
    pub(crate) fn rows(&self) -> &[[u8; FINGERPRINT_BYTES]] {
        self.rows.as_chunks().0
    }
}

fn tag_of(row: &[u8; FINGERPRINT_BYTES]) -> Tag {
    let [a, b, c, d, e, ..] = *row;
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_tag_within_its_block_only() {
        let rows: Vec<u8> =
            [1, 5, 9, 2, 5, 8].iter().flat_map(|tag| Fingerprint { tag: *tag, digest: 1, shape: 2 }.to_row()).collect();
        let table = FingerprintTable::new(Bytes::from(rows)).unwrap();
        assert_eq!(table.len(), 6);
        assert_eq!(FingerprintTable::find_in(&table.rows()[..3], 5), Some(1));
        assert_eq!(FingerprintTable::find_in(&table.rows()[3..], 5), Some(1));
        assert_eq!(FingerprintTable::find_in(&table.rows()[3..], 9), None);
        assert_eq!(table.get(5).tag, 8);
        assert!(FingerprintTable::new(Bytes::from_static(b"123")).is_err());
    }
}
