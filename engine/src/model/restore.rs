//! Restores: records of a snapshot written back into the product that they came from.

use serde::{Deserialize, Serialize};

use super::RestoreId;

/// What a run that restores carries out; its order is a document in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRestore {
    /// The restore. Several runs work on it when one failed and was tried again.
    pub restore_id: RestoreId,
    /// It only plans: nothing is written to the product.
    pub dry_run: bool,
}

/// Figures of one stream of a restore: what is to be done in a dry run, else what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFigures {
    /// Records that are gone from the product and are made again.
    pub created: u64,
    /// Records that differ and are changed back.
    pub updated: u64,
    /// Records left as they are, because nothing that can be written differs.
    pub skipped: u64,
    /// Records left as they are, because a person must decide.
    pub conflicts: u64,
    /// Records that could not be written.
    pub failed: u64,
}
