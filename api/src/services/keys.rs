//! Access keys for programs: shown once, kept as a hash, never worth more than their owner's present role.

use std::collections::BTreeSet;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind,
    model::{AccessKey, ActivityKind, KeyId, Role, UserId, role::Action},
    ports::{Condition, Item, Write},
    run::event::Subject,
    store::{key1, put},
    tables::API_KEYS,
    token,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::{Body, Params},
    caller::{Caller, KEY_PREFIX},
    changes::{commit, told},
    idempotency::IdempotencyKey,
    key_scopes::KeyScope,
    paging::{Page, PageParams, filtered},
    problem::Problem,
    schemas,
    state::AppState,
};

/// An access key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Name for people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The most that it may do; not more than the caller may.
    #[schema(value_type = schemas::Role)]
    role: Role,
    /// What it is for: services, each to `read` (GET) or to `write` (every verb). Without them it may do all that its role may.
    #[schema(value_type = Option<Vec<schemas::KeyScope>>, min_items = 1)]
    scopes: Option<BTreeSet<KeyScope>>,
    /// When it ends; never, when absent.
    expires_at: Option<Timestamp>,
}

/// An access key.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    /// Its id.
    #[schema(value_type = schemas::KeyId)]
    id: KeyId,
    /// Name for people.
    name: String,
    /// The most that it may do.
    #[schema(value_type = schemas::Role)]
    role: Role,
    /// What it is for; all that its role allows, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<schemas::KeyScope>>)]
    scopes: Option<Vec<String>>,
    /// Who made it. The key never has more rights than this person has at the moment of a call.
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// The key itself, only in the answer that made it; a repeat with the same `Idempotency-Key` does not show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// The account's access keys.
#[utoipa::path(get, path = "/auth/keys", params(PageParams), responses(
    (status = 200, description = "A page of keys, without their secrets.", body = Page<KeyView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<KeyView>> {
    let query = page.0.query(&API_KEYS, Some("by-account"), &caller.account_id());
    let keys = filtered(&state, caller.scope(), query, |item| Ok(access_key(item)?.map(KeyView::of))).await?;
    Ok(Json(keys))
}

/// Makes an access key. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/auth/keys", request_body = NewKey, params(IdempotencyKey), responses(
    (status = 201, description = "Made. Keep the secret: it is not shown again.", body = KeyView)))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<NewKey>,
) -> Result<HttpResponse, Problem> {
    check(&state, &caller, &body.value)?;
    let key_id: KeyId = idempotency.id(&state, &caller, &body.digest).await?;
    if let Some(earlier) = find(&state, &caller, key_id).await? {
        return Ok(HttpResponse::Created().json(KeyView::of(earlier)));
    }
    let secret = token::new(KEY_PREFIX, &*state.ports.random);
    let NewKey { name, role, scopes, expires_at } = body.value;
    let row = AccessKey {
        key_id,
        account_id: caller.account_id(),
        user_id: caller.user_id,
        name,
        secret_hash: token::hash(secret.expose_secret()),
        role,
        scopes: scopes.map(|scopes| scopes.iter().map(ToString::to_string).collect()),
        expires_at,
        created_at: state.now(),
    };
    write(&state, &caller, put(&row, Condition::Absent)?, ActivityKind::KeyCreated, &row).await?;
    Ok(HttpResponse::build(StatusCode::CREATED)
        .json(KeyView { secret: Some(secret.expose_secret().to_owned()), ..KeyView::of(row) }))
}

/// Withdraws an access key; the next call with it fails.
#[utoipa::path(delete, path = "/auth/keys/{id}", params(("id" = String, Path, description = "The key's id.")),
    responses((status = 204, description = "Withdrawn.")))]
pub async fn delete(state: Data<AppState>, caller: Caller, key_id: Path<KeyId>) -> Result<HttpResponse, Problem> {
    let row = find(&state, &caller, *key_id).await?.ok_or_else(Problem::not_found)?;
    let delete = Write::Delete { table: &API_KEYS, key: key1(*key_id), condition: Condition::Any };
    write(&state, &caller, delete, ActivityKind::KeyDeleted, &row).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl KeyView {
    fn of(row: AccessKey) -> Self {
        let AccessKey { key_id, name, role, scopes, user_id, expires_at, created_at, .. } = row;
        Self { id: key_id, name, role, scopes, user_id, expires_at, created_at, secret: None }
    }
}

fn check(state: &AppState, caller: &Caller, wanted: &NewKey) -> Result<(), Problem> {
    let all = [Action::Read, Action::Operate, Action::Administer, Action::Bill, Action::Own];
    if all.into_iter().any(|action| wanted.role.allows(action) && !caller.allows(action)) {
        return Err(Problem::invalid_field("/role", "must not allow more than your own role does"));
    }
    if wanted.expires_at.is_some_and(|end| end <= state.now()) {
        return Err(Problem::invalid_field("/expires_at", "must be in the future"));
    }
    Ok(())
}

/// Credentials of integrations share the table; they have no hash.
fn access_key(item: Item) -> Result<Option<AccessKey>, Error> {
    if !item.body.contains_key("secretHash") {
        return Ok(None);
    }
    serde_json::from_value(Value::Object(item.body))
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a stored access key has another shape: {error}")))
}

async fn find(state: &AppState, caller: &Caller, key_id: KeyId) -> Result<Option<AccessKey>, Problem> {
    let item = state.ports.tables.get(caller.scope().into(), &API_KEYS, &key1(key_id)).await?;
    Ok(item.map(access_key).transpose()?.flatten())
}

async fn write(
    state: &AppState,
    caller: &Caller,
    write: Write,
    kind: ActivityKind,
    row: &AccessKey,
) -> Result<(), Problem> {
    let details = [("keyId", json!(row.key_id)), ("name", json!(row.name)), ("role", json!(row.role))];
    let mut told = told(state, caller, kind, Subject::default(), details);
    if let Some(scopes) = &row.scopes {
        told.details.insert("scopes".to_owned(), json!(scopes));
    }
    Ok(commit(state, caller.scope(), vec![write], told).await?)
}
