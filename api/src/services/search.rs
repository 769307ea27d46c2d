//! Search: files by their names, and records of a snapshot by text in their values.

use actix_web::web::{Data, Json};
use listbackup_engine::{
    Error, ErrorKind,
    model::{FileEntry, SnapshotId},
    ports::Query,
    snapshot::{Hit, KeyRange, RecordKey},
    tables::FILES,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer,
    files::FileView,
    records::{RecordView, record_look},
    snapshots::{self, Found},
};
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams, filtered},
    problem::Problem,
    schemas,
    state::AppState,
};

/// Something that was found: a file or a record.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FoundView {
    /// A file whose path holds the text.
    File {
        /// The file.
        #[serde(flatten)]
        file: FileView,
    },
    /// A record with a value that holds the text.
    Record {
        /// Its stream.
        stream: String,
        /// The fields that hold the text: JSON Pointers (RFC 6901).
        fields: Vec<String>,
        /// The record.
        #[serde(flatten)]
        record: RecordView,
    },
}

/// What is looked for, and where.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchParams {
    /// The text; upper and lower case are alike.
    #[param(min_length = 1, max_length = 1000)]
    text: String,
    /// Look through the records of this snapshot; without it, through the names of all files.
    #[param(schema_with = schemas::snapshot_id, required = false)]
    snapshot_id: Option<SnapshotId>,
    /// Only records of this stream; asks for `snapshot_id`.
    stream: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
}

/// Finds files by their path, or records by a text in one of their values. A page looks at a bounded number of them: it may hold
/// fewer than asked for, even none, and still have a next page.
#[utoipa::path(get, path = "/data/search", params(SearchParams), responses(
    (status = 200, description = "A page of what was found.", body = Page<FoundView>),
    (status = 404, description = "There is no such thing in this account.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn search(state: Data<AppState>, caller: Caller, params: Params<SearchParams>) -> Answer<Page<FoundView>> {
    let SearchParams { text, snapshot_id, stream, limit, cursor } = params.0;
    if text.is_empty() {
        return Err(Problem::invalid_field("?text", "must not be empty"));
    }
    let page = PageParams::of(limit, cursor);
    match (snapshot_id, stream) {
        (Some(id), stream) => {
            let found = snapshots::find(&state, &caller, id).await?;
            records(&state, &caller, &found, (&text, stream), &page).await.map(Json)
        }
        (None, Some(_)) => Err(Problem::invalid_field("?stream", "asks for a snapshot_id beside it")),
        (None, None) => files(&state, &caller, &text, &page).await.map(Json),
    }
}

async fn files(state: &AppState, caller: &Caller, text: &str, page: &PageParams) -> Result<Page<FoundView>, Problem> {
    let query = Query { descending: true, ..page.query(&FILES, Some("by-account"), &caller.account_id()) };
    let wanted = text.to_lowercase();
    let keep = |item: listbackup_engine::ports::Item| {
        let file: FileEntry = serde_json::from_value(Value::Object(item.body))
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a stored file has another shape: {error}")))?;
        let is_found = file.path.to_lowercase().contains(&wanted);
        Ok(is_found.then(|| FoundView::File { file: FileView::of(file) }))
    };
    Ok(filtered(state, caller.scope(), query, keep).await?)
}

/// One bounded look through the stream that the cursor names, or the first.
async fn records(
    state: &AppState,
    caller: &Caller,
    found: &Found,
    (text, stream): (&str, Option<String>),
    page: &PageParams,
) -> Result<Page<FoundView>, Problem> {
    let streams = &found.loaded.manifest.streams;
    let names: Vec<&String> = match &stream {
        Some(name) => vec![streams.get_key_value(name).ok_or_else(Problem::not_found)?.0],
        None => streams.keys().collect(),
    };
    let is_none = || Problem::invalid_field("?cursor", "is not a cursor of this list");
    let (at, after) = match &page.cursor {
        None => (0, None),
        Some(text) => {
            let Cursor { stream, after } = Cursor::of(text).ok_or_else(is_none)?;
            let at = names.iter().position(|name| **name == stream).ok_or_else(is_none)?;
            let arity = streams[&stream].key_arity();
            (at, after.map(|key| RecordKey::parse(&key, arity)).transpose().map_err(|_| is_none())?)
        }
    };
    let Some(name) = names.get(at) else { return Ok(Page::whole(Vec::new())) };
    let (hits, next) = found.reader.search_page(name, &KeyRange::after(after), text, page.limit()).await?;
    record_look(state, caller, found, name, hits.len()).await?;
    let next = match next {
        Some(key) => Some(Cursor { stream: (*name).clone(), after: Some(key.to_string()) }),
        None => names.get(at + 1).map(|name| Cursor { stream: (*name).clone(), after: None }),
    };
    let items = hits.into_iter().map(FoundView::of).collect::<Result<_, _>>()?;
    Ok(Page { items, next_cursor: next.map(|cursor| cursor.to_text()) })
}

/// Where a search goes on: a stream, and the last key that was looked at.
struct Cursor {
    stream: String,
    after: Option<String>,
}

impl Cursor {
    fn to_text(&self) -> String {
        json!([self.stream, self.after]).to_string()
    }

    fn of(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(|(stream, after)| Self { stream, after })
    }
}

impl FoundView {
    fn of(hit: Hit) -> Result<Self, Error> {
        let record = RecordView::of(&hit.record)?;
        Ok(Self::Record { stream: hit.stream, fields: hit.fields, record })
    }
}
