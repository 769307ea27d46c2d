//! Reading a snapshot: one record, a page of records, or all records of a stream in key order.

use bytes::Bytes;
use futures::{Stream, stream};

use super::{
    json,
    key::RecordKey,
    manifest::{Manifest, StreamState},
    merge::{Merge, Merged, Reading},
    segments::Segments,
    source_store::SourceStore,
};
use crate::error::{Error, ErrorKind, Result};

/// A record of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: RecordKey,
    /// Its body: JSON as the product sent it.
    pub body: Bytes,
}

impl Record {
    /// The body on one line, for JSONL: line breaks between tokens become spaces, values stay as they are.
    pub fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        json::one_line(&self.body)
    }
}

/// Reads one snapshot.
#[derive(Clone)]
pub struct SnapshotReader {
    pub(super) store: SourceStore,
    pub(super) segments: Segments,
    pub(super) manifest: Manifest,
}

impl SnapshotReader {
    pub(super) fn new(store: SourceStore, segments: Segments, manifest: Manifest) -> Self {
        Self { store, segments, manifest }
    }

    /// The snapshot's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The snapshot's streams, by name.
    pub fn streams(&self) -> impl Iterator<Item = (&str, &StreamState)> {
        self.manifest.streams.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// One record, by a handful of ranged reads.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream; `Corrupt` when what should hold the record is damaged.
    pub async fn get(&self, stream: &str, key: &RecordKey) -> Result<Option<Record>> {
        let state = self.stream(stream)?;
        let newest_first = state.segments.iter().rev();
        for reference in newest_first.filter(|reference| reference.may_hold(key.as_bytes())) {
            let file = self.segments.open(stream, reference).await?;
            let Some(number) = file.footer().block_of(key.as_bytes()) else { continue };
            let block = self.segments.block(&file, number).await?;
            if let Some(entry) = block.find(key.as_bytes()) {
                return Ok(block.body_bytes(entry).map(|body| Record { key: key.clone(), body }));
            }
        }
        Ok(None)
    }

    /// The record that a person means by the text of its key: digits stand for a number, and where there is no such
    /// record for the same text.
    ///
    /// # Errors
    /// Those of [`SnapshotReader::get`]; `Invalid` when no key of the stream has such a text.
    pub async fn find(&self, stream: &str, text: &str) -> Result<Option<Record>> {
        for key in RecordKey::candidates(text, self.stream(stream)?.key_arity())? {
            if let Some(record) = self.get(stream, &key).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Up to `limit` records in key order, after the one with key `after`.
    ///
    /// # Errors
    /// Those of [`SnapshotReader::get`].
    pub async fn browse(&self, stream: &str, after: Option<&RecordKey>, limit: usize) -> Result<Vec<Record>> {
        let mut merge = self.merge(stream, after, Reading::Cached)?;
        let mut records = Vec::new();
        while records.len() < limit {
            let Some(merged) = merge.next().await? else { break };
            records.extend(to_record(&merged));
        }
        Ok(records)
    }

    /// All records in key order, in constant memory: one block for each of the stream's segments whose keys overlap.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream. The stream ends with its first error.
    pub fn scan(&self, stream: &str) -> Result<impl Stream<Item = Result<Record>> + Send + use<>> {
        let merge = self.merge(stream, None, Reading::Once)?;
        Ok(stream::try_unfold(merge, |mut merge| async move {
            while let Some(merged) = merge.next().await? {
                if let Some(record) = to_record(&merged) {
                    return Ok(Some((record, merge)));
                }
            }
            Ok(None)
        }))
    }

    fn merge(&self, stream: &str, after: Option<&RecordKey>, reading: Reading) -> Result<Merge> {
        let state = self.stream(stream)?;
        let after = after.map(RecordKey::as_bytes);
        Ok(Merge::new(self.segments.clone(), stream, &state.segments, after, reading))
    }

    fn stream(&self, stream: &str) -> Result<&StreamState> {
        self.manifest.streams.get(stream).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the snapshot has no such stream")
                .with("stream", stream)
                .with("snapshot", self.manifest.snapshot_id)
        })
    }
}

fn to_record(merged: &Merged) -> Option<Record> {
    Some(Record { key: RecordKey::trusted(merged.key()), body: merged.body_bytes()? })
}
