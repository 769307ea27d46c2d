//! The data keys of an account: which there are, a new one, and the end of all of them.

use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use listbackup_engine::{
    model::{AccountId, role::Action},
    run::keys,
    snapshot::StoredKeys,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::Body,
    caller::{Caller, enter},
    problem::Problem,
    schemas,
    state::AppState,
};

/// The data keys of an account.
#[derive(Serialize, ToSchema)]
pub struct DataKeysView {
    /// Oldest first; none before anything was stored.
    keys: Vec<DataKeyView>,
    /// Present when they were destroyed: nothing stored of the account can be read any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    destroyed: Option<DestructionView>,
}

/// A data key; the key itself never leaves the server.
#[derive(Serialize, ToSchema)]
pub struct DataKeyView {
    /// Counts the account's keys, from 1.
    epoch: u32,
    /// True when it seals what is stored from now on.
    is_newest: bool,
}

/// Who destroyed an account's data keys.
#[derive(Serialize, ToSchema)]
pub struct DestructionView {
    /// A user's or key's id, or `cli`.
    by: String,
    /// Why.
    reason: String,
    /// When.
    at: Timestamp,
}

/// The end of an account's data keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyDestruction {
    /// The account's id once more: the caller means it.
    #[schema(value_type = schemas::AccountId)]
    confirm: AccountId,
    /// Why, for those who ask later.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl DataKeysView {
    fn of(stored: StoredKeys) -> Self {
        let newest = stored.newest();
        let keys = stored.epochs.iter().map(|epoch| DataKeyView { epoch: *epoch, is_newest: newest == Some(*epoch) });
        let destroyed = stored.destruction.map(|destruction| DestructionView {
            by: destruction.act.by,
            reason: destruction.act.reason,
            at: destruction.act.at,
        });
        Self { keys: keys.collect(), destroyed }
    }
}

/// The data keys of an account.
#[utoipa::path(get, path = "/accounts/{id}/keys", params(("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "Its data keys, not what they are.", body = DataKeysView)))]
pub async fn list(state: Data<AppState>, caller: Caller, id: Path<AccountId>) -> Answer<DataKeysView> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    view(&state, &there).await
}

/// Gives an account a new data key for everything that is stored from now on. What is stored stays as it is, and readable.
#[utoipa::path(post, path = "/accounts/{id}/keys/rotate", params(("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "Its data keys now.", body = DataKeysView)))]
pub async fn rotate(state: Data<AppState>, caller: Caller, id: Path<AccountId>) -> Answer<DataKeysView> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    keys::rotate(&state.ctx, there.scope(), &there.actor()).await?;
    view(&state, &there).await
}

/// Destroys the data keys of an account for ever: nothing stored of it can be read any more. Only an owner may, in person, and not
/// while a snapshot is under a legal hold or a lock.
#[utoipa::path(post, path = "/accounts/{id}/keys/destroy", params(("id" = String, Path, description = "The account's id.")),
    request_body = KeyDestruction, responses((status = 200, description = "Destroyed.", body = DataKeysView)))]
pub async fn destroy(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    body: Body<KeyDestruction>,
) -> Answer<DataKeysView> {
    let there = enter(&state, &caller, *id, Action::Own).await?;
    let KeyDestruction { confirm, reason } = body.value;
    if confirm != *id {
        return Err(Problem::invalid_field("/confirm", "must be the id of the account whose keys are to be destroyed"));
    }
    keys::destroy(&state.ctx, there.scope(), &there.actor(), &reason).await?;
    view(&state, &there).await
}

async fn view(state: &AppState, there: &Caller) -> Answer<DataKeysView> {
    Ok(Json(DataKeysView::of(state.ctx.snapshots.stored_keys(there.scope()).await?)))
}
