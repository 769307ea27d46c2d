//! The log of what happened in an account: listed with filters, or followed as it happens.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json},
};
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind,
    model::{ActivityEvent, EventId, Job, JobId, Run, RunId, SourceId},
    ports::{Item, Query, SortRange},
    store::key,
    tables::ACTIVITY,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr,
        schema::{Schema, SchemaType, Type},
    },
};

use super::Answer;
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams, filtered},
    schemas,
    sse::{self, Following, first_id_of},
    state::AppState,
};

/// An event in a stream of server-sent events, as its lines say it.
pub struct EventFrame;

impl PartialSchema for EventFrame {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let view = Ref::from_schema_name(EventView::name());
        let data = text().content_media_type("application/json").content_schema(Some(view));
        ObjectBuilder::new()
            .description(Some("A server-sent event."))
            .property("id", text().description(Some("For `Last-Event-ID`; `run.progress` has none: it is not kept.")))
            .property("event", text().description(Some("Its kind.")))
            .property("data", data.description(Some("The event as JSON.")))
            .required("event")
            .required("data")
            .into()
    }
}

impl ToSchema for EventFrame {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((EventView::name().into_owned(), EventView::schema()));
        EventView::schemas(schemas);
    }
}

/// One event.
#[derive(Serialize, ToSchema)]
pub struct EventView {
    /// Its id; time-ordered.
    #[schema(value_type = schemas::EventId)]
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What, such as `run.succeeded`.
    pub kind: String,
    /// Who: a user's or key's id, or `system`.
    pub actor: String,
    /// The source that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::SourceId>)]
    pub source_id: Option<SourceId>,
    /// The job that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::JobId>)]
    pub job_id: Option<JobId>,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::RunId>)]
    pub run_id: Option<RunId>,
    /// Figures and names, by kind.
    pub details: Map<String, Value>,
    /// Its place among the account's events, from 1 and without gaps. Absent for a moment in what just happened, and in events
    /// that were kept before there was a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Digest of the event and the one before it, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityParams {
    /// At most so many events.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
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

/// Events, newest first.
#[utoipa::path(get, path = "/activity", params(ActivityParams), responses(
    (status = 200, description = "A page of events.", body = Page<EventView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<ActivityParams>) -> Answer<Page<EventView>> {
    let ActivityParams { limit, cursor, kind, source_id, job_id, run_id, actor, from, to } = params.0;
    let page = PageParams::of(limit, cursor);
    let wanted = Wanted { kind, source_id, job_id, run_id, actor, from, to };
    let bound = |instant: Option<Timestamp>| instant.map(|at| first_id_of(at.as_millisecond()).to_string());
    let from = bound(wanted.from).unwrap_or_else(|| first_id_of(0).to_string());
    let all = match wanted.source(&state, &caller).await? {
        Some(source_id) => page.query(&ACTIVITY, Some("by-source"), &source_id),
        None => page.query(&ACTIVITY, Some("by-account"), &caller.account_id()),
    };
    let query = Query { sort: SortRange::Between(Some(from), bound(wanted.to)), descending: true, ..all };
    let keep = |item: Item| {
        // Of another kind are most of those that are passed over; so much is seen without making an event of the row.
        if item.body.get("kind").and_then(Value::as_str).is_some_and(|kind| !wanted.takes_kind(kind)) {
            return Ok(None);
        }
        Ok(Some(EventView::of(decode(item)?)).filter(|view| wanted.takes(view)))
    };
    Ok(Json(filtered(&state, caller.scope(), query, keep).await?))
}

/// Events as they happen (server-sent events).
///
/// With `Last-Event-ID`, what came after that event goes first. `run.progress` events have no id: they are not kept.
#[utoipa::path(get, path = "/activity/stream",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last event that the reader has.")),
    responses((status = 200, description = "An endless stream; each event's data is an `EventView`.", body = EventFrame,
        content_type = "text/event-stream")))]
pub async fn stream(state: Data<AppState>, caller: Caller, request: HttpRequest) -> HttpResponse {
    let following = Following { run_id: None, job_id: None, since_ms: state.now().as_millisecond() };
    sse::answer(&state, caller, &request, following)
}

impl EventView {
    /// Shows an event.
    pub fn of(event: ActivityEvent) -> Self {
        Self {
            id: event.event_id,
            at: Timestamp::from_millisecond(event.timestamp).unwrap_or_default(),
            kind: event.kind.code().to_owned(),
            actor: event.actor,
            source_id: event.source_id,
            job_id: event.job_id,
            run_id: event.run_id,
            details: event.details,
            sequence: event.sequence,
            digest: event.chain_digest,
        }
    }
}

/// A filter of events.
pub struct Wanted {
    /// A kind, or the word before the dot.
    pub kind: Option<String>,
    /// About this source.
    pub source_id: Option<SourceId>,
    /// About this job.
    pub job_id: Option<JobId>,
    /// About this run.
    pub run_id: Option<RunId>,
    /// By this actor.
    pub actor: Option<String>,
    /// From then on.
    pub from: Option<Timestamp>,
    /// Before then.
    pub to: Option<Timestamp>,
}

impl Wanted {
    /// The source that all of it is about; `None` where it may be about several, or about what is not there any more.
    async fn source(&self, state: &AppState, caller: &Caller) -> Result<Option<SourceId>, Error> {
        if self.source_id.is_some() {
            return Ok(self.source_id);
        }
        if let Some(run_id) = self.run_id {
            let run = state.store.find_by::<Run>(caller.scope(), "by-id", run_id).await?;
            return Ok(run.map(|run| run.row.source_id));
        }
        let Some(job_id) = self.job_id else { return Ok(None) };
        let job = state.store.find::<Job>(caller.scope(), key(caller.account_id(), job_id)).await?;
        Ok(job.map(|job| job.row.source_id))
    }

    fn takes_kind(&self, kind: &str) -> bool {
        self.kind.as_deref().is_none_or(|wanted| kind == wanted || kind.split('.').next() == Some(wanted))
    }

    /// True for what it takes by anything but time.
    pub fn takes(&self, event: &EventView) -> bool {
        self.takes_kind(&event.kind)
            && self.source_id.is_none_or(|id| event.source_id == Some(id))
            && self.job_id.is_none_or(|id| event.job_id == Some(id))
            && self.run_id.is_none_or(|id| event.run_id == Some(id))
            && self.actor.as_ref().is_none_or(|actor| event.actor == *actor)
    }

    /// True for an instant in milliseconds that it takes.
    pub fn takes_time(&self, ms: i64) -> bool {
        self.from.is_none_or(|from| ms >= from.as_millisecond()) && self.to.is_none_or(|to| ms < to.as_millisecond())
    }

    /// True when it takes everything.
    pub fn is_all(&self) -> bool {
        self.told().as_object().is_some_and(Map::is_empty)
    }

    /// For the log.
    pub fn told(&self) -> Value {
        let mut told = Map::new();
        let mut add = |name: &str, value: Option<String>| {
            told.extend(value.map(|value| (name.to_owned(), Value::String(value))));
        };
        add("kind", self.kind.clone());
        add("sourceId", self.source_id.map(|id| id.to_string()));
        add("jobId", self.job_id.map(|id| id.to_string()));
        add("runId", self.run_id.map(|id| id.to_string()));
        add("actor", self.actor.clone());
        add("from", self.from.map(|at| at.to_string()));
        add("to", self.to.map(|at| at.to_string()));
        Value::Object(told)
    }
}

fn decode(item: Item) -> Result<ActivityEvent, Error> {
    serde_json::from_value(Value::Object(item.body))
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a stored event has another shape: {error}")))
}
