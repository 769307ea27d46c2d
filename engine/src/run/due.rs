//! Due jobs: each due time gets exactly one row in `runs`, however many schedulers look and wherever one of them dies.
//!
//! A job's row names its oldest due time without outcome. The rows of what became of it, and the job's row that names the
//! next one, are one transaction under the version of the job's row: so there is nothing between them to be cut off, and of
//! two schedulers one writes. The message of a run that starts goes out after that; [`super::order::resend_lost`] makes up
//! for one that did not.
//!
//! A job with many times to make up for (a minute's interval after a year) gets a batch of them, and then its turn comes
//! after all others that are due: it names the present in the index. One look writes a bounded number of rows; the next
//! goes on.

mod batch;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};

use self::batch::Batch;
use super::{
    event::{self, Subject},
    order,
    schedule::{Calendar, Due},
};
use crate::{
    billing::Plans,
    error::{Error, ErrorKind, Result},
    model::{
        ActivityEvent, ActivityKind, Job, JobId, JobState, Run,
        scope::{AccountScope, SystemScope},
    },
    ports::{Ports, Query, SortRange},
    store::{Store, Versioned, key},
    tables::JOBS,
};

/// The one partition of the due index.
pub const DUE_SHARD: &str = "due";
/// Jobs of one read. They are taken up at the same time: their transactions share a flush of the disk, or a round trip.
const PAGE: usize = 32;
/// Writes of one look before it leaves the others to the next.
const WRITES_MAX: usize = 2_000;
/// Batches that an edit of a job waits for, some thousand due times.
const SETTLING_MAX: usize = 50;
/// Attempts to write a job's due times at one look, while its runs change.
const ATTEMPTS_MAX: usize = 8;
/// When a job is looked at again whose schedule, source or runs cannot be read.
const UNREADABLE_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Sets a job's next due time after `now`, or takes it out of the due index. What was due before is forgotten: [`settle`]
/// first.
///
/// # Errors
/// `Invalid` when the schedule cannot be read.
pub fn reschedule(job: &mut Job, now: Timestamp) -> Result<()> {
    let next = match job.state {
        JobState::Active => Calendar::of(job)?.next(now)?,
        JobState::Paused => None,
    };
    name_next(job, next, None);
    Ok(())
}

/// The event that tells that a job was paused since nothing can be done for its account any more.
pub(super) fn paused_event(ports: &Ports, job: &Job, by: &str) -> ActivityEvent {
    let details = Map::from_iter([("name".to_owned(), json!(job.name)), ("state".to_owned(), json!(job.state))]);
    let subject = Subject::job(job.source_id, job.job_id);
    event::event(ports, job.account_id, ActivityKind::JobUpdated, by, subject, details)
}

/// Names a job's oldest due time without outcome, and when it is looked at: when it starts, unless `look_at` says otherwise.
fn name_next(job: &mut Job, next: Option<Due>, look_at: Option<Timestamp>) {
    job.due_at_ms = next.map(|due| due.due_at.as_millisecond());
    job.next_due_ms = next.map(|due| look_at.unwrap_or(due.starts_at).as_millisecond());
    job.due_shard = next.map(|_| DUE_SHARD.to_owned());
}

/// What one look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// Runs that were ordered.
    pub runs: usize,
    /// True when there may be more to do at once.
    pub has_more: bool,
}

/// Gives every due time that has come its outcome, for every job, as far as one look goes.
///
/// # Errors
/// `Retry` when a store cannot be reached; the next look goes on.
pub async fn fire_due(ports: &Ports, system: &SystemScope, plans: &Plans) -> Result<Ordered> {
    let look = Look::new(ports, *system, plans, false);
    let (mut fired, mut written, mut has_moved) = (0, 0, false);
    while written < WRITES_MAX {
        let jobs = look.due_jobs(system).await?;
        if jobs.is_empty() {
            return Ok(Ordered { runs: fired, has_more: false });
        }
        let look = &look;
        let each = |job: Versioned<Job>| async move { look.take_up(&system.account(job.row.account_id), &job).await };
        let taken_up = join_all(jobs.into_iter().map(each)).await;
        // What was written has its messages, whatever became of the others.
        let (mut starts, mut failure) = (Vec::new(), None);
        for done in taken_up {
            match done {
                Ok(done) => {
                    // One that was another's to write counts as well, so that a look ends.
                    written += done.written.max(1);
                    has_moved |= done.written > 0;
                    starts.extend(done.starts);
                }
                Err(error) => failure = Some(error),
            }
        }
        fired += starts.len();
        look.send(&starts).await;
        if let Some(error) = failure {
            return Err(error);
        }
    }
    Ok(Ordered { runs: fired, has_more: has_moved })
}

