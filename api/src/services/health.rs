//! How fresh and how complete the backups of sources are.

use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use listbackup_engine::{
    model::{Job, Source, SourceId, SourceState},
    run::{
        freshness::{self, AgeFrom, Completeness, Freshness, Gaps, Lack, Reason, State},
        watch,
    },
    tables::SOURCES,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, sources::find};
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams},
    schemas,
    state::AppState,
};

/// How a source's backups stand.
#[derive(Serialize, ToSchema)]
pub struct HealthView {
    /// The source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// Its name.
    name: String,
    /// Whether it may run.
    #[schema(value_type = schemas::SourceState)]
    state: SourceState,
    /// How old the backups are, and may be.
    freshness: FreshnessView,
    /// How much the newest snapshot has of what was chosen.
    completeness: CompletenessView,
}

/// How old the backups of a source are, and may be.
#[derive(Serialize, ToSchema)]
pub struct FreshnessView {
    /// `fresh`; `stale`: a chosen stream is older than it may be; `not_expected`: nothing says how old it may be; `paused`.
    #[schema(value_type = String)]
    state: State,
    /// Every chosen stream was read to its end then or later; absent when one never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    good_at: Option<Timestamp>,
    /// When it becomes stale, or became so.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_at: Option<Timestamp>,
    /// No chosen stream may be older than so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u64>,
    /// Where that is from: `source` where a person set it, `schedule` where it follows from a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    max_age_from: Option<AgeFrom>,
    /// Streams that are too old.
    stale_streams: Vec<StaleStream>,
}

/// A stream that is too old.
#[derive(Serialize, ToSchema)]
pub struct StaleStream {
    /// Its name.
    stream: String,
    /// When it was last read to its end; absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    good_at: Option<Timestamp>,
}

/// How much the newest snapshot has of what was chosen.
#[derive(Serialize, ToSchema)]
pub struct CompletenessView {
    /// Of a hundred streams so many are as they should be, rounded down: 100 only when all are.
    percent: u64,
    /// Chosen streams that the newest run read whole, without suspicion.
    good_streams: u64,
    /// Chosen streams.
    streams: u64,
    /// Records that are as the newest run found them.
    good_items: u64,
    /// Records, and parts that could not be read.
    items: u64,
    /// What is not as it should be.
    reasons: Vec<LackView>,
}

/// Why a source is not complete.
#[derive(Serialize, ToSchema)]
pub struct LackView {
    /// `never_backed_up`, `stream_failed`, `items_failed` or `suspicious`.
    #[schema(value_type = String)]
    what: Lack,
    /// The stream; absent for the source as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// How many parts failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// How the backups of all sources stand.
#[utoipa::path(get, path = "/sources/health", params(PageParams), responses(
    (status = 200, description = "A page of sources.", body = Page<HealthView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<PageParams>) -> Answer<Page<HealthView>> {
    let query = params.0.query(&SOURCES, None, &caller.account_id());
    let found = state.store.query::<Source>(caller.scope(), query).await?;
    let sources = found.rows.iter().map(|source| source.row.source_id);
    let jobs = watch::jobs_of_each(&state.store, caller.scope(), sources).await?;
    let (mut gaps, now) = (Gaps::default(), state.now());
    let each = found.rows.iter().zip(jobs);
    let items = each.map(|(source, jobs)| health(&source.row, &jobs, &mut gaps, now)).collect();
    Ok(Json(Page { items, next_cursor: found.next }))
}

/// How the backups of a source stand.
#[utoipa::path(get, path = "/sources/{id}/health", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "Its freshness and completeness.", body = HealthView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<SourceId>) -> Answer<HealthView> {
    let source = find(&state, &caller, *id).await?;
    let jobs = watch::jobs_of(&state.store, caller.scope(), source.source_id).await?;
    Ok(Json(health(&source, &jobs, &mut Gaps::default(), state.now())))
}

fn health(source: &Source, jobs: &[Job], gaps: &mut Gaps, now: Timestamp) -> HealthView {
    let age = freshness::max_age(source, jobs, gaps, now);
    HealthView {
        source_id: source.source_id,
        name: source.name.clone(),
        state: source.state,
        freshness: FreshnessView::of(freshness::freshness(source, age, now)),
        completeness: CompletenessView::of(freshness::completeness(source)),
    }
}

impl FreshnessView {
    fn of(found: Freshness) -> Self {
        let stale_stream = |(stream, good_at)| StaleStream { stream, good_at };
        Self {
            state: found.state,
            good_at: found.good_at,
            stale_at: found.stale_at,
            max_age_seconds: found.max_age.map(|age| age.seconds),
            max_age_from: found.max_age.map(|age| age.from),
            stale_streams: found.stale_streams.into_iter().map(stale_stream).collect(),
        }
    }
}

impl CompletenessView {
    fn of(found: Completeness) -> Self {
        let reason = |Reason { stream, what, count }| LackView { what, stream, count };
        Self {
            percent: found.percent(),
            good_streams: found.good_streams,
            streams: found.streams,
            good_items: found.good_items,
            items: found.items,
            reasons: found.reasons.into_iter().map(reason).collect(),
        }
    }
}
