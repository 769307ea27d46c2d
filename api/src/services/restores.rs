//! Restores: records of a snapshot written back into the product that they came from, by a run. Without a word to the
//! contrary they only plan.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    ErrorKind,
    model::{RestoreFigures, RestoreId, Run, RunId, RunStatus, SnapshotId, Source, SourceId},
    run::restore::{self, Against, Outcome, RecordOutcome, RestoreOrder, Selection, writable_streams},
    snapshot::{AccountStore, Manifest, RecordKey},
    store::key,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer,
    runs::{self, FailureView},
    snapshots, source_actions, sources,
};
use crate::{
    body::{Body, Params},
    caller::Caller,
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::{FieldProblem, Problem},
    schemas,
    state::AppState,
};

/// A restore to order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRestore {
    /// Only plan: say what would be written, and write nothing.
    #[serde(default = "yes")]
    #[schema(default = true, required = false)]
    dry_run: bool,
    /// Which records; all streams that the connector can write, when absent.
    #[schema(min_items = 1)]
    streams: Option<Vec<RestoreStream>>,
    /// What the snapshot is compared with: the product as it is now, or its newest snapshot. The product, when absent.
    #[serde(default)]
    #[schema(value_type = schemas::RestoreAgainst, required = false)]
    against: Against,
    /// Also change back what was changed in the product after the last backup.
    #[serde(default)]
    #[schema(default = false, required = false)]
    overwrite: bool,
    /// Another source of the account whose product gets the records: connected to the same integration. There a record is looked
    /// for among those that earlier restores made, then by its natural key, and made when it is not found.
    #[schema(value_type = Option<schemas::SourceId>)]
    into: Option<SourceId>,
}

/// Which records of a stream: those with the keys, or those in the range, or all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreStream {
    /// The stream.
    name: String,
    /// Only the records with these keys.
    #[serde(default)]
    #[schema(required = false)]
    keys: Vec<String>,
    /// Only records from this key on.
    from: Option<String>,
    /// Only records below this key.
    until: Option<String>,
}

fn yes() -> bool {
    true
}

/// A restore.
#[derive(Serialize, ToSchema)]
pub struct RestoreView {
    /// Its id.
    #[schema(value_type = schemas::RestoreId)]
    id: RestoreId,
    /// The source that is written to.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// The source whose snapshot it is: another one for a restore into another source.
    #[schema(value_type = schemas::SourceId)]
    snapshot_source_id: SourceId,
    /// The snapshot.
    #[schema(value_type = schemas::SnapshotId)]
    snapshot_id: SnapshotId,
    /// Nothing is written to the product.
    dry_run: bool,
    /// What the snapshot is compared with.
    #[schema(value_type = schemas::RestoreAgainst)]
    against: Against,
    /// What was changed in the product after the last backup is changed back as well.
    overwrite: bool,
    /// The streams, in the order in which they were asked for.
    streams: Vec<String>,
    /// The newest run that works or worked on it; it can be cancelled, and tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::RunId>)]
    run_id: Option<RunId>,
    /// Where that run stands. `partial`: records were left alone as conflicts, or could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::RunStatus>)]
    status: Option<RunStatus>,
    /// What becomes or became of the records, by stream. Equal records are not among them.
    figures: BTreeMap<String, RestoreFiguresView>,
    /// Why it failed, or is only partial.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView>,
    /// Who ordered it.
    by: String,
    /// When it was ordered.
    created_at: Timestamp,
    /// When its newest run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
}

/// Figures of one stream of a restore: in a dry run what would be done, else what was done.
#[derive(Serialize, ToSchema)]
pub struct RestoreFiguresView {
    /// Records made again.
    created: u64,
    /// Records changed back.
    updated: u64,
    /// Records in which only fields differ that the product sets itself, and those that an earlier restore made again.
    skipped: u64,
    /// Records left alone, because a person must decide.
    conflicts: u64,
    /// Records that could not be written.
    failed: u64,
}

/// What became of one record.
#[derive(Serialize, ToSchema)]
pub struct RestoredRecord {
    /// Its stream.
    pub stream: String,
    /// Its key in the snapshot.
    pub key: String,
    /// What became of it. A record can have several outcomes: the last one holds.
    #[schema(value_type = schemas::RestoreOutcome)]
    pub outcome: Outcome,
    /// Why it was left alone or failed, or by what it was found in the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its key in the product, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_key: Option<String>,
    /// The fields that differ, or were changed.
    pub fields: Vec<String>,
}

