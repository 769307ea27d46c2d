//! One record over the snapshots of its source: when it came, changed and went, and which fields changed.

use jiff::Timestamp;

use super::{
    diff::Change,
    fields::{FieldChange, changed_fields},
    json,
    key::RecordKey,
    manifest::Manifest,
    point::{PointEntry, newest_entry},
    reader::Record,
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
