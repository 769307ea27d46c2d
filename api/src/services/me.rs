//! The caller's own profile and accounts.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json},
};
use jiff::Timestamp;
use listbackup_engine::{
    model::{Account, AccountId, Membership, Role, User, UserId, user::MembershipStatus},
    ports::Condition,
    store::{Versioned, key1, put},
    tables::USERS_ACCOUNTS,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::{Body, Params},
    caller::{AccessToken, Caller},
    etag::{ETag, IfMatch},
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// The caller.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// Their id.
    #[schema(value_type = schemas::UserId)]
    id: UserId,
    /// Their address.
    email: String,
    /// Their name, for people.
    name: String,
    /// The account that this request works in.
    #[schema(value_type = schemas::AccountId)]
    account_id: AccountId,
    /// Their role in it; an access key may be allowed less.
    #[schema(value_type = schemas::Role)]
    role: Role,
    /// Whether signing in asks them for a second factor; absent for an access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor: Option<bool>,
    /// Whether they get letters about what is not as it should be, in accounts that they own or administer.
    alerts: bool,
    /// When they registered.
    created_at: Timestamp,
}

/// Changes to the caller's profile.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeChanges {
    /// A new name.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Whether to get letters about failed, partial and suspicious backups, stale sources, lost sign-ins and disabled webhooks.
    alerts: Option<bool>,
}

/// An account that the caller is a member of.
#[derive(Serialize, ToSchema)]
pub struct MyAccount {
    /// Its id.
    #[schema(value_type = schemas::AccountId)]
    id: AccountId,
    /// Its name.
    name: String,
    /// The caller's role there.
    #[schema(value_type = schemas::Role)]
    role: Role,
}

/// The caller's profile.
#[utoipa::path(get, path = "/auth/me", responses((status = 200, description = "The profile, with its `ETag`.", body = Me)))]
pub async fn read(state: Data<AppState>, caller: Caller, token: Option<AccessToken>) -> Result<HttpResponse, Problem> {
    let user = find(&state, &caller).await?;
    let second_factor = has_factor(&state, &caller, token).await?;
    Ok(tag(&user).answer(StatusCode::OK, &Me::of(user.row, &caller, second_factor)))
}

/// Changes the caller's profile.
#[utoipa::path(patch, path = "/auth/me", request_body = MeChanges, responses(
    (status = 200, description = "The profile as it is now.", body = Me),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn update(
    state: Data<AppState>,
    caller: Caller,
    token: Option<AccessToken>,
    if_match: IfMatch,
    body: Body<MeChanges>,
) -> Result<HttpResponse, Problem> {
    let mut user = find(&state, &caller).await?;
    let second_factor = has_factor(&state, &caller, token).await?;
    if_match.check(&tag(&user))?;
    if let Some(name) = body.value.name {
        user.row.name = name;
    }
    if let Some(alerts) = body.value.alerts {
        user.row.alerts_off = !alerts;
    }
    state.store.transact(&state.system, vec![put(&user.row, Condition::Version(user.version))?]).await?;
    user.version += 1;
    Ok(tag(&user).answer(StatusCode::OK, &Me::of(user.row, &caller, second_factor)))
}

/// The accounts that the caller is a member of.
#[utoipa::path(get, path = "/auth/accounts", params(PageParams), responses(
    (status = 200, description = "A page of accounts.", body = Page<MyAccount>)))]
pub async fn accounts(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<MyAccount>> {
    let query = page.0.query(&USERS_ACCOUNTS, None, &caller.user_id);
    let found = state.store.query::<Membership>(&state.system, query).await?;
    let mut items = Vec::new();
    for membership in found.rows.into_iter().map(|found| found.row) {
        if membership.status != MembershipStatus::Active {
            continue;
        }
        items.extend(MyAccount::find(&state, membership.account_id, membership.role).await?);
    }
    Ok(Json(Page { items, next_cursor: found.next }))
}

impl MyAccount {
    /// What is shown of an account to a member in this role.
    pub async fn find(state: &AppState, account_id: AccountId, role: Role) -> Result<Option<Self>, Problem> {
        let account = state.store.find::<Account>(&state.system, key1(account_id)).await?;
        Ok(account.map(|account| Self { id: account_id, name: account.row.name, role }))
    }
}

impl Me {
    fn of(user: User, caller: &Caller, second_factor: Option<bool>) -> Self {
        Self {
            id: user.user_id,
            email: user.email,
            name: user.name,
            account_id: caller.account_id(),
            role: caller.role,
            second_factor,
            alerts: !user.alerts_off,
            created_at: user.created_at,
        }
    }
}

async fn has_factor(state: &AppState, caller: &Caller, token: Option<AccessToken>) -> Result<Option<bool>, Problem> {
    match token.filter(|_| caller.key.is_none()) {
        Some(token) => Ok(Some(state.ports.identity.has_factor(token.of(caller)).await?)),
        None => Ok(None),
    }
}

async fn find(state: &AppState, caller: &Caller) -> Result<Versioned<User>, Problem> {
    Ok(state.store.get::<User>(&state.system, key1(caller.user_id)).await?)
}

/// Sign-ins write the row too, so the tag comes from what the profile shows.
fn tag(user: &Versioned<User>) -> ETag {
    ETag::of(format!("{}\n{}\n{}", user.row.email, user.row.name, user.row.alerts_off))
}
