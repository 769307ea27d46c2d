//! Collecting the segments of a source, and the packs of an account, that nothing refers to: what the store needs to know of
//! runs, and the event that tells of it. How it works and why it is safe beside live runs stands in [`crate::snapshot::retain`].

use futures::future::BoxFuture;
use serde_json::{Map, json};

use super::{
    RunContext,
    checkpoint::Checkpoint,
    event::{self, Subject, event},
    live, sources,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityKind, Run, RunStatus, Source, SourceId, scope::AccountScope},
    snapshot::{
        SourceStore,
        retain::{Collectable, Collected, Collection, CollectionState, LiveLook, LiveRuns},
    },
    store::key,
};

/// A live run may replace its checkpoints under the eyes of who looks, but not this often in a row.
const LOOKS_MAX: usize = 32;

/// What is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The segments of a source.
    Segments(SourceId),
    /// The packs of attachments of the whole account.
    Packs,
}

impl Target {
    /// What its objects are called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Segments(_) => "segments",
            Self::Packs => "packs",
        }
    }

    fn concerns(self, source_id: SourceId) -> bool {
        match self {
            Self::Segments(own) => own == source_id,
            Self::Packs => true,
        }
    }
}

/// Deletes what may go, and finds what may go next. Returns what was deleted, and where things stand.
///
/// # Errors
/// `Corrupt` when a manifest, checkpoint or document cannot be read: nothing is deleted then. `Retry` from the stores.
pub async fn advance(
    ctx: &RunContext,
    scope: &AccountScope,
    target: Target,
    by: &str,
) -> Result<(Option<Collected>, CollectionState)> {
    let live = || -> BoxFuture<'_, _> { Box::pin(live_runs(ctx, scope, target)) };
    let (collected, state) = collection(ctx, scope, target, &live).await?.advance().await?;
    if let Some(collected) = collected.as_ref().filter(|collected| !collected.deleted.is_empty()) {
        tell(ctx, scope, target, by, collected).await?;
    }
    Ok((collected, state))
}

/// Where a collection stands; changes nothing.
///
/// # Errors
/// As [`advance`].
pub async fn look(ctx: &RunContext, scope: &AccountScope, target: Target) -> Result<CollectionState> {
    let live = || -> BoxFuture<'_, _> { Box::pin(live_runs(ctx, scope, target)) };
    collection(ctx, scope, target, &live).await?.look().await
}

/// True for the one source of its account that the account's packs are looked after with: the first that has snapshots.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn has_packs_in_care(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<bool> {
    let all = sources::all(&ctx.store, scope).await?;
    let first = all.iter().filter(|source| source.upkeep_due_ms.is_some()).map(|source| source.source_id).min();
    Ok(first == Some(source_id))
}

async fn collection<'a>(
    ctx: &'a RunContext,
    scope: &AccountScope,
    target: Target,
    live: &'a LiveLook<'a>,
) -> Result<Collection<'a>> {
    let account = ctx.snapshots.account(scope).await?;
    Ok(Collection {
        what: match target {
            Target::Segments(source_id) => Collectable::Segments(account.source(source_id)),
            Target::Packs => Collectable::Packs(account),
        },
        live,
        clock: &*ctx.ports.clock,
        grace: ctx.settings.collect_grace,
        is_sole_worker: ctx.settings.is_sole_worker,
        by: ctx.worker_id.to_string(),
    })
}

async fn tell(ctx: &RunContext, scope: &AccountScope, target: Target, by: &str, collected: &Collected) -> Result<()> {
    let mut details = Map::new();
    details.insert(target.noun().to_owned(), json!(collected.deleted.len()));
    details.insert("bytes".to_owned(), json!(collected.deleted_bytes()));
    details.insert("kept".to_owned(), json!(collected.kept.len()));
    details.insert("unreferencedSince".to_owned(), json!(collected.doomed_at));
    details.insert("reason".to_owned(), json!("no snapshot and no live run refers to them"));
    let subject = match target {
        Target::Segments(source_id) => Subject::source(source_id),
        Target::Packs => Subject::default(),
    };
    let told = event(&ctx.ports, scope.account_id(), ActivityKind::StorageCollected, by, subject, details);
    ctx.store.transact(scope, vec![event::keep(&told)?]).await?;
    event::publish(&ctx.ports, scope, &[told]);
    Ok(())
}

/// The runs of a source, or of all sources of the account, that a worker has begun and that have not ended, with what their
/// checkpoints name.
///
/// # Errors
/// `Corrupt` when a checkpoint is damaged; `Retry` from the stores.
pub async fn live_runs(ctx: &RunContext, scope: &AccountScope, target: Target) -> Result<LiveRuns> {
    let mut live = LiveRuns::default();
    let account = ctx.snapshots.account(scope).await?;
    for run in begun_runs(ctx, scope, target).await? {
        note(ctx, scope, &account.source(run.source_id), run.clone(), &mut live).await?;
        live.runs.insert(run.run_id);
    }
    // The holders of leases, in case the index is a moment behind the rows.
    match target {
        Target::Segments(source_id) => {
            let source = ctx.store.find::<Source>(scope, key(scope.account_id(), source_id)).await?;
            live.runs.extend(source.and_then(|source| source.row.lease.run_id));
        }
        Target::Packs => {
            live.runs
                .extend(sources::all(&ctx.store, scope).await?.into_iter().filter_map(|source| source.lease.run_id));
        }
    }
    Ok(live)
}

async fn begun_runs(ctx: &RunContext, scope: &AccountScope, target: Target) -> Result<Vec<Run>> {
    let mut runs = live::live_runs_of(&ctx.store, scope).await?;
    runs.retain(|run| target.concerns(run.source_id) && run.status == RunStatus::Running);
    Ok(runs)
}

/// Notes what a run's checkpoints name.
async fn note(
    ctx: &RunContext,
    scope: &AccountScope,
    store: &SourceStore,
    mut run: Run,
    live: &mut LiveRuns,
) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        if load_all(store, &run, live).await? {
            return Ok(());
        }
        // A checkpoint was replaced since the row was read.
        let before = std::mem::take(&mut run.checkpoints);
        run = ctx.store.get::<Run>(scope, key(run.job_id, run.run_id)).await?.row;
        if run.status.has_ended() {
            return Ok(());
        }
        if run.checkpoints == before {
            let message = "a checkpoint of a live run is missing; nothing is collected until the run has ended";
            return Err(Error::new(ErrorKind::Corrupt, message).with("run", run.run_id));
        }
    }
    Err(Error::new(ErrorKind::Retry, "a run replaced its checkpoints faster than they could be read"))
}

/// False when a checkpoint is not there; what the others name is noted all the same.
async fn load_all(store: &SourceStore, run: &Run, live: &mut LiveRuns) -> Result<bool> {
    for path in run.checkpoints.values() {
        match store.load_checkpoint::<Checkpoint>(path).await {
            Ok(checkpoint) => {
                live.segments.extend(checkpoint.segments());
                live.packs.extend(checkpoint.packs());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
