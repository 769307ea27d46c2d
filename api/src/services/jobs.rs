//! Jobs: what is to be done with a source, and when.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use listbackup_engine::{
    Error, ErrorKind,
    model::{
        ActivityEvent, ActivityKind, Job, JobId, JobState, Source, SourceId,
        job::{Policies, Schedule},
    },
    ports::{Condition, Key, Write},
    run::{
        due::{is_overdue, reschedule, settle},
        event::{self, Subject},
        update::{Decision, update as change},
    },
    snapshot::KeyDestruction,
    store::{key, put},
    tables::JOBS,
};
use serde_json::json;

use super::{
    Answer,
    job_views::{JobChanges, JobParams, JobView, NewJob},
    policies::PolicyChanges,
    schedules::checked,
};
use crate::{
    body::{Body, Params},
    caller::Caller,
    changes::{commit, publish, told},
    etag::{ETag, IfMatch},
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    state::AppState,
};

/// The account's jobs.
#[utoipa::path(get, path = "/jobs", params(JobParams), responses(
    (status = 200, description = "A page of jobs.", body = Page<JobView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<JobParams>) -> Answer<Page<JobView>> {
    let page = PageParams::of(params.0.limit, params.0.cursor);
    let query = match params.0.source_id {
        Some(source_id) => page.query(&JOBS, Some("by-source"), &source_id),
        None => page.query(&JOBS, None, &caller.account_id()),
    };
    Ok(Json(Page::of(state.store.query::<Job>(caller.scope(), query).await?, JobView::of)))
}

/// Makes a job.
#[utoipa::path(post, path = "/jobs", request_body = NewJob, params(IdempotencyKey), responses(
    (status = 201, description = "Made.", body = JobView)))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<NewJob>,
) -> Result<HttpResponse, Problem> {
    let NewJob { source_id, name, schedule, overlap, catch_up, jitter_seconds } = body.value;
    let schedule = checked(schedule)?;
    let policies = PolicyChanges { overlap, catch_up, jitter_seconds }.of_new(&schedule);
    if state.store.find::<Source>(caller.scope(), key(caller.account_id(), source_id)).await?.is_none() {
        return Err(Problem::invalid_field("/source_id", "there is no such source"));
    }
    let job_id: JobId = idempotency.id(&state, &caller, &body.digest).await?;
    if let Some(earlier) = state.store.find::<Job>(caller.scope(), place(&caller, job_id)).await? {
        return Ok(answer(StatusCode::CREATED, earlier.row));
    }
    refuse_destroyed(&state, &caller).await?;
    let job = new_job(&state, &caller, job_id, Order { source_id, name, schedule, policies })?;
    let job = insert_or_find(&state, &caller, job).await?;
    Ok(answer(StatusCode::CREATED, job))
}

/// One job.
#[utoipa::path(get, path = "/jobs/{id}", params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "The job, with its `ETag`.", body = JobView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<JobId>) -> Result<HttpResponse, Problem> {
    Ok(answer(StatusCode::OK, find(&state, &caller, *id).await?))
}

