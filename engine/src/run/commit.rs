//! The commit: manifest object by put-if-absent, then one conditional write that makes it the source's head. Before it
//! nothing is visible, after it everything is durable.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::{
    absence, checkpoint,
    claim::{Ending, change_both, end_without_snapshot},
    ended, event, freshness, lease, order,
    pipeline::StreamOutcome,
    retention,
    session::Session,
    source_tokens, upkeep,
};
use crate::{
    error::{Error, ErrorKind, Result},
    invariants,
    model::{
        ActivityEvent, ActivityKind, Run, RunStatus, SnapshotId, SourceState,
        id::kind,
        run::{RunError, StreamProgress},
        source::Head,
    },
    snapshot::{FORMAT_VERSION, LoadedManifest, Manifest, SnapshotStatus, StreamState, attachments_stream},
};

/// Streams of a run with how each one ended.
pub type Outcomes = BTreeMap<String, StreamOutcome>;

/// Ends a run whose streams have all been read: a snapshot when at least one stream was, a failure otherwise.
///
/// # Errors
/// `Fenced` when another worker owns the source; `Exhausted`, `Retry` from the stores: nothing is visible then, and the
/// commit can be tried again.
pub async fn commit(session: &Session, outcomes: &Outcomes) -> Result<Run> {
    let failures = failures(outcomes);
    let is_empty = !outcomes.values().any(|outcome| matches!(outcome, StreamOutcome::Done(_)));
    if let (true, Some(error)) = (is_empty, &failures) {
        let progress = Some(session.progress.now());
        let ending = Ending { status: RunStatus::Failed, error: Some(error.clone()), progress };
        return end_without_snapshot(&session.ctx, &session.claim, ending).await;
    }
    for (name, _) in outcomes.iter().filter(|(_, outcome)| matches!(outcome, StreamOutcome::Failed(_))) {
        session.progress.stream(name, |stream| keep_parents(stream, session.parent_state(name)));
    }
    let manifest = manifest(session, outcomes);
    if let Some(parent) = &session.parent {
        invariants::held(|| invariants::epochs_grow(parent.manifest.epoch, manifest.epoch));
    }
    let stored = session.source_store.put_manifest(&manifest).await?;
    lock(session, &stored).await?;
    let pinned = absence::pin_last_good(session, &stored.manifest).await?;
    let (run, events) = publish(session, &stored, outcomes, pinned).await?;
    event::publish(&session.ctx.ports, &session.claim.scope, &events);
    checkpoint::discard_all(session, &session_run(session, &run)).await;
    discard_superseded(session, outcomes, &stored.manifest).await;
    Ok(run)
}

/// Nothing reads the segments of former checkpoints any more. One that stays costs space until it is collected.
async fn discard_superseded(session: &Session, outcomes: &Outcomes, snapshot: &Manifest) {
    for outcome in outcomes.values() {
        let StreamOutcome::Done(finished) = outcome else { continue };
        for finished in finished.with_attachments() {
            if let Err(error) = session.source_store.delete_superseded(&finished.superseded, snapshot).await {
                tracing::debug!(%error, "segments of former checkpoints stay");
            }
        }
    }
}

/// Locks all that the snapshot consists of, where the source wants that: before anybody can rely on it.
async fn lock(session: &Session, stored: &LoadedManifest) -> Result<()> {
    match retention::lock_until(&session.claim.source, session.ctx.ports.clock.now())? {
        Some(until) => session.source_store.lock(&stored.manifest, until).await.map(drop),
        None => Ok(()),
    }
}

/// Of a stream that failed the snapshot holds what its parent held, whatever came before the failure.
fn keep_parents(stream: &mut StreamProgress, parent: Option<&StreamState>) {
    let records = parent.map_or(0, |parent| parent.records);
    (stream.records, stream.unchanged) = (records, records);
    (stream.added, stream.changed, stream.removed) = (0, 0, 0);
}

/// The head moves, the lease goes, the run ends and its event is kept: all in one transaction under the fence.
async fn publish(
    session: &Session,
    stored: &LoadedManifest,
    outcomes: &Outcomes,
    pinned: Option<SnapshotId>,
) -> Result<(Run, Vec<ActivityEvent>)> {
    let ctx = &session.ctx;
    let failures = failures(outcomes);
    let is_sign_in_lost = is_sign_in_lost(session, failures.as_ref()).await?;
    let now = ctx.ports.clock.now();
    let progress = session.progress.now();
    let has_failed_items = progress.streams.values().any(|stream| !stream.failed_items.is_empty());
    let status = if failures.is_some() || has_failed_items { RunStatus::Partial } else { RunStatus::Succeeded };
    if stored.manifest.parent.as_ref().map(|parent| parent.snapshot_id) != session.parent_id() {
        let message = "this run stored its snapshot before another one made the newest; order the backup again";
        return Err(Error::new(ErrorKind::Invalid, message).with("snapshot", stored.manifest.snapshot_id));
    }
    change_both(ctx, &session.claim, |source, run| {
        let parent = source.head.as_ref().map(|head| head.snapshot_id);
        if parent != session.parent_id() {
            return Err(Error::new(ErrorKind::Fenced, "the source has another head than this run began from"));
        }
        source.head = Some(Head {
            snapshot_id: stored.manifest.snapshot_id,
            manifest_digest: stored.digest.clone(),
            committed_at: now,
            stored_bytes: Some(stored.manifest.totals.stored_bytes),
        });
        source.lease = lease::released(&source.lease, session.claim.epoch)?;
        upkeep::begin(source, now);
        freshness::note(source, &progress, &stored.manifest, now);
        run.progress = progress.clone();
        run.snapshot_id = Some(stored.manifest.snapshot_id);
        run.snapshot_records = Some(stored.manifest.totals.records);
        order::end(run, status, failures.clone(), now);
        let ended = ended::event(ctx, run, Some(source), Some(&stored.manifest));
        let alert = absence::alert(session, run, &stored.manifest, pinned);
        let lost = lost_sign_in(session, run, outcomes);
        if is_sign_in_lost {
            source.state = SourceState::NeedsAuthorisation;
        }
        Ok(std::iter::once(ended).chain(alert).chain(lost).collect())
    })
    .await
}

