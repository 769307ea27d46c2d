//! Runs: ordered, looked at, followed live, cancelled, tried again.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    model::{
        Job, JobId, RestoreId, Run, RunId, RunStatus, SnapshotId, Source, SourceId, SourceState,
        run::{Estimate, Progress, RunError, StreamProgress, StreamState, Trigger},
    },
    ports::Query,
    run::{
        allowed::{order_run, retry_run},
        order::cancel_run,
    },
    tables::RUNS,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, activity::EventFrame, jobs, sources};
use crate::{
    body::Params,
    caller::Caller,
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    sse::{self, Following},
    state::AppState,
};

/// A run.
#[derive(Serialize, ToSchema)]
pub struct RunView {
    /// Its id.
    #[schema(value_type = schemas::RunId)]
    id: RunId,
    /// The job that it executes.
    #[schema(value_type = schemas::JobId)]
    job_id: JobId,
    /// The source that it reads.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// The restore that it carries out; absent in runs that back up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::RestoreId>)]
    restore_id: Option<RestoreId>,
    /// What made it.
    trigger: TriggerView,
    /// Where it stands.
    #[schema(value_type = schemas::RunStatus)]
    status: RunStatus,
    /// A person asked to stop it.
    cancel_requested: bool,
    /// How often a worker began or resumed it.
    attempts: u32,
    /// Figures so far, and at the end.
    progress: ProgressView,
    /// The snapshot that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::SnapshotId>)]
    snapshot_id: Option<SnapshotId>,
    /// Why it failed, why it is only partial, or why it was skipped (`missed`, `overlap` and others).
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView>,
    /// When it was ordered.
    created_at: Timestamp,
    /// When a worker first began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
}

/// What made a run.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TriggerView {
    /// The schedule.
    Schedule {
        /// The due instant.
        due_at: Timestamp,
        /// How late it was fired, when it was late.
        #[serde(skip_serializing_if = "Option::is_none")]
        late_seconds: Option<u64>,
    },
    /// A person or program.
    Manual {
        /// Who: a user's or key's id, or `cli`.
        by: String,
    },
}

/// Figures of a run.
#[derive(Serialize, ToSchema)]
pub struct ProgressView {
    /// By stream.
    streams: BTreeMap<String, RunStream>,
    /// Bytes received from the product, after decompression.
    bytes_read: u64,
    /// Bytes added to the store.
    bytes_stored: u64,
    /// Requests sent.
    requests: u64,
    /// Milliseconds in which they waited for the product's limits, those of all streams together.
    waited_ms: u64,
    /// How far it is; absent in a first backup, and when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<EstimateView>,
}

/// How far a run is, guessed from what the last snapshot holds and from how fast it reads.
#[derive(Serialize, ToSchema)]
pub struct EstimateView {
    /// Records that will come, as many as the streams had: never fewer than were read already.
    records_expected: u64,
    /// When it will probably be through; absent until it has read something.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
}

/// Figures of one stream of a run.
#[derive(Serialize, ToSchema)]
pub struct RunStream {
    /// Where the stream stands.
    #[schema(value_type = schemas::StreamState)]
    state: StreamState,
    /// Records in the last snapshot: what this read will probably see.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    /// Live records: those that came so far; at the end all that the snapshot holds.
    records: u64,
    /// Records that are new.
    added: u64,
    /// Records whose content differs from the last snapshot.
    changed: u64,
    /// Records that the product no longer has.
    removed: u64,
    /// Records as in the last snapshot.
    unchanged: u64,
    /// Parts that could not be read; they are read again next time.
    failed_items: Vec<FailedItemView>,
    /// Why the stream failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView>,
}

/// A part of a stream that could not be read.
#[derive(Serialize, ToSchema)]
pub struct FailedItemView {
    /// Which.
    item: String,
    /// Why.
    reason: String,
}

