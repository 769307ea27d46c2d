//! Compaction at the end of a stream. Frequent checkpoints leave many small segments, and records that come in any order
//! leave segments whose keys overlap: both are merged before a snapshot names them. And where snapshot after snapshot
//! added a little, what they added is merged in tiers. Older snapshots keep the segments that they name.

use super::{StreamWriter, tiers};
use crate::{
    error::Result,
    snapshot::{
        digest::Fingerprint,
        merge::{Merge, Merged, Reading},
        reader::KeyRange,
        segment::{Before, NewRecord, SegmentRef, SortBuffer},
    },
};

/// So many small segments of a run are left as they are.
const SMALL_SEGMENTS_MAX: usize = 8;
/// So many segments of a run may overlap.
const OVERLAPPING_MAX: usize = 2;
/// Segments merged at a time: one block of each is in memory, about half a megabyte.
const FAN_IN: usize = 96;

/// What is merged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merging {
    /// Segments of this run: all of them speak of the same parent.
    Own,
    /// Segments of several snapshots, above older ones.
    Newest,
    /// All segments of the stream: nothing is left for a tombstone to delete.
    All,
}

impl Merging {
    fn keeps(self, entry: &Merged) -> bool {
        self != Self::All || entry.body().is_some()
    }

    fn before(self, entry: &Merged) -> Before {
        if self == Self::Own { entry.before() } else { entry.before_all() }
    }
}

impl StreamWriter {
    /// This run's segments as the manifest shall name them.
    pub(super) async fn consolidate(&mut self, own: Vec<SegmentRef>) -> Result<Vec<SegmentRef>> {
        let small_bytes = self.settings.segment_bytes as u64 / 2;
        let is_small = |segment: &SegmentRef| SortBuffer::memory_bytes_of(segment) < small_bytes;
        let groups: Vec<Vec<SegmentRef>> = if tiers::runs(&own).len() > OVERLAPPING_MAX {
            vec![own]
        } else if own.iter().filter(|segment| is_small(segment)).count() <= SMALL_SEGMENTS_MAX {
            return Ok(own);
        } else if self.tally.has_rewrites {
            own.chunk_by(|a, b| is_small(a) && is_small(b)).map(<[SegmentRef]>::to_vec).collect()
        } else {
            // Without rewrites no key is in two of the segments, and their order does not matter.
            let (small, full): (Vec<_>, Vec<_>) = own.into_iter().partition(is_small);
            full.into_iter().map(|segment| vec![segment]).chain([small]).collect()
        };
        let mut merged = Vec::new();
        for group in groups.iter().flat_map(|group| group.chunks(FAN_IN)) {
            match group {
                [single] => merged.push(single.clone()),
                several => merged.extend(self.merge(several, Merging::Own).await?),
            }
        }
        Ok(merged)
    }

    /// Merges the newest segments of a stream when there are too many of a size.
    pub(super) async fn compact(&mut self, mut segments: Vec<SegmentRef>) -> Result<Vec<SegmentRef>> {
        loop {
            let runs = tiers::runs(&segments);
            let bytes: Vec<u64> = runs.iter().map(|run| run.iter().map(|segment| segment.size_bytes).sum()).collect();
            let Some(first) = tiers::first_to_merge(&bytes) else { return Ok(segments) };
            let kept = runs[..first].iter().map(|run| run.len()).sum();
            let merging = if kept == 0 { Merging::All } else { Merging::Newest };
            let merged = self.merge(&segments[kept..], merging).await?;
            segments.truncate(kept);
            segments.extend(merged);
        }
    }

    async fn merge(&mut self, references: &[SegmentRef], merging: Merging) -> Result<Vec<SegmentRef>> {
        let mut merged = Vec::new();
        // The stream is at its end: what it gathered records in is empty, and its memory is used again.
        let empty = SortBuffer::new(self.building.arity());
        let mut buffer = std::mem::replace(&mut self.building, empty);
        let mut merge =
            Merge::new(self.segments.clone(), &self.spec.name, references, &KeyRange::default(), Reading::Once);
        while let Some(entry) = merge.next().await? {
            let (key, body) = (entry.key(), entry.body());
            self.give_turn(body.map_or(0, <[u8]>::len)).await;
            if !merging.keeps(&entry) {
                continue;
            }
            let hashers = self.segments.ring.hashers();
            let fingerprint = match body {
                Some(body) => hashers.fingerprint(key, body),
                None => Fingerprint::tombstone(hashers.tag(key)),
            };
            // Blocks of one merge may have keys of different lengths, when the primary key changed: then they are explicit.
            let has_places = entry.places().len() == usize::from(buffer.arity());
            let places = if has_places { entry.places() } else { &[] };
            buffer.insert(NewRecord { key, body, places, fingerprint, before: merging.before(&entry) });
            if buffer.memory_bytes() >= self.settings.segment_bytes {
                self.send_merged(&mut buffer, &mut merged).await?;
            }
        }
        if !buffer.is_empty() {
            self.send_merged(&mut buffer, &mut merged).await?;
        }
        while let Some(segment) = self.outbox.receive().await? {
            merged.push(segment.reference);
        }
        self.building = buffer;
        Ok(merged)
    }

    async fn send_merged(&mut self, buffer: &mut SortBuffer, merged: &mut Vec<SegmentRef>) -> Result<()> {
        while self.outbox.has_to_receive()
            && let Some(segment) = self.outbox.receive().await?
        {
            merged.push(segment.reference);
        }
        self.outbox.send(buffer).await
    }
}
