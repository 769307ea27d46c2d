//! What a source's row says about how fresh its snapshots are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Index shard of sources that are as fresh as they should be, or that nobody expects to be.
pub const WATCHED: &str = "watched";
/// Index shard of sources that are stale: whoever counts them reads no others.
pub const STALE: &str = "stale";

/// The watch over a source's freshness; part of its row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// No stream may be older than this, in seconds; when absent it follows from the schedules of the source's jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
    /// What the newest snapshot has of each stream that its run was to read, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub snapshot_streams: BTreeMap<String, StreamHealth>,
    /// Since when it is stale, by the event that told it; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Timestamp>,
    /// Timestamp of the last event that told of its freshness, milliseconds since 1970: the next one's is later.
    #[serde(default)]
    pub watch_event_ms: i64,
    /// Index shard: [`WATCHED`] or [`STALE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_shard: Option<String>,
    /// When it is looked at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_due_ms: Option<i64>,
}

/// A stream in the newest snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamHealth {
    /// When it was last read to its end; absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_at: Option<Timestamp>,
    /// Live records.
    pub records: u64,
    /// The newest run could not read it: the snapshot has it as it was before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_failed: bool,
    /// Parts of it that the newest run could not read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_items: u64,
    /// So much of it, or of its attachments, was gone at once that it looks like a fault.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_suspicious: bool,
}

impl Watch {
    /// A watch that is looked at at once.
    pub fn beginning(now: Timestamp) -> Self {
        let mut watch = Self::default();
        watch.look_at(now);
        watch
    }

    /// Has it looked at at that instant.
    pub fn look_at(&mut self, at: Timestamp) {
        let shard = if self.stale_since.is_some() { STALE } else { WATCHED };
        self.watch_shard = Some(shard.to_owned());
        self.watch_due_ms = Some(at.as_millisecond());
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(it: &bool) -> bool {
    !it
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
