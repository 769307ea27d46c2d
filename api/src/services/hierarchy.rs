//! Accounts below accounts.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use listbackup_engine::{
    model::{Account, AccountId, role::Action},
    ports::{Query, SortRange},
    store::key1,
    tables::ACCOUNTS,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Answer, accounts::AccountView};
use crate::{
    body::{Body, Params},
    caller::{Caller, enter},
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// An account to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Name for people.
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: String,
}

/// Where an account goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The account that it will be right below.
    #[schema(value_type = schemas::AccountId)]
    parent_id: AccountId,
}

/// An account and all below it, parents before children.
#[utoipa::path(get, path = "/accounts/{id}/hierarchy", params(PageParams, ("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "A page of accounts.", body = Page<AccountView>)))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    page: Params<PageParams>,
) -> Answer<Page<AccountView>> {
    let there = enter(&state, &caller, *id, Action::Read).await?;
    Ok(Json(below(&state, &there, &page.0).await?))
}

/// Makes an account right below this one. Roles here hold there too.
#[utoipa::path(post, path = "/accounts/{id}/children", request_body = NewAccount,
    params(IdempotencyKey, ("id" = String, Path, description = "The account's id.")), responses(
    (status = 201, description = "Made.", body = AccountView)))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    idempotency: IdempotencyKey,
    body: Body<NewAccount>,
) -> Result<HttpResponse, Problem> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    let child_id = idempotency.id(&state, &there, &body.digest).await?;
    let actor = there.actor();
    let made = state.office().add_child(there.acting(&actor), child_id, &body.value.name).await?;
    state.publish(&made.events);
    Ok(HttpResponse::build(StatusCode::CREATED).json(AccountView::of(made.row)))
}

/// Puts an account, with all below it, under another one of the same tree. Roles in the accounts above it change with that.
#[utoipa::path(post, path = "/accounts/{id}/move", request_body = Move,
    params(("id" = String, Path, description = "The account's id.")), responses(
    (status = 200, description = "The account where it is now.", body = AccountView),
    (status = 409, description = "It is the root of its tree, or changed meanwhile.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn relocate(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    body: Body<Move>,
) -> Answer<AccountView> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    let to = body.value.parent_id;
    let reached = enter(&state, &caller, to, Action::Administer).await;
    reached.map_err(|problem| match problem.status() {
        StatusCode::NOT_FOUND => Problem::invalid_field("/parent_id", "is no account at or below yours"),
        _ => problem,
    })?;
    let actor = there.actor();
    let moved = state.office().move_account(there.acting(&actor), to).await.map_err(|error| match error.kind() {
        listbackup_engine::ErrorKind::Invalid => Problem::invalid_field("/parent_id", error.message()),
        _ => error.into(),
    })?;
    state.publish(&moved.events);
    Ok(Json(AccountView::of(moved.row)))
}

/// A page of the account that a caller works in and all below it.
pub async fn below(state: &AppState, there: &Caller, page: &PageParams) -> Result<Page<AccountView>, Problem> {
    let top = state.store.get::<Account>(there.scope(), key1(there.account_id())).await?.row;
    let query = Query { sort: SortRange::Prefix(top.path), ..page.query(&ACCOUNTS, Some("by-root"), &top.root_id) };
    // The subtree belongs to other accounts; the prefix of this one's path is what keeps it inside.
    let found = state.store.query::<Account>(&state.system, query).await?;
    Ok(Page::of(found, AccountView::of))
}