/// Why something failed.
#[derive(Serialize, ToSchema)]
pub struct FailureView {
    /// Stable word for programs.
    #[schema(examples("reauthorise", "rate_limited"))]
    code: String,
    /// What, where and what to do.
    message: String,
}

/// The runs of a job, newest first.
#[utoipa::path(get, path = "/jobs/{id}/runs", params(PageParams, ("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "A page of runs.", body = Page<RunView>)))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    job_id: Path<JobId>,
    page: Params<PageParams>,
) -> Answer<Page<RunView>> {
    let query = Query { descending: true, ..page.0.query(&RUNS, None, &*job_id) };
    let found = state.store.query::<Run>(caller.scope(), query).await?;
    if found.rows.is_empty() {
        // The runs of a job that was removed stay readable; those of another account's job do not exist.
        jobs::find(&state, &caller, *job_id).await?;
    }
    Ok(Json(Page::of(found, RunView::of)))
}

/// Runs a job now. With an `Idempotency-Key`, a repeat answers with the run that the first request made.
#[utoipa::path(post, path = "/jobs/{id}/run", params(IdempotencyKey, ("id" = String, Path, description = "The job's id.")),
    responses((status = 202, description = "Ordered; follow it at `/runs/{id}/events`.", body = RunView),
    (status = 402, description = "The plan of who pays allows no more runs (`plan_limit`), or a payment is missing (`payment_overdue`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "The source is paused or waits for a sign-in.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn start(
    state: Data<AppState>,
    caller: Caller,
    job_id: Path<JobId>,
    idempotency: IdempotencyKey,
) -> Result<HttpResponse, Problem> {
    let job = jobs::find(&state, &caller, *job_id).await?;
    order(&state, &caller, &job, &idempotency).await
}

/// One run.
#[utoipa::path(get, path = "/runs/{id}", params(("id" = String, Path, description = "The run's id.")),
    responses((status = 200, description = "The run.", body = RunView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<RunId>) -> Answer<RunView> {
    Ok(Json(RunView::of(find(&state, &caller, *id).await?)))
}

/// A run's events, from its beginning to its end (server-sent events).
///
/// With `Last-Event-ID`, what came after that event. `run.progress` events have no id: they are not kept.
#[utoipa::path(get, path = "/runs/{id}/events", params(("id" = String, Path, description = "The run's id."),
    ("Last-Event-ID" = Option<String>, Header, description = "The last event that the reader has.")),
    responses((status = 200, description = "A stream that ends with the run; each event's data is an `EventView`.",
        body = EventFrame, content_type = "text/event-stream")))]
pub async fn events(
    state: Data<AppState>,
    caller: Caller,
    id: Path<RunId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let run = find(&state, &caller, *id).await?;
    let following =
        Following { run_id: Some(run.run_id), job_id: Some(run.job_id), since_ms: run.created_at.as_millisecond() };
    Ok(sse::answer(&state, caller, &request, following))
}

/// Asks a run to stop: durable at once, honoured within a page or five seconds. Cancelling an ended run changes nothing.
#[utoipa::path(post, path = "/runs/{id}/cancel", params(("id" = String, Path, description = "The run's id.")),
    responses((status = 202, description = "The run, with `cancel_requested`, or ended already.", body = RunView)))]
pub async fn cancel(state: Data<AppState>, caller: Caller, id: Path<RunId>) -> Result<HttpResponse, Problem> {
    let run = find(&state, &caller, *id).await?;
    let run = cancel_run(&state.ports, caller.scope(), run.job_id, run.run_id, &caller.actor()).await?;
    Ok(HttpResponse::Accepted().json(RunView::of(run)))
}

