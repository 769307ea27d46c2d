//! Webhooks: where an account wants its events sent to, and the deliveries, one of each event to each webhook that wants it.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, ActivityEvent, ActivityKind, DeliveryId, EventId, WebhookId, activity_kind::FAMILIES};
use crate::tables::{Row, TableSchema, WEBHOOKS};

/// The one partition of the due index.
pub const DUE_SHARD: &str = "due";
/// Sort keys of webhooks begin so.
pub const HOOKS: &str = "hook#";
/// So long a delivery is kept, in milliseconds.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Whose.
    pub account_id: AccountId,
    /// `hook#` and its id.
    pub webhook_key: String,
    /// Its id.
    pub webhook_id: WebhookId,
    /// Where events go.
    pub url: String,
    /// Which: kinds (`run.failed`) and families of them (`run.*`); all, when there are none.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether events are sent.
    pub state: WebhookState,
    /// Why and since when it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// Nothing has arrived since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// The secret that signs, sealed.
    pub sealed: String,
    /// The secret before it, which signs too for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerSecret>,
    /// When it was made: what happened before is not sent.
    pub created_at: Timestamp,
    /// When a person changed it last.
    pub updated_at: Timestamp,
}

/// Whether a webhook is sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// It is.
    Active,
    /// A person stopped it: what happens meanwhile is not sent, also not later.
    Paused,
    /// It failed too often, or said that it is gone.
    Disabled,
}

/// Why and since when a webhook is disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disabled {
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// A secret that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerSecret {
    /// Sealed.
    pub sealed: String,
    /// It signs until then.
    pub until: Timestamp,
}

impl Row for Webhook {
    const TABLE: &'static TableSchema = &WEBHOOKS;
}

/// What all write who make a webhook: of two at a time, one finds it changed and counts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookGate {
    /// Whose.
    pub account_id: AccountId,
    /// [`WebhookGate::KEY`].
    pub webhook_key: String,
}

impl Row for WebhookGate {
    const TABLE: &'static TableSchema = &WEBHOOKS;
}

impl WebhookGate {
    /// The key of the row in its account.
    pub const KEY: &'static str = "gate";

    /// The gate of an account.
    pub fn new(account_id: AccountId) -> Self {
        Self { account_id, webhook_key: Self::KEY.to_owned() }
    }
}

impl Webhook {
    /// The sort key of the webhook with that id.
    pub fn sort_key(webhook_id: WebhookId) -> String {
        format!("{HOOKS}{webhook_id}")
    }

    /// Whether an event is sent to it.
    pub fn wants(&self, event: &ActivityEvent) -> bool {
        let kind = event.kind.code();
        let fits =
            |wanted: &String| wanted == kind || wanted.strip_suffix('*').is_some_and(|family| kind.starts_with(family));
        self.state == WebhookState::Active
            && event.timestamp >= self.created_at.as_millisecond()
            && (self.kinds.is_empty() || self.kinds.iter().any(fits))
    }
}

/// True for what may stand in [`Webhook::kinds`].
pub fn is_kind(text: &str) -> bool {
    let is_family = || text.strip_suffix(".*").is_some_and(|family| FAMILIES.contains(&family));
    is_family() || serde_json::from_value::<ActivityKind>(text.into()).is_ok()
}

/// One event on its way to one webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Whose.
    pub account_id: AccountId,
    /// `delivery#`, the webhook's id, `#` and its own.
    pub webhook_key: String,
    /// Its id, the same however often it is sent.
    pub delivery_id: DeliveryId,
    /// Where it goes.
    pub webhook_id: WebhookId,
    /// What is sent.
    pub event_id: EventId,
    /// When that happened, in milliseconds since 1970.
    pub event_ms: i64,
    /// Its kind.
    pub kind: ActivityKind,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was sent since it was ordered.
    #[serde(default)]
    pub attempts: u32,
    /// When it was sent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_at: Option<Timestamp>,
    /// The status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// Why the last attempt failed, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Index shard while it is to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<String>,
    /// When it is to be sent, in milliseconds since 1970; while somebody sends it, when another may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_ms: Option<i64>,
    /// When the row goes, in seconds since 1970.
    pub expires_at: i64,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is still to be sent, or sent again.
    Pending,
    /// It arrived.
    Delivered,
    /// It was given up.
    Failed,
}

impl Row for Delivery {
    const TABLE: &'static TableSchema = &WEBHOOKS;
}

impl Delivery {
    /// Of an event to a webhook: from the same, the same.
    pub fn of(event: &ActivityEvent, webhook_id: WebhookId) -> Self {
        let mut unique = [0; 10];
        let digest = digest(&SHA256, &[*event.event_id.as_bytes(), *webhook_id.as_bytes()].concat());
        unique.copy_from_slice(&digest.as_ref()[..10]);
        let delivery_id = DeliveryId::derived(event.timestamp, unique);
        Self {
            account_id: event.account_id,
            webhook_key: Self::sort_key(webhook_id, delivery_id),
            delivery_id,
            webhook_id,
            event_id: event.event_id,
            event_ms: event.timestamp,
            kind: event.kind,
            state: DeliveryState::Pending,
            attempts: 0,
            attempted_at: None,
            last_status: None,
            last_error: None,
            due_shard: Some(DUE_SHARD.to_owned()),
            next_attempt_ms: Some(event.timestamp),
            expires_at: (event.timestamp + KEPT_MS) / 1000,
        }
    }

    /// The sort key of a delivery.
    pub fn sort_key(webhook_id: WebhookId, delivery_id: DeliveryId) -> String {
        format!("{}{delivery_id}", Self::prefix(webhook_id))
    }

    /// What the sort keys of a webhook's deliveries begin with.
    pub fn prefix(webhook_id: WebhookId) -> String {
        format!("delivery#{webhook_id}#")
    }

    /// It is over.
    pub fn end(&mut self, state: DeliveryState) {
        (self.state, self.due_shard, self.next_attempt_ms) = (state, None, None);
    }

    /// It is to be sent at an instant.
    pub fn due_at(&mut self, at: Timestamp) {
        self.state = DeliveryState::Pending;
        self.due_shard = Some(DUE_SHARD.to_owned());
        self.next_attempt_ms = Some(at.as_millisecond());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_takes_kinds_and_families_that_there_are() {
        for good in ["run.failed", "run.*", "webhook.disabled", "source.authorisation_lost"] {
            assert!(is_kind(good), "{good}");
        }
        for bad in ["run", "run.", "*", "run.fail*", "runs.*", "RUN.*", ""] {
            assert!(!is_kind(bad), "{bad}");
        }
    }
}
