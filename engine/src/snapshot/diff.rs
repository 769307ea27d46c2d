//! Comparing two snapshots by what differs. Both list their segments oldest first, and what they share is the older part:
//! only the segments after it are read. Each of their entries says what its key was before, so that of a pair of
//! neighbours nothing else is needed; the shared part is looked into only for the bodies of what changed, and where
//! merging left open whether a key came back to its old content.

use std::cmp::Ordering;

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use serde::Serialize;

use super::{
    json,
    key::RecordKey,
    manifest::StreamState,
    merge::{Merge, Merged, Reading},
    point::newest_entry,
    reader::{KeyRange, SnapshotReader},
    segment::{Before, SegmentRef},
    segments::Segments,
};
use crate::error::{Error, ErrorKind, Result};

/// What happened to a record from one snapshot to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It came.
    Added,
    /// Its content differs.
    Changed,
    /// It went.
    Removed,
}

/// A record that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its key.
    pub key: RecordKey,
    /// What happened to it.
    pub change: Change,
    /// Its body in the first snapshot; only when bodies are asked for, and there was one.
    pub before: Option<Bytes>,
    /// Its body in the second; only when bodies are asked for, and there is one.
    pub after: Option<Bytes>,
}

/// Whether the bodies of differing records are wanted. Those of the first snapshot may stand in any of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Only keys and what happened.
    Left,
    /// Both versions.
    Wanted,
}

/// How a stream differs between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamDifference {
    /// The stream.
    pub name: String,
    /// Records that only the second snapshot has.
    pub added: u64,
    /// Records whose content differs.
    pub changed: u64,
    /// Records that only the first has.
    pub removed: u64,
    /// Records equal in both.
    pub unchanged: u64,
}

impl SnapshotReader {
    /// What differs in a range of a stream from this snapshot to another one of the same source, in key order, in constant
    /// memory.
    ///
    /// # Errors
    /// `NotFound` when neither has the stream. The returned stream ends with its first error.
    pub fn diff(
        &self,
        other: &Self,
        stream: &str,
        range: &KeyRange,
        bodies: Bodies,
    ) -> Result<impl Stream<Item = Result<Difference>> + Send + use<>> {
        let (first, second) = (self.manifest.streams.get(stream), other.manifest.streams.get(stream));
        if first.is_none() && second.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "neither snapshot has such a stream").with("stream", stream));
        }
        let is_equal = first.map(|state| state.content_digest) == second.map(|state| state.content_digest);
        let diff = (!is_equal).then(|| Diff::new(self.segments.clone(), stream, [first, second], range, bodies));
        Ok(stream::try_unfold(diff, |mut diff| async move {
            let Some(running) = &mut diff else { return Ok(None) };
            Ok(running.next().await?.map(|difference| (difference, diff)))
        }))
    }

    /// How every stream differs from this snapshot to another one of the same source, by name.
    ///
    /// # Errors
    /// Those of reading the segments that they do not share.
    pub async fn diff_summary(&self, other: &Self) -> Result<Vec<StreamDifference>> {
        let mut names: Vec<&String> = self.manifest.streams.keys().chain(other.manifest.streams.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let mut summary = Vec::with_capacity(names.len());
        for name in names {
            let mut of_stream = StreamDifference { name: name.clone(), ..StreamDifference::default() };
            let mut differences = std::pin::pin!(self.diff(other, name, &KeyRange::default(), Bodies::Left)?);
            while let Some(difference) = differences.try_next().await? {
                match difference.change {
                    Change::Added => of_stream.added += 1,
                    Change::Changed => of_stream.changed += 1,
                    Change::Removed => of_stream.removed += 1,
                }
            }
            let records = self.manifest.streams.get(name).map_or(0, |state| state.records);
            of_stream.unchanged = records.saturating_sub(of_stream.changed + of_stream.removed);
            summary.push(of_stream);
        }
        Ok(summary)
    }
}

struct Diff {
    segments: Segments,
    stream: String,
    /// What both snapshots share, oldest first.
    shared: Vec<SegmentRef>,
    first: Side,
    second: Side,
    range: KeyRange,
    bodies: Bodies,
}

