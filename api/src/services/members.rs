//! Members of an account: who, another role, leaving.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    accounts::members::PEOPLE,
    model::{AccountId, Membership, Role, User, UserId, role::Action, user::MembershipStatus},
    ports::{Query, SortRange},
    store::key1,
    tables::USERS_ACCOUNTS,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::{Body, Params},
    caller::{Caller, enter, enter_as_member},
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// A member of an account.
#[derive(Serialize, ToSchema)]
pub struct MemberView {
    /// Who.
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
    /// Their name.
    name: String,
    /// Their address.
    email: String,
    /// What they may do, unless they own an account above.
    #[schema(value_type = schemas::Role)]
    role: Role,
    /// `active`; who is invited is in the list of invitations.
    #[schema(value_type = schemas::MembershipStatus)]
    status: MembershipStatus,
    /// Since when.
    created_at: Timestamp,
}

/// Changes to a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberChanges {
    /// What they may do from now on. Ownership is given and taken by owners only.
    #[schema(value_type = schemas::Role)]
    role: Role,
}

/// The members of an account; not those of accounts above it, who have their role here too.
#[utoipa::path(get, path = "/accounts/{id}/members", params(PageParams, ("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "A page of members.", body = Page<MemberView>)))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    page: Params<PageParams>,
) -> Answer<Page<MemberView>> {
    let there = enter(&state, &caller, *id, Action::Read).await?;
    let people = SortRange::Prefix(PEOPLE.to_owned());
    let query = Query { sort: people, ..page.0.query(&USERS_ACCOUNTS, Some("by-account"), &*id) };
    let found = state.store.query::<Membership>(there.scope(), query).await?;
    let mut items = Vec::new();
    for membership in found.rows.into_iter().map(|found| found.row) {
        items.extend(view(&state, membership).await?);
    }
    Ok(Json(Page { items, next_cursor: found.next }))
}

/// Gives a member another role.
///
/// A role holds for all accounts below. Somebody who has one from an account above gets a nearer one here, which counts before it; but
/// whoever owns an account owns all below it. The root of a tree keeps an owner.
#[utoipa::path(patch, path = "/accounts/{id}/members/{user}", request_body = MemberChanges, params(
    ("id" = String, Path, description = "The account's id."), ("user" = String, Path, description = "The person's id.")),
    responses((status = 200, description = "The member as they are now.", body = MemberView),
    (status = 402, description = "The plan of who pays allows no more members (`plan_limit`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "They are the last owner, or own an account above.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn update(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(AccountId, UserId)>,
    body: Body<MemberChanges>,
) -> Answer<MemberView> {
    let (account_id, user_id) = *path;
    let there = enter(&state, &caller, account_id, Action::Administer).await?;
    let actor = there.actor();
    let changed = state.office().set_role(there.acting(&actor), user_id, body.value.role).await?;
    state.publish(&changed.events);
    Ok(Json(view(&state, changed.row).await?.ok_or_else(Problem::not_found)?))
}

/// Takes a member out of an account. Everybody may take themselves out; the last owner of a tree's root may not.
#[utoipa::path(delete, path = "/accounts/{id}/members/{user}", params(
    ("id" = String, Path, description = "The account's id."), ("user" = String, Path, description = "The person's id.")),
    responses((status = 204, description = "Taken out; their next call is refused, by access keys too."),
    (status = 403, description = "Your role does not allow to take others out.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "They are the last owner.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(AccountId, UserId)>,
) -> Result<HttpResponse, Problem> {
    let (account_id, user_id) = *path;
    let leaves = user_id == caller.user_id && caller.key.is_none();
    let there = if leaves {
        enter_as_member(&state, &caller, account_id).await?
    } else {
        enter(&state, &caller, account_id, Action::Administer).await?
    };
    let actor = there.actor();
    let changed = state.office().remove_member(there.acting(&actor), user_id).await?;
    state.publish(&changed.events);
    Ok(HttpResponse::NoContent().finish())
}

async fn view(state: &AppState, membership: Membership) -> Result<Option<MemberView>, Problem> {
    let user = state.store.find::<User>(&state.system, key1(membership.user_id)).await?;
    let Membership { user_id, role, status, created_at, .. } = membership;
    Ok(user.map(|user| MemberView { user_id, name: user.row.name, email: user.row.email, role, status, created_at }))
}
