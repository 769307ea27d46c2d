//! Accounts at and below the caller's own.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    accounts::letters::tell_owners,
    letters::DeletionStage,
    model::{Account, AccountId, ActivityKind, Ending, role::Action},
    run::{
        event::{self, Subject},
        update::{Decision, update as change},
    },
    store::key1,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Answer,
    hierarchy::{NewAccount, below},
};
use crate::{
    body::{Body, Params},
    caller::{Caller, enter},
    changes::{publish, told},
    etag::{ETag, IfMatch},
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// An account.
#[derive(Serialize, ToSchema)]
pub struct AccountView {
    /// Its id.
    #[schema(value_type = schemas::AccountId)]
    id: AccountId,
    /// Name for people.
    name: String,
    /// The account above it; absent at the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::AccountId>)]
    parent_id: Option<AccountId>,
    /// When it was made.
    created_at: Timestamp,
    /// Present when it is to be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<DeletionView>,
}

/// The announced end of an account.
#[derive(Serialize, ToSchema)]
pub struct DeletionView {
    /// Who asked for it: a user's id.
    by: String,
    /// When.
    announced_at: Timestamp,
    /// From when on nothing of the account can be read any more.
    ends_at: Timestamp,
    /// True when that time has come, but snapshots that are held or locked stand against it.
    is_held: bool,
}

/// Changes to an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChanges {
    /// A new name.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// The caller's account and all below it, parents before children.
#[utoipa::path(get, path = "/accounts", params(PageParams), responses(
    (status = 200, description = "A page of accounts.", body = Page<AccountView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<AccountView>> {
    Ok(Json(below(&state, &caller, &page.0).await?))
}

/// Makes an account that is below none, with the caller as its owner. To work in it, switch to it.
#[utoipa::path(post, path = "/accounts", request_body = NewAccount, params(IdempotencyKey), responses(
    (status = 201, description = "Made.", body = AccountView),
    (status = 409, description = "You own too many accounts already.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<NewAccount>,
) -> Result<HttpResponse, Problem> {
    let account_id = idempotency.id(&state, &caller, &body.digest).await?;
    let made = state.office().add_root(caller.user_id, account_id, &body.value.name).await?;
    state.publish(&made.events);
    Ok(HttpResponse::build(StatusCode::CREATED).json(AccountView::of(made.row)))
}

/// One account.
#[utoipa::path(get, path = "/accounts/{id}", params(("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "The account, with its `ETag`.", body = AccountView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<AccountId>) -> Result<HttpResponse, Problem> {
    let there = enter(&state, &caller, *id, Action::Read).await?;
    let account = state.store.get::<Account>(there.scope(), key1(*id)).await?.row;
    Ok(tag(&account).answer(StatusCode::OK, &AccountView::of(account)))
}

/// Renames an account.
#[utoipa::path(patch, path = "/accounts/{id}", params(("id" = String, Path, description = "The account's id.")),
    request_body = AccountChanges, responses(
    (status = 200, description = "The account as it is now.", body = AccountView),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn update(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    if_match: IfMatch,
    body: Body<AccountChanges>,
) -> Result<HttpResponse, Problem> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    let (account, events) = change(&state.store, there.scope(), key1(*id), |mut account: Account| {
        if let Err(stale) = if_match.check(&tag(&account)) {
            return Ok(Decision::Keep(Err(stale)));
        }
        let Some(name) = body.value.name.clone().filter(|name| *name != account.name) else {
            return Ok(Decision::Keep(Ok((account, Vec::new()))));
        };
        let details = [("from", json!(account.name)), ("to", json!(name))];
        let told = told(&state, &there, ActivityKind::AccountUpdated, Subject::default(), details);
        account.name = name;
        Ok(Decision::Write(account.clone(), vec![event::keep(&told)?], Ok((account, vec![told]))))
    })
    .await??;
    publish(&state, there.scope(), &events);
    Ok(tag(&account).answer(StatusCode::OK, &AccountView::of(account)))
}

/// Announces that an account will be deleted: 30 days later its data keys are destroyed, and nothing of it can be read any more.
///
/// Until then all goes on as before, backups too, and an owner can call it off. Only an owner may, in person. Accounts below it are
/// moved, or announced to be deleted too, first, and its own subscription is cancelled. Snapshots under a legal hold or a lock put the end
/// off until they are free.
#[utoipa::path(delete, path = "/accounts/{id}", params(("id" = String, Path, description = "The account's id.")), responses(
    (status = 202, description = "Announced, now or before.", body = AccountView),
    (status = 409, description = "There are accounts below it that are to stay, or its subscription goes on.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(state: Data<AppState>, caller: Caller, id: Path<AccountId>) -> Result<HttpResponse, Problem> {
    let there = enter(&state, &caller, *id, Action::Own).await?;
    let actor = there.actor();
    let changed = state.office().announce_end(there.acting(&actor)).await?;
    state.publish(&changed.events);
    if let Some(ending) = changed.row.ending.as_ref().filter(|_| !changed.events.is_empty()) {
        tell(&state, &changed.row, &actor, DeletionStage::Announced { due_at: ending.ends_at }).await;
    }
    Ok(HttpResponse::Accepted().json(AccountView::of(changed.row)))
}

/// Calls the deletion of an account off. Only an owner may, in person.
#[utoipa::path(delete, path = "/accounts/{id}/deletion", params(("id" = String, Path, description = "The account's id.")), responses(
    (status = 200, description = "The account, which stays.", body = AccountView),
    (status = 409, description = "Its time has come: it is being deleted.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn keep(state: Data<AppState>, caller: Caller, id: Path<AccountId>) -> Answer<AccountView> {
    let there = enter(&state, &caller, *id, Action::Own).await?;
    let actor = there.actor();
    let changed = state.office().call_end_off(there.acting(&actor)).await?;
    state.publish(&changed.events);
    if !changed.events.is_empty() {
        tell(&state, &changed.row, &actor, DeletionStage::Recalled).await;
    }
    Ok(Json(AccountView::of(changed.row)))
}

async fn tell(state: &AppState, account: &Account, by: &str, stage: DeletionStage) {
    let link = state.ctx.settings.public_url.as_ref();
    tell_owners(&state.ports, &state.system, account, by, stage, link).await;
}

impl AccountView {
    /// What is shown of an account.
    pub fn of(account: Account) -> Self {
        let Account { account_id, name, parent_id, created_at, ending, .. } = account;
        let deletion = ending.map(|Ending { by, announced_at, ends_at, is_held, .. }| DeletionView {
            by,
            announced_at,
            ends_at,
            is_held,
        });
        Self { id: account_id, name, parent_id, created_at, deletion }
    }
}

fn tag(account: &Account) -> ETag {
    ETag::of(&account.name)
}