/// Tells whoever can sign in that the product wants that for some streams. While the sign-in itself stands, the others go on being
/// backed up, so the source is not paused.
fn lost_sign_in(session: &Session, run: &mut Run, outcomes: &Outcomes) -> Option<ActivityEvent> {
    let is_lost = |outcome: &StreamOutcome| matches!(outcome, StreamOutcome::Failed(error) if error.kind() == ErrorKind::Reauthorise);
    let lost = outcomes.iter().filter(|(_, outcome)| is_lost(outcome));
    let streams: Vec<&String> = lost.map(|(name, _)| name).collect();
    if streams.is_empty() {
        return None;
    }
    let details = Map::from_iter([("streams".to_owned(), json!(streams))]);
    let (ports, kind) = (&session.ctx.ports, ActivityKind::SourceAuthorisationLost);
    Some(event::of_run(ports, kind, event::SYSTEM, run, details))
}

/// True when streams failed for want of the sign-in itself, and not each by itself: then no further run reads anything.
async fn is_sign_in_lost(session: &Session, failures: Option<&RunError>) -> Result<bool> {
    match failures.filter(|failures| failures.code == ErrorKind::Reauthorise.code()) {
        Some(_) => source_tokens::is_lost(&session.ctx, &session.claim.scope, session.claim.source.credential_id).await,
        None => Ok(false),
    }
}

/// The run's row as this attempt knew it may name checkpoints that its last write no longer does.
fn session_run(session: &Session, ended: &Run) -> Run {
    let mut run = ended.clone();
    for (stream, path) in &session.claim.run.checkpoints {
        run.checkpoints.entry(stream.clone()).or_insert_with(|| path.clone());
    }
    run
}

/// The manifest of what was read. Streams that failed, or are not chosen any more, stay as the parent has them.
pub fn manifest(session: &Session, outcomes: &Outcomes) -> Manifest {
    let claim = &session.claim;
    let mut streams: BTreeMap<String, StreamState> = BTreeMap::new();
    // Streams that are no longer chosen, or failed this time, stay as the parent has them: no setting deletes data.
    if let Some(parent) = &session.parent {
        streams.clone_from(&parent.manifest.streams);
    }
    let mut failed = BTreeMap::new();
    for (name, outcome) in outcomes {
        match outcome {
            StreamOutcome::Done(finished) => {
                streams.insert(name.clone(), finished.state.clone());
                if let Some(attachments) = &finished.attachments {
                    streams.insert(attachments_stream(name), attachments.state.clone());
                }
            }
            StreamOutcome::Failed(error) => {
                failed.insert(name.clone(), error.to_string());
            }
            StreamOutcome::Stopped(_) => {}
        }
    }
    let has_failed_items = session.progress.now().streams.values().any(|stream| !stream.failed_items.is_empty());
    let is_whole = failed.is_empty() && !has_failed_items;
    Manifest {
        format: FORMAT_VERSION,
        snapshot_id: claim.order.run_id.of::<kind::Snapshot>(),
        account_id: claim.order.account_id,
        source_id: claim.order.source_id,
        source_name: claim.source.name.clone(),
        integration: claim.source.integration.clone(),
        run_id: claim.order.run_id,
        epoch: claim.epoch,
        parent: session.parent.as_ref().map(LoadedManifest::as_parent),
        created_at: session.ctx.ports.clock.now(),
        status: if is_whole { SnapshotStatus::Complete } else { SnapshotStatus::Partial },
        failed_streams: failed,
        suspicious_streams: absence::suspicions(session, outcomes),
        totals: Manifest::totals_of(&streams),
        streams,
    }
}

/// Every failed stream in one message.
fn failures(outcomes: &Outcomes) -> Option<RunError> {
    let failed: Vec<&Error> = outcomes
        .values()
        .filter_map(|outcome| match outcome {
            StreamOutcome::Failed(error) => Some(error),
            _ => None,
        })
        .collect();
    let first = failed.first()?;
    // What a person must do outweighs what passes by itself.
    let worst = failed.iter().find(|error| error.kind() == ErrorKind::Reauthorise).unwrap_or(first);
    let message = failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Some(RunError { code: worst.kind().code().to_owned(), message })
}
