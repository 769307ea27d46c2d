//! Pins and legal holds of snapshots: what keeps them whatever the retention rules say. Whoever operates sources may pin; only
//! administrators hold and release.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::{Data, Json, Path};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use listbackup_engine::{
    model::{SnapshotId, SourceId},
    run::retention,
    snapshot::retain::{Mark, MarkKind, Marks},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, snapshots};
use crate::{
    body::{Body, Params},
    caller::Caller,
    problem::Problem,
    state::AppState,
};

/// Of a page of snapshots, the marks of so many sources are read at a time.
const SOURCES_AT_ONCE: usize = 16;

/// A pin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPin {
    /// Why, for those who ask later.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// A legal hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// Why, for those who ask later.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
    /// The hold ends then by itself; without it, it ends when it is released.
    pub until: Option<Timestamp>,
}

/// Why a mark is taken away.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UndoParams {
    /// Why, for those who ask later.
    #[param(max_length = 500)]
    reason: Option<String>,
}

/// What keeps a snapshot, beside rules.
#[derive(Serialize, ToSchema)]
pub struct MarksView {
    /// Pins in force.
    pins: Vec<MarkView>,
    /// Holds in force.
    holds: Vec<MarkView>,
}

/// A pin or a hold.
#[derive(Serialize, ToSchema)]
pub struct MarkView {
    /// Who: a user's or key's id, `cli`, or `listbackup` for what happens by itself.
    by: String,
    /// Why.
    reason: String,
    /// Since when.
    since: Timestamp,
    /// Until when a hold lasts; without end when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl MarksView {
    /// Those in force now.
    pub fn of(marks: &Marks, now: Timestamp) -> Self {
        let holds = marks.holds.iter().map(MarkView::of).filter(|hold| hold.until.is_none_or(|until| until > now));
        Self { pins: marks.pins.iter().map(MarkView::of).collect(), holds: holds.collect() }
    }
}

impl MarkView {
    fn of(mark: &Mark) -> Self {
        let until = match mark.kind {
            MarkKind::Hold { until } => until,
            _ => None,
        };
        Self { by: mark.act.by.clone(), reason: mark.act.reason.clone(), since: mark.act.at, until }
    }
}

/// Pins a snapshot: no rule lets go of it until it is unpinned.
#[utoipa::path(post, path = "/data/snapshots/{id}/pin", params(("id" = String, Path, description = "The snapshot's id.")),
    request_body = NewPin, responses((status = 200, description = "What keeps the snapshot now.", body = MarksView)))]
pub async fn pin(state: Data<AppState>, caller: Caller, id: Path<SnapshotId>, body: Body<NewPin>) -> Answer<MarksView> {
    mark(&state, &caller, *id, MarkKind::Pin, &body.value.reason).await
}

/// Takes all pins of a snapshot away.
#[utoipa::path(delete, path = "/data/snapshots/{id}/pin", params(("id" = String, Path, description = "The snapshot's id."),
    UndoParams), responses((status = 200, description = "What keeps the snapshot now.", body = MarksView)))]
pub async fn unpin(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SnapshotId>,
    params: Params<UndoParams>,
) -> Answer<MarksView> {
    mark(&state, &caller, *id, MarkKind::Unpin, &reason(params.0)).await
}

/// Puts a snapshot under a legal hold. Further holds add to it.
#[utoipa::path(post, path = "/data/snapshots/{id}/hold", params(("id" = String, Path, description = "The snapshot's id.")),
    request_body = NewHold, responses((status = 200, description = "What keeps the snapshot now.", body = MarksView)))]
pub async fn hold(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SnapshotId>,
    body: Body<NewHold>,
) -> Answer<MarksView> {
    let NewHold { reason, until } = body.value;
    if until.is_some_and(|until| until <= state.now()) {
        return Err(Problem::invalid_field("/until", "must be in the future"));
    }
    mark(&state, &caller, *id, MarkKind::Hold { until }, &reason).await
}

/// Lifts all legal holds of a snapshot.
#[utoipa::path(delete, path = "/data/snapshots/{id}/hold", params(("id" = String, Path, description = "The snapshot's id."),
    UndoParams), responses((status = 200, description = "What keeps the snapshot now.", body = MarksView)))]
pub async fn release(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SnapshotId>,
    params: Params<UndoParams>,
) -> Answer<MarksView> {
    mark(&state, &caller, *id, MarkKind::Release, &reason(params.0)).await
}

fn reason(params: UndoParams) -> String {
    params.reason.unwrap_or_else(|| "a person asked for it".to_owned())
}

async fn mark(state: &AppState, caller: &Caller, id: SnapshotId, kind: MarkKind, reason: &str) -> Answer<MarksView> {
    let source_id = snapshots::find(state, caller, id).await?.loaded.manifest.source_id;
    retention::mark(&state.ctx, caller.scope(), (source_id, id), kind, &caller.actor(), reason).await?;
    let store = state.ctx.snapshots.source(caller.scope(), source_id).await?;
    Ok(Json(MarksView::of(&store.marks(id).await?, state.now())))
}

/// The marks of all snapshots of some sources.
///
/// # Errors
/// 500 when one is damaged.
pub async fn of_sources(
    state: &AppState,
    caller: &Caller,
    sources: BTreeSet<SourceId>,
) -> Result<BTreeMap<SnapshotId, Marks>, Problem> {
    let of_source = |source_id| async move {
        let store = state.ctx.snapshots.source(caller.scope(), source_id).await?;
        store.all_marks().await
    };
    let marks: Vec<_> = stream::iter(sources).map(of_source).buffered(SOURCES_AT_ONCE).try_collect().await?;
    Ok(marks.into_iter().flatten().collect())
}
