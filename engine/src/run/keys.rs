//! An account's data keys: a new one, and the end of all of them, each with the event that tells it.

use serde_json::{Map, Value, json};

use super::{
    RunContext, due,
    event::{self, Subject, event},
    live, order,
    update::{Decision, update},
};
use crate::{
    error::Result,
    model::{ActivityKind, Job, JobId, JobState, scope::AccountScope},
    ports::{Query, SortRange},
    snapshot::{KeyDestruction, KeyRotation, retain::Act},
    store::key,
    tables::JOBS,
};

/// Jobs of one read.
const PAGE: usize = 200;

/// What destroying came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destroyed {
    /// Who decided it, why and when; an earlier decision stays.
    pub destruction: KeyDestruction,
    /// Data keys that were deleted now; 0 when all were gone already.
    pub keys: usize,
}

/// Gives the account a new data key for everything that is stored from now on. Nothing that is stored changes.
///
/// # Errors
/// `Denied` when the account's keys were destroyed; those of the stores.
pub async fn rotate(ctx: &RunContext, scope: &AccountScope, by: &str) -> Result<KeyRotation> {
    let rotation = ctx.snapshots.rotate_key(scope).await?;
    if !rotation.by_another {
        let details = [("from", json!(rotation.from)), ("to", json!(rotation.to))];
        tell(ctx, scope, ActivityKind::AccountKeyRotated, by, details).await?;
    }
    Ok(rotation)
}

/// Destroys the account's data keys, for ever: nothing stored of the account can be read any more, nor anything be stored. Its jobs
/// are paused and its live runs cancelled; from the decision on nobody can order another. The event, which tells that too, is kept
/// before the first key goes. Repeated, it finishes what was cut off.
///
/// # Errors
/// `Denied`, with all of them, while snapshots are held or locked; those of the stores.
pub async fn destroy(ctx: &RunContext, scope: &AccountScope, by: &str, reason: &str) -> Result<Destroyed> {
    let act = Act::new(by, reason, ctx.ports.clock.now());
    let doom = ctx.snapshots.decide_to_destroy_keys(scope, act).await?;
    let (jobs, runs) = stand_still(ctx, scope, by).await?;
    if doom.keys > 0 {
        let decided = &doom.destruction.act;
        let details = [
            ("reason", json!(decided.reason)),
            ("decidedBy", json!(decided.by)),
            ("keys", json!(doom.keys)),
            ("jobsPaused", json!(jobs)),
            ("runsCancelled", json!(runs)),
        ];
        tell(ctx, scope, ActivityKind::AccountKeyDestroyed, by, details).await?;
    }
    let keys = ctx.snapshots.destroy_keys(scope).await?;
    Ok(Destroyed { destruction: doom.destruction, keys })
}

/// Pauses the account's jobs and asks its live runs to stop. Returns how many of each.
async fn stand_still(ctx: &RunContext, scope: &AccountScope, by: &str) -> Result<(usize, usize)> {
    let now = ctx.ports.clock.now();
    let mut paused = 0;
    for job_id in active_jobs(ctx, scope).await? {
        let told = update(&ctx.store, scope, key(scope.account_id(), job_id), |mut job: Job| {
            job.state = JobState::Paused;
            job.updated_at = now;
            due::reschedule(&mut job, now)?;
            let told = due::paused_event(&ctx.ports, &job, by);
            Ok(Decision::Write(job, vec![event::keep(&told)?], told))
        })
        .await?;
        event::publish(&ctx.ports, scope, &[told]);
        paused += 1;
    }
    let live = live::live_runs_of(&ctx.store, scope).await?;
    for run in &live {
        order::cancel_run(&ctx.ports, scope, run.job_id, run.run_id, by).await?;
    }
    Ok((paused, live.len()))
}

async fn active_jobs(ctx: &RunContext, scope: &AccountScope) -> Result<Vec<JobId>> {
    let query = Query {
        table: &JOBS,
        index: None,
        partition: scope.account_id().to_string(),
        sort: SortRange::All,
        descending: false,
        limit: PAGE,
        after: None,
    };
    let jobs = ctx.store.all::<Job>(scope, query).await?.into_iter();
    Ok(jobs.filter(|job| job.state == JobState::Active).map(|job| job.job_id).collect())
}

async fn tell<const N: usize>(
    ctx: &RunContext,
    scope: &AccountScope,
    kind: ActivityKind,
    by: &str,
    details: [(&str, Value); N],
) -> Result<()> {
    let details: Map<_, _> = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let told = event(&ctx.ports, scope.account_id(), kind, by, Subject::default(), details);
    ctx.store.transact(scope, vec![event::keep(&told)?]).await?;
    event::publish(&ctx.ports, scope, &[told]);
    Ok(())
}
