//! What a drill needs of a snapshot: keys from all over a stream, records from a key on, and the digest of what was restored.

use std::{collections::BTreeMap, sync::Arc};

use futures::{Stream, stream};

use super::{
    digest::ContentDigest,
    key::RecordKey,
    keys::KeyRing,
    manifest::StreamState,
    merge::{Merge, Reading},
    reader::{KeyRange, Record, SnapshotReader, to_record},
    segment::{SegmentRef, check_block},
};
use crate::error::Result;

/// Counts records and adds them up to their stream's content digest.
pub struct ContentSum {
    ring: Arc<KeyRing>,
    records: u64,
    digest: ContentDigest,
}

impl ContentSum {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        let hashers = self.ring.hashers();
        self.records += 1;
        self.digest.add(hashers.content_term(&hashers.fingerprint(record.key.as_bytes(), &record.body)));
    }

    /// True when this is what the state of a stream says of its records.
    pub fn is_of(&self, state: &StreamState) -> bool {
        (self.records, self.digest) == (state.records, state.content_digest)
    }
}

impl SnapshotReader {
    /// A sum of no records.
    pub fn content_sum(&self) -> ContentSum {
        ContentSum { ring: self.segments.ring.clone(), records: 0, digest: ContentDigest::default() }
    }

    /// Up to `count` keys of a stream, one from each of as many equal parts of its entries in the order of their segments'
    /// keys. `draw` gives a number below the one that it is given. A key may be one that the snapshot does not hold any more.
    /// The blocks that hold the entries are checked against their fingerprints.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream; `Corrupt` for damage.
    pub async fn sample(
        &self,
        stream: &str,
        count: u64,
        mut draw: impl FnMut(u64) -> u64 + Send,
    ) -> Result<Vec<RecordKey>> {
        let mut references: Vec<&SegmentRef> = self.stream(stream)?.segments.iter().collect();
        references.sort_by(|a, b| a.first_key.cmp(&b.first_key));
        let total: u64 = references.iter().map(|reference| reference.entries()).sum();
        let count = count.min(total);
        let part = |number: u64| (u128::from(total) * u128::from(number) / u128::from(count.max(1))) as u64;
        let mut wanted: BTreeMap<(usize, usize), Vec<u32>> = BTreeMap::new();
        for number in 0..count {
            let (from, to) = (part(number), part(number + 1));
            let mut at = from + draw(to - from).min((to - from).saturating_sub(1));
            for (place, reference) in references.iter().enumerate() {
                if at < reference.entries() {
                    let file = self.segments.open(stream, reference).await?;
                    let block = file.footer().block_of_entry(at as u32);
                    wanted.entry((place, block)).or_default().push(at as u32 - file.footer().blocks[block].first_entry);
                    break;
                }
                at -= reference.entries();
            }
        }
        let mut keys = Vec::new();
        for ((place, number), entries) in wanted {
            let file = self.segments.open(stream, references[place]).await?;
            let block = self.segments.block(&file, number).await?;
            let chunk = file.footer().chunk_of_entry(file.footer().blocks[number].first_entry);
            let rows = self.segments.rows(&file, chunk).await?;
            check_block(&file, number, &block, &rows, self.segments.ring.hashers())?;
            keys.extend(entries.into_iter().map(|entry| RecordKey::trusted(block.key(entry as usize))));
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// The records of a range of keys in their order, read as [`SnapshotReader::scan`] reads all.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream. The stream ends with its first error.
    pub fn scan_range(
        &self,
        stream: &str,
        range: &KeyRange,
    ) -> Result<impl Stream<Item = Result<Record>> + Send + use<>> {
        let state = self.stream(stream)?;
        let merge = Merge::new(self.segments.clone(), stream, &state.segments, range, Reading::Once);
        Ok(stream::try_unfold((merge, range.clone()), |(mut merge, range)| async move {
            while let Some(merged) = merge.next().await?.filter(|merged| !range.is_past(merged.key())) {
                if let Some(record) = to_record(&merged) {
                    return Ok(Some((record, (merge, range))));
                }
            }
            Ok(None)
        }))
    }
}
