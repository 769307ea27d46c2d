//! Taking a run: the source's lease by one conditional write, with the run's row in the same transaction.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, json};
use tokio::time::Instant;

use super::{
    RunContext, ended,
    event::{self, of_run},
    index, lease,
    order::{self, RunOrder},
    places::Place,
    pulse::Pulse,
    update::{Decision, update},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ActivityEvent, ActivityKind, Run, RunStatus, Source, SourceState,
        run::{Progress, RunError},
        scope::AccountScope,
    },
    ports::Condition,
    store::{self, Versioned, key},
};

/// When to ask again for a place.
const NO_PLACE: Duration = Duration::from_secs(10);

/// A run in the hands of this worker.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Narrowed to the run's account.
    pub scope: AccountScope,
    /// The order.
    pub order: RunOrder,
    /// The fence: rides on every later write.
    pub epoch: u64,
    /// The source as it was when the lease was taken.
    pub source: Arc<Source>,
    /// The run as it was when the lease was taken, or when this attempt began.
    pub run: Arc<Run>,
    /// Of both as they were when the lease was taken; `None` once the run may have moved on since then.
    pub taken: Option<Taken>,
    /// Whether it still moves.
    pub pulse: Pulse,
    /// Its place among the runs of its account and its integration.
    pub place: Arc<Place>,
}

/// The rows' versions as the claim wrote them.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    at: Instant,
    source_version: u64,
    run_version: u64,
}

/// What became of an attempt to claim.
#[derive(Debug)]
pub enum Claimed {
    /// The run is ours.
    Ours(Box<Claim>),
    /// Nothing to do: it has ended, or may not begin. The message can go.
    Over(Box<Run>),
    /// Somebody else works on the source, or there is no place for another run of its account or integration; ask again after
    /// this.
    Busy(Duration),
    /// Another run of the source was begun and has not ended: it goes on first. Its checkpoints, and a manifest that it may
    /// have stored, belong to the head of today.
    First(RunOrder),
}

/// Takes the run of an order, or says why not.
///
/// # Errors
/// `Retry` when a store cannot be reached. A message that names another account's source finds nothing: `NotFound`.
pub async fn claim(ctx: &RunContext, order: &RunOrder) -> Result<Claimed> {
    let scope = ctx.system.account(order.account_id);
    loop {
        let run = ctx.store.get::<Run>(&scope, key(order.job_id, order.run_id)).await?;
        if run.row.status.has_ended() {
            return Ok(Claimed::Over(Box::new(run.row)));
        }
        let source = ctx.store.find::<Source>(&scope, key(order.account_id, order.source_id)).await?;
        let now = ctx.ports.clock.now();
        let verdict = judge(ctx, source.as_ref().map(|source| &source.row), &run.row, now);
        let attempt = match (verdict, source) {
            (Verdict::Wait(wait), _) => return Ok(Claimed::Busy(wait)),
            (Verdict::End(status, error), source) => end_unbegun(ctx, &scope, run, source.as_ref(), (status, error))
                .await
                .map(|run| Claimed::Over(Box::new(run))),
            (Verdict::Take, Some(source)) => match begun_before(ctx, &scope, &source.row, order).await? {
                Some(first) => return Ok(Claimed::First(first)),
                None => match ctx.places.take(order.account_id, &source.row.integration) {
                    Some(place) => take(ctx, &scope, order, (source, run, place), now).await,
                    None => return Ok(Claimed::Busy(NO_PLACE)),
                },
            },
            (Verdict::Take, None) => Err(Error::new(ErrorKind::Bug, "a run without source was to be taken")),
        };
        match attempt {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return done,
        }
    }
}

/// What the rules say about a run that has not ended.
enum Verdict {
    Take,
    Wait(Duration),
    End(RunStatus, Option<RunError>),
}

