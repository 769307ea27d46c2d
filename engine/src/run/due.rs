//! Due jobs: each due time makes exactly one run, however many schedulers look.

use jiff::Timestamp;

use super::{order::order_run, schedule};
use crate::{
    error::{ErrorKind, Result},
    model::{Job, JobState, run::Trigger, scope::SystemScope},
    ports::{Condition, Ports, Query, SortRange},
    store::{self, Store, Versioned},
    tables::JOBS,
};

/// The one partition of the due index.
pub const DUE_SHARD: &str = "due";
/// Jobs taken up by one look.
const LOOK_MAX: usize = 200;

/// Sets a job's next due time after `now`, or takes it out of the due index.
///
/// # Errors
/// `Invalid` when the schedule cannot be read.
pub fn reschedule(job: &mut Job, now: Timestamp) -> Result<()> {
    let next = match job.state {
        JobState::Active => schedule::next_due(&job.schedule, job.created_at, now)?,
        JobState::Paused => None,
    };
    job.next_due_ms = next.map(Timestamp::as_millisecond);
    job.due_shard = next.map(|_| DUE_SHARD.to_owned());
    Ok(())
}

/// Orders a run for every job whose time has come, and sets its next time. Returns how many.
///
/// The order comes first: a crash in between makes the same order again, which finds its row.
///
/// # Errors
/// `Retry` when a store cannot be reached; the next look goes on.
pub async fn fire_due(ports: &Ports, system: &SystemScope) -> Result<usize> {
    let store = Store::new(ports.tables.clone());
    let now = ports.clock.now();
    let query = Query {
        table: &JOBS,
        index: Some("due"),
        partition: DUE_SHARD.to_owned(),
        sort: SortRange::Numbers(None, Some(now.as_millisecond() + 1)),
        descending: false,
        limit: LOOK_MAX,
        after: None,
    };
    let mut fired = 0;
    for Versioned { mut row, version } in store.query::<Job>(system, query).await?.rows {
        let Some(due_at) = row.next_due_ms.and_then(|due| Timestamp::from_millisecond(due).ok()) else { continue };
        let scope = system.account(row.account_id);
        match order_run(ports, &scope, &row, Trigger::Schedule { due_at }, None).await {
            Ok(_) => {}
            // The account's keys were destroyed: its jobs stand still from now on, and others have their turn.
            Err(error) if error.kind() == ErrorKind::Denied => row.state = JobState::Paused,
            Err(error) => return Err(error),
        }
        reschedule(&mut row, now)?;
        match store.transact(&scope, vec![store::put(&row, Condition::Version(version))?]).await {
            Ok(()) => fired += usize::from(row.state == JobState::Active),
            // Another scheduler moved it on, or a person changed the job: the next look sees.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(fired)
}
