//! One delivery of each event to each webhook that wants it, due at once ([`crate::model::webhook`]). Who sends them, and when, is
//! [`crate::run::deliveries`]' matter.

use super::{DERIVED_MAX, Derived};
use crate::{
    error::Result,
    model::{
        ActivityEvent, Delivery, Webhook,
        scope::AccountScope,
        webhook::{HOOKS, WebhookState},
    },
    ports::{Condition, Query, SortRange},
    store::{self, Store},
    tables::WEBHOOKS,
};

pub(super) async fn derive(store: &Store, scope: &AccountScope, events: &[ActivityEvent]) -> Result<Derived> {
    let webhooks = active(store, scope).await?;
    let (mut taken, mut writes) = (0, Vec::new());
    for event in events {
        let wanted: Vec<_> = webhooks.iter().filter(|webhook| webhook.wants(event)).collect();
        if writes.len() + wanted.len() > DERIVED_MAX {
            break;
        }
        for webhook in wanted {
            // One that is there is of a chain that is taken again, since the cursor was lost: it stays as it is or is sent once more.
            writes.push(store::put(&Delivery::of(event, webhook.webhook_id), Condition::Any)?);
        }
        taken += 1;
    }
    let is_due = !writes.is_empty();
    Ok(Derived { taken, writes, is_due })
}

/// Webhooks that events are sent to; no more than one event can be sent to in one transaction.
async fn active(store: &Store, scope: &AccountScope) -> Result<Vec<Webhook>> {
    let query = Query {
        table: &WEBHOOKS,
        index: None,
        partition: scope.account_id().to_string(),
        sort: SortRange::Prefix(HOOKS.to_owned()),
        descending: false,
        limit: DERIVED_MAX,
        after: None,
    };
    let found = store.sound::<Webhook>(scope, query).await?.rows.into_iter().map(|found| found.row);
    Ok(found.filter(|webhook| webhook.state == WebhookState::Active).collect())
}
