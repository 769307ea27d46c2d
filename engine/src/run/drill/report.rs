//! What a drill's report says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{AccountId, SnapshotId, SourceId};

/// The version of the report that this program writes.
pub const REPORT_VERSION: u32 = 1;

/// A drill, as its report tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillReport {
    /// [`REPORT_VERSION`] of the program that wrote it.
    pub format: u32,
    /// Name and version of that program.
    pub program: String,
    /// Whose.
    pub account_id: AccountId,
    /// Of which source.
    pub source_id: SourceId,
    /// The source's name in the snapshot.
    pub source_name: String,
    /// What was restored.
    pub snapshot_id: SnapshotId,
    /// When the snapshot was made.
    pub snapshot_created_at: Timestamp,
    /// BLAKE3 of the snapshot's stored manifest, in hex.
    pub manifest_digest: String,
    /// When the drill began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What the sample was drawn with, in hex: the same seed draws the same records.
    pub seed: String,
    /// Records that were to be drawn of a stream that is not small.
    pub sample_size: u64,
    /// `passed` when everything that was restored is what was backed up, else `failed`.
    pub outcome: Outcome,
    /// The streams, by name.
    pub streams: BTreeMap<String, DrilledStream>,
}

/// Whether a drill went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was restored is what was backed up.
    Passed,
    /// Something is not, or could not be restored.
    Failed,
}

/// A stream of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrilledStream {
    /// Records that the snapshot holds.
    pub records: u64,
    /// All of them were restored, and their content digest is the manifest's.
    pub is_whole: bool,
    /// Records that were restored to a file, read back, and compared.
    pub restored: u64,
    /// Bytes of that file.
    pub restored_bytes: u64,
    /// What went wrong; empty when nothing did.
    pub problems: Vec<String>,
}
