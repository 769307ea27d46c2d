//! What each source's runs came to, and how its backups stand.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
    web::Data,
};
use jiff::{Timestamp, civil::Date};
use listbackup_engine::{
    Result as EngineResult,
    model::{AccountId, Job, Source, SourceId, SourceState, counter::Of, scope::AccountScope},
    run::{
        counted::Counted,
        freshness::{self, Gaps, Lack, State},
        watch,
    },
    tables::SOURCES,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    analytics::{FiguresView, growth, range},
    subtree,
};
use crate::{
    body::Params,
    caller::Caller,
    csv,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// The header with the cursor of the next page of a CSV answer.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("listbackup-next-cursor");

/// Which sources, and over which days.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SourcesParams {
    /// At most so many sources.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page. A CSV answer has it in the header `ListBackup-Next-Cursor`.
    cursor: Option<String>,
    /// From this day, in UTC; thirty days when absent.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-01")]
    from: Option<Date>,
    /// To this day, included; today when absent. No more than 400 days.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-30")]
    to: Option<Date>,
    /// Only of this integration.
    integration: Option<String>,
    /// Those of the account, then those of each account below it in which the caller may read.
    #[param(required = false)]
    subtree: Option<bool>,
}

/// What a source's runs came to, and how its backups stand.
#[derive(Serialize, ToSchema)]
pub struct SourceFigures {
    /// The source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// The account that it is of.
    #[schema(value_type = schemas::AccountId)]
    account_id: AccountId,
    /// Its name.
    name: String,
    /// The integration that reads it.
    integration: String,
    /// Whether it may run.
    #[schema(value_type = schemas::SourceState)]
    state: SourceState,
    /// `fresh`, `stale`, `not_expected` or `paused`, now.
    #[schema(value_type = String)]
    freshness: State,
    /// Every chosen stream was read to its end then or later; null when one never was.
    good_at: Option<Timestamp>,
    /// When it becomes stale, or became so; null where nothing says how old it may be.
    stale_at: Option<Timestamp>,
    /// The newest snapshot: `complete`, `partial`, or `none` when there is none.
    snapshot: String,
    /// Of a hundred chosen streams so many are in it as they should be, rounded down.
    complete_percent: u64,
    /// Streams that the newest run could not read.
    failed_streams: Vec<String>,
    /// Records of the newest snapshot, at the end of the time.
    live_records: u64,
    /// Bytes of the segments that hold them.
    live_bytes: u64,
    /// How many more records than before the first day; fewer when below zero.
    records_growth: i64,
    /// How many more bytes.
    bytes_growth: i64,
    /// What its runs came to.
    #[serde(flatten)]
    figures: FiguresView,
}

/// Sources with what their runs came to.
#[utoipa::path(get, path = "/analytics/sources", params(SourcesParams), responses(
    (status = 200, description = "A page of sources; in CSV a line a source.",
        headers(("ListBackup-Next-Cursor" = Option<String>, description = "Of a CSV answer: the next page.")),
        content((Page<SourceFigures> = "application/json"), (String = "text/csv")))))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    params: Params<SourcesParams>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let asked = params.0;
    let days = range(&state, asked.from, asked.to)?;
    let page = PageParams::of(asked.limit, asked.cursor);
    let query = |scope: &AccountScope, page: &PageParams| match &asked.integration {
        Some(integration) => page.query(&SOURCES, Some("by-integration"), integration),
        None => page.query(&SOURCES, None, &scope.account_id()),
    };
    let (rows, next_cursor) = match asked.subtree {
        Some(true) => subtree::readable(&state, &caller).await?.page(&state, &page, query).await?,
        _ => {
            let found = state.store.query::<Source>(caller.scope(), query(caller.scope(), &page)).await?;
            (found.rows.into_iter().map(|found| (*caller.scope(), found.row)).collect(), found.next)
        }
    };
    let mut gaps = Gaps::default();
    let mut items = Vec::with_capacity(rows.len());
    for of_account in rows.chunk_by(|(one, _), (next, _)| one.account_id() == next.account_id()) {
        items.extend(figures_of_account(&state, of_account, &mut gaps, days).await?);
    }
    let page = Page { items, next_cursor };
    let mut answer = csv::answer(&request, &page, &page.items)?;
    if let Some(cursor) = page.next_cursor.as_deref().and_then(|cursor| HeaderValue::from_str(cursor).ok()) {
        answer.headers_mut().insert(NEXT_CURSOR, cursor);
    }
    Ok(answer)
}

async fn figures_of_account(
    state: &AppState,
    rows: &[(AccountScope, Source)],
    gaps: &mut Gaps,
    (first, last): (Date, Date),
) -> EngineResult<Vec<SourceFigures>> {
    let Some((scope, _)) = rows.first() else { return Ok(Vec::new()) };
    let each: Vec<Of<'_>> = rows.iter().map(|(_, source)| Of::Source(source.source_id)).collect();
    let counted = Counted::read_each(&state.store, scope, &each, first, last).await?;
    let jobs = watch::jobs_of_each(&state.store, scope, rows.iter().map(|(_, source)| source.source_id)).await?;
    let now = state.now();
    let each = rows.iter().zip(counted).zip(jobs);
    Ok(each.map(|(((_, source), counted), jobs)| figures(source, &counted, &jobs, gaps, now)).collect())
}

fn figures(source: &Source, counted: &Counted, jobs: &[Job], gaps: &mut Gaps, now: Timestamp) -> SourceFigures {
    let total = counted.total();
    let age = freshness::max_age(source, jobs, gaps, now);
    let fresh = freshness::freshness(source, age, now);
    let complete = freshness::completeness(source);
    let failed = complete.reasons.iter().filter(|reason| reason.what == Lack::StreamFailed);
    let snapshot = match source.head {
        None => "none",
        Some(_) if complete.good_streams == complete.streams => "complete",
        Some(_) => "partial",
    };
    SourceFigures {
        source_id: source.source_id,
        account_id: source.account_id,
        name: source.name.clone(),
        integration: source.integration.clone(),
        state: source.state,
        freshness: fresh.state,
        good_at: fresh.good_at,
        stale_at: fresh.stale_at,
        snapshot: snapshot.to_owned(),
        complete_percent: complete.percent(),
        failed_streams: failed.filter_map(|reason| reason.stream.clone()).collect(),
        live_records: total.live_records,
        live_bytes: total.live_bytes,
        records_growth: growth(total.live_records, counted.live_before.0),
        bytes_growth: growth(total.live_bytes, counted.live_before.1),
        figures: FiguresView::of(&total),
    }
}
