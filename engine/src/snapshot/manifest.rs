//! Manifests: what a snapshot is made of. Each names its parent and the digest of the parent's stored object, so that
//! nothing in the chain can be altered unseen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{digest::ContentDigest, segment::SegmentRef};
use crate::model::{AccountId, RunId, SnapshotId, SourceId};

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// A point-in-time state of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the program that wrote it.
    pub format: u32,
    /// Its id: that of its run.
    pub snapshot_id: SnapshotId,
    /// Whose.
    pub account_id: AccountId,
    /// Of which source.
    pub source_id: SourceId,
    /// The source's name at that time.
    pub source_name: String,
    /// Name of the integration.
    pub integration: String,
    /// The run that made it.
    pub run_id: RunId,
    /// Epoch of the lease under which it was written.
    pub epoch: u64,
    /// The snapshot before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRef>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether all streams were read.
    pub status: SnapshotStatus,
    /// The state of every stream, by name.
    pub streams: BTreeMap<String, StreamState>,
    /// Streams that could not be read, by name, and why; their state is the parent's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_streams: BTreeMap<String, String>,
    /// Streams, those of attachments too, of which the run deleted so much that it looks like a fault, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub suspicious_streams: BTreeMap<String, MassAbsence>,
    /// Sums over all streams.
    pub totals: Totals,
}

impl Manifest {
    /// True when much of a stream was deleted at once.
    pub fn is_suspicious(&self) -> bool {
        !self.suspicious_streams.is_empty()
    }

    /// Sums over streams.
    pub fn totals_of(streams: &BTreeMap<String, StreamState>) -> Totals {
        streams.values().fold(Totals::default(), |sum, stream| Totals {
            records: sum.records + stream.records,
            body_bytes: sum.body_bytes + stream.body_bytes,
            stored_bytes: sum.stored_bytes + stream.segments.iter().map(|segment| segment.size_bytes).sum::<u64>(),
        })
    }
}

/// The snapshot before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// BLAKE3 of its stored manifest, in hex.
    pub digest: String,
}

/// Whether a snapshot covers everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotStatus {
    /// Every stream was read.
    Complete,
    /// Some streams or items could not be read.
    Partial,
}

/// Deletions of one run in one stream that look like a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MassAbsence {
    /// Records that the run deleted.
    pub removed: u64,
    /// Live records of the snapshot before.
    pub before: u64,
}

/// Sums over a snapshot's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Live records.
    pub records: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Bytes of the segments that hold them, shared with other snapshots or not.
    pub stored_bytes: u64,
}

/// The state of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamState {
    /// Paths of the fields that make the key; empty when the record's digest is the key.
    pub primary_key: Vec<Vec<String>>,
    /// JSON schema of a record.
    pub json_schema: Value,
    /// Segments whose merge is the state, oldest first: the newest entry of a key holds, and a tombstone deletes.
    pub segments: Vec<SegmentRef>,
    /// Live records.
    pub records: u64,
    /// Bytes of their bodies. Exact after a full read. An incremental read takes the size of a replaced or deleted body
    /// to be the mean of its block.
    pub body_bytes: u64,
    /// Digest of the live records.
    pub content_digest: ContentDigest,
    /// From where the next incremental read starts: the connector's own state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Value>,
    /// When it was last read.
    pub window: ReadWindow,
    /// When it was last read in full, so that absence meant deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_window: Option<ReadWindow>,
}

impl StreamState {
    /// Values in the primary key; 0 when the record's digest is the key.
    pub fn key_arity(&self) -> usize {
        self.primary_key.len()
    }
}

/// A time in which a stream was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadWindow {
    /// Before the first request.
    pub started_at: Timestamp,
    /// After the last answer.
    pub ended_at: Timestamp,
}

/// A manifest as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// BLAKE3 of the stored object, in hex: what a head and the next manifest name.
    pub digest: String,
    /// Size of the stored object in bytes.
    pub size_bytes: u64,
}

impl LoadedManifest {
    /// How the next manifest names this one.
    pub fn as_parent(&self) -> ParentRef {
        ParentRef { snapshot_id: self.manifest.snapshot_id, digest: self.digest.clone() }
    }
}
