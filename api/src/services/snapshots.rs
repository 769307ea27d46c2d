//! Snapshots: point-in-time states of sources.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind,
    model::{Run, RunId, SnapshotId, SourceId, id::kind},
    ports::{Item, Query},
    snapshot::{LoadedManifest, MassAbsence, SnapshotReader, SnapshotStatus, StreamState},
    tables::RUNS,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer,
    marks::{self, MarksView},
    runs,
};
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams, filtered},
    problem::Problem,
    schemas,
    state::AppState,
};

/// A snapshot in a list.
#[derive(Serialize, ToSchema)]
pub struct SnapshotView {
    /// Its id.
    #[schema(value_type = schemas::SnapshotId)]
    id: SnapshotId,
    /// Of which source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// The run that made it.
    #[schema(value_type = schemas::RunId)]
    run_id: RunId,
    /// When it was committed.
    created_at: Timestamp,
    /// Live records over all streams.
    records: u64,
    /// Somebody pinned it: no rule lets go of it.
    pinned: bool,
    /// It is under a legal hold.
    held: bool,
}

/// A snapshot with its streams.
#[derive(Serialize, ToSchema)]
pub struct SnapshotDetail {
    /// Its id.
    #[schema(value_type = schemas::SnapshotId)]
    id: SnapshotId,
    /// Of which source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// The source's name at that time.
    source_name: String,
    /// Name of the integration.
    integration: String,
    /// The run that made it.
    #[schema(value_type = schemas::RunId)]
    run_id: RunId,
    /// The snapshot before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::SnapshotId>)]
    parent_id: Option<SnapshotId>,
    /// When it was made.
    created_at: Timestamp,
    /// `partial` when some streams or items could not be read.
    #[schema(value_type = schemas::SnapshotStatus)]
    status: &'static str,
    /// BLAKE3 of its stored manifest, in hex: the next snapshot names it.
    digest: String,
    /// Live records over all streams.
    records: u64,
    /// Bytes of their bodies.
    body_bytes: u64,
    /// Its streams, by name.
    streams: BTreeMap<String, SnapshotStream>,
    /// Streams that could not be read, and why; their state is that of the snapshot before.
    failed_streams: BTreeMap<String, String>,
    /// Streams of which the run deleted so much that it looks like a fault.
    suspicious_streams: BTreeMap<String, Suspicion>,
    /// What keeps it whatever the retention rules say.
    marks: MarksView,
}

/// Deletions that look like a fault.
#[derive(Serialize, ToSchema)]
pub struct Suspicion {
    /// Records that the run deleted.
    removed: u64,
    /// Records of the snapshot before.
    before: u64,
}

/// One stream of a snapshot.
#[derive(Serialize, ToSchema)]
pub struct SnapshotStream {
    /// Live records.
    records: u64,
    /// Bytes of their bodies.
    body_bytes: u64,
    /// Digest of the live records, independent of their order.
    content_digest: String,
    /// Paths of the fields that make a record's key; empty when the record's digest is the key.
    primary_key: Vec<Vec<String>>,
    /// JSON schema of a record.
    #[schema(value_type = schemas::JsonObject)]
    json_schema: Value,
}

/// Which snapshots.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotParams {
    /// At most so many snapshots.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
    /// Only of this source.
    #[param(schema_with = schemas::source_id, required = false)]
    source_id: Option<SourceId>,
}

/// The account's snapshots, newest first.
///
/// A run's row names its snapshot in the very write that commits it, so nothing uncommitted is listed.
#[utoipa::path(get, path = "/data/snapshots", params(SnapshotParams), responses(
    (status = 200, description = "A page of snapshots.", body = Page<SnapshotView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<SnapshotParams>) -> Answer<Page<SnapshotView>> {
    let page = PageParams::of(params.0.limit, params.0.cursor);
    let all = match params.0.source_id {
        Some(source_id) => page.query(&RUNS, Some("by-source"), &source_id),
        None => page.query(&RUNS, Some("by-account"), &caller.account_id()),
    };
    let query = Query { descending: true, ..all };
    let keep = |item| Ok(SnapshotView::of(&decode(item)?));
    let mut page = filtered(&state, caller.scope(), query, keep).await?;
    let sources = page.items.iter().map(|snapshot| snapshot.source_id).collect();
    let marks = marks::of_sources(&state, &caller, sources).await?;
    for snapshot in &mut page.items {
        if let Some(marks) = marks.get(&snapshot.id) {
            (snapshot.pinned, snapshot.held) = (marks.is_pinned(), marks.is_held(state.now()));
        }
    }
    Ok(Json(page))
}

