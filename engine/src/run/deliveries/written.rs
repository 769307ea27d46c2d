//! What is written of deliveries and of the webhooks that they go to.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};

use crate::{
    error::{ErrorKind, Result},
    model::{
        ActivityKind, Delivery, Webhook, WebhookId,
        scope::AccountScope,
        webhook::{DeliveryState, Disabled, WebhookState},
    },
    ports::{Condition, Key, Write},
    run::{
        RunContext,
        event::{self, Subject},
        update::{Decision, update},
    },
    store::{self, Versioned, key},
    tables::{Row, WEBHOOKS},
};

/// Who takes a delivery up has it for so long.
pub(super) const CLAIM: SignedDuration = SignedDuration::from_secs(60);

/// Takes a delivery up; `None` when another process did.
pub(super) async fn claim(
    ctx: &RunContext,
    scope: &AccountScope,
    found: Versioned<Delivery>,
) -> Result<Option<Versioned<Delivery>>> {
    let Versioned { row: mut delivery, version } = found;
    let now = ctx.ports.clock.now();
    delivery.attempts = delivery.attempts.saturating_add(1);
    delivery.attempted_at = Some(now);
    delivery.due_at(now + CLAIM);
    taken(ctx, scope, delivery, version).await
}

/// Writes the row of something that was taken up; `None` when another process took it up, or it changed.
pub(in crate::run) async fn taken<R: Row>(
    ctx: &RunContext,
    scope: &AccountScope,
    row: R,
    version: u64,
) -> Result<Option<Versioned<R>>> {
    match ctx.store.transact(scope, vec![store::put(&row, Condition::Version(version))?]).await {
        Ok(()) => Ok(Some(Versioned { row, version: version + 1 })),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what became of it, unless somebody ordered it anew meanwhile.
pub(in crate::run) async fn write<R: Row>(ctx: &RunContext, scope: &AccountScope, row: &R, version: u64) -> Result<()> {
    match ctx.store.transact(scope, vec![store::put(row, Condition::Version(version))?]).await {
        Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}

/// Notes in the webhook's row that something arrived, or since when nothing does. Returns since when.
pub(super) async fn note(
    ctx: &RunContext,
    scope: &AccountScope,
    known: &Webhook,
    has_failed: bool,
) -> Result<Option<Timestamp>> {
    if known.failing_since.is_some() == has_failed {
        return Ok(known.failing_since);
    }
    let now = ctx.ports.clock.now();
    let noted = update(&ctx.store, scope, place(known), |mut webhook: Webhook| {
        if webhook.failing_since.is_some() == has_failed {
            return Ok(Decision::Keep(webhook.failing_since));
        }
        webhook.failing_since = has_failed.then_some(now);
        let since = webhook.failing_since;
        Ok(Decision::Write(webhook, Vec::new(), since))
    })
    .await;
    match noted {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        noted => noted,
    }
}

/// Stops a webhook that does not take anything, and tells it.
pub(super) async fn disable(ctx: &RunContext, scope: &AccountScope, webhook_id: WebhookId, reason: &str) -> Result<()> {
    let now = ctx.ports.clock.now();
    let place = key(scope.account_id(), Webhook::sort_key(webhook_id));
    let told = update(&ctx.store, scope, place, |mut webhook: Webhook| {
        if webhook.state == WebhookState::Disabled {
            return Ok(Decision::Keep(None));
        }
        webhook.state = WebhookState::Disabled;
        webhook.disabled = Some(Disabled { reason: reason.to_owned(), at: now });
        let details = Map::from_iter([
            ("webhookId".to_owned(), json!(webhook_id)),
            ("description".to_owned(), json!(webhook.description)),
            ("reason".to_owned(), json!(reason)),
        ]);
        let subject = Subject::default();
        let account_id = scope.account_id();
        let told = event::event(&ctx.ports, account_id, ActivityKind::WebhookDisabled, event::SYSTEM, subject, details);
        Ok(Decision::Write(webhook, vec![event::keep(&told)?], Some(told)))
    })
    .await;
    match told {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        told => {
            event::publish(&ctx.ports, scope, told?.as_slice());
            Ok(())
        }
    }
}

fn place(webhook: &Webhook) -> Key {
    key(webhook.account_id, &webhook.webhook_key)
}

/// Deliveries of a webhook that was removed.
pub(super) async fn drop_all(ctx: &RunContext, scope: &AccountScope, due: Vec<Versioned<Delivery>>) -> Result<usize> {
    let gone = |delivery: &Versioned<Delivery>| Write::Delete {
        table: &WEBHOOKS,
        key: key(scope.account_id(), &delivery.row.webhook_key),
        condition: Condition::Any,
    };
    ctx.store.transact(scope, due.iter().map(gone).collect()).await?;
    Ok(due.len())
}

/// Deliveries of a webhook that nothing is sent to; they may be ordered again.
pub(super) async fn give_up_all(
    ctx: &RunContext,
    scope: &AccountScope,
    due: Vec<Versioned<Delivery>>,
    state: WebhookState,
) -> Result<usize> {
    let why = if state == WebhookState::Paused { "the webhook is paused" } else { "the webhook is disabled" };
    let count = due.len();
    for Versioned { row: mut delivery, version } in due {
        delivery.last_error = Some(why.to_owned());
        delivery.end(DeliveryState::Failed);
        write(ctx, scope, &delivery, version).await?;
    }
    Ok(count)
}
