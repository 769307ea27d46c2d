//! What became of the events that were sent to a webhook.

use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use listbackup_engine::{
    model::{
        Delivery, DeliveryId, EventId, WebhookId,
        webhook::{DeliveryState, WebhookState},
    },
    ports::{Query, SortRange},
    run::update::{Decision, update as change},
    store::key,
    tables::WEBHOOKS,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, webhooks};
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// One event on its way to a webhook.
#[derive(Serialize, ToSchema)]
pub struct DeliveryView {
    /// Its id: the `webhook-id` of each attempt.
    #[schema(value_type = schemas::DeliveryId)]
    id: DeliveryId,
    /// The event that is sent.
    #[schema(value_type = schemas::EventId)]
    event_id: EventId,
    /// What it tells.
    kind: &'static str,
    /// When that happened.
    event_at: Timestamp,
    /// `pending`, `delivered` or `failed`.
    state: &'static str,
    /// How often it was sent, since it was ordered last.
    attempts: u32,
    /// When it was sent last.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempted_at: Option<Timestamp>,
    /// When it is sent next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    /// The status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    /// The beginning of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When this is forgotten.
    expires_at: Timestamp,
}

/// The deliveries of a webhook in the last 30 days, newest first.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries",
    params(("id" = String, Path, description = "The webhook's id."), PageParams),
    responses((status = 200, description = "A page of deliveries.", body = Page<DeliveryView>)))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    id: Path<WebhookId>,
    page: Params<PageParams>,
) -> Answer<Page<DeliveryView>> {
    webhooks::find(&state, &caller, *id).await?;
    let query = Query {
        sort: SortRange::Prefix(Delivery::prefix(*id)),
        descending: true,
        ..page.0.query(&WEBHOOKS, None, &caller.account_id())
    };
    Ok(Json(Page::of(state.store.query::<Delivery>(caller.scope(), query).await?, DeliveryView::of)))
}

/// Sends an event once more, under the same id.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/redeliver",
    params(("id" = String, Path, description = "The webhook's id."),
        ("delivery" = String, Path, description = "The delivery's id.")),
    responses((status = 200, description = "It is sent in a moment.", body = DeliveryView),
    (status = 409, description = "The webhook is paused or disabled.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn redeliver(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(WebhookId, DeliveryId)>,
) -> Answer<DeliveryView> {
    let (id, delivery_id) = *path;
    if webhooks::find(&state, &caller, id).await?.state != WebhookState::Active {
        return Err(Problem::conflict("the webhook is paused or disabled; set its `state` to `active` first"));
    }
    let (now, place) = (state.now(), key(caller.account_id(), Delivery::sort_key(id, delivery_id)));
    let ordered = change(&state.store, caller.scope(), place, |mut delivery: Delivery| {
        delivery.attempts = 0;
        delivery.due_at(now);
        Ok(Decision::Write(delivery.clone(), Vec::new(), delivery))
    });
    let ordered = ordered.await?;
    state.ctx.bell.ring();
    Ok(Json(DeliveryView::of(ordered)))
}

impl DeliveryView {
    fn of(row: Delivery) -> Self {
        let state = match row.state {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Failed => "failed",
        };
        Self {
            id: row.delivery_id,
            event_id: row.event_id,
            kind: row.kind.code(),
            event_at: Timestamp::from_millisecond(row.event_ms).unwrap_or_default(),
            state,
            attempts: row.attempts,
            attempted_at: row.attempted_at,
            next_attempt_at: row.next_attempt_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            last_status: row.last_status,
            last_error: row.last_error,
            expires_at: Timestamp::from_second(row.expires_at).unwrap_or_default(),
        }
    }
}