fn judge(ctx: &RunContext, source: Option<&Source>, run: &Run, now: Timestamp) -> Verdict {
    let ended =
        |status, kind, message: &str| Verdict::End(status, Some(RunError::from(&Error::new(kind, message.to_owned()))));
    let failed = |status, message: &str| ended(status, ErrorKind::Invalid, message);
    let Some(source) = source else {
        return failed(RunStatus::Failed, "the source was deleted");
    };
    if !lease::is_free(&source.lease, ctx.worker_id, now, ctx.settings.is_sole_worker) {
        let until = source.lease.expires_at.unwrap_or(now).duration_since(now);
        return Verdict::Wait(Duration::try_from(until).unwrap_or_default().max(Duration::from_secs(1)));
    }
    if run.cancel_requested {
        return Verdict::End(RunStatus::Cancelled, None);
    }
    if run.attempts >= ctx.settings.claims_max {
        return failed(RunStatus::Failed, "every attempt ended before its first checkpoint; see the worker's log");
    }
    let unable = if run.status == RunStatus::Queued { RunStatus::Skipped } else { RunStatus::Failed };
    match source.state {
        SourceState::Active => Verdict::Take,
        SourceState::Paused => failed(unable, "the source is paused; resume it first"),
        SourceState::NeedsAuthorisation => {
            ended(unable, ErrorKind::Reauthorise, "the source must be signed in first; reconnect it")
        }
    }
}

/// The backup that a worker began and left, when it is not the run of `order`. A restore waits for whoever wants it to go on: it
/// writes into the product, and makes no snapshot.
async fn begun_before(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
    order: &RunOrder,
) -> Result<Option<RunOrder>> {
    let Some(run_id) = source.lease.run_id.filter(|run_id| *run_id != order.run_id) else { return Ok(None) };
    let begun = index::find_run(ctx, scope, run_id).await?.map(|found| found.row);
    Ok(begun.filter(|run| !run.status.has_ended() && run.restore.is_none()).map(|run| RunOrder::of(&run)))
}

async fn take(
    ctx: &RunContext,
    scope: &AccountScope,
    order: &RunOrder,
    (source, run, place): (Versioned<Source>, Versioned<Run>, Place),
    now: Timestamp,
) -> Result<Claimed> {
    let (mut new_source, mut new_run) = (source.row, run.row);
    new_source.lease = lease::taken(&new_source.lease, ctx.worker_id, order.run_id, now, ctx.settings.lease);
    new_run.status = RunStatus::Running;
    new_run.epoch = new_source.lease.epoch;
    new_run.attempts += 1;
    new_run.waiting_job_id = None;
    new_run.started_at.get_or_insert(now);
    new_run.lease_expires_ms = new_source.lease.expires_at.map(Timestamp::as_millisecond);
    let mut details = Map::new();
    details.insert("epoch".to_owned(), json!(new_run.epoch));
    details.insert("worker".to_owned(), json!(ctx.worker_id));
    let started = of_run(&ctx.ports, ActivityKind::RunStarted, event::SYSTEM, &mut new_run, details);
    let writes = vec![
        store::put(&new_source, Condition::Version(source.version))?,
        store::put(&new_run, Condition::Version(run.version))?,
        event::keep(&started)?,
    ];
    ctx.store.transact(scope, writes).await?;
    event::publish(&ctx.ports, scope, &[started]);
    Ok(Claimed::Ours(Box::new(Claim {
        scope: *scope,
        order: order.clone(),
        epoch: new_run.epoch,
        source: Arc::new(new_source),
        run: Arc::new(new_run),
        taken: Some(Taken { at: Instant::now(), source_version: source.version + 1, run_version: run.version + 1 }),
        pulse: Pulse::new(),
        place: Arc::new(place),
    })))
}

async fn end_unbegun(
    ctx: &RunContext,
    scope: &AccountScope,
    run: Versioned<Run>,
    source: Option<&Versioned<Source>>,
    (status, error): (RunStatus, Option<RunError>),
) -> Result<Run> {
    let mut row = run.row;
    order::end(&mut row, status, error, ctx.ports.clock.now());
    let ended = ended::event(ctx, &mut row, source.map(|source| &source.row), None);
    ctx.store.transact(scope, vec![store::put(&row, Condition::Version(run.version))?, event::keep(&ended)?]).await?;
    event::publish(&ctx.ports, scope, &[ended]);
    Ok(row)
}

/// Puts off an order that cannot be carried out yet: the sweeper sends it again after `wait`, and its message can go.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn defer(ctx: &RunContext, order: &RunOrder, wait: Duration) -> Result<()> {
    let look_at = ctx.ports.clock.now() + wait;
    let scope = ctx.system.account(order.account_id);
    update(&ctx.store, &scope, key(order.job_id, order.run_id), |mut run: Run| {
        if run.status.has_ended() {
            return Ok(Decision::Keep(()));
        }
        run.lease_expires_ms = Some(look_at.as_millisecond());
        Ok(Decision::Write(run, vec![], ()))
    })
    .await
}

