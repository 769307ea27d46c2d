//! Jobs: what is to be done with a source, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, JobId, RunId, SourceId};
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
    /// What becomes of its due times.
    #[serde(default)]
    pub policies: Policies,
    /// Whether its schedule counts.
    pub state: JobState,
    /// Index shard of the due index; only while a due time is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<String>,
    /// When its schedule is looked at next, milliseconds since 1970: when the due time of `due_at_ms` is to start, or sooner
    /// or later when there is more to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due_ms: Option<i64>,
    /// The oldest due time that has no outcome, milliseconds since 1970; every one before it has a row in `runs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at_ms: Option<i64>,
    /// The newest runs that its schedule fired, as far as it was not seen that they ended; oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_runs: Vec<RunId>,
    /// Due times that were missed and whose event is to come, with the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedTimes>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
}

impl Job {
    /// An active one of a source, which runs when asked: its schedule begins when it is set.
    pub fn new(
        account_id: AccountId,
        source_id: SourceId,
        job_id: JobId,
        name: impl Into<String>,
        at: Timestamp,
    ) -> Self {
        Self {
            account_id,
            job_id,
            source_id,
            name: name.into(),
            schedule: Schedule::Manual,
            policies: Policies::default(),
            state: JobState::Active,
            due_shard: None,
            next_due_ms: None,
            due_at_ms: None,
            open_runs: Vec::new(),
            missed: None,
            created_at: at,
            updated_at: at,
        }
    }

    /// The oldest due time that has no outcome. Rows from before there was jitter have it in the index only.
    pub fn pending(&self) -> Option<Timestamp> {
        self.next_due_ms?;
        self.due_at_ms.or(self.next_due_ms).and_then(|due| Timestamp::from_millisecond(due).ok())
    }
}

/// What becomes of a job's due times. Rows from before there were policies have these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policies {
    /// When one comes while a run of the job has not ended.
    pub overlap: Overlap,
    /// When one passed while nothing looked.
    pub catch_up: CatchUp,
    /// A due time starts up to so many seconds later, always equally many for one job; at most [`Policies::JITTER_SECONDS_MAX`].
    pub jitter_seconds: u32,
}

impl Policies {
    /// The most that jitter may be: six hours.
    pub const JITTER_SECONDS_MAX: u32 = 6 * 60 * 60;
}

/// What becomes of a due time that comes while a run of the job has not ended. Restores are no such runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped.
    Skip,
    /// Its run waits, unless another one waits already: then it is skipped.
    #[default]
    QueueOne,
    /// What has not ended is cancelled, and its run begins.
    CancelRunning,
}

/// What becomes of due times that passed while nothing looked at the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CatchUp {
    /// They are skipped, and the job waits for its next time.
    None,
    /// The newest starts late; the others are skipped.
    #[default]
    Latest,
    /// Those within the window start late, one after the other; older ones are skipped.
    All {
        /// How late one may start, [`CatchUp::WINDOW_SECONDS`].
        window_seconds: u64,
    },
}

impl CatchUp {
    /// The least and the most that a window may be: a minute to thirty days.
    pub const WINDOW_SECONDS: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 60 * 60;
}

/// Due times that were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissedTimes {
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
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
