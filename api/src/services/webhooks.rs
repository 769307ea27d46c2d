//! Webhooks: where events are sent to. The secret that signs is shown once, and kept sealed.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use jiff::{SignedDuration, Timestamp};
use listbackup_engine::{
    Error, ErrorKind,
    model::{
        ActivityEvent, ActivityKind, Webhook, WebhookId,
        webhook::{FormerSecret, HOOKS, WebhookGate, WebhookState, is_kind},
    },
    ports::{Condition, Key, Query, SortRange, Write},
    run::{
        deliveries::signing,
        event::{self, Subject},
        update::{Decision, update as change},
    },
    store::{key, put},
    tables::WEBHOOKS,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::{Body, Params},
    caller::Caller,
    changes::{commit, told},
    etag::{ETag, IfMatch},
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// Webhooks of an account.
const WEBHOOKS_MAX: usize = 20;
/// Webhooks that others make first so often in a row are not racing, something is wrong.
const ATTEMPTS_MAX: u32 = 32;
/// So long a secret that was replaced signs too.
const FORMER_SIGNS: SignedDuration = SignedDuration::from_hours(24);

/// A webhook to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are sent to; http or https, not in a private network.
    #[schema(min_length = 1, max_length = 2000)]
    url: String,
    /// Which events: kinds (`run.failed`) and families of them (`run.*`). All, when there are none.
    #[serde(default)]
    #[schema(max_items = 50)]
    kinds: Vec<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
}

/// Changes to a webhook.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChanges {
    /// Another address.
    #[schema(min_length = 1, max_length = 2000)]
    url: Option<String>,
    /// Other events; all, when there are none.
    #[schema(max_items = 50)]
    kinds: Option<Vec<String>>,
    /// Another description.
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Stops it, or lets it go on. What happens while it stands still is not sent.
    state: Option<WebhookSwitch>,
    /// Makes a new secret, which this answer shows. For 24 hours the one before it signs too.
    #[serde(default)]
    rotate_secret: bool,
}

/// What people may set a webhook to.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookSwitch {
    /// Events are sent.
    Active,
    /// None are.
    Paused,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookView {
    /// Its id.
    #[schema(value_type = schemas::WebhookId)]
    id: WebhookId,
    /// Where events are sent to.
    url: String,
    /// Which; all, when there are none.
    kinds: Vec<String>,
    /// What it is for.
    description: String,
    /// `active`, `paused` (a person stopped it) or `disabled` (it failed too often).
    state: &'static str,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    /// Since when it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Timestamp>,
    /// Nothing has arrived since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    /// Until then the secret that was replaced signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_secret_until: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When a person changed it last.
    updated_at: Timestamp,
    /// The secret that signs, only in the answer that made it; a repeat with the same `Idempotency-Key` does not show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// The account's webhooks.
#[utoipa::path(get, path = "/webhooks", params(PageParams), responses(
    (status = 200, description = "A page of webhooks, without their secrets.", body = Page<WebhookView>)))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<WebhookView>> {
    let found = state.store.query::<Webhook>(caller.scope(), hooks(&caller, &page.0)).await?;
    let now = state.now();
    Ok(Json(Page::of(found, |webhook| WebhookView::of(webhook, now))))
}

/// Makes a webhook. What happens from now on is sent to it, signed as [Standard Webhooks](https://www.standardwebhooks.com) says.
#[utoipa::path(post, path = "/webhooks", request_body = NewWebhook, params(IdempotencyKey), responses(
    (status = 201, description = "Made. Keep the secret: it is not shown again.", body = WebhookView),
    (status = 409, description = "The account has as many webhooks as it may.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<NewWebhook>,
) -> Result<HttpResponse, Problem> {
    let NewWebhook { url, kinds, description } = body.value;
    let url = checked_url(&state, &url).await?;
    check_kinds(&kinds)?;
    let webhook_id: WebhookId = idempotency.id(&state, &caller, &body.digest).await?;
    let now = state.now();
    let (keys, random) = (&*state.ports.keys, &*state.ports.random);
    let (sealed, secret) = signing::new_secret(keys, random, caller.account_id(), webhook_id).await?;
    let webhook = Webhook {
        account_id: caller.account_id(),
        webhook_key: Webhook::sort_key(webhook_id),
        webhook_id,
        url,
        kinds,
        description,
        state: WebhookState::Active,
        disabled: None,
        failing_since: None,
        sealed,
        former: None,
        created_at: now,
        updated_at: now,
    };
    let (webhook, is_new) = keep_new(&state, &caller, webhook).await?;
    Ok(answer(StatusCode::CREATED, webhook, now, is_new.then_some(&secret)))
}