/// Orders a new run like an ended one.
#[utoipa::path(post, path = "/runs/{id}/retry", params(("id" = String, Path, description = "The run's id.")),
    responses((status = 202, description = "The new run.", body = RunView),
    (status = 402, description = "The plan of who pays allows no more runs (`plan_limit`), or a payment is missing (`payment_overdue`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "The run has not ended.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn retry(state: Data<AppState>, caller: Caller, id: Path<RunId>) -> Result<HttpResponse, Problem> {
    let run = find(&state, &caller, *id).await?;
    let (scope, actor) = (caller.scope(), caller.actor());
    let run = retry_run(&state.ports, state.allowance(), scope, run.job_id, run.run_id, &actor).await?;
    Ok(HttpResponse::Accepted().json(RunView::of(run)))
}

/// Orders a run of a job for the caller, who is told at once when its source could not run.
///
/// # Errors
/// 402 beyond the plan; 409 for a source that is paused or waits for a sign-in; those of the stores.
pub async fn order(
    state: &AppState,
    caller: &Caller,
    job: &Job,
    idempotency: &IdempotencyKey,
) -> Result<HttpResponse, Problem> {
    let source = sources::find(state, caller, job.source_id).await?;
    check_active(&source)?;
    let trigger = Trigger::Manual { by: caller.actor() };
    let key = idempotency.0.as_deref();
    let run = order_run(&state.ports, state.allowance(), caller.scope(), job, trigger, key).await?;
    Ok(HttpResponse::Accepted().json(RunView::of(run)))
}

/// Nothing can run for a source that is paused or waits for a sign-in.
///
/// # Errors
/// 409.
pub fn check_active(source: &Source) -> Result<(), Problem> {
    match source.state {
        SourceState::Active => Ok(()),
        SourceState::Paused => Err(Problem::conflict("the source is paused; resume it first")),
        SourceState::NeedsAuthorisation => Err(Problem::conflict("the source waits for a sign-in; connect it first")),
    }
}

/// The caller's run of that id.
///
/// # Errors
/// 404.
pub async fn find(state: &AppState, caller: &Caller, id: RunId) -> Result<Run, Problem> {
    let found = state.store.find_by::<Run>(caller.scope(), "by-id", id).await?;
    found.map(|found| found.row).ok_or_else(Problem::not_found)
}

impl RunView {
    /// Shows a run.
    pub fn of(run: Run) -> Self {
        Self {
            id: run.run_id,
            job_id: run.job_id,
            source_id: run.source_id,
            restore_id: run.restore.map(|restore| restore.restore_id),
            trigger: match run.trigger {
                Trigger::Schedule { due_at, late_seconds } => {
                    TriggerView::Schedule { due_at, late_seconds: Some(late_seconds).filter(|seconds| *seconds > 0) }
                }
                Trigger::Manual { by } => TriggerView::Manual { by },
            },
            status: run.status,
            cancel_requested: run.cancel_requested,
            attempts: run.attempts,
            progress: ProgressView::of(run.progress),
            snapshot_id: run.snapshot_id,
            error: run.error.map(FailureView::of),
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

impl ProgressView {
    fn of(progress: Progress) -> Self {
        Self {
            streams: progress.streams.into_iter().map(|(name, stream)| (name, RunStream::of(stream))).collect(),
            bytes_read: progress.bytes_read,
            bytes_stored: progress.bytes_stored,
            requests: progress.requests,
            waited_ms: progress.waited_ms,
            estimate: progress
                .estimate
                .map(|Estimate { records_expected, ends_at }| EstimateView { records_expected, ends_at }),
        }
    }
}

impl RunStream {
    fn of(stream: StreamProgress) -> Self {
        let failed_items = stream.failed_items.into_iter();
        Self {
            state: stream.state,
            expected: stream.expected,
            records: stream.records,
            added: stream.added,
            changed: stream.changed,
            removed: stream.removed,
            unchanged: stream.unchanged,
            failed_items: failed_items
                .map(|failed| FailedItemView { item: failed.item, reason: failed.reason })
                .collect(),
            error: stream.error.map(FailureView::of),
        }
    }
}

impl FailureView {
    /// Shows an error.
    pub fn of(error: RunError) -> Self {
        Self { code: error.code, message: error.message }
    }
}
