//! Orders: one row in `runs`, then one message in the job queue. The row is the truth; a message that is lost is sent
//! again by [`resend_lost`], and one that comes twice finds the run taken or ended.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    event::{self, of_run},
    update::{Decision, update},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        AccountId, ActivityEvent, ActivityKind, Job, JobId, Run, RunId, RunStatus, SourceId,
        run::{RunError, Trigger},
        scope::{AccountScope, Scope, SystemScope},
    },
    ports::{Condition, Ports, Query, QueueName, SortRange, Write},
    snapshot::KeyDestruction,
    store::{self, Store, Versioned, key},
    tables::RUNS,
};

/// The one partition of the live index.
pub const LIVE_SHARD: &str = "live";
/// A queued run that nobody began for this long gets a new message.
const LOOK_AFTER: Duration = Duration::from_secs(60);
/// Orders taken up by one sweep.
pub(super) const SWEEP_MAX: usize = 500;

/// What a message in the job queue says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOrder {
    /// Whose.
    pub account_id: AccountId,
    /// The source to read.
    pub source_id: SourceId,
    /// The job.
    pub job_id: JobId,
    /// The run.
    pub run_id: RunId,
}

impl RunOrder {
    /// The order of a run.
    pub fn of(run: &Run) -> Self {
        Self { account_id: run.account_id, source_id: run.source_id, job_id: run.job_id, run_id: run.run_id }
    }
}

/// Orders a run of a job: the row, then the message. With an idempotency key, a repeat returns the run that the first
/// call made; a due run's id comes from job and due instant, so that many schedulers make one row.
///
/// # Errors
/// `Denied` when the account's keys were destroyed; `Retry` when a store cannot be reached; a run whose row was written is not
/// lost then.
pub async fn order_run(
    ports: &Ports,
    scope: &AccountScope,
    job: &Job,
    trigger: Trigger,
    idempotency: Option<&str>,
) -> Result<Run> {
    let (run, is_new) = write_order(ports, scope, job, trigger, idempotency).await?;
    if is_new || run.status == RunStatus::Queued {
        send(ports, &run).await?;
    }
    Ok(run)
}

/// Writes the row of a run without sending its message: for a caller that executes the run itself at once.
///
/// # Errors
/// As [`order_run`].
pub async fn write_order(
    ports: &Ports,
    scope: &AccountScope,
    job: &Job,
    trigger: Trigger,
    idempotency: Option<&str>,
) -> Result<(Run, bool)> {
    let run = new_run(ports, job, trigger, idempotency);
    write_run(ports, scope, run).await
}

/// Writes the row of a run. When there is one of that id already, it stays, and is returned with `false`.
///
/// # Errors
/// As [`order_run`].
pub(super) async fn write_run(ports: &Ports, scope: &AccountScope, run: Run) -> Result<(Run, bool)> {
    let (run, is_new) = try_to_write(ports, scope, scope, run, Vec::new()).await?;
    let row = store::key(run.job_id, run.run_id);
    if is_new {
        Ok((run, true))
    } else {
        Ok((Store::new(ports.tables.clone()).get::<Run>(scope, row).await?.row, false))
    }
}

/// Writes the row of a run with `gate`, all in the right of `wider`. False when there is one of that id, or the gate was changed.
///
/// # Errors
/// As [`order_run`].
pub(super) async fn try_to_write(
    ports: &Ports,
    scope: &AccountScope,
    wider: impl Into<Scope<'_>>,
    mut run: Run,
    gate: Vec<Write>,
) -> Result<(Run, bool)> {
    let wider = wider.into();
    KeyDestruction::refuse(&*ports.blobs, scope).await?;
    // A restore is none of the runs that a schedule has to wait for, and the job's row knows what its schedule fired.
    let is_counted = run.restore.is_none() && matches!(run.trigger, Trigger::Manual { .. });
    run.waiting_job_id = is_counted.then_some(run.job_id);
    let queued = queued_event(ports, &mut run);
    let mut writes = vec![store::put(&run, Condition::Absent)?, event::keep(&queued)?];
    writes.extend(gate);
    match Store::new(ports.tables.clone()).transact(wider, writes).await {
        Ok(()) => {
            event::publish(ports, scope, &[queued]);
            Ok((run, true))
        }
        Err(error) if error.kind() == ErrorKind::Conflict => Ok((run, false)),
        Err(error) => Err(error),
    }
}

