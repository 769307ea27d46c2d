//! Files: what a person can browse and download, one a stream of a snapshot and one an attachment.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    export::{ExportSpec, Format, Selection},
    model::{ActivityKind, AttachmentFile, FileEntry, FileId, SnapshotId, SourceId},
    ports::{Query, SortRange},
    run::event::Subject,
    snapshot::{SnapshotReader, attachment_key, attachments_stream},
    tables::FILES,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, snapshots};
use crate::{
    body::Params,
    caller::Caller,
    changes::{commit, told},
    download,
    paging::{Page, PageParams},
    problem::Problem,
    ranged, schemas,
    state::AppState,
};

/// A file.
#[derive(Serialize, ToSchema)]
pub struct FileView {
    /// Its id.
    #[schema(value_type = schemas::FileId)]
    id: FileId,
    /// Of which source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// In which snapshot.
    #[schema(value_type = schemas::SnapshotId)]
    snapshot_id: SnapshotId,
    /// Path inside the source, such as `contacts.jsonl`.
    path: String,
    /// The stream that it shows; of an attachment, that of its record.
    stream: String,
    /// Records in it; 0 for an attachment.
    records: u64,
    /// Bytes of all record bodies, or of the attachment.
    size_bytes: u64,
    /// Digest of the records, independent of their order; of an attachment BLAKE3 of its bytes.
    content_digest: String,
    /// When the snapshot was made.
    created_at: Timestamp,
    /// What it is when it is an attachment of a record; absent in a stream's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment: Option<AttachmentView>,
}

/// An attachment as a file.
#[derive(Serialize, ToSchema)]
pub struct AttachmentView {
    /// Key of the record that it hangs on.
    record: String,
    /// Names it among the attachments of that record.
    id: String,
    /// Its name.
    name: String,
    /// Its media type, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
}

/// Which files.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileParams {
    /// At most so many files.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
    /// Only of this source, ordered by path; otherwise the newest come first.
    #[param(schema_with = schemas::source_id, required = false)]
    source_id: Option<SourceId>,
    /// Only paths that start so; asks for `source_id`.
    path: Option<String>,
}

/// The account's files.
#[utoipa::path(get, path = "/data/files", params(FileParams), responses(
    (status = 200, description = "A page of files.", body = Page<FileView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<FileParams>) -> Answer<Page<FileView>> {
    let page = PageParams::of(params.0.limit, params.0.cursor);
    let account_id = caller.account_id();
    let query = match (params.0.source_id, params.0.path) {
        (Some(source_id), path) => Query {
            sort: path.map_or(SortRange::All, SortRange::Prefix),
            ..page.query(&FILES, None, &format!("{account_id}#{source_id}"))
        },
        (None, Some(_)) => return Err(Problem::invalid_field("?path", "asks for a source_id beside it")),
        (None, None) => Query { descending: true, ..page.query(&FILES, Some("by-account"), &account_id) },
    };
    Ok(Json(Page::of(state.store.query::<FileEntry>(caller.scope(), query).await?, FileView::of)))
}

/// One file.
#[utoipa::path(get, path = "/data/files/{id}", params(("id" = String, Path, description = "The file's id.")),
    responses((status = 200, description = "The file.", body = FileView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<FileId>) -> Answer<FileView> {
    Ok(Json(FileView::of(find(&state, &caller, *id).await?)))
}

/// In which form.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DownloadParams {
    /// `jsonl` (when absent): one record a line, as it was received. `csv`: one line a record, one column a field.
    /// `parquet`: typed columns. Not for attachments, which come as they are.
    #[param(schema_with = schemas::export_format, required = false)]
    format: Option<Format>,
}

