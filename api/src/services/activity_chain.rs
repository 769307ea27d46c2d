//! The chain of an account's events: its head, its rows as they are stored, and a check of both.

use actix_web::web::{Data, Json};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use listbackup_engine::{
    model::{ChainHead, EventId, chain},
    run::{
        chain_check::{self, Break, ChainReport, Position, Witness},
        linked, relay,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Answer;
use crate::{body::Params, caller::Caller, problem::Problem, schemas, state::AppState};

/// Rows that one request looks at unless it says otherwise, and at most.
const ROWS_DEFAULT: u64 = 20_000;
const ROWS_MAX: u64 = 100_000;
/// Rows of one page of the chain.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 500;

/// The end of the chain. Note it elsewhere: whoever changes events later, and everything after them, cannot change that.
#[derive(Serialize, ToSchema)]
pub struct ChainHeadView {
    /// Place of the last event; 0 when there is none yet.
    sequence: u64,
    /// Digest of the last event, in hex; it covers all events before it.
    digest: String,
    /// The newest event from before there was a chain: up to it events have no place, and nothing proves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::EventId>)]
    begins_after: Option<EventId>,
}

/// Which rows of the chain.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChainParams {
    /// Rows after this place.
    #[param(minimum = 0, default = 0)]
    after: Option<u64>,
    /// At most so many rows; 0 for the head alone.
    #[param(minimum = 0, maximum = 500, default = 100)]
    limit: Option<usize>,
}

/// The chain, as it is stored.
#[derive(Serialize, ToSchema)]
pub struct ChainView {
    /// Its end, read before the rows.
    head: ChainHeadView,
    /// Rows in the order of their places, each with all of its attributes: what digests are computed over.
    #[schema(value_type = Vec<schemas::JsonObject>)]
    rows: Vec<Map<String, Value>>,
}

/// The chain of events, row by row, for whoever wants to check it elsewhere.
///
/// `digest(n)` is BLAKE3 in its mode for deriving keys, with the context `listbackup activity chain 1`, over `digest(n - 1)` (32 bytes;
/// all zero before the first) and the row as a value, without its attribute `chainDigest`. A value is one byte and what it asks
/// for: `00` null; `01` false; `02` true; `03` a whole number, 64 bits signed; `04` another number, IEEE 754 binary64; `05` a text; `06` an
/// array, its length, then its values; `07` an object, its length, then name (a text without the byte before it) and value of each member in
/// the order of the names' bytes. A text is its length in bytes, then UTF-8. Lengths have 32 bits; all numbers are big-endian.
#[utoipa::path(get, path = "/activity/chain", params(ChainParams), responses(
    (status = 200, description = "The end of the chain, and a page of its rows.", body = ChainView)))]
pub async fn read(state: Data<AppState>, caller: Caller, params: Params<ChainParams>) -> Answer<ChainView> {
    let head = relay::head(&state.store, caller.scope()).await?;
    let limit = params.0.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
    let rows = if limit == 0 {
        Vec::new()
    } else {
        let first = params.0.after.unwrap_or_default().saturating_add(1);
        let query = listbackup_engine::ports::Query { limit, ..linked::linked(caller.scope(), first, None) };
        let known_to = head.as_ref().map_or(0, |head| head.head_sequence);
        let page = linked::page(&state.store, caller.scope(), query, first, known_to).await?;
        page.items.into_iter().map(|item| item.body).collect()
    };
    Ok(Json(ChainView { head: ChainHeadView::of(head, &caller), rows }))
}

/// How to check the chain.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckParams {
    /// Look at about so many rows.
    #[param(minimum = 1, maximum = 100_000, default = 20_000)]
    limit: Option<u64>,
    /// `next_cursor` of the part before; none for the first part.
    cursor: Option<String>,
    /// A place that was noted elsewhere, with `digest`. Send it with every part.
    #[param(minimum = 1)]
    sequence: Option<u64>,
    /// The digest that was noted at that place, in hex.
    digest: Option<String>,
}

