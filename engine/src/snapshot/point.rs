//! Finding the entry of one key among the segments of a stream, by few ranged reads: one a segment, which brings its
//! index and fingerprints, and one for the block.

use bytes::Bytes;

use super::{
    segment::{FingerprintTable, SegmentId, SegmentRef},
    segments::Segments,
};
use crate::error::Result;

/// The newest entry of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointEntry {
    /// The segment that holds it.
    pub(crate) segment: SegmentId,
    /// The body, or `None` for a tombstone.
    pub(crate) body: Option<Bytes>,
}

/// The newest entry of `key` in segments that are listed oldest first.
///
/// # Errors
/// `Corrupt` when what should hold the entry is damaged; those of the ports.
pub(crate) async fn newest_entry(
    segments: &Segments,
    stream: &str,
    references: &[SegmentRef],
    key: &[u8],
) -> Result<Option<PointEntry>> {
    for reference in references.iter().rev().filter(|reference| reference.may_hold(key)) {
        if let Some(entry) = entry_in(segments, stream, reference, key).await? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

async fn entry_in(segments: &Segments, stream: &str, reference: &SegmentRef, key: &[u8]) -> Result<Option<PointEntry>> {
    let (file, chunks) = segments.open_with_rows(stream, reference).await?;
    let footer = file.footer();
    let Some(number) = footer.block_of(key) else { return Ok(None) };
    let block = &footer.blocks[number];
    let chunk = footer.chunk_of_entry(block.first_entry);
    let rows = match chunks.get(chunk) {
        Some(rows) => rows.clone(),
        None => segments.rows(&file, chunk).await?,
    };
    let start = (block.first_entry - footer.chunks[chunk].first_entry) as usize;
    let rows = rows.rows().get(start..start + block.entries as usize).unwrap_or_default();
    if FingerprintTable::find_in(rows, segments.ring.hashers().tag(key)).is_none() {
        return Ok(None);
    }
    let block = segments.block(&file, number).await?;
    Ok(block.find(key).map(|entry| PointEntry { segment: reference.id, body: block.body_bytes(entry) }))
}