/// Keeps the lease alive, as long as the run moves: one that its supervisor did not end either goes to another worker.
///
/// # Errors
/// `Fenced` when another worker has taken it; `Retry` when the store cannot be reached, or nothing moves.
pub async fn heartbeat(ctx: &RunContext, claim: &Claim) -> Result<()> {
    claim.pulse.check(ctx.settings.stuck_after + ctx.settings.lease)?;
    let now = ctx.ports.clock.now();
    update(&ctx.store, &claim.scope, key(claim.order.account_id, claim.order.source_id), |mut source: Source| {
        source.lease = lease::renewed(&source.lease, claim.epoch, now, ctx.settings.lease)?;
        Ok(Decision::Write(source, vec![], ()))
    })
    .await
}

/// How a run ends that made no snapshot.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Failed or cancelled.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<RunError>,
    /// Figures of the attempt that ended it; `None` leaves those in the row.
    pub progress: Option<Progress>,
}

/// Ends a run without a snapshot and lets go of the lease, in one transaction.
///
/// # Errors
/// `Fenced` when another worker owns the source by now: the run is theirs to end.
pub async fn end_without_snapshot(ctx: &RunContext, claim: &Claim, ending: Ending) -> Result<Run> {
    let Ending { status, error, progress } = ending;
    let needs_sign_in = error.as_ref().is_some_and(|error| error.code == ErrorKind::Reauthorise.code());
    let (run, events) = change_both(ctx, claim, |source, run| {
        source.lease = lease::released(&source.lease, claim.epoch)?;
        if let Some(progress) = &progress {
            run.progress.clone_from(progress);
        }
        order::end(run, status, error.clone(), ctx.ports.clock.now());
        let mut events = vec![ended::event(ctx, run, Some(source), None)];
        if needs_sign_in {
            source.state = SourceState::NeedsAuthorisation;
            let kind = ActivityKind::SourceAuthorisationLost;
            events.push(of_run(&ctx.ports, kind, event::SYSTEM, run, Map::new()));
        }
        Ok(events)
    })
    .await?;
    event::publish(&ctx.ports, &claim.scope, &events);
    Ok(run)
}

/// Lets go of the lease and leaves the run live, for another worker to go on with.
///
/// # Errors
/// `Fenced` when another worker owns the source by now.
pub async fn hand_back(ctx: &RunContext, claim: &Claim) -> Result<()> {
    change_both(ctx, claim, |source, run| {
        source.lease = lease::handed_back(&source.lease, claim.epoch)?;
        // Going down in good order is no failed attempt.
        run.attempts = run.attempts.saturating_sub(1);
        run.lease_expires_ms = Some(ctx.ports.clock.now().as_millisecond());
        Ok(vec![])
    })
    .await
    .map(|_| ())
}

/// Changes source and run in one transaction under the fence, with the events that tell it.
pub(super) async fn change_both(
    ctx: &RunContext,
    claim: &Claim,
    mut change: impl FnMut(&mut Source, &mut Run) -> Result<Vec<ActivityEvent>>,
) -> Result<(Run, Vec<ActivityEvent>)> {
    let mut expected = rows_as_taken(ctx, claim);
    loop {
        let order = &claim.order;
        let (mut source, mut run) = match expected.take() {
            Some(rows) => rows,
            None => (
                ctx.store.get::<Source>(&claim.scope, key(order.account_id, order.source_id)).await?,
                ctx.store.get::<Run>(&claim.scope, key(order.job_id, order.run_id)).await?,
            ),
        };
        lease::check(&source.row.lease, claim.epoch)?;
        let events = change(&mut source.row, &mut run.row)?;
        let mut writes = vec![
            store::put(&source.row, Condition::Version(source.version))?,
            store::put(&run.row, Condition::Version(run.version))?,
        ];
        for event in &events {
            writes.push(event::keep(event)?);
        }
        match ctx.store.transact(&claim.scope, writes).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return done.map(|()| (run.row, events)),
        }
    }
}

/// What the rows of a run most likely are that has not had the time to write of itself: whoever wrote them all the same has made
/// new versions, and these are refused.
fn rows_as_taken(ctx: &RunContext, claim: &Claim) -> Option<(Versioned<Source>, Versioned<Run>)> {
    let taken = claim.taken.filter(|taken| taken.at.elapsed() < ctx.settings.progress_every)?;
    let source = Versioned { row: Source::clone(&claim.source), version: taken.source_version };
    Some((source, Versioned { row: Run::clone(&claim.run), version: taken.run_version }))
}