/// Restores records of a snapshot into the product, or plans it. A run of the source carries it out.
///
/// Records that are gone are made again, under keys that the product chooses; references to them follow. Records that
/// differ are changed back. Nothing is deleted. With an `Idempotency-Key`, a repeat answers with the first restore.
#[utoipa::path(post, path = "/data/snapshots/{id}/restore",
    params(IdempotencyKey, ("id" = String, Path, description = "The snapshot's id.")), request_body = NewRestore,
    responses((status = 202, description = "Ordered; follow its run at `/runs/{id}/events`.", body = RestoreView),
    (status = 409, description = "The source is paused or waits for a sign-in, or its product cannot be written to.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SnapshotId>,
    idempotency: IdempotencyKey,
    body: Body<NewRestore>,
) -> Result<HttpResponse, Problem> {
    let found = snapshots::find(&state, &caller, *id).await?;
    let manifest = &found.loaded.manifest;
    let source = match body.value.into {
        Some(id) => target(&state, &caller, manifest, id, body.value.against).await?,
        None => sources::find(&state, &caller, manifest.source_id).await?,
    };
    let origin = (source.source_id != manifest.source_id).then_some(manifest.source_id);
    runs::check_active(&source)?;
    let writable = writable_streams(&state.ctx, caller.scope(), &source, manifest).await?;
    if writable.is_empty() {
        return Err(Problem::conflict("the source's product cannot be written to; export the snapshot instead"));
    }
    let selections = selections(body.value.streams, manifest, &writable)?;
    let job = source_actions::job_of(&state, &caller, &source).await?;
    let order = RestoreOrder {
        restore_id: idempotency.id(&state, &caller, &body.digest).await?,
        source_id: source.source_id,
        origin,
        job_id: job.job_id,
        snapshot_id: *id,
        selections,
        against: body.value.against,
        overwrite: body.value.overwrite,
        dry_run: body.value.dry_run,
        base: source.head.as_ref().map(|head| head.snapshot_id),
        by: caller.actor(),
        created_at: state.now(),
    };
    let order = order.keep(&store(&state, &caller).await?).await?;
    let run = order.order_run(&state.ports, caller.scope(), &job).await?;
    Ok(HttpResponse::Accepted().json(RestoreView::of(order, Some(run))))
}

/// The account's restores, newest first.
#[utoipa::path(get, path = "/data/restores", params(PageParams), responses(
    (status = 200, description = "A page of restores.", body = Page<RestoreView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<RestoreView>> {
    let (after, limit) = (page.0.after_id()?, page.0.limit());
    let orders = RestoreOrder::list(&store(&state, &caller).await?, after, limit + 1).await?;
    let page = Page::by_id(orders, limit, |order| order.restore_id.to_string());
    let mut items = Vec::with_capacity(page.items.len());
    for order in page.items {
        items.push(shown(&state, &caller, order).await?);
    }
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

/// One restore.
#[utoipa::path(get, path = "/data/restores/{id}", params(("id" = String, Path, description = "The restore's id.")),
    responses((status = 200, description = "The restore.", body = RestoreView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<RestoreId>) -> Answer<RestoreView> {
    let order = find(&state, &caller, *id).await?;
    Ok(Json(shown(&state, &caller, order).await?))
}

/// What became of the records of a restore, in the order in which it was done. Equal records are not among them.
#[utoipa::path(get, path = "/data/restores/{id}/records",
    params(PageParams, ("id" = String, Path, description = "The restore's id.")),
    responses((status = 200, description = "A page of outcomes.", body = Page<RestoredRecord>)))]
pub async fn records(
    state: Data<AppState>,
    caller: Caller,
    id: Path<RestoreId>,
    page: Params<PageParams>,
) -> Answer<Page<RestoredRecord>> {
    find(&state, &caller, *id).await?;
    let wrong = || Problem::invalid_field("?cursor", "is not a cursor of this list");
    let (part, skip) = match page.0.cursor.as_deref() {
        None => (0, 0),
        Some(cursor) => cursor_place(cursor).ok_or_else(wrong)?,
    };
    let found = restore::page(&store(&state, &caller).await?, *id, part).await?;
    let limit = page.0.limit();
    let is_part_done = found.records.len() <= skip + limit;
    let next_cursor = match found.next {
        next if is_part_done => next.map(|next| format!("{next}-0")),
        _ => Some(format!("{part}-{}", skip + limit)),
    };
    let items = found.records.into_iter().skip(skip).take(limit).map(RestoredRecord::of).collect();
    Ok(Json(Page { items, next_cursor }))
}

/// A part of the log, and how many of its outcomes were shown.
fn cursor_place(cursor: &str) -> Option<(u32, usize)> {
    let (part, skip) = cursor.split_once('-')?;
    Some((part.parse().ok()?, skip.parse().ok()?))
}

/// The source with this id, if the snapshot can go into its product.
async fn target(
    state: &AppState,
    caller: &Caller,
    manifest: &Manifest,
    id: SourceId,
    against: Against,
) -> Result<Source, Problem> {
    let place = key(caller.scope().account_id(), id);
    let Some(found) = state.ctx.store.find::<Source>(caller.scope(), place).await? else {
        return Err(Problem::invalid_field("/into", "there is no such source in the account"));
    };
    let problems = restore::problems_into(manifest, &found.row, against);
    match problems.is_empty() {
        true => Ok(found.row),
        false => {
            let told = problems.iter().map(|problem| Problem::field("/into", problem.to_string()));
            Err(Problem::invalid(told.collect()))
        }
    }
}

/// The records to restore, or every problem with what was asked for.
fn selections(
    asked: Option<Vec<RestoreStream>>,
    manifest: &Manifest,
    writable: &[String],
) -> Result<Vec<Selection>, Problem> {
    let Some(asked) = asked else {
        return Ok(writable.iter().map(|stream| Selection::all(stream)).collect());
    };
    let mut problems: Vec<FieldProblem> = Vec::new();
    let mut selections: Vec<Selection> = Vec::new();
    for (i, asked) in asked.into_iter().enumerate() {
        let mut wrong = |field: &str, message: &str| {
            problems.push(Problem::field(format!("/streams/{i}/{field}"), message));
        };
        let Some(held) = manifest.streams.get(&asked.name) else {
            wrong("name", "the snapshot has no such stream");
            continue;
        };
        if !writable.contains(&asked.name) {
            wrong("name", "the connector cannot write records of this stream");
        } else if selections.iter().any(|other| other.stream == asked.name) {
            wrong("name", "is named twice");
        }
        if !asked.keys.is_empty() && (asked.from.is_some() || asked.until.is_some()) {
            wrong("keys", "keys and a range exclude each other");
        }
        let mut key = |field: &str, text: &String| {
            let parsed = RecordKey::parse(text, held.primary_key.len());
            parsed.map_err(|_| wrong(field, "is not a key of this stream")).ok()
        };
        selections.push(Selection {
            keys: asked.keys.iter().filter_map(|text| key("keys", text)).collect(),
            from: asked.from.as_ref().and_then(|text| key("from", text)),
            until: asked.until.as_ref().and_then(|text| key("until", text)),
            stream: asked.name,
        });
    }
    if selections.is_empty() && problems.is_empty() {
        problems.push(Problem::field("/streams", "must name at least one stream"));
    }
    if problems.is_empty() { Ok(selections) } else { Err(Problem::invalid(problems)) }
}

async fn store(state: &AppState, caller: &Caller) -> Result<AccountStore, Problem> {
    Ok(state.ctx.snapshots.account(caller.scope()).await?)
}

async fn find(state: &AppState, caller: &Caller, id: RestoreId) -> Result<RestoreOrder, Problem> {
    let found = store(state, caller).await?.load_restore(id).await;
    found.map_err(|error| if error.kind() == ErrorKind::NotFound { Problem::not_found() } else { error.into() })
}

async fn shown(state: &AppState, caller: &Caller, order: RestoreOrder) -> Result<RestoreView, Problem> {
    match order.latest_run(&state.ports, caller.scope()).await {
        Ok(run) => Ok(RestoreView::of(order, Some(run))),
        // The process was killed between the order and its run: a repeat with the same idempotency key makes it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(RestoreView::of(order, None)),
        Err(error) => Err(error.into()),
    }
}

impl RestoreView {
    fn of(order: RestoreOrder, run: Option<Run>) -> Self {
        let figures = run.as_ref().map(|run| run.progress.restored.clone()).unwrap_or_default();
        Self {
            id: order.restore_id,
            source_id: order.source_id,
            snapshot_source_id: order.snapshot_source(),
            snapshot_id: order.snapshot_id,
            dry_run: order.dry_run,
            against: order.against,
            overwrite: order.overwrite,
            streams: order.selections.into_iter().map(|selection| selection.stream).collect(),
            run_id: run.as_ref().map(|run| run.run_id),
            status: run.as_ref().map(|run| run.status),
            figures: figures.into_iter().map(|(name, figures)| (name, RestoreFiguresView::of(&figures))).collect(),
            by: order.by,
            created_at: order.created_at,
            finished_at: run.as_ref().and_then(|run| run.finished_at),
            error: run.and_then(|run| run.error).map(FailureView::of),
        }
    }
}

impl RestoreFiguresView {
    fn of(figures: &RestoreFigures) -> Self {
        Self {
            created: figures.created,
            updated: figures.updated,
            skipped: figures.skipped,
            conflicts: figures.conflicts,
            failed: figures.failed,
        }
    }
}

impl RestoredRecord {
    /// An entry of the log as it is shown.
    pub fn of(outcome: RecordOutcome) -> Self {
        Self {
            stream: outcome.stream,
            key: outcome.key.to_string(),
            outcome: outcome.outcome,
            reason: outcome.reason,
            new_key: outcome.new_key.map(|key| key.to_string()),
            fields: outcome.fields,
        }
    }
}
