//! What differs between two snapshots of a source: as a summary by stream, and record by record.

use std::pin::pin;

use actix_web::web::{Data, Json, Path};
use futures::TryStreamExt;
use listbackup_engine::{
    model::SnapshotId,
    snapshot::{Bodies, Change, Difference, FieldChange, KeyRange, RecordKey, StreamDifference, changed_fields},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer,
    records::record_look,
    snapshots::{self, Found},
};
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// How two snapshots differ.
#[derive(Serialize, ToSchema)]
pub struct DiffSummary {
    /// The snapshot that is compared from.
    #[schema(value_type = schemas::SnapshotId)]
    from: SnapshotId,
    /// The snapshot that it is compared with.
    #[schema(value_type = schemas::SnapshotId)]
    to: SnapshotId,
    /// By stream, in name order.
    streams: Vec<StreamDiff>,
}

/// How a stream differs.
#[derive(Serialize, ToSchema)]
pub struct StreamDiff {
    /// The stream.
    name: String,
    /// Records that only the second snapshot has.
    added: u64,
    /// Records whose content differs.
    changed: u64,
    /// Records that only the first has.
    removed: u64,
    /// Records equal in both.
    unchanged: u64,
}

/// A record that differs.
#[derive(Serialize, ToSchema)]
pub struct RecordDiff {
    /// Its key.
    key: String,
    /// `added`, `changed` or `removed`.
    #[schema(value_type = String)]
    change: Change,
    /// The fields that changed; only of changed records, and when `fields=true` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldDiff>>,
}

/// A field that differs.
#[derive(Serialize, ToSchema)]
pub struct FieldDiff {
    /// Where: a JSON Pointer (RFC 6901); empty for the whole record.
    path: String,
    /// The value before; absent when the field was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    before: Option<Box<serde_json::value::RawValue>>,
    /// The value after; absent when the field is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    after: Option<Box<serde_json::value::RawValue>>,
}

/// Which differences.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffParams {
    /// At most so many records.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
    /// Also tell which fields changed; that reads the records of both snapshots.
    fields: Option<bool>,
}

/// How two snapshots of one source differ, by stream. Reads what they do not share, and nothing else.
#[utoipa::path(get, path = "/data/snapshots/{id}/diff/{other}",
    params(("id" = String, Path, description = "The snapshot to compare from."),
        ("other" = String, Path, description = "The snapshot to compare with.")),
    responses((status = 200, description = "Counts by stream.", body = DiffSummary)))]
pub async fn summary(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(SnapshotId, SnapshotId)>,
) -> Answer<DiffSummary> {
    let (from, to) = *path;
    let (first, second) = both(&state, &caller, from, to).await?;
    let streams = first.reader.diff_summary(&second.reader).await?;
    Ok(Json(DiffSummary { from, to, streams: streams.into_iter().map(StreamDiff::of).collect() }))
}

/// The records of a stream that differ between two snapshots, in the order of their keys.
#[utoipa::path(get, path = "/data/snapshots/{id}/diff/{other}/streams/{stream}",
    params(DiffParams, ("id" = String, Path, description = "The snapshot to compare from."),
        ("other" = String, Path, description = "The snapshot to compare with."),
        ("stream" = String, Path, description = "The stream's name.")),
    responses((status = 200, description = "A page of records that differ.", body = Page<RecordDiff>)))]
pub async fn records(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(SnapshotId, SnapshotId, String)>,
    params: Params<DiffParams>,
) -> Answer<Page<RecordDiff>> {
    let (from, to, stream) = path.into_inner();
    let (first, second) = both(&state, &caller, from, to).await?;
    let in_first = first.loaded.manifest.streams.get(&stream);
    let known = in_first.or_else(|| second.loaded.manifest.streams.get(&stream));
    let arity = known.ok_or_else(Problem::not_found)?.key_arity();
    let bodies = if params.0.fields == Some(true) { Bodies::Wanted } else { Bodies::Left };
    let page = PageParams::of(params.0.limit, params.0.cursor);
    let after = page.cursor.as_deref().map(|text| RecordKey::parse(text, arity)).transpose();
    let after = after.map_err(|_| Problem::invalid_field("?cursor", "is not a cursor of this list"))?;
    let mut differences = pin!(first.reader.diff(&second.reader, &stream, &KeyRange::after(after), bodies)?);
    let (mut items, mut next_cursor) = (Vec::new(), None);
    while let Some(difference) = differences.try_next().await? {
        if items.len() == page.limit() {
            next_cursor = items.last().map(|last: &RecordDiff| last.key.clone());
            break;
        }
        items.push(RecordDiff::of(&difference));
    }
    record_look(&state, &caller, &second, &stream, items.len()).await?;
    Ok(Json(Page { items, next_cursor }))
}

/// Two snapshots of one source.
async fn both(state: &AppState, caller: &Caller, from: SnapshotId, to: SnapshotId) -> Result<(Found, Found), Problem> {
    let (first, second) = (snapshots::find(state, caller, from).await?, snapshots::find(state, caller, to).await?);
    match first.loaded.manifest.source_id == second.loaded.manifest.source_id {
        true => Ok((first, second)),
        false => Err(Problem::invalid_field("{other}", "is a snapshot of another source; compare two of one source")),
    }
}

impl StreamDiff {
    fn of(difference: StreamDifference) -> Self {
        let StreamDifference { name, added, changed, removed, unchanged } = difference;
        Self { name, added, changed, removed, unchanged }
    }
}

impl RecordDiff {
    fn of(difference: &Difference) -> Self {
        let bodies = difference.before.as_ref().zip(difference.after.as_ref());
        let fields = |(before, after): (&bytes::Bytes, &bytes::Bytes)| {
            changed_fields(before, after).into_iter().map(FieldDiff::of).collect()
        };
        Self { key: difference.key.to_string(), change: difference.change, fields: bodies.map(fields) }
    }
}

impl FieldDiff {
    /// A field as it is shown.
    pub fn of(change: FieldChange) -> Self {
        let FieldChange { path, before, after } = change;
        Self { path, before, after }
    }
}