/// Writes a new webhook, if there is place for one more. False with the one that another request of the same key has made, whose answer
/// has the secret.
async fn keep_new(state: &AppState, caller: &Caller, webhook: Webhook) -> Result<(Webhook, bool), Problem> {
    let (account_id, place) = (caller.account_id(), place(caller, webhook.webhook_id));
    for _ in 0..ATTEMPTS_MAX {
        let (gate, at) = (WebhookGate::new(account_id), key(account_id, WebhookGate::KEY));
        let gate = state.store.gate(caller.scope(), at, gate).await?;
        let all = PageParams::of(Some(WEBHOOKS_MAX), None);
        let there = state.store.query::<Webhook>(caller.scope(), hooks(caller, &all)).await?.rows.len();
        // Counted before: where it is among those, it is found.
        if let Some(earlier) = state.store.find::<Webhook>(caller.scope(), place.clone()).await? {
            return Ok((earlier.row, false));
        }
        if there >= WEBHOOKS_MAX {
            return Err(Problem::conflict(format!("an account has at most {WEBHOOKS_MAX} webhooks; remove one first")));
        }
        let told = event_of(state, caller, ActivityKind::WebhookCreated, &webhook);
        match commit(state, caller.scope(), vec![put(&webhook, Condition::Absent)?, gate], told).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return Ok(done.map(|()| (webhook, true))?),
        }
    }
    Err(Error::new(ErrorKind::Retry, "others make webhooks all the time; try again").into())
}

/// One webhook.
#[utoipa::path(get, path = "/webhooks/{id}", params(("id" = String, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook, with its `ETag`.", body = WebhookView)))]
pub async fn read(state: Data<AppState>, caller: Caller, id: Path<WebhookId>) -> Result<HttpResponse, Problem> {
    let now = state.now();
    Ok(answer(StatusCode::OK, find(&state, &caller, *id).await?, now, None))
}

/// Changes a webhook, or gives it a new secret.
#[utoipa::path(patch, path = "/webhooks/{id}", params(("id" = String, Path, description = "The webhook's id.")),
    request_body = WebhookChanges, responses(
    (status = 200, description = "The webhook as it is now; with a new secret, if one was asked for.", body = WebhookView),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn update(
    state: Data<AppState>,
    caller: Caller,
    id: Path<WebhookId>,
    if_match: IfMatch,
    body: Body<WebhookChanges>,
) -> Result<HttpResponse, Problem> {
    let mut wanted = body.value;
    find(&state, &caller, *id).await?;
    if let Some(url) = &wanted.url {
        wanted.url = Some(checked_url(&state, url).await?);
    }
    check_kinds(wanted.kinds.as_deref().unwrap_or_default())?;
    let (keys, random) = (&*state.ports.keys, &*state.ports.random);
    let fresh = match wanted.rotate_secret {
        true => Some(signing::new_secret(keys, random, caller.account_id(), *id).await?),
        false => None,
    };
    let now = state.now();
    let (webhook, events) = change(&state.store, caller.scope(), place(&caller, *id), |mut webhook: Webhook| {
        if let Err(stale) = if_match.check(&tag(&webhook)) {
            return Ok(Decision::Keep(Err(stale)));
        }
        wanted.apply(&mut webhook);
        if let Some((sealed, _)) = &fresh {
            let before = std::mem::replace(&mut webhook.sealed, sealed.clone());
            webhook.former = Some(FormerSecret { sealed: before, until: now + FORMER_SIGNS });
        }
        webhook.updated_at = now;
        let told = event_of(&state, &caller, ActivityKind::WebhookUpdated, &webhook);
        Ok(Decision::Write(webhook.clone(), vec![event::keep(&told)?], Ok((webhook, [told]))))
    })
    .await??;
    state.publish(&events);
    Ok(answer(StatusCode::OK, webhook, now, fresh.as_ref().map(|(_, secret)| secret)))
}

/// Removes a webhook; nothing is sent to it any more.
#[utoipa::path(delete, path = "/webhooks/{id}", params(("id" = String, Path, description = "The webhook's id.")),
    responses((status = 204, description = "Removed.")))]
