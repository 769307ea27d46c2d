//! Activity: the append-only log of what happened. A metric, a log line and an event that say the same thing come from
//! one value of this type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccountId, ActivityKind, EventId, JobId, RunId, SourceId};
use crate::{
    ports::SortRange,
    tables::{ACTIVITY, Row, TableSchema},
};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityEvent {
    /// Its id; time-ordered.
    pub event_id: EventId,
    /// When, in milliseconds since 1970, by the clock of whoever wrote it; but never before the event of its run that it
    /// follows, however much their clocks differ.
    pub timestamp: i64,
    /// Whose.
    pub account_id: AccountId,
    /// What.
    pub kind: ActivityKind,
    /// Who: a user's or key's id, or `system`.
    pub actor: String,
    /// The source that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<SourceId>,
    /// The job that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Figures and names, by kind; no secrets, no record contents.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// Its place among the events of its account, from 1 and without gaps; absent until it is linked, and in events of
    /// versions without chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Digest of itself and the event before it, in hex: see [`super::chain`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_digest: Option<String>,
    /// Index shard of events that have no place yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox_shard: Option<String>,
}

/// The one partition of the outbox index.
pub const OUTBOX_SHARD: &str = "outbox";

/// Bounds that leave only events, in an index by event id: the head of the chain lies before them.
pub fn only_events() -> SortRange {
    SortRange::Prefix("evt_".to_owned())
}

impl Row for ActivityEvent {
    const TABLE: &'static TableSchema = &ACTIVITY;
}
