//! Jobs: what is to be done with a source, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, JobId, SourceId};
use crate::tables::{JOBS, Row, TableSchema};

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Whose.
    pub account_id: AccountId,
    /// Its id.
    pub job_id: JobId,
    /// The source that it backs up.
    pub source_id: SourceId,
    /// Name for people.
    pub name: String,
    /// When it runs.
    pub schedule: Schedule,
    /// Whether its schedule counts.
    pub state: JobState,
    /// Index shard of the due index; only while a due time is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<String>,
    /// The next due instant, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due_ms: Option<i64>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Only when asked.
    Manual,
    /// By a cron expression of five or six fields, or `@daily` and the like.
    Cron {
        /// The expression.
        expression: String,
        /// IANA name of the time zone that the expression is read in.
        time_zone: String,
    },
    /// Every so many seconds, anchored at the job's creation: no drift.
    Interval {
        /// At least 60.
        every_seconds: u64,
    },
}

/// Whether a job's schedule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Yes.
    Active,
    /// Not now.
    Paused,
}

impl Row for Job {
    const TABLE: &'static TableSchema = &JOBS;
}
