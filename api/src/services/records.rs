//! The records of a snapshot: browsed in key order, or one by its key. Looking is in the activity log.

use actix_web::web::{Data, Json, Path};
use listbackup_engine::{
    Error, ErrorKind,
    model::{ActivityKind, SnapshotId},
    run::event::Subject,
    snapshot::{Filter, KeyRange, Record, RecordKey},
};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer,
    snapshots::{self, Found},
};
use crate::{
    body::Params,
    caller::Caller,
    changes::{commit, told},
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// A backed-up record.
#[derive(Serialize, ToSchema)]
pub struct RecordView {
    /// Its key as text: a single number or string as it is, several values as a JSON array.
    key: String,
    /// The record as it was received: numbers keep their digits.
    #[schema(value_type = schemas::JsonObject)]
    record: Box<RawValue>,
}

/// Which records.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordParams {
    /// At most so many records.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
    /// From this key on, as `key` in the list shows it.
    from: Option<String>,
    /// Keys below this one.
    until: Option<String>,
    /// Conditions on fields, all of which must hold: a field's path with dots, one of `=` `!=` `<` `<=` `>` `>=` `~`
    /// (contains), and a value, such as `address.city~ber`. Repeat the parameter for more, or separate them by line feeds.
    #[param(rename = "where", required = false)]
    #[serde(rename = "where", default)]
    conditions: Vec<String>,
}

impl RecordParams {
    /// What they ask for, with everything that is wrong with them.
    fn selection(&self, arity: usize) -> Result<(KeyRange, Vec<Filter>), Problem> {
        let mut problems = Vec::new();
        let mut key =
            |place: &str, text: &Option<String>| match text.as_deref().map(|text| RecordKey::parse(text, arity)) {
                Some(Err(error)) => {
                    problems.push(Problem::field(place, error.message()));
                    None
                }
                Some(Ok(key)) => Some(key),
                None => None,
            };
        let (after, from, until) = (key("?cursor", &self.cursor), key("?from", &self.from), key("?until", &self.until));
        let mut filters = Vec::new();
        for text in self.conditions.iter().flat_map(|text| text.split('\n')).filter(|text| !text.is_empty()) {
            match text.parse::<Filter>() {
                Ok(filter) => filters.push(filter),
                Err(error) => problems.push(Problem::field("?where", format!("`{text}`: {}", error.message()))),
            }
        }
        match problems.is_empty() {
            true => Ok((KeyRange { after, from, until }, filters)),
            false => Err(Problem::invalid(problems)),
        }
    }
}

/// The records of a stream, in the order of their keys.
#[utoipa::path(get, path = "/data/snapshots/{id}/streams/{stream}/records",
    params(RecordParams, ("id" = String, Path, description = "The snapshot's id."),
        ("stream" = String, Path, description = "The stream's name.")),
    responses((status = 200, description = "A page of records. With conditions it looks at 20,000 records and may hold fewer \
        than asked for, even none, and still have a next page.", body = Page<RecordView>)))]
pub async fn browse(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(SnapshotId, String)>,
    params: Params<RecordParams>,
) -> Answer<Page<RecordView>> {
    let (id, name) = path.into_inner();
    let found = snapshots::find(&state, &caller, id).await?;
    let arity = found.stream(&name)?.key_arity();
    let (range, filters) = params.0.selection(arity)?;
    let limit = PageParams::of(params.0.limit, None).limit();
    let found_page = found.reader.browse(&name, &range, &filters, limit).await?;
    let next_cursor = found_page.next.map(|key| key.to_string());
    let items = found_page.records.iter().map(RecordView::of).collect::<Result<Vec<_>, _>>()?;
    record_look(&state, &caller, &found, &name, items.len()).await?;
    Ok(Json(Page { items, next_cursor }))
}

/// One record by its key.
#[utoipa::path(get, path = "/data/snapshots/{id}/streams/{stream}/records/{key}",
    params(("id" = String, Path, description = "The snapshot's id."),
        ("stream" = String, Path, description = "The stream's name."),
        ("key" = String, Path, description = "The record's key, as `key` in the list shows it.")),
    responses((status = 200, description = "The record.", body = RecordView)))]
pub async fn read(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(SnapshotId, String, String)>,
) -> Answer<RecordView> {
    let (id, name, key) = path.into_inner();
    let found = snapshots::find(&state, &caller, id).await?;
    found.stream(&name)?;
    let record = found.reader.find(&name, &key).await?.ok_or_else(Problem::not_found)?;
    let view = RecordView::of(&record)?;
    record_look(&state, &caller, &found, &name, 1).await?;
    Ok(Json(view))
}

impl RecordView {
    /// A record as it is shown.
    ///
    /// # Errors
    /// `Corrupt` when its body is no JSON.
    pub fn of(record: &Record) -> Result<Self, Error> {
        let damaged = |_| Error::new(ErrorKind::Corrupt, "a stored record is not JSON").with("key", &record.key);
        let text = String::from_utf8(record.body.to_vec()).map_err(|error| damaged(error.to_string()))?;
        let body = RawValue::from_string(text).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { key: record.key.to_string(), record: body })
    }
}

/// Keeps in the activity log that somebody looked at records.
///
/// # Errors
/// Those of the store.
pub async fn record_look(
    state: &AppState,
    caller: &Caller,
    found: &Found,
    stream: &str,
    records: usize,
) -> Result<(), Error> {
    let manifest = &found.loaded.manifest;
    let details = [("snapshotId", json!(manifest.snapshot_id)), ("stream", json!(stream)), ("records", json!(records))];
    let told = told(state, caller, ActivityKind::DataRead, Subject::source(manifest.source_id), details);
    commit(state, caller.scope(), Vec::new(), told).await
}