/// Gives every due time of a job that has come its outcome, also those that still wait for the job's delay: whoever changes
/// when a job runs does this first, so that no time is lost with the old schedule.
///
/// # Errors
/// `Retry` when there are so many that it takes a while, or a store cannot be reached; `NotFound`; `Corrupt` when the job's row, its
/// source's or a run's cannot be read.
pub async fn settle(
    ports: &Ports,
    system: &SystemScope,
    scope: &AccountScope,
    job_id: JobId,
    plans: &Plans,
) -> Result<()> {
    let look = Look::new(ports, *system, plans, true);
    for _ in 0..SETTLING_MAX {
        let job = look.store.get::<Job>(scope, key(scope.account_id(), job_id)).await?;
        if !is_overdue(&job.row, look.now) {
            return Ok(());
        }
        let done = look.write_outcomes(scope, &job).await?;
        look.send(done.starts.as_slice()).await;
    }
    let message = "times that the job missed are still being written down; change it in a moment";
    Err(Error::new(ErrorKind::Retry, message).with("job", job_id))
}

/// True when a due time has come and has no outcome yet. A schedule that cannot be read any more has no due times.
pub fn is_overdue(job: &Job, now: Timestamp) -> bool {
    job.pending().is_some_and(|due_at| due_at <= now) && Calendar::of(job).is_ok()
}

/// One look at the schedules, at one instant.
struct Look<'a> {
    ports: &'a Ports,
    store: Store,
    system: SystemScope,
    plans: &'a Plans,
    now: Timestamp,
    /// Nothing may wait: neither for the job's delay nor for its turn.
    is_hasty: bool,
}

/// What became of one job at a look.
#[derive(Default)]
struct Done {
    /// The run that starts, without message yet.
    starts: Option<Run>,
    written: usize,
}

impl<'a> Look<'a> {
    fn new(ports: &'a Ports, system: SystemScope, plans: &'a Plans, is_hasty: bool) -> Self {
        let store = Store::new(ports.tables.clone());
        Self { ports, store, system, plans, now: ports.clock.now(), is_hasty }
    }

    /// The jobs that have waited longest for a look.
    async fn due_jobs(&self, system: &SystemScope) -> Result<Vec<Versioned<Job>>> {
        let query = Query {
            table: &JOBS,
            index: Some("due"),
            partition: DUE_SHARD.to_owned(),
            sort: SortRange::Numbers(None, Some(self.now.as_millisecond() + 1)),
            descending: false,
            limit: PAGE,
            after: None,
        };
        Ok(self.store.sound::<Job>(system, query).await?.rows)
    }

    /// Writes the next outcomes of a job. One whose schedule, or a row that is needed for it, cannot be read is looked at again
    /// later: others have their turn.
    async fn take_up(&self, scope: &AccountScope, found: &Versioned<Job>) -> Result<Done> {
        match self.write_outcomes(scope, found).await {
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Corrupt) => {
                let (table, account, job) = (JOBS.name, found.row.account_id, found.row.job_id);
                tracing::error!(%error, table, %account, %job, "a job's due times cannot be judged; again in an hour");
                let batch = Batch::put_off(&found.row, self.now + UNREADABLE_WAIT);
                match self.store.transact(scope, batch.writes(found.version)?).await {
                    Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
                    _ => Ok(Done::default()),
                }
            }
            done => done,
        }
    }

    /// Writes the next outcomes of a job, all or none.
    async fn write_outcomes(&self, scope: &AccountScope, found: &Versioned<Job>) -> Result<Done> {
        let mut there = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let batch = match self.batch(scope, &found.row, &there).await {
                // The account's keys were destroyed: its jobs stand still from now on, and others have their turn.
                Err(error) if error.kind() == ErrorKind::Denied => Batch::standing_still(self.ports, &found.row),
                batch => batch?,
            };
            match self.write(scope, &batch, found.version).await {
                Ok(()) => {
                    event::publish(self.ports, scope, &batch.events);
                    return Ok(Done { written: batch.size(), starts: batch.starts });
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
            // Another scheduler moved it on, or a person changed the job: the next look sees. Otherwise a row is there already,
            // or a run that was to be cancelled went on.
            let now = self.store.find::<Job>(scope, key(found.row.account_id, found.row.job_id)).await?;
            if now.is_none_or(|now| now.version != found.version) {
                return Ok(Done::default());
            }
            there = batch.rows_there(&self.store, scope).await?;
        }
        tracing::warn!(job = %found.row.job_id, "a job's runs changed under every attempt to write its due times; later");
        Ok(Done::default())
    }

    /// The gate of who pays may be a row of another account.
    async fn write(&self, scope: &AccountScope, batch: &Batch, version: u64) -> Result<()> {
        let writes = batch.writes(version)?;
        match batch.is_gated() {
            true => self.store.transact(&self.system, writes).await,
            false => self.store.transact(scope, writes).await,
        }
    }

    /// Sends the messages of runs whose rows are durable: what can be made up for when it fails.
    async fn send(&self, starts: &[Run]) {
        if let Err(error) = order::send_all(self.ports, starts).await {
            tracing::warn!(%error, runs = starts.len(), "messages of due runs were not sent yet; their rows are kept");
        }
    }
}
