//! What runs came to, by day. Read from rows of sums, one a day: it takes no longer where there are more sources and runs.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use jiff::{ToSpan, civil::Date};
use listbackup_engine::{
    model::{
        Figures,
        counter::{Ends, Of, day_of},
    },
    run::counted::{self, Counted},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::subtree::{self, Readable};
use crate::{body::Params, caller::Caller, csv, problem::Problem, state::AppState};

/// Days that are shown when the caller names none.
const DAYS_DEFAULT: i64 = 30;
/// Most days of one answer.
const DAYS_MAX: i32 = 400;

/// Over which days, and of what.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnalyticsParams {
    /// From this day, in UTC; thirty days when absent.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-01")]
    from: Option<Date>,
    /// To this day, included; today when absent. No more than 400 days.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-30")]
    to: Option<Date>,
    /// Only of this integration.
    integration: Option<String>,
    /// The account with all below it in which the caller may read.
    #[param(required = false)]
    subtree: Option<bool>,
}

/// Runs by how they ended.
#[derive(Serialize, ToSchema)]
pub struct EndsView {
    /// All of them.
    total: u64,
    /// All streams were read.
    succeeded: u64,
    /// Some parts failed.
    partial: u64,
    /// There is no new snapshot.
    failed: u64,
    /// Somebody stopped it.
    cancelled: u64,
    /// It was not begun.
    skipped: u64,
}

/// What runs came to.
#[derive(Serialize, ToSchema)]
pub struct FiguresView {
    /// Backups.
    runs: EndsView,
    /// Restores.
    restores: EndsView,
    /// Of a hundred backups that tried so many succeeded, rounded down: 100 only when all did. Null when none tried.
    success_percent: Option<u64>,
    /// Records that backups found live: one that does not change counts in each.
    records: u64,
    /// Records that were new.
    added: u64,
    /// Records that were another than before.
    changed: u64,
    /// Records that were gone.
    removed: u64,
    /// Records in which reading only changes had missed something, as a full read found.
    drift: u64,
    /// Bytes that products sent, for restores too.
    bytes_read: u64,
    /// Bytes added to the store.
    bytes_stored: u64,
    /// Requests to products, for restores too.
    requests: u64,
    /// Milliseconds in which they waited for the products' limits.
    waited_ms: u64,
    /// Milliseconds from begin to end of runs, restores included.
    ran_ms: u64,
}

/// A day of runs.
#[derive(Serialize, ToSchema)]
pub struct RunsDay {
    /// The day, in UTC.
    #[schema(value_type = String, format = Date)]
    date: Date,
    /// What the runs came to that ended on it.
    #[serde(flatten)]
    figures: FiguresView,
}

/// Runs by day.
#[derive(Serialize, ToSchema)]
pub struct RunsView {
    /// Every day of the range, the oldest first.
    days: Vec<RunsDay>,
}

/// What is live at the end of a day.
#[derive(Serialize, ToSchema)]
pub struct StorageDay {
    /// The day, in UTC.
    #[schema(value_type = String, format = Date)]
    date: Date,
    /// Records of the newest snapshot of each source.
    live_records: u64,
    /// Bytes of the segments that hold them.
    live_bytes: u64,
    /// How many more records than the day before; fewer when below zero.
    records_growth: i64,
    /// How many more bytes.
    bytes_growth: i64,
    /// Bytes that backups added to the store on that day.
    bytes_stored: u64,
}

/// What is live, by day.
#[derive(Serialize, ToSchema)]
pub struct StorageView {
    /// Every day of the range, the oldest first.
    days: Vec<StorageDay>,
}

/// What a time came to, and how things are.
#[derive(Serialize, ToSchema)]
pub struct OverviewView {
    /// The first day, in UTC.
    #[schema(value_type = String, format = Date)]
    from: Date,
    /// The last one.
    #[schema(value_type = String, format = Date)]
    to: Date,
    /// Accounts that it is the sum of.
    accounts: u64,
    /// Sources that are there now.
    sources: u64,
    /// Those of them that are stale.
    stale_sources: u64,
    /// Records of the newest snapshot of each source, at the end of the time.
    live_records: u64,
    /// Bytes of the segments that hold them.
    live_bytes: u64,
    /// How many more records than before the first day; fewer when below zero.
    records_growth: i64,
    /// How many more bytes.
    bytes_growth: i64,
    /// What runs came to.
    #[serde(flatten)]
    figures: FiguresView,
}

/// Totals of a time: runs, records, bytes, growth; and sources as they are now.
#[utoipa::path(get, path = "/analytics/overview", params(AnalyticsParams), responses(
    (status = 200, description = "The totals; in CSV one line.", content(
        (OverviewView = "application/json"), (String = "text/csv")))))]