pub async fn delete(state: Data<AppState>, caller: Caller, id: Path<WebhookId>) -> Result<HttpResponse, Problem> {
    let webhook = find(&state, &caller, *id).await?;
    let delete = Write::Delete { table: &WEBHOOKS, key: place(&caller, *id), condition: Condition::Any };
    let told = event_of(&state, &caller, ActivityKind::WebhookDeleted, &webhook);
    commit(&state, caller.scope(), vec![delete], told).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The caller's webhook of that id.
///
/// # Errors
/// 404 when there is none.
pub async fn find(state: &AppState, caller: &Caller, id: WebhookId) -> Result<Webhook, Problem> {
    Ok(state.store.get::<Webhook>(caller.scope(), place(caller, id)).await?.row)
}

impl WebhookChanges {
    fn apply(&self, webhook: &mut Webhook) {
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
        }
        if let Some(kinds) = &self.kinds {
            webhook.kinds.clone_from(kinds);
        }
        if let Some(description) = &self.description {
            webhook.description.clone_from(description);
        }
        match self.state {
            Some(WebhookSwitch::Active) => {
                (webhook.state, webhook.disabled, webhook.failing_since) = (WebhookState::Active, None, None);
            }
            Some(WebhookSwitch::Paused) => (webhook.state, webhook.disabled) = (WebhookState::Paused, None),
            None => {}
        }
    }
}

impl WebhookView {
    fn of(row: Webhook, now: Timestamp) -> Self {
        let state = match row.state {
            WebhookState::Active => "active",
            WebhookState::Paused => "paused",
            WebhookState::Disabled => "disabled",
        };
        let (disabled_reason, disabled_at) = row.disabled.map(|disabled| (disabled.reason, disabled.at)).unzip();
        Self {
            id: row.webhook_id,
            url: row.url,
            kinds: row.kinds,
            description: row.description,
            state,
            disabled_reason,
            disabled_at,
            failing_since: row.failing_since,
            former_secret_until: row.former.map(|former| former.until).filter(|until| *until > now),
            created_at: row.created_at,
            updated_at: row.updated_at,
            secret: None,
        }
    }
}

fn answer(status: StatusCode, webhook: Webhook, now: Timestamp, secret: Option<&SecretString>) -> HttpResponse {
    let tag = tag(&webhook);
    let secret = secret.map(|secret| secret.expose_secret().to_owned());
    tag.answer(status, &WebhookView { secret, ..WebhookView::of(webhook, now) })
}

fn tag(webhook: &Webhook) -> ETag {
    ETag::of(webhook.updated_at)
}

fn place(caller: &Caller, id: WebhookId) -> Key {
    key(caller.account_id(), Webhook::sort_key(id))
}

fn hooks(caller: &Caller, page: &PageParams) -> Query {
    Query { sort: SortRange::Prefix(HOOKS.to_owned()), ..page.query(&WEBHOOKS, None, &caller.account_id()) }
}

/// An address may have a secret in its path: the log tells its host only.
fn event_of(state: &AppState, caller: &Caller, kind: ActivityKind, webhook: &Webhook) -> ActivityEvent {
    let host = Url::parse(&webhook.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let details = [
        ("webhookId", json!(webhook.webhook_id)),
        ("host", json!(host)),
        ("kinds", json!(webhook.kinds)),
        ("description", json!(webhook.description)),
        ("state", json!(webhook.state)),
    ];
    told(state, caller, kind, Subject::default(), details)
}

/// What is out of reach now is told at once; what a name stands for later is checked again at each sending.
async fn checked_url(state: &AppState, text: &str) -> Result<String, Problem> {
    let problem = |detail: String| Problem::invalid_field("/url", detail);
    let url = Url::parse(text).map_err(|error| problem(format!("is no address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("must hold no user and no password".to_owned()));
    }
    state.ctx.http.guard().check_reach(&url).await.map_err(|error| problem(error.message().to_owned()))?;
    Ok(url.into())
}

fn check_kinds(kinds: &[String]) -> Result<(), Problem> {
    let wrong = |(number, _): (usize, &String)| {
        Problem::field(format!("/kinds/{number}"), "is no kind of event (`run.failed`) and no family of them (`run.*`)")
    };
    let problems: Vec<_> = kinds.iter().enumerate().filter(|(_, kind)| !is_kind(kind)).map(wrong).collect();
    if problems.is_empty() { Ok(()) } else { Err(Problem::invalid(problems)) }
}
