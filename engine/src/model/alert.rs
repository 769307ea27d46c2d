//! Alerts: letters to those who administer an account, about what is not as it should be. One row of each kind and source, or webhook:
//! what comes within an hour of a letter is counted in it, and has none of its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, ActivityEvent, ActivityKind, EventId, UserId, WebhookId};
use crate::tables::{Row, TableSchema, WEBHOOKS};

/// The partition of the due index that has alerts.
pub const ALERTS_SHARD: &str = "alerts";
/// Events of so long a time have one letter, in milliseconds.
const LETTER_EVERY_MS: i64 = 60 * 60 * 1000;
/// So long a row is kept, in milliseconds.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A letter to be, or that was; and what happened since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Whose.
    pub account_id: AccountId,
    /// `alert#`, the kind, `#` and what it is about.
    pub webhook_key: String,
    /// What the letter tells.
    pub event_id: EventId,
    /// When that happened, in milliseconds since 1970.
    pub event_ms: i64,
    /// Its kind.
    pub kind: ActivityKind,
    /// As many of the kind came before that, and no letter told of them.
    #[serde(default)]
    pub earlier: u32,
    /// As many came since.
    #[serde(default)]
    pub withheld: u32,
    /// Who has the letter, while others wait for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<UserId>,
    /// How often it was tried to send it.
    #[serde(default)]
    pub attempts: u32,
    /// Index shard while it is to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<String>,
    /// When it is to be sent, in milliseconds since 1970; while somebody sends it, when another may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_ms: Option<i64>,
    /// When the row goes, in seconds since 1970.
    pub expires_at: i64,
}

impl Row for Alert {
    const TABLE: &'static TableSchema = &WEBHOOKS;
}

impl Alert {
    /// The sort key of the alert that an event belongs to; `None` where nobody is alerted. A restore has somebody who waits for it.
    pub fn sort_key(event: &ActivityEvent) -> Option<String> {
        use ActivityKind::{RunFailed, RunPartial, SnapshotSuspicious, SourceAuthorisationLost, SourceStale};
        let about = match event.kind {
            RunFailed | RunPartial if event.details.contains_key("restore") => None,
            RunFailed | RunPartial | SnapshotSuspicious | SourceAuthorisationLost | SourceStale => {
                event.source_id.map(|source_id| source_id.to_string())
            }
            ActivityKind::WebhookDisabled => webhook_of(event).map(|webhook_id| webhook_id.to_string()),
            _ => None,
        };
        Some(format!("alert#{}#{}", event.kind.code(), about?))
    }

    /// The first letter about what an event tells, due at once.
    pub fn of(event: &ActivityEvent, webhook_key: String) -> Self {
        Self {
            account_id: event.account_id,
            webhook_key,
            event_id: event.event_id,
            event_ms: event.timestamp,
            kind: event.kind,
            earlier: 0,
            withheld: 0,
            told: Vec::new(),
            attempts: 0,
            due_shard: Some(ALERTS_SHARD.to_owned()),
            next_attempt_ms: Some(event.timestamp),
            expires_at: (event.timestamp + KEPT_MS) / 1000,
        }
    }

    /// A further event of the same: counted, or told by another letter when the last one is an hour old. That one, if nobody has it
    /// yet, is not sent any more, and counts as well.
    pub fn take(&mut self, event: &ActivityEvent) {
        if event.timestamp < self.event_ms.saturating_add(LETTER_EVERY_MS) {
            self.withheld = self.withheld.saturating_add(1);
            return;
        }
        let unsent = if self.is_due() && self.told.is_empty() { self.earlier.saturating_add(1) } else { 0 };
        let earlier = self.withheld.saturating_add(unsent);
        *self = Self { earlier, ..Self::of(event, std::mem::take(&mut self.webhook_key)) };
    }

    /// True while it is to be sent.
    pub fn is_due(&self) -> bool {
        self.due_shard.is_some()
    }

    /// It was sent, or is given up.
    pub fn end(&mut self) {
        (self.due_shard, self.next_attempt_ms) = (None, None);
        self.told.clear();
    }

    /// It is to be sent at an instant.
    pub fn due_at(&mut self, at: Timestamp) {
        self.due_shard = Some(ALERTS_SHARD.to_owned());
        self.next_attempt_ms = Some(at.as_millisecond());
    }
}

/// The webhook that an event is about.
pub fn webhook_of(event: &ActivityEvent) -> Option<WebhookId> {
    event.details.get("webhookId")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::model::SourceId;

    fn failed(minute: i64) -> ActivityEvent {
        let timestamp = minute * 60_000;
        ActivityEvent {
            event_id: EventId::derived(timestamp, [1; 10]),
            timestamp,
            account_id: AccountId::derived(1, [2; 10]),
            kind: ActivityKind::RunFailed,
            actor: "system".to_owned(),
            source_id: Some(SourceId::derived(1, [3; 10])),
            job_id: None,
            run_id: None,
            details: Map::new(),
            sequence: None,
            chain_digest: None,
            outbox_shard: None,
        }
    }

    #[test]
    fn an_hour_has_one_letter_and_the_next_letter_says_how_many_had_none() {
        let first = failed(59);
        let mut alert = Alert::of(&first, Alert::sort_key(&first).unwrap());
        alert.end();
        for minute in [60, 61, 118] {
            alert.take(&failed(minute));
        }
        assert_eq!((alert.is_due(), alert.withheld), (false, 3));
        alert.take(&failed(119));
        assert_eq!((alert.is_due(), alert.earlier, alert.withheld), (true, 3, 0));
        alert.take(&failed(200));
        assert_eq!((alert.earlier, alert.event_ms), (4, 200 * 60_000), "one that was never sent counts as well");
    }
}