/// A file's records, in the order of their keys, or the bytes of an attachment: these also in parts, by `Range`.
///
/// Every block is authenticated as it is read: a damaged one breaks the answer off, it never arrives as good.
#[utoipa::path(get, path = "/data/files/{id}/download",
    params(("id" = String, Path, description = "The file's id."), DownloadParams),
    responses((status = 200, description = "The records, or the bytes of the attachment.", content(
        (String = "application/jsonl"), (String = "text/csv"), (crate::schemas::Binary = "application/vnd.apache.parquet"),
        (crate::schemas::Binary = "application/octet-stream"), (crate::schemas::Binary = "*/*"))),
    (status = 206, description = "The part of the attachment that `Range` asks for.",
        content((crate::schemas::Binary = "application/octet-stream"), (crate::schemas::Binary = "*/*"))),
    (status = 304, description = "The attachment has the `ETag` of `If-None-Match`."),
    (status = 429, description = "The account has as many downloads under way as it may; `Retry-After` says when to try again.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 503, description = "The server has; likewise.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 416, description = "The attachment ends before that part.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn download(
    state: Data<AppState>,
    caller: Caller,
    id: Path<FileId>,
    params: Params<DownloadParams>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let format = params.0.format.unwrap_or_default();
    let file = find(&state, &caller, *id).await?;
    let found = snapshots::find(&state, &caller, file.snapshot_id).await?;
    if let Some(attachment) = &file.attachment {
        if params.0.format.is_some() {
            return Err(Problem::invalid_field("?format", "is for files of records: an attachment comes as it is"));
        }
        return download_attachment(&state, &caller, &request, &found.reader, &file, attachment).await;
    }
    found.stream(&file.stream)?;
    let place = state.downloads.place(caller.account_id())?;
    let details = [
        ("snapshotId", json!(file.snapshot_id)),
        ("stream", json!(file.stream)),
        ("fileId", json!(*id)),
        ("format", json!(format)),
    ];
    let told = told(&state, &caller, ActivityKind::DataExported, Subject::source(file.source_id), details);
    commit(&state, caller.scope(), Vec::new(), told).await?;
    download::attachment(place, found.reader, ExportSpec { selection: Selection::Stream(file.stream), format }).await
}

async fn download_attachment(
    state: &AppState,
    caller: &Caller,
    request: &HttpRequest,
    reader: &SnapshotReader,
    file: &FileEntry,
    attachment: &AttachmentFile,
) -> Result<HttpResponse, Problem> {
    let key = attachment_key(&attachment.record, &attachment.id)?;
    let stored = reader.attachment(&attachments_stream(&file.stream), &key).await?;
    let stored = stored.ok_or_else(Problem::not_found)?;
    let place = state.downloads.place(caller.account_id())?;
    let details = [
        ("snapshotId", json!(file.snapshot_id)),
        ("stream", json!(file.stream)),
        ("fileId", json!(file.file_id)),
        ("path", json!(file.path)),
    ];
    let told = told(state, caller, ActivityKind::DataExported, Subject::source(file.source_id), details);
    commit(state, caller.scope(), Vec::new(), told).await?;
    ranged::attachment(place, request, reader, &stored).await
}

/// Ids are unique, so the index by account finds one by its whole id as prefix.
async fn find(state: &AppState, caller: &Caller, id: FileId) -> Result<FileEntry, Problem> {
    let page = PageParams::of(Some(1), None);
    let query = Query {
        sort: SortRange::Prefix(id.to_string()),
        ..page.query(&FILES, Some("by-account"), &caller.account_id())
    };
    let found = state.store.query::<FileEntry>(caller.scope(), query).await?.rows.pop();
    found.map(|found| found.row).ok_or_else(Problem::not_found)
}

impl FileView {
    /// A file as it is shown.
    pub fn of(file: FileEntry) -> Self {
        Self {
            id: file.file_id,
            source_id: file.source_id,
            snapshot_id: file.snapshot_id,
            path: file.path,
            stream: file.stream,
            records: file.records,
            size_bytes: file.size_bytes,
            content_digest: file.content_digest,
            created_at: file.created_at,
            attachment: file.attachment.map(|AttachmentFile { record, id, name, media_type }| AttachmentView {
                record,
                id,
                name,
                media_type,
            }),
        }
    }
}
