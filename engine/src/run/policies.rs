//! What becomes of a job's due times: pure decisions. [`super::due`] carries them out.
//!
//! Every due time has exactly one outcome: a run that starts in time, one that starts late, or a row that says why it was
//! skipped. Which of them follows from the catch-up policy, for those that passed while nothing looked, and from the overlap
//! policy, while an earlier run of the job has not ended.

use jiff::{SignedDuration, Timestamp};

use super::schedule::{Calendar, Due};
use crate::{
    error::Result,
    model::{
        Run, RunStatus,
        job::{CatchUp, Overlap, Schedule},
    },
};

/// A run that starts later than this after its time is late, and says so. Many times what a scheduler's tick and a slow store
/// take; less than the shortest interval.
pub const LATE_AFTER: SignedDuration = SignedDuration::from_secs(45);

/// What one look decides about a job's oldest due times.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Skipped, since their time was missed; in order.
    pub missed: Vec<Timestamp>,
    /// Starts now, unless the overlap policy forbids it. The one after `missed`.
    pub fires: Option<Firing>,
    /// The first due time about which nothing was decided.
    pub next: Option<Due>,
}

/// A due time that is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The instant that the schedule names.
    pub due_at: Timestamp,
    /// How late it is, in whole seconds; 0 when it is in time.
    pub late_seconds: u64,
    /// It is caught up with others: it does not overlap with them, but waits until it is its turn.
    pub waits: bool,
}

/// Judges a job's due times from the one at `pending` on, of which at most `missed_max` are skipped; the others are for another
/// look then. Nothing that starts after `now` is judged.
///
/// # Errors
/// `Invalid` when the schedule leaves the years that can be told.
pub fn judge(
    calendar: &Calendar,
    catch_up: CatchUp,
    pending: Timestamp,
    now: Timestamp,
    missed_max: usize,
) -> Result<Judgement> {
    let mut times = calendar.times_from(pending).peekable();
    let mut missed = Vec::new();
    while let Some(due) = times.next().transpose()? {
        if due.starts_at > now || missed.len() == missed_max {
            return Ok(Judgement { missed, fires: None, next: Some(due) });
        }
        let is_newest = match times.peek() {
            Some(Ok(following)) => following.starts_at > now,
            Some(Err(_)) | None => true,
        };
        match fate(catch_up, due, now, is_newest) {
            Some(firing) => return Ok(Judgement { missed, fires: Some(firing), next: times.next().transpose()? }),
            None => missed.push(due.due_at),
        }
    }
    Ok(Judgement { missed, fires: None, next: None })
}

/// How a due time that has come starts; `None` when it was missed.
fn fate(catch_up: CatchUp, due: Due, now: Timestamp, is_newest: bool) -> Option<Firing> {
    let lateness = now.duration_since(due.starts_at);
    let is_late = lateness > LATE_AFTER;
    let seconds = u64::try_from(lateness.as_secs()).unwrap_or(0);
    let starts = match catch_up {
        CatchUp::None => is_newest && !is_late,
        CatchUp::Latest => is_newest,
        CatchUp::All { window_seconds } => seconds <= window_seconds,
    };
    starts.then_some(Firing {
        due_at: due.due_at,
        late_seconds: if is_late { seconds } else { 0 },
        waits: matches!(catch_up, CatchUp::All { .. }) && (is_late || !is_newest),
    })
}

/// What a due time does that meets runs of its job that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It starts beside what is there, which goes on: its run is next.
    Start,
    /// It starts, and what is there is cancelled.
    Replace,
    /// It is skipped.
    Skip,
    /// It waits until it is its turn.
    Wait,
}

/// Judges a due time that is to start while `live` runs of its job have not ended.
pub fn course(overlap: Overlap, firing: &Firing, live: &[Run]) -> Course {
    let is_free = match overlap {
        Overlap::QueueOne => live.iter().all(|run| run.status != RunStatus::Queued),
        Overlap::Skip | Overlap::CancelRunning => live.is_empty(),
    };
    match (is_free, firing.waits, overlap) {
        (true, _, _) => Course::Start,
        (false, true, _) => Course::Wait,
        (false, false, Overlap::CancelRunning) => Course::Replace,
        (false, false, Overlap::Skip | Overlap::QueueOne) => Course::Skip,
    }
}

/// The jitter of a new job whose maker says nothing of it: five minutes for cron expressions, since everybody writes the same few
/// ones. Intervals count from the jobs' creation, and so are spread already.
pub fn default_jitter_seconds(schedule: &Schedule) -> u32 {
    match schedule {
        Schedule::Cron { .. } => 300,
        Schedule::Interval { .. } | Schedule::Manual => 0,
    }
}
