//! Retention: what becomes of the snapshots of a source, and letting go of one with everything that tells of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, json};

use super::{
    RunContext,
    event::{self, Subject, of_run},
    files,
    index::{self, BATCH},
    update::{Decision as Change, update},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityKind, KeepRules, Run, SnapshotId, Source, SourceId, id::kind, scope::AccountScope},
    ports::{Condition, Write},
    snapshot::{
        Manifest, SourceStore,
        retain::{Act, Collectable, Decision, Judged, Link, Mark, MarkKind, Reason, decide},
    },
    store::key,
    tables::FILES,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Until when a snapshot that is committed now is to be locked; `None` when the source locks nothing. Always at the end of
/// a day, so that the runs of one day extend a lock once.
///
/// # Errors
/// `Invalid` for more days than the calendar has.
pub fn lock_until(source: &Source, now: Timestamp) -> Result<Option<Timestamp>> {
    if source.lock_days == 0 {
        return Ok(None);
    }
    let days = now.as_millisecond().div_euclid(DAY_MS) + 1 + i64::from(source.lock_days);
    Timestamp::from_millisecond(days.saturating_mul(DAY_MS)).map(Some).map_err(|error| {
        Error::new(ErrorKind::Invalid, "the source's lock ends after all years that can be told").caused_by(error)
    })
}

/// What becomes of every snapshot of a source under `rules`, oldest first. Changes nothing.
///
/// # Errors
/// `Invalid` for rules that cannot be kept; `Corrupt` when a manifest or mark is damaged.
pub async fn judge(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
    rules: &KeepRules,
) -> Result<Vec<Decision>> {
    let store = ctx.snapshots.source(scope, source.source_id).await?;
    let now = ctx.ports.clock.now();
    let mut decisions = decide(rules, &judged(&store, source).await?, now)?;
    for decision in decisions.iter_mut().filter(|decision| !decision.is_kept()) {
        let locked = store.locked_until(decision.snapshot_id).await?.filter(|until| *until > now);
        decision.kept_by.extend(locked.map(|until| Reason::Locked { until }));
    }
    Ok(decisions)
}

/// The snapshots from the head down that nobody has decided to forget, oldest first.
async fn judged(store: &SourceStore, source: &Source) -> Result<Vec<Judged>> {
    let mut marks = store.all_marks().await?;
    let mut snapshots = Vec::new();
    let mut next = source.head.as_ref().map(|head| head.snapshot_id);
    while let Some(snapshot_id) = next {
        let link = store.link(snapshot_id).await?;
        next = link.parent().map(|parent| parent.snapshot_id);
        let Link::Kept(loaded) = link else { continue };
        let marks = marks.remove(&snapshot_id).unwrap_or_default();
        if marks.forgotten.is_none() {
            let (created_at, is_suspicious) = (loaded.manifest.created_at, loaded.manifest.is_suspicious());
            snapshots.push(Judged { snapshot_id, created_at, marks, is_suspicious });
        }
    }
    snapshots.reverse();
    Ok(snapshots)
}

/// Applies the rules of a source: finishes what was cut off, and lets go of what no rule keeps. Returns the decisions; none
/// for a source without rules.
///
/// # Errors
/// Those of [`judge`] and [`forget`].
pub async fn apply(ctx: &RunContext, scope: &AccountScope, source_id: SourceId, by: &str) -> Result<Vec<Decision>> {
    finish_all(ctx, scope, source_id).await?;
    let source = ctx.store.get::<Source>(scope, key(scope.account_id(), source_id)).await?.row;
    let Some(rules) = source.retention.clone() else { return Ok(Vec::new()) };
    apply_rules(ctx, scope, &source, &rules, by).await
}

