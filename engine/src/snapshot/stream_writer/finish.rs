//! The end of a stream: what a full read did not see is gone; the state for the manifest.

use super::{FinishedStream, StreamEnd, StreamWriter};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::manifest::StreamState,
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
        let own = self.consolidate().await?;
        self.watch.confirm(&self.segments, &own).await?;
        let figures = self.figures();
        let parent = self.parent.take();
        let body_bytes = match &parent {
            Some(parent) if !deletes => parent.body_bytes.saturating_add_signed(self.tally.grown_bytes),
            _ => self.tally.read_bytes.max(0).unsigned_abs(),
        };
        let (mut segments, records, full_window) = match parent {
            Some(parent) => (parent.segments, parent.records, parent.full_window),
            None => Default::default(),
        };
        segments.extend(own);
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
        Ok(FinishedStream { state, figures })
    }

    /// Marks the keys that the parent has already deleted, so that their older entries are not taken for absent ones.
    /// They are read from the blocks that hold the tombstones: few, compared with those that hold the older entries.
    async fn pass_by_deleted(&mut self) -> Result<()> {
        let tombstones: Vec<u64> = self.parent_tables.references().map(|reference| reference.tombstones).collect();
        for number in (0..tombstones.len()).filter(|number| tombstones[*number] > 0) {
            let (file, _) = self.parent_tables.segment(number, &self.segments).await?;
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
        let newest = found.first().and_then(|entry| self.parent_tables.fingerprint(*entry));
        if newest.is_some_and(|newest| newest.is_tombstone()) {
            found.iter().for_each(|entry| self.seen.insert(*entry));
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
        let (file, first_entry) = self.parent_tables.segment(number, &self.segments).await?;
        for (number, info) in file.footer().blocks.iter().enumerate() {
            let start = first_entry + info.first_entry;
            let is_wanted = |writer: &Self, entry: u32| {
                let fingerprint = writer.parent_tables.fingerprint(entry);
                !writer.seen.contains(entry) && fingerprint.is_some_and(|fingerprint| !fingerprint.is_tombstone())
            };
            if !(start..start + info.entries).any(|entry| is_wanted(self, entry)) {
                continue;
            }
            let block = file.block(number).await?;
            for entry in 0..block.len() {
                let key = block.key(entry);
                let tag = self.segments.ring.hashers().tag(key);
                self.parent_tables.find(key, tag, &self.segments, &mut self.current.in_parent).await?;
                if self.current.in_parent.first().is_some_and(|newest| !self.seen.contains(*newest)) {
                    self.current.key.clear();
                    self.current.key.extend_from_slice(key);
                    self.apply(None).await?;
                }
            }
        }
        Ok(())
    }
}
