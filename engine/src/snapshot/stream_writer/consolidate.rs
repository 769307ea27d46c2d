//! Frequent checkpoints leave many small segments. At the end of the stream they are merged into full ones, so that
//! the snapshot never names them.

use super::StreamWriter;
use crate::{
    error::Result,
    snapshot::{
        digest::Fingerprint,
        merge::{Merge, Reading},
        segment::{NewRecord, SegmentRef, SortBuffer},
    },
};

/// So many small segments are left as they are.
const SMALL_SEGMENTS_MAX: usize = 8;
/// Segments merged at a time: one block of each is in memory.
const FAN_IN: usize = 32;

impl StreamWriter {
    /// This run's segments as the manifest shall name them.
    pub(super) async fn consolidate(&mut self) -> Result<Vec<SegmentRef>> {
        let own: Vec<SegmentRef> = self.own_tables.references().cloned().collect();
        let small_bytes = self.settings.segment_bytes as u64 / 2;
        let is_small = |segment: &SegmentRef| SortBuffer::memory_bytes_of(segment) < small_bytes;
        if own.iter().filter(|segment| is_small(segment)).count() <= SMALL_SEGMENTS_MAX {
            return Ok(own);
        }
        // Without rewrites no key is in two of the segments, and their order does not matter.
        let groups: Vec<Vec<SegmentRef>> = if self.tally.has_rewrites {
            own.chunk_by(|a, b| is_small(a) && is_small(b)).map(<[SegmentRef]>::to_vec).collect()
        } else {
            let (small, full): (Vec<_>, Vec<_>) = own.into_iter().partition(is_small);
            full.into_iter().map(|segment| vec![segment]).chain([small]).collect()
        };
        let mut merged = Vec::new();
        for group in groups.iter().flat_map(|group| group.chunks(FAN_IN)) {
            match group {
                [single] => merged.push(single.clone()),
                several => merged.extend(self.merge_own(several).await?),
            }
        }
        Ok(merged)
    }

    async fn merge_own(&mut self, references: &[SegmentRef]) -> Result<Vec<SegmentRef>> {
        let mut merged = Vec::new();
        let mut buffer = SortBuffer::new(self.building.arity());
        let mut merge = Merge::new(self.segments.clone(), &self.spec.name, references, None, Reading::Once);
        while let Some(entry) = merge.next().await? {
            let (key, body) = (entry.key(), entry.body());
            let fingerprint = self.fingerprint_of(key, body).await?;
            buffer.insert(NewRecord { key, body, places: entry.places(), fingerprint });
            if buffer.memory_bytes() >= self.settings.segment_bytes {
                self.send_merged(&mut buffer, &mut merged).await?;
            }
            self.give_turn(body.map_or(0, <[u8]>::len)).await;
        }
        if !buffer.is_empty() {
            self.send_merged(&mut buffer, &mut merged).await?;
        }
        while let Some(segment) = self.outbox.receive().await? {
            merged.push(segment.reference);
        }
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

    /// The fingerprint of one of this run's entries. The tables have it, which spares hashing the body; only of a key
    /// that was stored more than once do they tell another segment's.
    async fn fingerprint_of(&mut self, key: &[u8], body: Option<&[u8]>) -> Result<Fingerprint> {
        let tag = self.segments.ring.hashers().tag(key);
        if !self.tally.has_rewrites {
            let found = &mut self.current.in_own;
            self.own_tables.find(key, tag, &self.segments, found).await?;
            if let [entry] = found[..]
                && let Some(fingerprint) = self.own_tables.fingerprint(entry)
            {
                return Ok(fingerprint);
            }
        }
        Ok(match body {
            Some(body) => self.segments.ring.hashers().fingerprint(key, body),
            None => Fingerprint::tombstone(tag),
        })
    }
}