/// Applies rules that may not be the source's own.
///
/// # Errors
/// Those of [`judge`] and [`forget`].
pub async fn apply_rules(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
    rules: &KeepRules,
    by: &str,
) -> Result<Vec<Decision>> {
    let decisions = judge(ctx, scope, source, rules).await?;
    for decision in decisions.iter().filter(|decision| !decision.is_kept()) {
        let act = Act::new(by, "no retention rule keeps it", ctx.ports.clock.now());
        match forget(ctx, scope, source.source_id, decision.snapshot_id, act).await {
            Ok(()) => {}
            // Pinned or held since it was judged.
            Err(error) if error.kind() == ErrorKind::Denied => {
                tracing::info!(%error, "a snapshot stays against the rules");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(decisions)
}

/// What would be referred to by nothing any more without these snapshots of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Packs of attachments.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
}

/// What collecting would free after these snapshots of a source were forgotten. Changes nothing, and reads all manifests of the
/// account.
///
/// # Errors
/// `Corrupt` when a manifest is damaged.
pub async fn freed(
    ctx: &RunContext,
    scope: &AccountScope,
    source_id: SourceId,
    gone: &BTreeSet<SnapshotId>,
) -> Result<Freed> {
    if gone.is_empty() {
        return Ok(Freed::default());
    }
    let account = ctx.snapshots.account(scope).await?;
    let (segments, segment_bytes) = Collectable::Segments(account.source(source_id)).named_only_by(gone).await?;
    let (packs, pack_bytes) = Collectable::Packs(account).named_only_by(gone).await?;
    Ok(Freed { segments, segment_bytes, packs, pack_bytes })
}

/// Lets go of a snapshot, or of a manifest that was stored and never committed: the decision, the rows that show it, its
/// manifest. Safe to repeat; what is cut off is finished by the next [`apply`].
///
/// # Errors
/// `Denied` for the newest snapshot, for one that is pinned, held or locked, and while its run may still commit it; `NotFound`.
pub async fn forget(
    ctx: &RunContext,
    scope: &AccountScope,
    source_id: SourceId,
    snapshot_id: SnapshotId,
    act: Act,
) -> Result<()> {
    let source = ctx.store.get::<Source>(scope, key(scope.account_id(), source_id)).await?.row;
    let head = source
        .head
        .map(|head| head.snapshot_id)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "the source has no snapshots").with("source", source_id))?;
    let run = index::find_run(ctx, scope, snapshot_id.of::<kind::Run>()).await?;
    if run.is_some_and(|run| !run.row.status.has_ended()) {
        let message = "the snapshot stays: its run has not ended and may still commit it; let it go on, or cancel it";
        return Err(Error::new(ErrorKind::Denied, message).with("snapshot", snapshot_id));
    }
    let store = ctx.snapshots.source(scope, source_id).await?;
    store.decide_to_forget(snapshot_id, head, act).await?;
    finish(ctx, scope, &store, snapshot_id).await
}

