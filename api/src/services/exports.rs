//! Exports: streams of a snapshot to download, alone or as one archive. An export is an order; its file is made while it
//! is downloaded.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind,
    export::{Export, Format},
    model::{ActivityKind, ExportId, SnapshotId, SourceId, UserId},
    run::event::Subject,
    snapshot::{AccountStore, Manifest},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Answer, snapshots};
use crate::{
    body::{Body, Params},
    caller::Caller,
    changes::{commit, told},
    download,
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::{FieldProblem, Problem},
    schemas,
    state::AppState,
};

/// An export to order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExport {
    /// Of which snapshot.
    #[schema(value_type = schemas::SnapshotId)]
    snapshot_id: SnapshotId,
    /// Of which streams; all of the snapshot, when absent.
    #[schema(min_items = 1)]
    streams: Option<Vec<String>>,
    /// The form of each stream's file; `jsonl`, when absent.
    #[serde(default)]
    #[schema(value_type = schemas::ExportFormat, required = false)]
    format: Format,
    /// True for a zip archive with a file for each stream and a `manifest.json` that says what they are. When absent, an
    /// export of one named stream is that stream's file, and any other one an archive.
    zip: Option<bool>,
}

/// An export.
#[derive(Serialize, ToSchema)]
pub struct ExportView {
    /// Its id.
    #[schema(value_type = schemas::ExportId)]
    id: ExportId,
    /// Of which source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// Of which snapshot.
    #[schema(value_type = schemas::SnapshotId)]
    snapshot_id: SnapshotId,
    /// Of which streams.
    streams: Vec<String>,
    /// The form of each stream's file.
    #[schema(value_type = schemas::ExportFormat)]
    format: Format,
    /// True for a zip archive.
    zip: bool,
    /// Who ordered it.
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
    /// When it was ordered.
    created_at: Timestamp,
    /// It cannot be downloaded from then on.
    expires_at: Timestamp,
    /// True when that time has come.
    is_expired: bool,
}

/// The account's exports, newest first.
#[utoipa::path(get, path = "/data/exports", params(PageParams), responses(
    (status = 200, description = "A page of exports.", body = Page<ExportView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<ExportView>> {
    let (after, limit) = (page.0.after_id()?, page.0.limit());
    let exports = Export::list(&store(&state, &caller).await?, after, limit + 1).await?;
    let page = Page::by_id(exports, limit, |export| export.export_id.to_string());
    let items = page.items.into_iter().map(|export| ExportView::of(export, state.now())).collect();
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

/// Orders an export. It can be downloaded at once, for 30 days.
#[utoipa::path(post, path = "/data/exports", request_body = NewExport, params(IdempotencyKey), responses(
    (status = 201, description = "Ordered.", body = ExportView)))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<NewExport>,
) -> Result<HttpResponse, Problem> {
    let NewExport { snapshot_id, streams, format, zip } = body.value;
    let found = snapshots::find(&state, &caller, snapshot_id).await.map_err(|problem| match problem.status() {
        StatusCode::NOT_FOUND => Problem::invalid_field("/snapshot_id", "there is no such snapshot"),
        _ => problem,
    })?;
    let manifest = &found.loaded.manifest;
    let is_archive = zip.unwrap_or(streams.as_ref().is_none_or(|streams| streams.len() != 1));
    let streams = checked(manifest, streams, is_archive)?;
    let created_at = state.now();
    let export = Export {
        export_id: idempotency.id(&state, &caller, &body.digest).await?,
        source_id: manifest.source_id,
        snapshot_id,
        streams,
        format,
        is_archive,
        user_id: caller.user_id,
        created_at,
        expires_at: Export::end(created_at),
    };
    let kept = export.keep(&store(&state, &caller).await?).await?;
    Ok(HttpResponse::Created().json(ExportView::of(kept, created_at)))
}

/// One export.
#[utoipa::path(get, path = "/data/exports/{id}", params(("id" = String, Path, description = "The export's id.")),
    responses((status = 200, description = "The export.", body = ExportView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<ExportId>) -> Answer<ExportView> {
    Ok(Json(ExportView::of(find(&state, &caller, *id).await?, state.now())))
}

/// The file of an export: one stream as JSONL, CSV or Parquet, or a zip archive.
///
/// Every block is authenticated as it is read: a damaged one breaks the answer off, it never arrives as good.
#[utoipa::path(get, path = "/data/exports/{id}/download",
    params(("id" = String, Path, description = "The export's id.")),
    responses((status = 200, description = "The file, as an attachment.", content(
        (String = "application/jsonl"), (String = "text/csv"),
        (crate::schemas::Binary = "application/vnd.apache.parquet"), (crate::schemas::Binary = "application/zip"))),
    (status = 429, description = "The account has as many downloads under way as it may; `Retry-After` says when to try again.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 503, description = "The server has; likewise.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 410, description = "The export has expired; order another one.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn download(state: Data<AppState>, caller: Caller, id: Path<ExportId>) -> Result<HttpResponse, Problem> {
    let export = find(&state, &caller, *id).await?;
    if export.is_expired(state.now()) {
        let detail = format!("the export has expired at {}; order another one", export.expires_at);
        return Err(Problem::new(StatusCode::GONE, "expired", detail));
    }
    let found = snapshots::find(&state, &caller, export.snapshot_id).await?;
    let place = state.downloads.place(caller.account_id())?;
    let details = [
        ("snapshotId", json!(export.snapshot_id)),
        ("exportId", json!(export.export_id)),
        ("streams", json!(export.streams)),
        ("format", json!(export.format)),
    ];
    let told = told(&state, &caller, ActivityKind::DataExported, Subject::source(export.source_id), details);
    commit(&state, caller.scope(), Vec::new(), told).await?;
    download::attachment(place, found.reader, export.spec()).await
}

/// The streams to export, or every problem with what was asked for.
fn checked(manifest: &Manifest, streams: Option<Vec<String>>, is_archive: bool) -> Result<Vec<String>, Problem> {
    let streams = streams.unwrap_or_else(|| manifest.streams.keys().cloned().collect());
    let mut problems: Vec<FieldProblem> = Vec::new();
    for (i, stream) in streams.iter().enumerate() {
        let pointer = format!("/streams/{i}");
        if !manifest.streams.contains_key(stream) {
            problems.push(Problem::field(pointer, "the snapshot has no such stream"));
        } else if streams[..i].contains(stream) {
            problems.push(Problem::field(pointer, "is named twice"));
        }
    }
    if !is_archive && streams.len() != 1 {
        problems.push(Problem::field("/zip", "may be false only for one named stream"));
    }
    if problems.is_empty() { Ok(streams) } else { Err(Problem::invalid(problems)) }
}

async fn store(state: &AppState, caller: &Caller) -> Result<AccountStore, Error> {
    state.ctx.snapshots.account(caller.scope()).await
}

async fn find(state: &AppState, caller: &Caller, id: ExportId) -> Result<Export, Problem> {
    let found = store(state, caller).await?.load_export(id).await;
    found.map_err(|error| if error.kind() == ErrorKind::NotFound { Problem::not_found() } else { error.into() })
}

impl ExportView {
    fn of(export: Export, now: Timestamp) -> Self {
        Self {
            is_expired: export.is_expired(now),
            id: export.export_id,
            source_id: export.source_id,
            snapshot_id: export.snapshot_id,
            streams: export.streams,
            format: export.format,
            zip: export.is_archive,
            user_id: export.user_id,
            created_at: export.created_at,
            expires_at: export.expires_at,
        }
    }
}