/// What a check of the chain found.
#[derive(Serialize, ToSchema)]
pub struct ChainCheckView {
    /// True when nothing is wrong with what this request looked at.
    sound: bool,
    /// True when this was the last part. Else send `next_cursor` with the next request.
    complete: bool,
    /// Hand it back as `cursor` for the next part; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The end of the chain.
    head: ChainHeadView,
    /// Events of the chain that this request looked at.
    checked: u64,
    /// Events that happened just now and wait for their place.
    pending: u64,
    /// Breaks that this request found.
    break_count: u64,
    /// The first hundred of them.
    breaks: Vec<BreakView>,
}

/// A place where the chain is not what it was.
#[derive(Serialize, ToSchema)]
pub struct BreakView {
    /// What is wrong: `missing`, `changed`, `twice`, `beyond_head`, `head_differs`, `witness_differs` or `unlinked`.
    #[schema(value_type = String)]
    what: chain_check::BreakKind,
    /// The same in words.
    description: &'static str,
    /// The first place that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// The last place, where it is about several.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sequence: Option<u64>,
    /// The event, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
}

/// Checks that no event was changed, deleted, put in or moved since it was linked.
///
/// A clean answer proves it against anybody who did not also rewrite all later events and the head. Against those, note a head
/// elsewhere, and give it as `sequence` and `digest`.
#[utoipa::path(get, path = "/activity/verify", params(CheckParams), responses(
    (status = 200, description = "What was found; also when something is wrong.", body = ChainCheckView)))]
pub async fn verify(state: Data<AppState>, caller: Caller, params: Params<CheckParams>) -> Answer<ChainCheckView> {
    let CheckParams { limit, cursor, sequence, digest } = params.0;
    let witness = witness(sequence, digest.as_deref())?;
    let from = cursor.as_deref().map_or(Ok(Position::default()), position)?;
    let rows_max = limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX);
    let report = chain_check::check(&state.store, caller.scope(), from, rows_max, witness).await?;
    let head = relay::head(&state.store, caller.scope()).await?;
    Ok(Json(ChainCheckView::of(report, ChainHeadView::of(head, &caller))))
}

fn witness(sequence: Option<u64>, digest: Option<&str>) -> Result<Option<Witness>, Problem> {
    match (sequence, digest) {
        (None, None) => Ok(None),
        (Some(sequence), Some(digest)) => match chain::parse(digest) {
            Some(digest) => Ok(Some(Witness { sequence, digest })),
            None => Err(Problem::invalid_field("?digest", "must be 64 hexadecimal digits in lower case")),
        },
        (None, Some(_)) => Err(Problem::invalid_field("?sequence", "is needed with `digest`")),
        (Some(_), None) => Err(Problem::invalid_field("?digest", "is needed with `sequence`")),
    }
}

fn position(cursor: &str) -> Result<Position, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|_| Problem::invalid_field("?cursor", "is not a cursor of this check"))
}

impl ChainHeadView {
    fn of(head: Option<ChainHead>, caller: &Caller) -> Self {
        let head = head.unwrap_or_else(|| ChainHead::new(caller.account_id(), None));
        Self { sequence: head.head_sequence, digest: head.head_digest, begins_after: head.begins_after }
    }
}

impl ChainCheckView {
    fn of(report: ChainReport, head: ChainHeadView) -> Self {
        let cursor = |position| serde_json::to_vec(position).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok();
        Self {
            sound: report.is_sound(),
            complete: report.next.is_none(),
            next_cursor: report.next.as_ref().and_then(cursor),
            head,
            checked: report.checked,
            pending: report.pending,
            break_count: report.break_count,
            breaks: report.breaks.into_iter().map(BreakView::of).collect(),
        }
    }
}

impl BreakView {
    fn of(found: Break) -> Self {
        let Break { what, sequence, last_sequence, event_id } = found;
        Self { what, description: what.describe(), sequence, last_sequence, event_id }
    }
}
