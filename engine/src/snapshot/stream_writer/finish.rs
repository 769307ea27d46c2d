//! The end of a stream: what a full read did not see is gone; the state for the manifest.

use std::collections::BTreeSet;

use super::{FinishedStream, StreamEnd, StreamWriter};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{
        lookup::KeyTables,
        manifest::StreamState,
        segment::{SegmentId, SegmentRef},
    },
};

impl StreamWriter {
    /// Ends the stream: after a full read writes tombstones for what did not come, stores the rest.
    ///
    /// # Errors
    /// `Invalid` when the primary key changed since the parent and the read was not full; those of the ports; `Corrupt`
    /// when the parent is damaged; `Retry` when a segment of the same content is being collected.
    pub async fn finish(mut self, end: StreamEnd) -> Result<FinishedStream> {
        let has_other_key = self.parent.as_ref().is_some_and(|parent| parent.primary_key != self.spec.primary_key);
        if has_other_key && !end.is_full {
            let message = "the stream's primary key is not the one of the snapshot before: read the stream in full";
            return Err(Error::new(ErrorKind::Invalid, message).with("stream", &self.spec.name));
        }
        let deletes = end.is_full && (has_other_key || !end.keeps_absent);
        if deletes {
            self.pass_by_deleted().await?;
            self.delete_unseen().await?;
        }
        self.flush().await?;
        self.settle().await?;
        let own = self.let_go_of_reading()?;
        let own = self.consolidate(own).await?;
        let parent = self.parent.take();
        let body_bytes = match &parent {
            Some(parent) if !deletes => parent.body_bytes.saturating_add_signed(self.tally.grown_bytes),
            _ => self.tally.read_bytes.max(0).unsigned_abs(),
        };
        let (segments, records, full_window) = match parent {
            Some(parent) => (parent.segments, parent.records, parent.full_window),
            None => Default::default(),
        };
        let segments = self.with_own(segments, own).await?;
        let superseded = self.superseded(&segments);
        let figures = self.figures();
        let state = StreamState {
            primary_key: self.spec.primary_key.clone(),
            json_schema: self.spec.json_schema.clone(),
            segments,
            records: (records + figures.added).saturating_sub(figures.removed),
            body_bytes,
            content_digest: self.tally.content,
            cursor: end.cursor,
            window: end.window,
            full_window: if end.is_full { Some(end.window) } else { full_window },
        };
        Ok(FinishedStream { state, figures, superseded, attachments: None, packs: BTreeSet::new() })
    }

    /// This run's segments. No record comes any more and no key is looked up: what that took is free for merging.
    fn let_go_of_reading(&mut self) -> Result<Vec<SegmentRef>> {
        let own = self.own_tables.references().cloned().collect();
        for tables in [&mut self.parent_tables, &mut self.own_tables] {
            *tables = KeyTables::new(&self.spec.name, &[], &self.settings.lookup())?;
        }
        self.outbox.narrow();
        Ok(own)
    }

    /// The parent's segments with this run's; nothing is merged when nothing is new.
    async fn with_own(&mut self, mut segments: Vec<SegmentRef>, own: Vec<SegmentRef>) -> Result<Vec<SegmentRef>> {
        if own.is_empty() {
            return Ok(segments);
        }
        let parents: BTreeSet<SegmentId> = segments.iter().map(|segment| segment.id).collect();
        segments.extend(own);
        let segments = self.compact(segments).await?;
        // Only what this run put can have been doomed: the parent's segments are named by the parent.
        let new: Vec<SegmentRef> = segments.iter().filter(|segment| !parents.contains(&segment.id)).cloned().collect();
        self.watch.confirm(&self.segments, &new).await?;
        Ok(segments)
    }

    /// What this run made and does not name; it no longer counts as stored.
    fn superseded(&mut self, segments: &[SegmentRef]) -> Vec<SegmentId> {
        let named: BTreeSet<SegmentId> = segments.iter().map(|segment| segment.id).collect();
        let superseded: Vec<SegmentId> = self.outbox.made.keys().filter(|id| !named.contains(id)).copied().collect();
        self.outbox.made.retain(|id, _| named.contains(id));
        superseded
    }

    /// Marks the keys that the parent has already deleted, so that their older entries are not taken for absent ones.
    /// They are read from the blocks that hold the tombstones: few, compared with those that hold the older entries.
    async fn pass_by_deleted(&mut self) -> Result<()> {
        let tombstones: Vec<u64> = self.parent_tables.references().map(|reference| reference.tombstones).collect();
        for number in (0..tombstones.len()).filter(|number| tombstones[*number] > 0) {
            let file = self.parent_tables.segment(number, &self.segments).await?.file;
            let blocks = file.footer().blocks.iter().enumerate();
            for (block, _) in blocks.filter(|(_, block)| block.tombstones > 0) {
                let block = file.block(block).await?;
                for entry in (0..block.len()).filter(|entry| block.body(*entry).is_none()) {
                    self.pass_by(block.key(entry)).await?;
                }
            }
        }
        Ok(())
    }

    async fn pass_by(&mut self, key: &[u8]) -> Result<()> {
        let tag = self.segments.ring.hashers().tag(key);
        let found = &mut self.current.in_parent;
        self.parent_tables.find(key, tag, &self.segments, found).await?;
        if found.first().is_some_and(|newest| newest.fingerprint.is_tombstone()) {
            found.iter().for_each(|found| self.seen.insert(found.entry));
        }
        Ok(())
    }

    /// Deletes every key of the parent that did not come. Only blocks with such keys are read.
    async fn delete_unseen(&mut self) -> Result<()> {
        let mut first_entry = 0;
        let entries: Vec<u32> = self.parent_tables.references().map(|reference| reference.entries() as u32).collect();
        for (number, entries) in entries.into_iter().enumerate() {
            if (first_entry..first_entry + entries).any(|entry| !self.seen.contains(entry)) {
                self.delete_unseen_of(number).await?;
            }
            first_entry += entries;
        }
        Ok(())
    }

    async fn delete_unseen_of(&mut self, number: usize) -> Result<()> {
        let table = self.parent_tables.segment(number, &self.segments).await?;
        for (number, info) in table.file.footer().blocks.iter().enumerate() {
            let is_wanted = |within: u32| {
                !self.seen.contains(table.first_entry + within) && !table.fingerprint(within).is_tombstone()
            };
            if !(info.first_entry..info.first_entry + info.entries).any(is_wanted) {
                continue;
            }
            let block = table.file.block(number).await?;
            for entry in 0..block.len() {
                let key = block.key(entry);
                let tag = self.segments.ring.hashers().tag(key);
                self.parent_tables.find(key, tag, &self.segments, &mut self.current.in_parent).await?;
                if self.current.in_parent.first().is_some_and(|newest| !self.seen.contains(newest.entry)) {
                    self.current.key.clear();
                    self.current.key.extend_from_slice(key);
                    self.apply(None).await?;
                }
            }
        }
        Ok(())
    }
}
