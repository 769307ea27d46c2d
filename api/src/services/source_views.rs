//! Sources as the API shows and takes them.

use jiff::Timestamp;
use listbackup_engine::model::{RunId, SnapshotId, Source, SourceId, SourceState, source::Head};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{guard::GuardSettings, retention::RetentionRules};
use crate::{problem::Problem, schemas};

/// A connected product.
#[derive(Serialize, ToSchema)]
pub struct SourceView {
    /// Its id.
    #[schema(value_type = schemas::SourceId)]
    id: SourceId,
    /// Name for people.
    name: String,
    /// Name of the integration.
    integration: String,
    /// Settings without secrets.
    #[schema(value_type = schemas::JsonObject)]
    settings: Value,
    /// Streams to read; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<Vec<String>>,
    /// Whether it may run.
    #[schema(value_type = schemas::SourceState)]
    state: SourceState,
    /// The newest snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<HeadView>,
    /// The run that works on it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::RunId>)]
    live_run_id: Option<RunId>,
    /// Which snapshots are kept; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionRules>,
    /// For so many days from its commit nobody can delete anything of a snapshot.
    lock_days: u32,
    /// How its reads are watched.
    guard: GuardSettings,
    /// So many per cent of the product's rate limits are ours; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_share_percent: Option<u8>,
    /// No stream may be older than so many seconds; when absent it follows from the schedules of its jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u64>,
    /// Since when it is stale: a stream is older than it may be. Absent while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_since: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When a person last changed it.
    updated_at: Timestamp,
}

/// The newest snapshot of a source.
#[derive(Serialize, ToSchema)]
pub struct HeadView {
    /// Its id.
    #[schema(value_type = schemas::SnapshotId)]
    snapshot_id: SnapshotId,
    /// When it became the newest.
    committed_at: Timestamp,
}

/// A product to connect.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSource {
    /// Name for people; no other source of the account has it.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Name of the integration.
    #[schema(max_length = 100)]
    pub integration: String,
    /// Settings by the integration's schema, secrets included; secrets are sealed and never shown again.
    #[schema(value_type = schemas::JsonObject)]
    pub settings: Value,
    /// Streams to read; all when absent.
    #[schema(min_items = 1, max_items = 1000)]
    pub streams: Option<Vec<String>>,
    /// Which snapshots are kept; all of them when absent. For administrators.
    pub retention: Option<RetentionRules>,
    /// For so many days from its commit nobody can delete anything of a snapshot; 0 locks nothing. For administrators.
    #[schema(minimum = 0, maximum = 36_500)]
    pub lock_days: Option<u32>,
    /// How its reads are watched.
    #[serde(default)]
    pub guard: GuardSettings,
    /// So many per cent of the product's rate limits are ours, and the rest is left to others; all of them when absent.
    #[schema(minimum = 1, maximum = 100)]
    pub rate_share_percent: Option<u8>,
    /// No stream may be older than so many seconds, or the source is stale and `source.stale` tells it. When absent it follows from
    /// the schedules of its jobs: twice the longest time between two due times, at least an hour.
    #[schema(minimum = 60, maximum = 315_360_000)]
    pub max_age_seconds: Option<u64>,
}

/// Changes to a source.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChanges {
    /// A new name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// All settings anew; a secret that is left out keeps its value.
    #[schema(value_type = Option<schemas::JsonObject>)]
    pub settings: Option<Value>,
    /// Streams to read; `null` for all.
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 1000)]
    pub streams: Option<Option<Vec<String>>>,
    /// Which snapshots are kept; `null` for all. For administrators.
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(value_type = Option<RetentionRules>)]
    pub retention: Option<Option<RetentionRules>>,
    /// For so many days nobody can delete anything of a snapshot that is committed from now on. Locks that were set stay. For
    /// administrators.
    #[schema(minimum = 0, maximum = 36_500)]
    pub lock_days: Option<u32>,
    /// How its reads are watched.
    #[serde(default)]
    pub guard: GuardSettings,
    /// So many per cent of the product's rate limits are ours; `null` for all of them.
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 100)]
    pub rate_share_percent: Option<Option<u8>>,
    /// No stream may be older than so many seconds; `null` for what follows from the schedules of its jobs.
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(value_type = Option<u64>, minimum = 60, maximum = 315_360_000)]
    pub max_age_seconds: Option<Option<u64>>,
}

/// Checks a greatest age.
///
/// # Errors
/// 422 for one that is not a minute to ten years.
pub fn check_max_age(seconds: Option<u64>) -> Result<(), Problem> {
    match seconds {
        Some(seconds) if !(60..=315_360_000).contains(&seconds) => {
            Err(Problem::invalid_field("/max_age_seconds", "must be 60 to 315360000 seconds"))
        }
        _ => Ok(()),
    }
}

/// Checks a share.
///
/// # Errors
/// 422 for one that is not 1 to 100.
pub fn check_rate_share(percent: Option<u8>) -> Result<(), Problem> {
    match percent {
        Some(percent) if !(1..=100).contains(&percent) => {
            Err(Problem::invalid_field("/rate_share_percent", "must be 1 to 100 per cent"))
        }
        _ => Ok(()),
    }
}

impl SourceView {
    /// A source as it stands at that instant.
    pub fn of(source: Source, now: Timestamp) -> Self {
        Self {
            id: source.source_id,
            live_run_id: source.lease.live_run(now),
            name: source.name,
            integration: source.integration,
            settings: source.settings,
            streams: source.streams,
            state: source.state,
            head: source.head.as_ref().map(HeadView::of),
            retention: source.retention.map(RetentionRules::of),
            lock_days: source.lock_days,
            guard: GuardSettings::of(&source.guard),
            rate_share_percent: source.rate_share_percent,
            max_age_seconds: source.watch.max_age_seconds,
            stale_since: source.watch.stale_since,
            created_at: source.created_at,
            updated_at: source.updated_at,
        }
    }
}

impl HeadView {
    fn of(head: &Head) -> Self {
        Self { snapshot_id: head.snapshot_id, committed_at: head.committed_at }
    }
}