/// The entries that one snapshot has above what is shared.
struct Side {
    merge: Merge,
    next: Option<Merged>,
    is_begun: bool,
}

impl Side {
    async fn begin(&mut self) -> Result<()> {
        if !self.is_begun {
            self.is_begun = true;
            self.next = self.merge.next().await?;
        }
        Ok(())
    }

    async fn take(&mut self) -> Result<Option<Merged>> {
        let following = self.merge.next().await?;
        Ok(std::mem::replace(&mut self.next, following))
    }
}

impl Diff {
    fn new(
        segments: Segments,
        stream: &str,
        states: [Option<&StreamState>; 2],
        range: &KeyRange,
        bodies: Bodies,
    ) -> Self {
        let [first, second] = states.map(|state| state.map_or(&[][..], |state| &state.segments));
        let shared = first.iter().zip(second).take_while(|(a, b)| a == b).count();
        let side = |references: &[SegmentRef]| Side {
            merge: Merge::new(segments.clone(), stream, &references[shared..], range, Reading::Once),
            next: None,
            is_begun: false,
        };
        let (first, second, shared) = (side(first), side(second), first[..shared].to_vec());
        Self { segments, stream: stream.to_owned(), shared, first, second, range: range.clone(), bodies }
    }

    async fn next(&mut self) -> Result<Option<Difference>> {
        self.first.begin().await?;
        self.second.begin().await?;
        loop {
            let order = match (&self.first.next, &self.second.next) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(first), Some(second)) => first.key().cmp(second.key()),
            };
            let difference = match order {
                Ordering::Less => {
                    let entry = self.first.take().await?;
                    // The second snapshot's state is the shared one: the same question, the other way round.
                    self.against_shared(entry).await?.map(reversed)
                }
                Ordering::Greater => {
                    let entry = self.second.take().await?;
                    self.against_shared(entry).await?
                }
                Ordering::Equal => {
                    let (first, second) = (self.first.take().await?, self.second.take().await?);
                    first
                        .zip(second)
                        .and_then(|(first, second)| difference(second.key(), first.body_bytes(), second.body_bytes()))
                }
            };
            if let Some(difference) = difference {
                let is_past = self.range.is_past(difference.key.as_bytes());
                return Ok((!is_past).then(|| self.trimmed(difference)));
            }
        }
    }

    /// From the shared state to an entry above it.
    async fn against_shared(&self, entry: Option<Merged>) -> Result<Option<Difference>> {
        let Some(entry) = entry else { return Ok(None) };
        let body = entry.body_bytes();
        let before = entry.before_all();
        let is_known = before == Before::Absent || (before == Before::Other && self.bodies == Bodies::Left);
        let change = match (before, &body) {
            (Before::Absent, None) | (Before::Same, _) => return Ok(None),
            (Before::Absent, Some(_)) => Change::Added,
            (_, None) => Change::Removed,
            (_, Some(_)) => Change::Changed,
        };
        if is_known || (change == Change::Removed && self.bodies == Bodies::Left) {
            return Ok(Some(Difference { key: RecordKey::trusted(entry.key()), change, before: None, after: body }));
        }
        let old = newest_entry(&self.segments, &self.stream, &self.shared, entry.key()).await?;
        Ok(difference(entry.key(), old.and_then(|old| old.body), body))
    }

    fn trimmed(&self, difference: Difference) -> Difference {
        match self.bodies {
            Bodies::Wanted => difference,
            Bodies::Left => Difference { before: None, after: None, ..difference },
        }
    }
}

fn difference(key: &[u8], before: Option<Bytes>, after: Option<Bytes>) -> Option<Difference> {
    let change = match (&before, &after) {
        (None, None) => return None,
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(before), Some(after)) if before == after || json::is_same_content(before, after) => return None,
        (Some(_), Some(_)) => Change::Changed,
    };
    Some(Difference { key: RecordKey::trusted(key), change, before, after })
}

fn reversed(difference: Difference) -> Difference {
    let change = match difference.change {
        Change::Added => Change::Removed,
        Change::Changed => Change::Changed,
        Change::Removed => Change::Added,
    };
    Difference { key: difference.key, change, before: difference.after, after: difference.before }
}
