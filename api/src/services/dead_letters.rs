//! Dead letters: run orders that were given up after too many deliveries.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    model::{ActivityKind, JobId, RunId, SourceId},
    ports::{DeadLetter, QueueName},
    run::{event::Subject, order::RunOrder},
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::Params,
    caller::Caller,
    changes::{commit, told},
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// Letters read at a time; the queue is shared, so those of other accounts are passed over.
const READ_MAX: usize = 500;

/// A run order that was given up.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterView {
    /// The message's id.
    id: String,
    /// The run that was ordered.
    #[schema(value_type = schemas::RunId)]
    run_id: RunId,
    /// Its job.
    #[schema(value_type = schemas::JobId)]
    job_id: JobId,
    /// Its source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// How often it was delivered.
    receive_count: u32,
    /// When it was sent.
    sent_at: Timestamp,
}

/// The account's dead letters, oldest first.
#[utoipa::path(get, path = "/jobs/dead-letters", params(PageParams), responses(
    (status = 200, description = "A page of dead letters.", body = Page<DeadLetterView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<DeadLetterView>> {
    let wanted = page.0.limit();
    let mut items = own_letters(&state, &caller, page.0.cursor, wanted + 1, |_| true).await?;
    let is_last = items.len() <= wanted;
    items.truncate(wanted);
    let next_cursor = items.last().filter(|_| !is_last).map(|letter| letter.id.clone());
    Ok(Json(Page { items, next_cursor }))
}

/// Puts a dead letter back into the queue, with its count at zero.
#[utoipa::path(post, path = "/jobs/dead-letters/{id}/redrive", params(("id" = String, Path, description = "The message's id.")),
    responses((status = 202, description = "Back in the queue.", body = DeadLetterView)))]
pub async fn redrive(state: Data<AppState>, caller: Caller, id: Path<String>) -> Result<HttpResponse, Problem> {
    let found = own_letters(&state, &caller, None, 1, |letter| letter.id == *id).await?.pop();
    let letter = found.ok_or_else(Problem::not_found)?;
    // The queue and the tables share no write: told first, so that nothing is done of which nobody knows.
    let subject = Subject {
        source_id: Some(letter.source_id),
        job_id: Some(letter.job_id),
        run_id: Some(letter.run_id),
        ..Subject::default()
    };
    let details = [("message", json!(letter.id)), ("receiveCount", json!(letter.receive_count))];
    let told = told(&state, &caller, ActivityKind::RunRedriven, subject, details);
    commit(&state, caller.scope(), Vec::new(), told).await?;
    if !state.ports.queue.redrive(QueueName::Jobs, &letter.id).await? {
        return Err(Problem::not_found());
    }
    Ok(HttpResponse::Accepted().json(letter))
}

/// Up to `wanted` of the account's own letters that `takes` takes, after the one with id `after`.
async fn own_letters(
    state: &AppState,
    caller: &Caller,
    mut after: Option<String>,
    wanted: usize,
    takes: impl Fn(&DeadLetterView) -> bool,
) -> Result<Vec<DeadLetterView>> {
    let mut found = Vec::new();
    while found.len() < wanted {
        let letters = state.ports.queue.dead_letters(QueueName::Jobs, after.as_deref(), READ_MAX).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.id.clone());
        let own = letters.into_iter().filter_map(|letter| DeadLetterView::of(letter, caller));
        found.extend(own.filter(&takes).take(wanted - found.len()));
    }
    Ok(found)
}

impl DeadLetterView {
    fn of(letter: DeadLetter, caller: &Caller) -> Option<Self> {
        let order: RunOrder = serde_json::from_value(letter.body).ok()?;
        (order.account_id == caller.account_id()).then_some(Self {
            id: letter.id,
            run_id: order.run_id,
            job_id: order.job_id,
            source_id: order.source_id,
            receive_count: letter.receive_count,
            sent_at: letter.sent_at,
        })
    }
}
