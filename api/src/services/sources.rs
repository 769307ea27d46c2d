//! Sources: connected products. Their settings are in [`super::connections`], what one can do with them in
//! [`super::source_actions`].

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use futures::TryStreamExt;
use listbackup_engine::{
    Error, ErrorKind,
    model::{ActivityEvent, ActivityKind, Job, Source, SourceId, Watch},
    ports::{Condition, Key, Write},
    run::{
        event::{self, Subject},
        sources::named,
        update::{Decision, update as change},
    },
    store::{key, key1, put},
    tables::{API_KEYS, JOBS, SOURCES},
};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::{
    Answer, connections, jobs, retention,
    source_views::{NewSource, SourceChanges, SourceView, check_max_age, check_rate_share},
};
use crate::{
    body::{Body, Params},
    caller::Caller,
    changes::{commit, commit_gated, publish, told},
    etag::{ETag, IfMatch},
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    state::AppState,
};

/// Sources that lose so often in a row against others of the same who pays are not racing, something is wrong.
const ATTEMPTS_MAX: usize = 100;

/// Which sources.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SourceParams {
    /// At most so many sources.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
    /// Only of this integration.
    integration: Option<String>,
}

/// The account's sources.
#[utoipa::path(get, path = "/sources", params(SourceParams), responses(
    (status = 200, description = "A page of sources.", body = Page<SourceView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<SourceParams>) -> Answer<Page<SourceView>> {
    let page = PageParams::of(params.0.limit, params.0.cursor);
    let query = match params.0.integration {
        Some(integration) => page.query(&SOURCES, Some("by-integration"), &integration),
        None => page.query(&SOURCES, None, &caller.account_id()),
    };
    let found = state.store.query::<Source>(caller.scope(), query).await?;
    let now = state.now();
    Ok(Json(Page::of(found, |source| SourceView::of(source, now))))
}

/// Connects a product. One that signs in by OAuth waits for `POST /integrations/{name}/oauth/start`.
#[utoipa::path(post, path = "/sources", request_body = NewSource, params(IdempotencyKey), responses(
    (status = 201, description = "Made.", body = SourceView),
    (status = 402, description = "The plan of who pays allows no more sources, or no such retention (`plan_limit`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<NewSource>,
) -> Result<HttpResponse, Problem> {
    let source_id: SourceId = idempotency.id(&state, &caller, &body.digest).await?;
    if let Some(earlier) = state.store.find::<Source>(caller.scope(), place(&caller, source_id)).await? {
        return Ok(answer(&state, StatusCode::CREATED, earlier.row));
    }
    check_name(&state, &caller, &body.value.name, None).await?;
    let retention = retention::accept(&caller, body.value.retention.clone().map(Some), body.value.lock_days)?;
    let retention = retention.of_new(&state, &caller).await?;
    body.value.guard.check()?;
    check_rate_share(body.value.rate_share_percent)?;
    check_max_age(body.value.max_age_seconds)?;
    let (settings, credential, first_state) = connections::accept(&state, &caller, source_id, &body.value).await?;
    let now = state.now();
    let NewSource { name, integration, streams, rate_share_percent, max_age_seconds, .. } = body.value;
    let mut source = Source {
        settings,
        credential_id: credential.as_ref().map(|credential| credential.key_id),
        streams,
        state: first_state,
        rate_share_percent,
        watch: Watch { max_age_seconds, ..Watch::beginning(now) },
        ..Source::new(caller.account_id(), source_id, integration, name, now)
    };
    retention.apply(&mut source);
    body.value.guard.apply(&mut source);
    let mut writes = vec![put(&source, Condition::Absent)?];
    writes.extend(credential.map(|credential| put(&credential, Condition::Absent)).transpose()?);
    let source = keep_new(&state, &caller, source, writes).await?;
    Ok(answer(&state, StatusCode::CREATED, source))
}

/// Writes a new source, as far as the plan of who pays allows one more.
async fn keep_new(state: &AppState, caller: &Caller, source: Source, writes: Vec<Write>) -> Result<Source, Problem> {
    for _ in 0..ATTEMPTS_MAX {
        let gate = state.allowance().source(caller.account_id()).await?;
        let told = event_of(state, caller, ActivityKind::SourceCreated, &source);
        match commit_gated(state, caller.scope(), writes.clone(), gate, told).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return Ok(done.map(|()| source)?),
        }
        // A request at the same time, with the same Idempotency-Key, was first; or another source of who pays was.
        if let Some(first) = state.store.find::<Source>(caller.scope(), place(caller, source.source_id)).await? {
            return Ok(first.row);
        }
    }
    Err(Error::new(ErrorKind::Retry, "others make sources all the time; try again").into())
}

/// One source.
#[utoipa::path(get, path = "/sources/{id}", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "The source, with its `ETag`.", body = SourceView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<SourceId>) -> Result<HttpResponse, Problem> {
    let source = find(&state, &caller, *id).await?;
    Ok(answer(&state, StatusCode::OK, source))
}