/// The event that tells of a new run.
pub(super) fn queued_event(ports: &Ports, run: &mut Run) -> ActivityEvent {
    let actor = match &run.trigger {
        Trigger::Schedule { .. } => event::SYSTEM.to_owned(),
        Trigger::Manual { by } => by.clone(),
    };
    let told = details(&run.trigger);
    of_run(ports, ActivityKind::RunQueued, &actor, run, told)
}

/// Sends the message of a run.
///
/// # Errors
/// `Retry` when the queue cannot be reached.
pub(super) async fn send(ports: &Ports, run: &Run) -> Result<()> {
    send_all(ports, std::slice::from_ref(run)).await
}

/// Sends the messages of runs, together.
///
/// # Errors
/// `Retry` when the queue cannot be reached.
pub(super) async fn send_all(ports: &Ports, runs: &[Run]) -> Result<()> {
    send_orders(ports, runs.iter().map(RunOrder::of)).await
}

/// Sends the message of an order.
///
/// # Errors
/// `Retry` when the queue cannot be reached.
pub(super) async fn send_order(ports: &Ports, order: &RunOrder) -> Result<()> {
    send_orders(ports, [order.clone()].into_iter()).await
}

async fn send_orders(ports: &Ports, orders: impl Iterator<Item = RunOrder>) -> Result<()> {
    let bodies = orders.map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
    let bodies = bodies.map_err(|error| Error::new(ErrorKind::Bug, "an order does not serialise").caused_by(error))?;
    if !bodies.is_empty() {
        ports.queue.send(QueueName::Jobs, bodies, Duration::ZERO).await?;
    }
    Ok(())
}

/// The row of a new run, not written yet.
pub(super) fn new_run(ports: &Ports, job: &Job, trigger: Trigger, idempotency: Option<&str>) -> Run {
    let now = ports.clock.now();
    let run_id = match (&trigger, idempotency) {
        (Trigger::Schedule { due_at, .. }, _) => derived_id(job.job_id, due_at.as_millisecond(), b"due"),
        (Trigger::Manual { .. }, Some(key)) => derived_id(job.job_id, now_of_job(job), key.as_bytes()),
        (Trigger::Manual { .. }, None) => RunId::new(&*ports.clock, &*ports.random),
    };
    Run {
        live_shard: Some(LIVE_SHARD.to_owned()),
        lease_expires_ms: Some((now + LOOK_AFTER).as_millisecond()),
        ..Run::new(job, run_id, trigger, now)
    }
}

/// A repeat may come at any later time, so nothing of the present instant may go into its id.
fn now_of_job(job: &Job) -> i64 {
    job.created_at.as_millisecond()
}

fn derived_id(job_id: JobId, instant_ms: i64, salt: &[u8]) -> RunId {
    let mut hasher = blake3::Hasher::new_derive_key("listbackup run id of job and cause");
    hasher.update(job_id.as_bytes()).update(&instant_ms.to_be_bytes()).update(salt);
    let mut digest = [0; 10];
    hasher.finalize_xof().fill(&mut digest);
    RunId::derived(instant_ms, digest)
}

/// What events tell of what made a run.
pub(super) fn details(trigger: &Trigger) -> Map<String, Value> {
    let mut details = Map::new();
    if let Trigger::Schedule { due_at, late_seconds } = trigger {
        details.insert("dueAt".to_owned(), json!(due_at));
        if *late_seconds > 0 {
            details.insert("lateSeconds".to_owned(), json!(late_seconds));
        }
    }
    details
}

/// Asks for a run to stop: durable at once, honoured within a page or five seconds. A run that nobody has begun ends
/// here. Cancelling an ended run changes nothing.
///
/// # Errors
/// `NotFound`.
pub async fn cancel_run(ports: &Ports, scope: &AccountScope, job_id: JobId, run_id: RunId, by: &str) -> Result<Run> {
    let store = Store::new(ports.tables.clone());
    let (run, events) = update(&store, scope, key(job_id, run_id), |run: Run| {
        let Some((run, events)) = stopped(ports, run.clone(), by) else { return Ok(Decision::Keep((run, vec![]))) };
        let kept = events.iter().map(event::keep).collect::<Result<_>>()?;
        Ok(Decision::Write(run.clone(), kept, (run, events)))
    })
    .await?;
    event::publish(ports, scope, &events);
    Ok(run)
}

