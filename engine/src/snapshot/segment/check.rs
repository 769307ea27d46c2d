//! Checking a block against all that the index and the fingerprints say about it.

use super::{Block, FingerprintTable, Footer, SegmentFile};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::digest::{Fingerprint, Hashers},
};

/// Checks a block of `file`; `rows` is the chunk of fingerprints that covers it.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn check_block(
    file: &SegmentFile,
    number: usize,
    block: &Block,
    rows: &FingerprintTable,
    hashers: &Hashers,
) -> Result<()> {
    match disagreement(file.footer(), number, block, rows, hashers) {
        Some(what) => Err(file.name_block(Error::new(ErrorKind::Corrupt, what), number)),
        None => Ok(()),
    }
}

fn disagreement(
    footer: &Footer,
    number: usize,
    block: &Block,
    rows: &FingerprintTable,
    hashers: &Hashers,
) -> Option<&'static str> {
    if !block.is_sorted() {
        return Some("the keys of a block are out of order");
    }
    let info = &footer.blocks[number];
    let mut expected = Vec::with_capacity(block.len());
    let mut body_bytes = 0;
    for i in 0..block.len() {
        body_bytes += block.body(i).map_or(0, <[u8]>::len) as u64;
        expected.push(match block.body(i) {
            Some(body) => hashers.fingerprint(block.key(i), body),
            None => Fingerprint::tombstone(hashers.tag(block.key(i))),
        });
    }
    let tombstones = expected.iter().filter(|fingerprint| fingerprint.is_tombstone()).count();
    let is_as_indexed = block.len() == info.entries as usize
        && block.len() > 0
        && block.key(0) == info.first_key.as_bytes()
        && footer.is_in_block(number, block.key(block.len() - 1))
        && tombstones == info.tombstones as usize
        && body_bytes == info.body_bytes;
    if !is_as_indexed {
        return Some("a block and the segment's index disagree");
    }
    expected.sort_unstable_by_key(|fingerprint| fingerprint.tag);
    let first_row = (info.first_entry - footer.chunks[footer.chunk_of_entry(info.first_entry)].first_entry) as usize;
    let has_rows = first_row + expected.len() <= rows.len();
    let agrees = |(i, fingerprint): (usize, &Fingerprint)| rows.get(first_row + i) == *fingerprint;
    (!has_rows || !expected.iter().enumerate().all(agrees)).then_some("a block and its fingerprints disagree")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zeroize::Zeroizing;

    use super::{
        super::{
            Before,
            block::{self, RawEntry},
            footer::{BlockInfo, ChunkInfo},
        },
        *,
    };
    use crate::{model::RunId, snapshot::key::RecordKey};

    fn hashers() -> Hashers {
        Hashers::new(|label| Ok(Zeroizing::new(*blake3::hash(label.as_bytes()).as_bytes()))).unwrap()
    }

    /// A block of the integer keys given, with its index and fingerprints.
    fn parts(keys: &[&str]) -> (Footer, Block, Vec<Fingerprint>) {
        let keys: Vec<RecordKey> = keys.iter().map(|key| RecordKey::from_json([key.as_bytes()]).unwrap()).collect();
        let raws = keys.iter().map(|key| RawEntry {
            key: key.as_bytes(),
            body: Some(b"{}"),
            places: &[],
            before: Before::Absent,
        });
        let mut text = Vec::new();
        block::encode(raws, 0, &mut text);
        let entries = keys.len() as u32;
        let footer = Footer {
            stream: "contacts".to_owned(),
            run_id: RunId::derived(1, [1; 10]),
            zstd_level: 3,
            last_key: keys[keys.len() - 1].clone(),
            blocks: vec![BlockInfo {
                first_key: keys[0].clone(),
                offset: 0,
                sealed_bytes: 0,
                raw_bytes: text.len() as u32,
                entries,
                tombstones: 0,
                body_bytes: u64::from(entries) * 2,
                first_entry: 0,
            }],
            chunks: vec![ChunkInfo { offset: 0, blocks: 1, first_entry: 0, entries }],
        };
        let mut fingerprints: Vec<_> = keys.iter().map(|key| hashers().fingerprint(key.as_bytes(), b"{}")).collect();
        fingerprints.sort_by_key(|fingerprint| fingerprint.tag);
        (footer, Block::decode(Bytes::from(text)).unwrap(), fingerprints)
    }

    fn table(rows: &[Fingerprint]) -> FingerprintTable {
        FingerprintTable::new(Bytes::from(rows.iter().flat_map(|row| row.to_row()).collect::<Vec<u8>>())).unwrap()
    }

    #[test]
    fn a_block_that_a_faulty_writer_made_is_found() {
        let (footer, block, rows) = parts(&["1", "2", "3"]);
        let check = |footer: &Footer, block: &Block, rows: &[Fingerprint]| {
            disagreement(footer, 0, block, &table(rows), &hashers()).is_some()
        };
        assert!(!check(&footer, &block, &rows));
        for change in [
            |info: &mut BlockInfo| info.entries = 2,
            |info: &mut BlockInfo| info.tombstones = 1,
            |info: &mut BlockInfo| info.body_bytes = 5,
            |info: &mut BlockInfo| info.first_key = RecordKey::from_json([&b"0"[..]]).unwrap(),
        ] {
            let mut wrong = footer.clone();
            change(&mut wrong.blocks[0]);
            assert!(check(&wrong, &block, &rows));
        }
        for row in 0..rows.len() {
            let mut wrong = rows.clone();
            wrong[row].digest ^= 1;
            assert!(check(&footer, &block, &wrong));
        }
        assert!(check(&footer, &block, &rows[..2]));
        let (footer, block, rows) = parts(&["1", "3", "2"]);
        assert!(check(&footer, &block, &rows));
    }
}
