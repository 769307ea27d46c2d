//! Reading a snapshot: one record, a page of records, or all records of a stream in key order.

use bytes::Bytes;
use futures::{Stream, stream};

use super::{
    filter::Filter,
    json,
    key::RecordKey,
    manifest::{Manifest, StreamState},
    merge::{Merge, Merged, Reading},
    point::newest_entry,
    segment::SegmentRef,
    segments::Segments,
    source_store::SourceStore,
};
use crate::error::{Error, ErrorKind, Result};

/// A filtered page looks at so many records.
const LOOK_MAX: usize = 20_000;

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

/// A range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Keys above this one.
    pub after: Option<RecordKey>,
    /// Keys from this one on.
    pub from: Option<RecordKey>,
    /// Keys below this one.
    pub until: Option<RecordKey>,
}

impl KeyRange {
    /// The keys above one, or all.
    pub fn after(key: Option<RecordKey>) -> Self {
        Self { after: key, ..Self::default() }
    }

    /// Where it starts, and whether that key belongs to it.
    pub(super) fn start(&self) -> (&[u8], bool) {
        match (&self.after, &self.from) {
            (Some(after), Some(from)) if from > after => (from.as_bytes(), true),
            (Some(after), _) => (after.as_bytes(), false),
            (None, Some(from)) => (from.as_bytes(), true),
            (None, None) => (&[], true),
        }
    }

    /// True when keys of the segment can be in it.
    pub(super) fn may_overlap(&self, segment: &SegmentRef) -> bool {
        let (start, with_start) = self.start();
        let last = segment.last_key.as_bytes();
        let begins_before_end = last > start || (with_start && last == start);
        begins_before_end && self.until.as_ref().is_none_or(|until| segment.first_key < *until)
    }

    pub(super) fn is_past(&self, key: &[u8]) -> bool {
        self.until.as_ref().is_some_and(|until| key >= until.as_bytes())
    }
}

/// A page of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<Record>,
    /// The last key that was looked at; `None` when there is nothing after this page.
    pub next: Option<RecordKey>,
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
        let entry = newest_entry(&self.segments, stream, &state.segments, key.as_bytes()).await?;
        Ok(entry.and_then(|entry| entry.body).map(|body| Record { key: key.clone(), body }))
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

    /// Up to `limit` records of a range in key order that meet all filters. With filters a page may hold fewer, or none,
    /// before the end: so many records are looked at for it and no more.
    ///
    /// # Errors
    /// Those of [`SnapshotReader::get`].
    pub async fn browse(&self, stream: &str, range: &KeyRange, filters: &[Filter], limit: usize) -> Result<RecordPage> {
        let keep = |record: Record| filters.iter().all(|filter| filter.matches(&record.body)).then_some(record);
        let (records, next) = self.page(stream, range, limit, keep).await?;
        Ok(RecordPage { records, next })
    }

    /// Up to `limit` of what `keep` makes of the records of a range, and the last key that was looked at, unless nothing is
    /// left.
    pub(super) async fn page<T>(
        &self,
        stream: &str,
        range: &KeyRange,
        limit: usize,
        keep: impl Fn(Record) -> Option<T>,
    ) -> Result<(Vec<T>, Option<RecordKey>)> {
        let mut merge = self.merge(stream, range, Reading::Cached)?;
        let (mut kept, mut looked_at, mut last) = (Vec::new(), 0, None);
        while let Some(merged) = merge.next().await?.filter(|merged| !range.is_past(merged.key())) {
            let Some(record) = to_record(&merged) else { continue };
            if kept.len() == limit || looked_at == LOOK_MAX {
                return Ok((kept, last));
            }
            looked_at += 1;
            last = Some(record.key.clone());
            kept.extend(keep(record));
        }
        Ok((kept, None))
    }

    /// All records in key order, in constant memory: one block for each of the stream's segments whose keys overlap.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream. The stream ends with its first error.
    pub fn scan(&self, stream: &str) -> Result<impl Stream<Item = Result<Record>> + Send + use<>> {
        let merge = self.merge(stream, &KeyRange::default(), Reading::Once)?;
        Ok(stream::try_unfold(merge, |mut merge| async move {
            while let Some(merged) = merge.next().await? {
                if let Some(record) = to_record(&merged) {
                    return Ok(Some((record, merge)));
                }
            }
            Ok(None)
        }))
    }

    fn merge(&self, stream: &str, range: &KeyRange, reading: Reading) -> Result<Merge> {
        let state = self.stream(stream)?;
        Ok(Merge::new(self.segments.clone(), stream, &state.segments, range, reading))
    }

    pub(super) fn stream(&self, stream: &str) -> Result<&StreamState> {
        self.manifest.streams.get(stream).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the snapshot has no such stream")
                .with("stream", stream)
                .with("snapshot", self.manifest.snapshot_id)
        })
    }
}

pub(super) fn to_record(merged: &Merged) -> Option<Record> {
    Some(Record { key: RecordKey::trusted(merged.key()), body: merged.body_bytes()? })
}