/// What asking a run to stop makes of it: it carries the wish, or has ended when nobody had begun it; the event tells which.
/// `None` when nothing changes.
pub(super) fn stopped(ports: &Ports, mut run: Run, by: &str) -> Option<(Run, Vec<ActivityEvent>)> {
    if run.status.has_ended() || run.cancel_requested {
        return None;
    }
    run.cancel_requested = true;
    let kind = match run.status {
        RunStatus::Queued => {
            end(&mut run, RunStatus::Cancelled, None, ports.clock.now());
            ActivityKind::RunCancelled
        }
        _ => ActivityKind::RunCancelRequested,
    };
    let restore = run.restore.map(|restore| ("restore".to_owned(), json!(restore)));
    let told = of_run(ports, kind, by, &mut run, restore.into_iter().collect());
    Some((run, vec![told]))
}

/// Orders a new run with the job of an ended one; of a restore, one that goes on with it.
///
/// # Errors
/// `Conflict` while the old run has not ended; `NotFound`.
pub async fn retry_run(ports: &Ports, scope: &AccountScope, job_id: JobId, run_id: RunId, by: &str) -> Result<Run> {
    let again = run_again(ports, scope, job_id, run_id, by).await?;
    let (again, _) = write_run(ports, scope, again).await?;
    send(ports, &again).await?;
    Ok(again)
}

/// The row of a new run like an ended one, not written yet.
///
/// # Errors
/// As [`retry_run`].
pub(super) async fn run_again(
    ports: &Ports,
    scope: &AccountScope,
    job_id: JobId,
    run_id: RunId,
    by: &str,
) -> Result<Run> {
    let store = Store::new(ports.tables.clone());
    let run = store.get::<Run>(scope, key(job_id, run_id)).await?.row;
    if !run.status.has_ended() {
        return Err(
            Error::new(ErrorKind::Conflict, "the run has not ended; cancel it first, or wait").with("run", run_id)
        );
    }
    let job = store.get::<Job>(scope, key(scope.account_id(), job_id)).await?.row;
    Ok(Run { restore: run.restore, ..new_run(ports, &job, Trigger::Manual { by: by.to_owned() }, None) })
}

/// Marks a run as ended: the one place that takes it out of the indexes of live and of waiting runs.
pub fn end(run: &mut Run, status: RunStatus, error: Option<RunError>, now: Timestamp) {
    crate::invariants::held(|| crate::invariants::may_become(run.run_id, run.status, status));
    run.status = status;
    run.error = error;
    run.finished_at = Some(now);
    run.live_shard = None;
    run.progress.estimate = None;
    run.lease_expires_ms = None;
    run.waiting_job_id = None;
}

/// Live runs that nobody looks after: queued ones whose message may be lost, running ones whose lease has ended.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn lost_runs(store: &Store, system: &SystemScope, before: Timestamp) -> Result<Vec<Versioned<Run>>> {
    let query = Query {
        table: &RUNS,
        index: Some("live"),
        partition: LIVE_SHARD.to_owned(),
        sort: SortRange::Numbers(None, Some(before.as_millisecond())),
        descending: false,
        limit: SWEEP_MAX,
        after: None,
    };
    Ok(store.sound::<Run>(system, query).await?.rows)
}

/// Sends the message of every run again that should have been looked after `before`, and looks again a minute later. Returns how many.
///
/// # Errors
/// `Retry` when a store cannot be reached; the next sweep goes on.
pub async fn resend_lost(ports: &Ports, system: &SystemScope, before: Timestamp) -> Result<usize> {
    let store = Store::new(ports.tables.clone());
    let next_look = ports.clock.now() + LOOK_AFTER;
    let mut sent = 0;
    for Versioned { mut row, version } in lost_runs(&store, system, before).await? {
        row.lease_expires_ms = Some(next_look.as_millisecond());
        let scope = system.account(row.account_id);
        match store.transact(&scope, vec![store::put(&row, Condition::Version(version))?]).await {
            Ok(()) => {
                send(ports, &row).await?;
                sent += 1;
            }
            // Somebody looked after it in this very moment.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