pub async fn overview(
    state: Data<AppState>,
    caller: Caller,
    params: Params<AnalyticsParams>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let asked = params.0;
    let range = asked.range(&state)?;
    let accounts = asked.accounts(&state, &caller).await?;
    let (mut sources, mut stale_sources) = (0, 0);
    for scope in &accounts.scopes {
        let now = counted::now(&state.store, scope, asked.of()).await?;
        sources += now.sources;
        stale_sources += now.stale_sources;
    }
    let found = asked.read(&state, &accounts).await?;
    let total = found.total();
    let overview = OverviewView {
        from: range.0,
        to: range.1,
        accounts: accounts.scopes.len() as u64,
        sources,
        stale_sources,
        live_records: total.live_records,
        live_bytes: total.live_bytes,
        records_growth: growth(total.live_records, found.live_before.0),
        bytes_growth: growth(total.live_bytes, found.live_before.1),
        figures: FiguresView::of(&total),
    };
    csv::answer(&request, &overview, std::slice::from_ref(&overview))
}

/// Runs by the day on which they ended.
#[utoipa::path(get, path = "/analytics/runs", params(AnalyticsParams), responses(
    (status = 200, description = "Every day of the range; in CSV a line a day.", content(
        (RunsView = "application/json"), (String = "text/csv")))))]
pub async fn runs(
    state: Data<AppState>,
    caller: Caller,
    params: Params<AnalyticsParams>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let accounts = params.0.accounts(&state, &caller).await?;
    let found = params.0.read(&state, &accounts).await?;
    let days = found.days.iter().map(|(date, figures)| RunsDay { date: *date, figures: FiguresView::of(figures) });
    let view = RunsView { days: days.collect() };
    csv::answer(&request, &view, &view.days)
}

/// What is live, by day, and how it grows.
#[utoipa::path(get, path = "/analytics/storage", params(AnalyticsParams), responses(
    (status = 200, description = "Every day of the range; in CSV a line a day.", content(
        (StorageView = "application/json"), (String = "text/csv")))))]
pub async fn storage(
    state: Data<AppState>,
    caller: Caller,
    params: Params<AnalyticsParams>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let accounts = params.0.accounts(&state, &caller).await?;
    let found = params.0.read(&state, &accounts).await?;
    let mut before = found.live_before;
    let days = found.days.iter().map(|(date, figures)| {
        let (records, bytes) = std::mem::replace(&mut before, (figures.live_records, figures.live_bytes));
        StorageDay {
            date: *date,
            live_records: figures.live_records,
            live_bytes: figures.live_bytes,
            records_growth: growth(figures.live_records, records),
            bytes_growth: growth(figures.live_bytes, bytes),
            bytes_stored: figures.bytes_stored,
        }
    });
    let view = StorageView { days: days.collect() };
    csv::answer(&request, &view, &view.days)
}

/// The days that a caller asks for, both included.
///
/// # Errors
/// 422 when they are none, or too many.
pub fn range(state: &AppState, from: Option<Date>, to: Option<Date>) -> Result<(Date, Date), Problem> {
    let last = to.unwrap_or_else(|| day_of(state.now()));
    let first = from.map_or_else(|| last.checked_sub((DAYS_DEFAULT - 1).days()), Ok);
    let first = first.map_err(|_| Problem::invalid_field("?to", "is too early"))?;
    let days = first.until(last).map_or(i32::MAX, |span| span.get_days());
    if days < 0 {
        return Err(Problem::invalid_field("?from", "is after `to`"));
    }
    if days >= DAYS_MAX {
        return Err(Problem::invalid_field("?from", format!("is more than {DAYS_MAX} days before `to`")));
    }
    Ok((first, last))
}

impl AnalyticsParams {
    fn range(&self, state: &AppState) -> Result<(Date, Date), Problem> {
        range(state, self.from, self.to)
    }

    fn of(&self) -> Of<'_> {
        self.integration.as_deref().map_or(Of::Account, Of::Integration)
    }

    async fn accounts(&self, state: &AppState, caller: &Caller) -> Result<Readable, Problem> {
        match self.subtree {
            Some(true) => subtree::readable(state, caller).await,
            _ => Ok(Readable { scopes: vec![*caller.scope()] }),
        }
    }

    async fn read(&self, state: &AppState, accounts: &Readable) -> Result<Counted, Problem> {
        let (first, last) = self.range(state)?;
        let mut sum = Counted::default();
        for scope in &accounts.scopes {
            sum.add(&Counted::read(&state.store, scope, self.of(), first, last).await?);
        }
        Ok(sum)
    }
}

impl EndsView {
    fn of(ends: &Ends) -> Self {
        let Ends { succeeded, partial, failed, cancelled, skipped } = *ends;
        Self { total: ends.all(), succeeded, partial, failed, cancelled, skipped }
    }
}

impl FiguresView {
    /// Shows figures, what is live apart.
    pub fn of(figures: &Figures) -> Self {
        Self {
            runs: EndsView::of(&figures.runs),
            restores: EndsView::of(&figures.restores),
            success_percent: figures.runs.percent(),
            records: figures.records,
            added: figures.added,
            changed: figures.changed,
            removed: figures.removed,
            drift: figures.drift,
            bytes_read: figures.bytes_read,
            bytes_stored: figures.bytes_stored,
            requests: figures.requests,
            waited_ms: figures.waited_ms,
            ran_ms: figures.ran_ms,
        }
    }
}

/// By how much something grew.
pub fn growth(now: u64, before: u64) -> i64 {
    i64::try_from(i128::from(now) - i128::from(before)).unwrap_or_default()
}
