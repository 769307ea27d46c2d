//! Collecting the segments of a source that nothing refers to: what the store needs to know of runs, and the event that
//! tells of it. How it works and why it is safe beside live runs stands in [`crate::snapshot::retain`].

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::{Map, json};

use super::{
    RunContext,
    checkpoint::Checkpoint,
    event::{self, Subject, event},
    order::LIVE_SHARD,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityKind, Run, RunStatus, Source, SourceId, scope::AccountScope},
    ports::{Query, SortRange},
    snapshot::{
        SegmentId, SourceStore,
        retain::{Collected, Collection, CollectionState, LiveRuns},
    },
    store::key,
    tables::RUNS,
};

/// Rows of one read.
const PAGE: usize = 200;
/// A live run may replace its checkpoints under the eyes of who looks, but not this often in a row.
const LOOKS_MAX: usize = 32;

/// Deletes what may go, and finds what may go next. Returns what was deleted, and where things stand.
///
/// # Errors
/// `Corrupt` when a manifest, checkpoint or document cannot be read: nothing is deleted then. `Retry` from the stores.
pub async fn advance(
    ctx: &RunContext,
    scope: &AccountScope,
    source_id: SourceId,
    by: &str,
) -> Result<(Option<Collected>, CollectionState)> {
    let store = ctx.snapshots.source(scope, source_id).await?;
    let live = || -> BoxFuture<'_, _> { Box::pin(live_runs(ctx, scope, &store, source_id)) };
    let (collected, state) = collection(ctx, &store, &live).advance().await?;
    if let Some(collected) = collected.as_ref().filter(|collected| !collected.deleted.is_empty()) {
        tell(ctx, scope, source_id, by, collected).await?;
    }
    Ok((collected, state))
}

/// Where the collection of a source stands; changes nothing.
///
/// # Errors
/// As [`advance`].
pub async fn look(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<CollectionState> {
    let store = ctx.snapshots.source(scope, source_id).await?;
    let live = || -> BoxFuture<'_, _> { Box::pin(live_runs(ctx, scope, &store, source_id)) };
    collection(ctx, &store, &live).look().await
}

fn collection<'a>(
    ctx: &'a RunContext,
    store: &SourceStore,
    live: &'a crate::snapshot::retain::LiveLook<'a>,
) -> Collection<'a> {
    Collection {
        store: store.clone(),
        live,
        clock: &*ctx.ports.clock,
        grace: ctx.settings.collect_grace,
        is_sole_worker: ctx.settings.is_sole_worker,
        by: ctx.worker_id.to_string(),
    }
}

async fn tell(
    ctx: &RunContext,
    scope: &AccountScope,
    source_id: SourceId,
    by: &str,
    collected: &Collected,
) -> Result<()> {
    let mut details = Map::new();
    details.insert("segments".to_owned(), json!(collected.deleted.len()));
    details.insert("bytes".to_owned(), json!(collected.deleted_bytes()));
    details.insert("kept".to_owned(), json!(collected.kept.len()));
    details.insert("unreferencedSince".to_owned(), json!(collected.doomed_at));
    details.insert("reason".to_owned(), json!("no snapshot and no live run refers to them"));
    let subject = Subject::source(source_id);
    let told = event(&ctx.ports, scope.account_id(), ActivityKind::StorageCollected, by, subject, details);
    ctx.store.transact(scope, vec![event::keep(&told)?]).await?;
    event::publish(&ctx.ports, scope, &[told]).await;
    Ok(())
}

/// The runs of a source that a worker has begun and that have not ended, with the segments that their checkpoints name.
///
/// # Errors
/// `Corrupt` when a checkpoint is damaged; `Retry` from the stores.
pub async fn live_runs(
    ctx: &RunContext,
    scope: &AccountScope,
    store: &SourceStore,
    source_id: SourceId,
) -> Result<LiveRuns> {
    let mut live = LiveRuns::default();
    for run in begun_runs(ctx, scope, source_id).await? {
        live.segments.extend(named_by(ctx, scope, store, run.clone()).await?);
        live.runs.insert(run.run_id);
    }
    // The holder of the lease, in case the index is a moment behind the row.
    let source = ctx.store.find::<Source>(scope, key(scope.account_id(), source_id)).await?;
    live.runs.extend(source.and_then(|source| source.row.lease.run_id));
    Ok(live)
}

async fn begun_runs(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<Vec<Run>> {
    let mut query = Query {
        table: &RUNS,
        index: Some("live"),
        partition: LIVE_SHARD.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: PAGE,
        after: None,
    };
    // By id: a run that is moved on in the index while this reads may come twice.
    let mut runs = BTreeMap::new();
    loop {
        let page = ctx.store.query::<Run>(scope, query.clone()).await?;
        let begun = page.rows.into_iter().map(|found| found.row);
        let begun = begun.filter(|run| run.source_id == source_id && run.status == RunStatus::Running);
        runs.extend(begun.map(|run| (run.run_id, run)));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(runs.into_values().collect());
        }
    }
}

/// The segments that a run's checkpoints name.
async fn named_by(ctx: &RunContext, scope: &AccountScope, store: &SourceStore, mut run: Run) -> Result<Vec<SegmentId>> {
    for _ in 0..LOOKS_MAX {
        if let Some(named) = load_all(store, &run).await? {
            return Ok(named);
        }
        // A checkpoint was replaced since the row was read.
        let before = std::mem::take(&mut run.checkpoints);
        run = ctx.store.get::<Run>(scope, key(run.job_id, run.run_id)).await?.row;
        if run.status.has_ended() {
            return Ok(Vec::new());
        }
        if run.checkpoints == before {
            let message = "a checkpoint of a live run is missing; nothing is collected until the run has ended";
            return Err(Error::new(ErrorKind::Corrupt, message).with("run", run.run_id));
        }
    }
    Err(Error::new(ErrorKind::Retry, "a run replaced its checkpoints faster than they could be read"))
}

async fn load_all(store: &SourceStore, run: &Run) -> Result<Option<Vec<SegmentId>>> {
    let mut named = Vec::new();
    for path in run.checkpoints.values() {
        match store.load_checkpoint::<Checkpoint>(path).await {
            Ok(checkpoint) => named.extend(checkpoint.segments()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(named))
}