/// Finishes what was cut off: after the decision to forget a snapshot, and between a mark and its event.
///
/// # Errors
/// Those of the stores.
pub async fn finish_all(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<()> {
    let store = ctx.snapshots.source(scope, source_id).await?;
    for snapshot_id in store.unfinished_forgets().await? {
        finish(ctx, scope, &store, snapshot_id).await?;
    }
    for (snapshot_id, log) in store.all_mark_logs().await? {
        tell_marks(ctx, scope, (source_id, snapshot_id), &log).await?;
    }
    Ok(())
}

/// What keeps a snapshot from being forgotten, beside rules.
///
/// # Errors
/// `NotFound`; `Corrupt` when a mark is damaged.
pub async fn protections(
    ctx: &RunContext,
    scope: &AccountScope,
    source_id: SourceId,
    snapshot_id: SnapshotId,
) -> Result<Vec<Reason>> {
    let source = ctx.store.get::<Source>(scope, key(scope.account_id(), source_id)).await?.row;
    let store = ctx.snapshots.source(scope, source_id).await?;
    let now = ctx.ports.clock.now();
    let is_head = source.head.is_some_and(|head| head.snapshot_id == snapshot_id);
    let mut reasons: Vec<Reason> = is_head.then_some(Reason::Head).into_iter().collect();
    reasons.extend(store.marks(snapshot_id).await?.protections(now));
    let locked = store.locked_until(snapshot_id).await?.filter(|until| *until > now);
    reasons.extend(locked.map(|until| Reason::Locked { until }));
    Ok(reasons)
}

/// Pins, unpins, holds or releases a snapshot of a source, with the event that tells it. True when that changed anything.
///
/// The mark is an object, and so in no transaction with its event; but it has the event's id. Who ends between the two leaves it to
/// the next attempt, or the next [`apply`], to find that there is no such event.
///
/// # Errors
/// `NotFound`; `Invalid` for a hold that ends in the past; `Bug` for the mark of a forgetting.
pub async fn mark(
    ctx: &RunContext,
    scope: &AccountScope,
    (source_id, snapshot_id): (SourceId, SnapshotId),
    mark: MarkKind,
    by: &str,
    reason: &str,
) -> Result<bool> {
    let store = ctx.snapshots.source(scope, source_id).await?;
    let now = ctx.ports.clock.now();
    let act = Act { event_id: Some(event::id(&ctx.ports, now.as_millisecond())), ..Act::new(by, reason, now) };
    let is_news = match mark {
        MarkKind::Pin => store.pin(snapshot_id, act).await?,
        MarkKind::Unpin => store.unpin(snapshot_id, act).await?,
        MarkKind::Hold { until } => store.hold(snapshot_id, act, until).await?,
        MarkKind::Release => store.release(snapshot_id, act).await?,
        MarkKind::Forget => return Err(Error::new(ErrorKind::Bug, "a snapshot is forgotten by `forget` only")),
    };
    tell_marks(ctx, scope, (source_id, snapshot_id), &store.mark_log(snapshot_id).await?).await?;
    Ok(is_news)
}

/// Keeps the events of a snapshot's marks that are not kept yet. Marks of versions that kept no id of their event are left out: theirs
/// has another one.
async fn tell_marks(
    ctx: &RunContext,
    scope: &AccountScope,
    (source_id, snapshot_id): (SourceId, SnapshotId),
    log: &[Mark],
) -> Result<()> {
    for mark in log {
        let (Some(event_id), Some(kind)) = (mark.act.event_id, told_as(mark.kind)) else { continue };
        let mut details = Map::new();
        details.insert("snapshotId".to_owned(), json!(snapshot_id));
        details.insert("reason".to_owned(), json!(mark.act.reason));
        if let MarkKind::Hold { until: Some(until) } = mark.kind {
            details.insert("until".to_owned(), json!(until));
        }
        let subject = Subject::source(source_id);
        let told = event::with_id(event_id, scope.account_id(), kind, &mark.act.by, subject, details);
        match ctx.store.transact(scope, vec![event::keep(&told)?]).await {
            Ok(()) => event::publish(&ctx.ports, scope, &[told]),
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The event that tells a mark; the decision to forget is told with the row that shows the snapshot.
fn told_as(mark: MarkKind) -> Option<ActivityKind> {
    match mark {
        MarkKind::Pin => Some(ActivityKind::SnapshotPinned),
        MarkKind::Unpin => Some(ActivityKind::SnapshotUnpinned),
        MarkKind::Hold { .. } => Some(ActivityKind::SnapshotHeld),
        MarkKind::Release => Some(ActivityKind::SnapshotReleased),
        MarkKind::Forget => None,
    }
}

/// Rows first: once the tombstone is there, nothing is left to be found by.
async fn finish(ctx: &RunContext, scope: &AccountScope, store: &SourceStore, snapshot_id: SnapshotId) -> Result<()> {
    if store.tombstone(snapshot_id).await?.is_none() {
        let manifest = store.load(snapshot_id).await?.manifest;
        let forgotten = store.marks(snapshot_id).await?.forgotten;
        if let Some(decision) = forgotten {
            hide(ctx, scope, &manifest, &decision.act).await?;
        }
    }
    store.finish_forgetting(snapshot_id).await.map(drop)
}

/// Takes the snapshot out of its run's row, with the event that tells it; then its files' rows go. The indexer writes rows only
/// while the run's row is as it read it, so none comes back.
async fn hide(ctx: &RunContext, scope: &AccountScope, manifest: &Manifest, act: &Act) -> Result<()> {
    let run_id = manifest.snapshot_id.of::<kind::Run>();
    if let Some(found) = index::find_run(ctx, scope, run_id).await? {
        let place = key(found.row.job_id, run_id);
        let events = update(&ctx.store, scope, place, |mut run: Run| {
            if run.snapshot_id.take().is_none() {
                return Ok(Change::Keep(Vec::new()));
            }
            let told = forgotten_event(ctx, &mut run, manifest, act);
            Ok(Change::Write(run, vec![event::keep(&told)?], vec![told]))
        })
        .await?;
        event::publish(&ctx.ports, scope, &events);
    }
    let names: Vec<&String> = manifest.streams.keys().collect();
    for batch in names.chunks(BATCH) {
        let delete = |stream: &&String| Write::Delete {
            table: &FILES,
            key: index::place(manifest, stream),
            condition: Condition::Any,
        };
        ctx.store.transact(scope, batch.iter().map(delete).collect()).await?;
    }
    let store = ctx.snapshots.source(scope, manifest.source_id).await?;
    files::remove(ctx, scope, &store.reader(manifest), BATCH).await
}

fn forgotten_event(ctx: &RunContext, run: &mut Run, manifest: &Manifest, act: &Act) -> crate::model::ActivityEvent {
    let mut details = Map::new();
    details.insert("snapshotId".to_owned(), json!(manifest.snapshot_id));
    details.insert("createdAt".to_owned(), json!(manifest.created_at));
    details.insert("records".to_owned(), json!(manifest.totals.records));
    details.insert("reason".to_owned(), json!(act.reason));
    let kind = ActivityKind::SnapshotForgotten;
    of_run(&ctx.ports, kind, &act.by, run, details)
}
