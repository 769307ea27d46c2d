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
    /// The stream that it shows; of an attachment, that of its record.
    pub stream: String,
    /// Records in it; 0 for an attachment.
    pub records: u64,
    /// Bytes of all record bodies, or of the attachment.
    pub size_bytes: u64,
    /// The stream's content digest, or BLAKE3 of the attachment, in hex.
    pub content_digest: String,
    /// When the snapshot was committed.
    pub created_at: Timestamp,
    /// What it is when it is an attachment; absent in a stream's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<AttachmentFile>,
}

/// An attachment as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentFile {
    /// Text of the key of the record that it hangs on.
    pub record: String,
    /// Names it among the attachments of that record.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its media type, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

impl Row for FileEntry {
    const TABLE: &'static TableSchema = &FILES;
}
