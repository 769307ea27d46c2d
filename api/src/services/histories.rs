//! One record over the snapshots of its source: when it came, changed and went, and which fields changed.

use actix_web::web::{Data, Json};
use jiff::Timestamp;
use listbackup_engine::{
    model::{ActivityKind, SnapshotId, SourceId},
    run::event::Subject,
    snapshot::{Change, Version},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, diffs::FieldDiff, records::RecordView, sources};
use crate::{
    body::Params,
    caller::Caller,
    changes::{commit, told},
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// A snapshot in which the record differs from the snapshot before.
#[derive(Serialize, ToSchema)]
pub struct VersionView {
    /// The snapshot.
    #[schema(value_type = schemas::SnapshotId)]
    snapshot_id: SnapshotId,
    /// When it was made.
    created_at: Timestamp,
    /// `added`, `changed` or `removed`.
    #[schema(value_type = String)]
    change: Change,
    /// The fields that changed; empty when it came or went.
    fields: Vec<FieldDiff>,
    /// The record from then on; absent when it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordView>,
}

/// Of which record.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// Its source.
    #[param(value_type = String, format = "src-id", pattern = "^src_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    source_id: SourceId,
    /// Its stream.
    stream: String,
    /// Its key, as `key` of a record shows it.
    key: String,
    /// At most so many snapshots are looked through.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before; none for the newest.
    cursor: Option<String>,
}

/// The versions of a record, newest first. A page looks through so many snapshots as `limit` says and may hold no version, and
/// still have a next page.
#[utoipa::path(get, path = "/data/records/history", params(HistoryParams), responses(
    (status = 200, description = "A page of versions.", body = Page<VersionView>),
    (status = 404, description = "There is no such thing in this account.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn list(state: Data<AppState>, caller: Caller, params: Params<HistoryParams>) -> Answer<Page<VersionView>> {
    let HistoryParams { source_id, stream, key, limit, cursor } = params.0;
    let page = PageParams::of(limit, cursor);
    let source = sources::find(&state, &caller, source_id).await?;
    let store = state.ctx.snapshots.source(caller.scope(), source_id).await?;
    let start = match &page.cursor {
        None => source.head.map(|head| head.snapshot_id),
        Some(text) => {
            let id = text.parse().map_err(|_| Problem::invalid_field("?cursor", "is not a cursor of this list"))?;
            Some(id)
        }
    };
    let chain = store.back_from(start, page.limit() + 1).await?;
    // One more than the page: what its oldest snapshot did shows only against the one before.
    let base = chain.get(page.limit()).map(|loaded| loaded.manifest.snapshot_id);
    let mut versions = store.find_history(&chain, &stream, &key).await?;
    versions.retain(|version| Some(version.snapshot_id) != base);
    let items = versions.into_iter().rev().map(VersionView::of).collect::<Result<Vec<_>, _>>()?;
    let details = [("stream", json!(stream)), ("records", json!(items.len()))];
    let look = told(&state, &caller, ActivityKind::DataRead, Subject::source(source_id), details);
    commit(&state, caller.scope(), Vec::new(), look).await?;
    Ok(Json(Page { items, next_cursor: base.map(|id| id.to_string()) }))
}

impl VersionView {
    fn of(version: Version) -> Result<Self, listbackup_engine::Error> {
        Ok(Self {
            snapshot_id: version.snapshot_id,
            created_at: version.created_at,
            change: version.change,
            fields: version.fields.into_iter().map(FieldDiff::of).collect(),
            record: version.record.as_ref().map(RecordView::of).transpose()?,
        })
    }
}