/// Changes a job.
#[utoipa::path(patch, path = "/jobs/{id}", params(("id" = String, Path, description = "The job's id.")),
    request_body = JobChanges, responses(
    (status = 200, description = "The job as it is now.", body = JobView),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn update(
    state: Data<AppState>,
    caller: Caller,
    id: Path<JobId>,
    if_match: IfMatch,
    body: Body<JobChanges>,
) -> Result<HttpResponse, Problem> {
    let JobChanges { name, schedule, overlap, catch_up, jitter_seconds } = body.value;
    let schedule = schedule.map(checked).transpose()?;
    let policies = PolicyChanges { overlap, catch_up, jitter_seconds };
    let job = change_job(&state, &caller, *id, &if_match, |job| {
        job.name = name.clone().unwrap_or_else(|| job.name.clone());
        job.schedule = schedule.clone().unwrap_or_else(|| job.schedule.clone());
        job.policies = policies.applied(job.policies);
    })
    .await?;
    Ok(answer(StatusCode::OK, job))
}

/// Removes a job; its runs and snapshots stay.
#[utoipa::path(delete, path = "/jobs/{id}", params(("id" = String, Path, description = "The job's id.")),
    responses((status = 204, description = "Removed."),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    id: Path<JobId>,
    if_match: IfMatch,
) -> Result<HttpResponse, Problem> {
    let job = find(&state, &caller, *id).await?;
    if_match.check(&tag(&job))?;
    remove(&state, &caller, &job).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes a job.
///
/// # Errors
/// Those of the store.
pub async fn remove(state: &AppState, caller: &Caller, job: &Job) -> Result<(), Error> {
    let told = event_of(state, caller, ActivityKind::JobDeleted, job);
    let delete = Write::Delete { table: &JOBS, key: place(caller, job.job_id), condition: Condition::Any };
    commit(state, caller.scope(), vec![delete], told).await
}

/// Stops a job's schedule. A live run goes on.
#[utoipa::path(post, path = "/jobs/{id}/pause", params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "Paused.", body = JobView)))]
pub async fn pause(
    state: Data<AppState>,
    caller: Caller,
    id: Path<JobId>,
    if_match: IfMatch,
) -> Result<HttpResponse, Problem> {
    let job = change_job(&state, &caller, *id, &if_match, |job| job.state = JobState::Paused).await?;
    Ok(answer(StatusCode::OK, job))
}

/// Lets a job's schedule count again.
#[utoipa::path(post, path = "/jobs/{id}/resume", params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "Its schedule counts.", body = JobView)))]
pub async fn resume(
    state: Data<AppState>,
    caller: Caller,
    id: Path<JobId>,
    if_match: IfMatch,
) -> Result<HttpResponse, Problem> {
    refuse_destroyed(&state, &caller).await?;
    let job = change_job(&state, &caller, *id, &if_match, |job| job.state = JobState::Active).await?;
    Ok(answer(StatusCode::OK, job))
}

/// What a new job is to be.
struct Order {
    source_id: SourceId,
    name: String,
    schedule: Schedule,
    policies: Policies,
}

/// A job that is not stored yet, with its first due time.
fn new_job(state: &AppState, caller: &Caller, job_id: JobId, order: Order) -> Result<Job, Error> {
    let Order { source_id, name, schedule, policies } = order;
    let now = state.now();
    let mut job = Job { schedule, policies, ..Job::new(caller.account_id(), source_id, job_id, name, now) };
    reschedule(&mut job, now)?;
    Ok(job)
}

/// Stores a new job, or finds the one that a request at the same time stored under its id.
///
/// # Errors
/// Those of the store.
pub async fn insert_or_find(state: &AppState, caller: &Caller, job: Job) -> Result<Job, Problem> {
    let told = event_of(state, caller, ActivityKind::JobCreated, &job);
    match commit(state, caller.scope(), vec![put(&job, Condition::Absent)?], told).await {
        Err(error) if error.kind() == ErrorKind::Conflict => find(state, caller, job.job_id).await,
        done => Ok(done.map(|()| job)?),
    }
}

/// Changes a job. Times that have come by the old schedule get their outcome first; the next time moves only when the change is
/// one of times.
async fn change_job(
    state: &AppState,
    caller: &Caller,
    id: JobId,
    if_match: &IfMatch,
    edit: impl Fn(&mut Job),
) -> Result<Job, Problem> {
    let times = |job: &Job| (job.schedule.clone(), job.state, job.policies.jitter_seconds);
    let moves_times = |before: &Job| {
        let mut after = before.clone();
        edit(&mut after);
        times(before) != times(&after)
    };
    if moves_times(&find(state, caller, id).await?) {
        settle(&state.ports, &state.system, caller.scope(), id, state.plans()).await?;
    }
    let (job, events) = change(&state.store, caller.scope(), place(caller, id), |mut job: Job| {
        if let Err(stale) = if_match.check(&tag(&job)) {
            return Ok(Decision::Keep(Err(stale)));
        }
        let before = job.clone();
        edit(&mut job);
        if job == before {
            return Ok(Decision::Keep(Ok((job, Vec::new()))));
        }
        let now = state.now();
        job.updated_at = now;
        if times(&before) != times(&job) {
            if is_overdue(&before, now) {
                return Err(Error::new(
                    ErrorKind::Retry,
                    "one of the job's times comes at this very moment; try again",
                ));
            }
            reschedule(&mut job, now)?;
        }
        let told = event_of(state, caller, ActivityKind::JobUpdated, &job);
        Ok(Decision::Write(job.clone(), vec![event::keep(&told)?], Ok((job, vec![told]))))
    })
    .await??;
    publish(state, caller.scope(), &events);
    Ok(job)
}

/// The caller's job of that id.
///
/// # Errors
/// 404.
pub async fn find(state: &AppState, caller: &Caller, id: JobId) -> Result<Job, Problem> {
    Ok(state.store.get::<Job>(caller.scope(), place(caller, id)).await?.row)
}

/// No job can do anything in an account whose keys were destroyed.
async fn refuse_destroyed(state: &AppState, caller: &Caller) -> Result<(), Problem> {
    Ok(KeyDestruction::refuse(&*state.ports.blobs, caller.scope()).await?)
}

fn place(caller: &Caller, id: JobId) -> Key {
    key(caller.account_id(), id)
}

fn event_of(state: &AppState, caller: &Caller, kind: ActivityKind, job: &Job) -> ActivityEvent {
    let details = [("name", json!(job.name)), ("state", json!(job.state))];
    told(state, caller, kind, Subject::job(job.source_id, job.job_id), details)
}

fn tag(job: &Job) -> ETag {
    ETag::of(job.updated_at)
}

fn answer(status: StatusCode, job: Job) -> HttpResponse {
    tag(&job).answer(status, &JobView::of(job))
}