/// One snapshot, with its streams.
#[utoipa::path(get, path = "/data/snapshots/{id}", params(("id" = String, Path, description = "The snapshot's id.")),
    responses((status = 200, description = "The snapshot.", body = SnapshotDetail)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<SnapshotId>) -> Answer<SnapshotDetail> {
    let found = find(&state, &caller, *id).await?;
    let store = state.ctx.snapshots.source(caller.scope(), found.loaded.manifest.source_id).await?;
    let marks = MarksView::of(&store.marks(*id).await?, state.now());
    Ok(Json(SnapshotDetail::of(found.loaded, marks)))
}

/// A snapshot, and how to read its records.
pub struct Found {
    /// Its manifest.
    pub loaded: LoadedManifest,
    /// Its records.
    pub reader: SnapshotReader,
}

impl Found {
    /// One of its streams.
    ///
    /// # Errors
    /// 404.
    pub fn stream(&self, name: &str) -> Result<&StreamState, Problem> {
        self.loaded.manifest.streams.get(name).ok_or_else(Problem::not_found)
    }
}

/// The caller's snapshot of that id. It shares its id's bits with the run that made it, whose row knows the source and
/// that the snapshot was committed.
///
/// # Errors
/// 404; 500 when it is damaged.
pub async fn find(state: &AppState, caller: &Caller, id: SnapshotId) -> Result<Found, Problem> {
    let run = runs::find(state, caller, id.of::<kind::Run>()).await?;
    if run.snapshot_id != Some(id) {
        return Err(Problem::not_found());
    }
    let store = state.ctx.snapshots.source(caller.scope(), run.source_id).await?;
    let loaded = store.load(id).await?;
    let reader = store.reader(&loaded.manifest);
    Ok(Found { loaded, reader })
}

impl SnapshotView {
    fn of(run: &Run) -> Option<Self> {
        Some(Self {
            id: run.snapshot_id?,
            source_id: run.source_id,
            run_id: run.run_id,
            created_at: run.finished_at.unwrap_or(run.created_at),
            records: run.snapshot_records.unwrap_or_default(),
            pinned: false,
            held: false,
        })
    }
}

impl SnapshotDetail {
    fn of(loaded: LoadedManifest, marks: MarksView) -> Self {
        let LoadedManifest { manifest, digest, .. } = loaded;
        Self {
            id: manifest.snapshot_id,
            source_id: manifest.source_id,
            source_name: manifest.source_name,
            integration: manifest.integration,
            run_id: manifest.run_id,
            parent_id: manifest.parent.map(|parent| parent.snapshot_id),
            created_at: manifest.created_at,
            status: match manifest.status {
                SnapshotStatus::Complete => "complete",
                SnapshotStatus::Partial => "partial",
            },
            digest,
            records: manifest.totals.records,
            body_bytes: manifest.totals.body_bytes,
            streams: manifest.streams.into_iter().map(|(name, stream)| (name, SnapshotStream::of(stream))).collect(),
            failed_streams: manifest.failed_streams,
            suspicious_streams: manifest.suspicious_streams.into_iter().map(Suspicion::of).collect(),
            marks,
        }
    }
}

impl Suspicion {
    fn of((stream, absence): (String, MassAbsence)) -> (String, Self) {
        (stream, Self { removed: absence.removed, before: absence.before })
    }
}

impl SnapshotStream {
    fn of(stream: StreamState) -> Self {
        Self {
            records: stream.records,
            body_bytes: stream.body_bytes,
            content_digest: stream.content_digest.to_string(),
            primary_key: stream.primary_key,
            json_schema: stream.json_schema,
        }
    }
}

fn decode(item: Item) -> Result<Run, Error> {
    serde_json::from_value(Value::Object(item.body))
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a stored run has another shape: {error}")))
}
