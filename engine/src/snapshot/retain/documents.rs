//! What the documents of a collection say.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::shelf::ItemId;
use crate::model::RunId;

/// A segment or pack that nothing referred to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The segment or pack.
    pub id: ItemId,
    /// Size of its object in bytes.
    pub size_bytes: u64,
}

/// First phase of a collection: what may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doomed {
    /// When the shelf was looked through.
    pub(super) at: Timestamp,
    /// What nothing referred to.
    pub(super) candidates: Vec<Candidate>,
}

/// For whom a collection waits: the runs that were live when its candidates were known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waits {
    /// The grace counts from here.
    pub(super) at: Timestamp,
    /// Runs that may hold a candidate in memory.
    pub(super) runs: Vec<RunId>,
}

/// Deleting has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sweeping {
    /// When.
    pub(super) at: Timestamp,
    /// Tells one sweeper from another.
    pub(super) by: String,
}

/// A writer keeps a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rescue {
    /// The segment or pack.
    pub(super) id: ItemId,
}

/// What a collection came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// When the candidates were found.
    pub doomed_at: Timestamp,
    /// When deleting ended.
    pub at: Timestamp,
    /// What was deleted.
    pub deleted: Vec<Candidate>,
    /// Candidates that are referred to again, or locked.
    pub kept: Vec<Candidate>,
}

impl Collected {
    /// Bytes that were deleted.
    pub fn deleted_bytes(&self) -> u64 {
        self.deleted.iter().map(|candidate| candidate.size_bytes).sum()
    }
}
