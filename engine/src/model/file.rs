//! Files: what a person can browse and download, one row per stream of a snapshot and per attachment.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, FileId, SnapshotId, SourceId};
use crate::tables::{FILES, Row, TableSchema};

/// A file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// `<accountId>#<sourceId>`.
    pub account_source: String,
    /// `<path>#<snapshotId>`.
    pub path_snapshot: String,
    /// Its id.
    pub file_id: FileId,
    /// Whose.
    pub account_id: AccountId,
    /// Of which source.
    pub source_id: SourceId,
    /// In which snapshot.
    pub snapshot_id: SnapshotId,
    /// Path inside the source, such as `contacts.jsonl`.
    pub path: String,
    /// The stream that it shows.
    pub stream: String,
    /// Records in it.
    pub records: u64,
    /// Bytes of all record bodies.
    pub size_bytes: u64,
    /// The stream's content digest, in hex.
    pub content_digest: String,
    /// When the snapshot was committed.
    pub created_at: Timestamp,
}

impl Row for FileEntry {
    const TABLE: &'static TableSchema = &FILES;
}
