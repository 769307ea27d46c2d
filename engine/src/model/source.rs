//! Sources: connected products. A source's row holds its head snapshot and the lease of the one live run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccountId, KeepRules, KeyId, ReadGuard, RunId, SnapshotId, SourceId, Watch, WorkerId};
use crate::tables::{Row, SOURCES, TableSchema};

/// A connected product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Whose.
    pub account_id: AccountId,
    /// Its id.
    pub source_id: SourceId,
    /// Name for people, unique in the account.
    pub name: String,
    /// Name of the integration.
    pub integration: String,
    /// BLAKE3 of the account's own manifest (hex), when the integration is not one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// Settings without secrets.
    pub settings: Value,
    /// The sealed secrets and tokens, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<KeyId>,
    /// Streams to read; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<String>>,
    /// Whether it may run.
    pub state: SourceState,
    /// The newest snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Who works on it.
    pub lease: Lease,
    /// Which snapshots are kept; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<KeepRules>,
    /// For so many days from its commit nobody can delete anything of a snapshot; 0 locks nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lock_days: u32,
    /// How its reads are watched.
    #[serde(default)]
    pub guard: ReadGuard,
    /// So many per cent of what the product allows its credential are ours, 1 to 100; all of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_share_percent: Option<u8>,
    /// Index shard of sources with snapshots to look after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upkeep_shard: Option<String>,
    /// When its snapshots are next looked after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upkeep_due_ms: Option<i64>,
    /// How fresh and how complete it is.
    #[serde(flatten)]
    pub watch: Watch,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
}

impl Source {
    /// One without settings, secrets and snapshots, which every stream is read of, and whose freshness is looked at at once.
    pub fn new(
        account_id: AccountId,
        source_id: SourceId,
        integration: impl Into<String>,
        name: impl Into<String>,
        at: Timestamp,
    ) -> Self {
        Self {
            account_id,
            source_id,
            name: name.into(),
            integration: integration.into(),
            manifest_digest: None,
            settings: Value::Object(Map::new()),
            credential_id: None,
            streams: None,
            state: SourceState::Active,
            head: None,
            lease: Lease::default(),
            retention: None,
            lock_days: 0,
            guard: ReadGuard::default(),
            rate_share_percent: None,
            upkeep_shard: None,
            upkeep_due_ms: None,
            watch: Watch::beginning(at),
            created_at: at,
            updated_at: at,
        }
    }

    /// The part of the product's limits that is ours: above 0, at most 1.
    pub fn rate_share(&self) -> f64 {
        f64::from(self.rate_share_percent.unwrap_or(100).clamp(1, 100)) / 100.0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(days: &u32) -> bool {
    *days == 0
}

/// Whether a source may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Ready.
    Active,
    /// A person paused it.
    Paused,
    /// Waits for the first OAuth sign-in, or for a new one after the grant ended.
    NeedsAuthorisation,
}

/// The newest snapshot of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// BLAKE3 of the stored manifest object, in hex: the next manifest names it.
    pub manifest_digest: String,
    /// When it became the head.
    pub committed_at: Timestamp,
    /// Bytes of the segments that hold its records; absent in rows of earlier versions, until the next commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
}

/// The right to write for a source. Its epoch is the fence: every later write of the run carries it, and a stale one is
/// refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Grows by one with each owner.
    pub epoch: u64,
    /// The worker, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<WorkerId>,
    /// The run that it is for, or that has to go on before any other begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// When others may take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Lease {
    /// The run that a worker executes under it at that instant.
    pub fn live_run(&self, now: Timestamp) -> Option<RunId> {
        self.run_id.filter(|_| self.owner.is_some() && self.expires_at.is_some_and(|end| end > now))
    }
}

impl Row for Source {
    const TABLE: &'static TableSchema = &SOURCES;
}
