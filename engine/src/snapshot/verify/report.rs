//! What a verification found, and how much of the snapshot it has looked at.

use serde::{Deserialize, Serialize};

use super::VerifyPosition;
use crate::{
    model::SnapshotId,
    snapshot::{checker::Checker, key::RecordKey},
};

/// How thoroughly a snapshot is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyLevel {
    /// The chain of manifests to its root, that every segment they name is there with its size, and every pack of their
    /// attachments.
    Structure,
    /// All that, and every byte of every segment: blocks authenticated, keys sorted, counts, fingerprints and segment ids
    /// computed again from the records, and the content digests of this snapshot's streams and attachments; of the packs that
    /// only older snapshots need every chunk.
    Data,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Manifests whose place in the chain was proved, this snapshot's included.
    pub manifests: u64,
    /// Forgotten snapshots whose tombstone closes the gap in the chain.
    pub forgotten: u64,
    /// Segments that the chain names.
    pub segments: u64,
    /// Records read by this call; 0 when only the structure was verified.
    pub records: u64,
    /// Attachments looked at by this call: that their chunks are there, or that they are sound.
    pub attachments: u64,
    /// Packs with attachments of older snapshots looked at by this call.
    pub older_packs: u64,
    /// Bytes of blocks and chunks read by this call.
    pub bytes_read: u64,
    /// What is damaged, as far as this call found it.
    pub damages: Vec<Damage>,
    /// Earlier calls, from whose position this one went on, found damage.
    pub was_damaged_before: bool,
    /// How much was read and checked, by this call and those before it.
    pub covered: Coverage,
    /// From where the next call goes on; `None` when everything was covered.
    pub next: Option<VerifyPosition>,
}

impl VerifyReport {
    /// True when nothing is damaged, as far as this verification and the calls before it came.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty() && !self.was_damaged_before
    }

    /// True when nothing is left to look at.
    pub fn is_complete(&self) -> bool {
        self.next.is_none()
    }

    /// Adds what a checker found.
    pub(super) fn take(&mut self, checker: Checker) {
        self.bytes_read += checker.bytes_read;
        checker.damages.into_iter().for_each(|damage| self.note(damage));
    }

    /// Adds a damage, unless it is known already.
    pub(crate) fn note(&mut self, damage: Damage) {
        let is_known = self.damages.iter().any(|known| known.path == damage.path && known.what == damage.what);
        if !is_known {
            self.damages.push(damage);
        }
    }
}

/// How much of a chain's data was read and checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Segments that were read whole.
    pub segments: u64,
    /// Segments that the chain names.
    pub segments_total: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all of them.
    pub bytes_total: u64,
    /// Streams of the snapshot whose records were counted and whose content digest was computed again.
    pub streams: u64,
    /// Streams of the snapshot.
    pub streams_total: u64,
}

/// One damaged thing and what it touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The object.
    pub path: String,
    /// The stream whose records it touches; `None` for a manifest.
    pub stream: Option<String>,
    /// Snapshots of the chain that use the object.
    pub snapshots: Vec<SnapshotId>,
    /// The least and the greatest key that can be touched.
    pub keys: Option<(RecordKey, RecordKey)>,
    /// What is wrong.
    pub what: String,
}
