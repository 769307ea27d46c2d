//! Runs: one execution of a job, from queued to ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use listbackup_connectors::FailedItem;
use serde::{Deserialize, Serialize};

use super::{AccountId, Job, JobId, RestoreFigures, RunId, RunRestore, SnapshotId, SourceId};
use crate::tables::{RUNS, Row, TableSchema};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The job that it executes.
    pub job_id: JobId,
    /// Its id.
    pub run_id: RunId,
    /// Whose.
    pub account_id: AccountId,
    /// The source that it reads.
    pub source_id: SourceId,
    /// What it restores; absent in runs that back up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RunRestore>,
    /// What made it.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: RunStatus,
    /// A person asked to stop it.
    #[serde(default)]
    pub cancel_requested: bool,
    /// Epoch of the lease under which it last wrote; 0 before the first claim.
    pub epoch: u64,
    /// How often a worker began or resumed it.
    pub attempts: u32,
    /// Figures so far, and at the end.
    #[serde(default)]
    pub progress: Progress,
    /// Blob path of each stream's newest checkpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checkpoints: BTreeMap<String, String>,
    /// The snapshot that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<SnapshotId>,
    /// Live records of that snapshot, over all of its streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_records: Option<u64>,
    /// Why it failed, or why it is only partial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// When the order was written.
    pub created_at: Timestamp,
    /// When a worker first began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Timestamp of the last event that tells of it, milliseconds since 1970: the next one's is later, whatever the clock of its
    /// writer says.
    #[serde(default)]
    pub last_event_ms: i64,
    /// Index shard of live runs; gone at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_shard: Option<String>,
    /// When somebody should look after it: the lease's end, or when its message should have been taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_expires_ms: Option<i64>,
    /// Its job, in a backup that somebody ordered and nobody has begun: the schedule's overlap policy counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_job_id: Option<JobId>,
}

impl Run {
    /// A backup that a job is to make; it is nobody's affair yet.
    pub fn new(job: &Job, run_id: RunId, trigger: Trigger, at: Timestamp) -> Self {
        Self {
            job_id: job.job_id,
            run_id,
            account_id: job.account_id,
            source_id: job.source_id,
            restore: None,
            trigger,
            status: RunStatus::Queued,
            cancel_requested: false,
            epoch: 0,
            attempts: 0,
            progress: Progress::default(),
            checkpoints: BTreeMap::new(),
            snapshot_id: None,
            snapshot_records: None,
            error: None,
            created_at: at,
            started_at: None,
            finished_at: None,
            last_event_ms: 0,
            live_shard: None,
            lease_expires_ms: None,
            waiting_job_id: None,
        }
    }
}

/// What made a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule.
    #[serde(rename_all = "camelCase")]
    Schedule {
        /// The due instant.
        due_at: Timestamp,
        /// How long after the time at which it was to start it was fired, when that is worth telling; 0 otherwise.
        #[serde(default, skip_serializing_if = "is_zero")]
        late_seconds: u64,
    },
    /// A person or program.
    #[serde(rename_all = "camelCase")]
    Manual {
        /// Who: a user's or key's id, or `cli`.
        by: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(seconds: &u64) -> bool {
    *seconds == 0
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Ordered, not begun.
    Queued,
    /// A worker has it.
    Running,
    /// All streams read, snapshot committed.
    Succeeded,
    /// Some streams or items failed; the rest is committed.
    Partial,
    /// No new snapshot.
    Failed,
    /// A person stopped it; no new snapshot.
    Cancelled,
    /// Not begun, for a reason told in `error` (source paused, due time missed, another run live).
    Skipped,
}

impl RunStatus {
    /// True when nothing follows.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// True when the state machine allows going from `self` to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Failed | Self::Cancelled | Self::Skipped),
            Self::Running => !matches!(next, Self::Queued | Self::Skipped),
            _ => false,
        }
    }
}

/// Figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// By stream, in name order.
    pub streams: BTreeMap<String, StreamProgress>,
    /// Bytes received from the product, after decompression.
    pub bytes_read: u64,
    /// Bytes added to the store.
    pub bytes_stored: u64,
    /// Requests sent.
    pub requests: u64,
    /// Milliseconds in which they waited for the product's limits, those of all streams together.
    #[serde(default)]
    pub waited_ms: u64,
    /// How far it is, where the last snapshot tells what there is to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// Of a restore: what became of the records, by stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restored: BTreeMap<String, RestoreFigures>,
}

/// How far a run is, guessed from what the last snapshot holds and from how fast this attempt reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Records of the streams that come, as many as they had: never fewer than were read already.
    pub records_expected: u64,
    /// When it will probably be through; absent until it has read something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

/// Figures of one stream of a run. At the end `records` = `added` + `changed` + `unchanged`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamProgress {
    /// Where the stream stands.
    pub state: StreamState,
    /// Records in the parent snapshot: what this read will probably see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// Live records: those that came so far; at the end all that the snapshot holds.
    pub records: u64,
    /// Records whose key was not in the parent.
    pub added: u64,
    /// Records whose content differs from the parent's.
    pub changed: u64,
    /// Records that the parent had and the product no longer has.
    pub removed: u64,
    /// Records equal to the parent's; at the end also those that an incremental read had no need to see.
    pub unchanged: u64,
    /// After a reconcile read: records in which it differed from what reading only changes had led to, those that changed in
    /// between included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<u64>,
    /// Parts that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_items: Vec<FailedItem>,
    /// Why the stream failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}

/// Where a stream of a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    /// Not begun.
    #[default]
    Waiting,
    /// Being read.
    Reading,
    /// Read to its end.
    Done,
    /// Failed; the snapshot keeps the parent's state of it.
    Failed,
}

/// Why something failed, for people and programs; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The error kind's code.
    pub code: String,
    /// What, where and what to do.
    pub message: String,
}

impl From<&crate::Error> for RunError {
    fn from(error: &crate::Error) -> Self {
        Self { code: error.kind().code().to_owned(), message: error.to_string() }
    }
}

impl Row for Run {
    const TABLE: &'static TableSchema = &RUNS;
}
