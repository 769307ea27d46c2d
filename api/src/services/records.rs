//! The records of a snapshot: browsed in key order, or one by its key. Looking is in the activity log.

use actix_web::web::{Data, Json, Path};
use listbackup_engine::{
    Error, ErrorKind,
    model::{ActivityKind, SnapshotId},
    run::event::Subject,
    snapshot::{KeyRange, Record, RecordKey},
};
use serde::Serialize;
use serde_json::{json, value::RawValue};
use utoipa::ToSchema;

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
    state::AppState,
};

/// A backed-up record.
#[derive(Serialize, ToSchema)]
pub struct RecordView {
    /// Its key as text: a single number or string as it is, several values as a JSON array.
    key: String,
    /// The record as it was received: numbers keep their digits.
    #[schema(value_type = Object)]
    record: Box<RawValue>,
}

/// The records of a stream, in the order of their keys.
#[utoipa::path(get, path = "/data/snapshots/{id}/streams/{stream}/records",
    params(PageParams, ("id" = String, Path, description = "The snapshot's id."),
        ("stream" = String, Path, description = "The stream's name.")),
    responses((status = 200, description = "A page of records. Its cursor is the key of its last record.",
        body = Page<RecordView>)))]
pub async fn browse(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(SnapshotId, String)>,
    page: Params<PageParams>,
) -> Answer<Page<RecordView>> {
    let (id, name) = path.into_inner();
    let found = snapshots::find(&state, &caller, id).await?;
    let arity = found.stream(&name)?.key_arity();
    let after = page.0.cursor.as_deref().map(|text| RecordKey::parse(text, arity)).transpose();
    let after = after.map_err(|_| Problem::invalid_field("?cursor", "is not a cursor of this list"))?;
    let found_page = found.reader.browse(&name, &KeyRange::after(after), &[], page.0.limit()).await?;
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
    fn of(record: &Record) -> Result<Self, Error> {
        let damaged = |_| Error::new(ErrorKind::Corrupt, "a stored record is not JSON").with("key", &record.key);
        let text = String::from_utf8(record.body.to_vec()).map_err(|error| damaged(error.to_string()))?;
        let body = RawValue::from_string(text).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { key: record.key.to_string(), record: body })
    }
}

async fn record_look(
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
