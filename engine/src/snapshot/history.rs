//! One record over the snapshots of its source: when it came, changed and went, and which fields changed.

use jiff::Timestamp;

use super::{
    diff::Change,
    fields::{FieldChange, changed_fields},
    json,
    key::RecordKey,
    manifest::{LoadedManifest, Manifest},
    point::{PointEntry, newest_entry},
    reader::Record,
    retain::Link,
    segment::SegmentRef,
    source_store::SourceStore,
};
use crate::{error::Result, model::SnapshotId};

/// A snapshot in which a record differs from the snapshot before.
#[derive(Clone, Debug)]
pub struct Version {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// When it was made.
    pub created_at: Timestamp,
    /// What happened to the record.
    pub change: Change,
    /// The record from then on; absent when it went.
    pub record: Option<Record>,
    /// The fields that changed; empty when it came or went.
    pub fields: Vec<FieldChange>,
}

impl SourceStore {
    /// Up to `max` snapshots from one to older ones, newest first; forgotten ones are left out.
    ///
    /// # Errors
    /// `Corrupt` when one is damaged.
    pub async fn back_from(&self, start: Option<SnapshotId>, max: usize) -> Result<Vec<LoadedManifest>> {
        let (mut snapshots, mut next) = (Vec::new(), start);
        while let Some(snapshot_id) = next.filter(|_| snapshots.len() < max) {
            let link = self.link(snapshot_id).await?;
            next = link.parent().map(|parent| parent.snapshot_id);
            if let Link::Kept(loaded) = link {
                snapshots.push(*loaded);
            }
        }
        Ok(snapshots)
    }

    /// The versions, oldest first, of the record that a person means by the text of its key, over snapshots that are given
    /// newest first: digits stand for a number, and where there is no such record for the same text.
    ///
    /// # Errors
    /// Those of [`SourceStore::history`]; `Invalid` when no key of the stream has such a text.
    pub async fn find_history(
        &self,
        newest_first: &[LoadedManifest],
        stream: &str,
        text: &str,
    ) -> Result<Vec<Version>> {
        let Some(state) = newest_first.iter().find_map(|loaded| loaded.manifest.streams.get(stream)) else {
            return Ok(Vec::new());
        };
        for key in RecordKey::candidates(text, state.key_arity())? {
            let oldest_first = newest_first.iter().rev().map(|loaded| &loaded.manifest);
            let versions = self.history(oldest_first, stream, &key).await?;
            if !versions.is_empty() {
                return Ok(versions);
            }
        }
        Ok(Vec::new())
    }

    /// The versions of one record over snapshots of this source, oldest first.
    ///
    /// # Errors
    /// `Corrupt` when what should hold the record is damaged; those of the ports.
    pub async fn history<'a>(
        &self,
        snapshots: impl IntoIterator<Item = &'a Manifest>,
        stream: &str,
        key: &RecordKey,
    ) -> Result<Vec<Version>> {
        let mut versions = Vec::new();
        let (mut segments, mut last): (&[SegmentRef], Option<PointEntry>) = (&[], None);
        for manifest in snapshots {
            let references = manifest.streams.get(stream).map_or(&[][..], |state| &state.segments);
            if references == segments {
                continue;
            }
            segments = references;
            let entry = newest_entry(&self.segments, stream, references, key.as_bytes()).await?;
            if entry != last {
                versions.extend(version(manifest, key, last.as_ref(), entry.as_ref()));
                last = entry;
            }
        }
        Ok(versions)
    }
}

fn version(
    manifest: &Manifest,
    key: &RecordKey,
    before: Option<&PointEntry>,
    after: Option<&PointEntry>,
) -> Option<Version> {
    let (before, after) = (before.and_then(|entry| entry.body.as_ref()), after.and_then(|entry| entry.body.as_ref()));
    let (change, fields) = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => (Change::Added, Vec::new()),
        (Some(_), None) => (Change::Removed, Vec::new()),
        (Some(before), Some(after)) if before == after || json::is_same_content(before, after) => return None,
        (Some(before), Some(after)) => (Change::Changed, changed_fields(before, after)),
    };
    Some(Version {
        snapshot_id: manifest.snapshot_id,
        created_at: manifest.created_at,
        change,
        record: after.map(|body| Record { key: key.clone(), body: body.clone() }),
        fields,
    })
}
