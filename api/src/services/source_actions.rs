//! What one can do with a source: run it now, pause it, let it go on.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use listbackup_engine::{
    model::{ActivityKind, Job, Source, SourceId, SourceState},
    run::first_job,
};

use super::{
    jobs, runs,
    source_views::SourceView,
    sources::{answer, change_source, find},
};
use crate::{caller::Caller, etag::IfMatch, idempotency::IdempotencyKey, problem::Problem, state::AppState};

/// Runs a source now: by its first job, or by one that is made for it.
///
/// With an `Idempotency-Key`, a repeat answers with the run that the first request made.
#[utoipa::path(post, path = "/sources/{id}/sync", params(IdempotencyKey, ("id" = String, Path, description = "The source's id.")),
    responses((status = 202, description = "Ordered; follow it at `/runs/{id}/events`.", body = runs::RunView),
    (status = 402, description = "The plan of who pays allows no more runs (`plan_limit`), or a payment is missing (`payment_overdue`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "The source is paused or waits for a sign-in.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn sync(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SourceId>,
    idempotency: IdempotencyKey,
) -> Result<HttpResponse, Problem> {
    let source = find(&state, &caller, *id).await?;
    let job = job_of(&state, &caller, &source).await?;
    runs::order(&state, &caller, &job, &idempotency).await
}

/// Stops a source from running. A live run goes on.
#[utoipa::path(post, path = "/sources/{id}/pause", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "Paused.", body = SourceView),
    (status = 409, description = "It waits for a sign-in.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn pause(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SourceId>,
    if_match: IfMatch,
) -> Result<HttpResponse, Problem> {
    switch(&state, &caller, *id, &if_match, SourceState::Paused).await
}

/// Lets a source run again.
#[utoipa::path(post, path = "/sources/{id}/resume", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "It may run.", body = SourceView),
    (status = 409, description = "It waits for a sign-in.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn resume(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SourceId>,
    if_match: IfMatch,
) -> Result<HttpResponse, Problem> {
    switch(&state, &caller, *id, &if_match, SourceState::Active).await
}

async fn switch(
    state: &AppState,
    caller: &Caller,
    id: SourceId,
    if_match: &IfMatch,
    to: SourceState,
) -> Result<HttpResponse, Problem> {
    let kind = if to == SourceState::Paused { ActivityKind::SourcePaused } else { ActivityKind::SourceResumed };
    let source = change_source(state, caller, id, if_match, kind, |source| {
        if source.state == SourceState::NeedsAuthorisation {
            return Err(Problem::conflict("the source waits for a sign-in; connect it first"));
        }
        source.state = to;
        Ok(Vec::new())
    })
    .await?;
    Ok(answer(state, StatusCode::OK, source))
}

/// The source's first job, made when there is none.
///
/// # Errors
/// Those of the store.
pub async fn job_of(state: &AppState, caller: &Caller, source: &Source) -> Result<Job, Problem> {
    match first_job::find(&state.store, caller.scope(), source.source_id).await? {
        Some(job) => Ok(job),
        None => jobs::insert_or_find(state, caller, first_job::make(source, state.now())).await,
    }
}
