//! The log of events as a file: JSON lines that prove their order elsewhere, or CSV.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_DISPOSITION, VARY},
    web::Data,
};
use bytes::Bytes;
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    model::{ActivityEvent, ActivityKind, JobId, RunId, SourceId, scope::AccountScope},
    ports::Item,
    run::{event::Subject, linked, relay},
    store::{self, Store},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::activity::{EventView, Wanted};
use crate::{
    body::Params,
    caller::Caller,
    changes::{commit, told},
    csv, download,
    problem::Problem,
    schemas,
    state::AppState,
};

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// Only this kind, such as `run.failed`; a word before the dot alone takes all of its kinds (`run`).
    kind: Option<String>,
    /// Only about this source.
    #[param(schema_with = schemas::source_id, required = false)]
    source_id: Option<SourceId>,
    /// Only about this job.
    #[param(schema_with = schemas::job_id, required = false)]
    job_id: Option<JobId>,
    /// Only about this run.
    #[param(schema_with = schemas::run_id, required = false)]
    run_id: Option<RunId>,
    /// Only by this actor: a user's or key's id, or `system`.
    actor: Option<String>,
    /// From this instant, included.
    from: Option<Timestamp>,
    /// To this instant, excluded.
    to: Option<Timestamp>,
}

/// The log as a file, in the order of its chain, up to this moment: JSON lines, or with `Accept: text/csv` CSV.
///
/// A JSON line is the event as it is stored, all that its `chainDigest` covers: who has a file without filters checks it from line to line
/// with nothing else.
#[utoipa::path(get, path = "/activity/export", params(ExportParams), responses(
    (status = 200, description = "The events, as an attachment.",
        content((String = "application/jsonl"), (String = "text/csv"))),
    (status = 429, description = "The account has as many downloads under way as it may; `Retry-After` says when to try again.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 503, description = "The server has; likewise.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn export(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    params: Params<ExportParams>,
) -> Result<HttpResponse, Problem> {
    let is_csv = csv::is_wanted(&request);
    let place = state.downloads.place(caller.account_id())?;
    let head = relay::head(&state.store, caller.scope()).await?;
    let end = head.map_or(0, |head| head.head_sequence);
    let wanted = Wanted::from(params.0);
    let details =
        [("upTo", json!(end)), ("format", json!(if is_csv { "csv" } else { "jsonl" })), ("filter", wanted.told())];
    let told = told(&state, &caller, ActivityKind::ActivityExported, Subject::default(), details);
    commit(&state, caller.scope(), Vec::new(), told).await?;
    let reading = Reading { store: state.store.clone(), scope: *caller.scope(), next: 1, end, wanted, is_csv };
    let head = is_csv.then(|| Bytes::from(csv::row(&COLUMNS.map(str::to_owned))));
    let body = futures::stream::unfold((head, Some(reading), place), |(head, reading, place)| async move {
        if let Some(head) = head {
            return Some((Ok(head), (None, reading, place)));
        }
        match reading?.page().await {
            Ok((piece, rest)) => Some((Ok(piece), (None, rest, place))),
            Err(error) => Some((Err(Problem::from(error)), (None, None, place))),
        }
    });
    let (kind, name) =
        if is_csv { ("text/csv; charset=utf-8", "activity.csv") } else { ("application/jsonl", "activity.jsonl") };
    let mut answer = HttpResponse::Ok();
    answer.content_type(kind).insert_header((VARY, "accept"));
    answer.insert_header((CONTENT_DISPOSITION, download::disposition(name.to_owned())));
    Ok(answer.streaming::<_, Problem>(body))
}

/// Columns of the CSV.
const COLUMNS: [&str; 10] =
    ["sequence", "at", "kind", "actor", "source_id", "job_id", "run_id", "id", "details", "digest"];

/// How far an export is.
struct Reading {
    store: Store,
    scope: AccountScope,
    next: u64,
    /// The last place that is exported.
    end: u64,
    wanted: Wanted,
    is_csv: bool,
}

impl Reading {
    /// The next piece, and what is left to read. A piece may be empty: a filter takes nothing of it.
    async fn page(mut self) -> Result<(Bytes, Option<Self>)> {
        let mut piece = String::new();
        while self.next <= self.end && piece.is_empty() {
            let query = linked::linked(&self.scope, self.next, Some(self.end + 1));
            let page = linked::page(&self.store, &self.scope, query, self.next, self.end).await?;
            let last = page.items.last().and_then(|item| item.body.get("sequence")).and_then(Value::as_u64);
            for item in page.items {
                self.add(&mut piece, item)?;
            }
            self.next = last.map_or(self.end, |last| last.max(self.next)) + 1;
        }
        let is_last = self.next > self.end;
        Ok((Bytes::from(piece), (!is_last).then_some(self)))
    }

    fn add(&self, piece: &mut String, item: Item) -> Result<()> {
        // A kind of a later version cannot be filtered; it is exported where nothing is filtered.
        let line = Value::Object(item.body.clone()).to_string();
        let view = match store::row::<ActivityEvent>(item) {
            Ok(event) if self.wanted.takes_time(event.timestamp) => EventView::of(event),
            Ok(_) => return Ok(()),
            Err(_) if self.wanted.is_all() && !self.is_csv => {
                piece.push_str(&line);
                piece.push('\n');
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !self.wanted.takes(&view) {
            return Ok(());
        }
        if self.is_csv {
            piece.push_str(&csv::row(&cells(&view)));
        } else {
            piece.push_str(&line);
            piece.push('\n');
        }
        Ok(())
    }
}

fn cells(view: &EventView) -> [String; 10] {
    let text = |id: Option<String>| id.unwrap_or_default();
    [
        text(view.sequence.map(|sequence| sequence.to_string())),
        view.at.to_string(),
        view.kind.clone(),
        view.actor.clone(),
        text(view.source_id.map(|id| id.to_string())),
        text(view.job_id.map(|id| id.to_string())),
        text(view.run_id.map(|id| id.to_string())),
        view.id.to_string(),
        Value::Object(view.details.clone()).to_string(),
        text(view.digest.clone()),
    ]
}

impl From<ExportParams> for Wanted {
    fn from(params: ExportParams) -> Self {
        let ExportParams { kind, source_id, job_id, run_id, actor, from, to } = params;
        Self { kind, source_id, job_id, run_id, actor, from, to }
    }
}