/// Changes a source.
#[utoipa::path(patch, path = "/sources/{id}", params(("id" = String, Path, description = "The source's id.")),
    request_body = SourceChanges, responses(
    (status = 200, description = "The source as it is now.", body = SourceView),
    (status = 402, description = "The plan of who pays allows no such retention (`plan_limit`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn update(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SourceId>,
    if_match: IfMatch,
    body: Body<SourceChanges>,
) -> Result<HttpResponse, Problem> {
    let source = find(&state, &caller, *id).await?;
    if_match.check(&tag(&source))?;
    let SourceChanges { name, settings, streams, retention, lock_days, guard, rate_share_percent, max_age_seconds } =
        body.value;
    let retention = retention::accept(&caller, retention, lock_days)?;
    retention.check(&state, &caller, &source).await?;
    guard.check()?;
    check_rate_share(rate_share_percent.flatten())?;
    check_max_age(max_age_seconds.flatten())?;
    if let Some(name) = &name {
        check_name(&state, &caller, name, Some(*id)).await?;
    }
    let resettled = match settings {
        Some(settings) => Some(connections::resettle(&state, &caller, &source, settings).await?),
        None => None,
    };
    if let Some(Some(streams)) = &streams {
        connections::check_streams(&state, &caller, &source, streams).await?;
    }
    let source = change_source(&state, &caller, *id, &if_match, ActivityKind::SourceUpdated, |source| {
        source.name = name.clone().unwrap_or_else(|| source.name.clone());
        source.streams = streams.clone().unwrap_or_else(|| source.streams.clone());
        retention.apply(source);
        guard.apply(source);
        source.rate_share_percent = rate_share_percent.unwrap_or(source.rate_share_percent);
        source.watch.max_age_seconds = max_age_seconds.unwrap_or(source.watch.max_age_seconds);
        let Some(new) = &resettled else { return Ok(Vec::new()) };
        source.settings = new.settings.clone();
        source.credential_id = new.credential_id;
        if let Some(state) = new.state {
            source.state = state;
        }
        Ok(new.write.clone().into_iter().collect())
    })
    .await?;
    Ok(answer(&state, StatusCode::OK, source))
}

/// Removes a source with its jobs and its credential; its snapshots stay.
#[utoipa::path(delete, path = "/sources/{id}", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 204, description = "Removed."),
    (status = 409, description = "A run works on it; cancel that first.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SourceId>,
    if_match: IfMatch,
) -> Result<HttpResponse, Problem> {
    let found = state.store.get::<Source>(caller.scope(), place(&caller, *id)).await?;
    if_match.check(&tag(&found.row))?;
    if found.row.lease.live_run(state.now()).is_some() {
        return Err(Problem::conflict("a run works on this source; cancel it or wait for its end"));
    }
    for job in jobs_of(&state, &caller, *id).await? {
        jobs::remove(&state, &caller, &job).await?;
    }
    let told = event_of(&state, &caller, ActivityKind::SourceDeleted, &found.row);
    let condition = Condition::Version(found.version);
    let mut writes = vec![Write::Delete { table: &SOURCES, key: place(&caller, *id), condition }];
    writes.extend(found.row.credential_id.map(|key_id| Write::Delete {
        table: &API_KEYS,
        key: key1(key_id),
        condition: Condition::Any,
    }));
    commit(&state, caller.scope(), writes, told).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Changes a source's row by an edit that may add writes of its own; an edit that changes nothing writes nothing.
pub async fn change_source(
    state: &AppState,
    caller: &Caller,
    id: SourceId,
    if_match: &IfMatch,
    kind: ActivityKind,
    edit: impl Fn(&mut Source) -> Result<Vec<Write>, Problem>,
) -> Result<Source, Problem> {
    let (source, events) = change(&state.store, caller.scope(), place(caller, id), |mut source: Source| {
        let before = source.clone();
        let mut writes = match if_match.check(&tag(&source)).and_then(|()| edit(&mut source)) {
            Ok(writes) => writes,
            Err(problem) => return Ok(Decision::Keep(Err(problem))),
        };
        if source == before && writes.is_empty() {
            return Ok(Decision::Keep(Ok((source, Vec::new()))));
        }
        source.updated_at = state.now();
        source.watch.look_at(source.updated_at);
        let told = event_of(state, caller, kind, &source);
        writes.push(event::keep(&told)?);
        Ok(Decision::Write(source.clone(), writes, Ok((source, vec![told]))))
    })
    .await??;
    publish(state, caller.scope(), &events);
    Ok(source)
}

/// The caller's source of that id.
///
/// # Errors
/// 404.
pub async fn find(state: &AppState, caller: &Caller, id: SourceId) -> Result<Source, Problem> {
    Ok(state.store.get::<Source>(caller.scope(), place(caller, id)).await?.row)
}

async fn check_name(state: &AppState, caller: &Caller, name: &str, own: Option<SourceId>) -> Result<(), Problem> {
    match named(&state.store, caller.scope(), name).await? {
        Some(found) if Some(found.row.source_id) != own => {
            Err(Problem::invalid_field("/name", "another source has this name already"))
        }
        _ => Ok(()),
    }
}

/// The jobs of a source, oldest first: of the account's, since an index may not have one that was made just now.
///
/// # Errors
/// Those of the store.
pub async fn jobs_of(state: &AppState, caller: &Caller, id: SourceId) -> Result<Vec<Job>, Problem> {
    let query = PageParams::of(Some(crate::paging::LIMIT_MAX), None).query(&JOBS, None, &caller.account_id());
    let jobs = state.store.rows::<Job>(caller.scope(), query);
    Ok(jobs.try_filter(|job| std::future::ready(job.source_id == id)).try_collect().await?)
}

fn place(caller: &Caller, id: SourceId) -> Key {
    key(caller.account_id(), id)
}

fn event_of(state: &AppState, caller: &Caller, kind: ActivityKind, source: &Source) -> ActivityEvent {
    let details = [("name", json!(source.name)), ("integration", json!(source.integration))];
    told(state, caller, kind, Subject::source(source.source_id), details)
}

fn tag(source: &Source) -> ETag {
    ETag::of(source.updated_at)
}

/// A source, with its `ETag`.
pub fn answer(state: &AppState, status: StatusCode, source: Source) -> HttpResponse {
    tag(&source).answer(status, &SourceView::of(source, state.now()))
}
