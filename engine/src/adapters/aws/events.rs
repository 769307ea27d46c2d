//! Events on a bus of EventBridge: the events port.
//!
//! An event on the bus, as rules of an operator filter on:
//!
//! | field | value |
//! |---|---|
//! | `source` | `listbackup` |
//! | `detail-type` | what happened: `run.failed`, `source.stale` |
//! | `time` | when, to the second |
//! | `detail` | the event as in the activity table: `eventId`, `accountId`, `kind`, `actor`, `sequence`, `sourceId`, …, `details` |
//!
//! EventBridge promises neither order nor once only; `detail.sequence` says both, from 1 and without gaps in each account. An event
//! too large for the bus comes without its `details`, and one that the bus will never take is left out and told in the log: the
//! table has it.
//!
//! Events without a place in their account's chain (progress of runs) do not go to the bus, only to followers in this process. All
//! others reach followers from the table, whichever process linked them: see `follow.rs`.
//!
//! Publishing n events is one PutEvents for each 10, or 256 KiB. An account that somebody follows costs a query of the table each second and
//! process, whether or not anything happens, and one for each event that the process itself publishes.

mod follow;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_eventbridge::{
    Client,
    primitives::DateTime,
    types::{PutEventsRequestEntry as Entry, PutEventsResultEntry as Outcome},
};
use futures::stream::BoxStream;

use self::follow::Following;
use super::{AwsClients, AwsSettings, batches, error};
use crate::{
    error::{Error, ErrorKind, Result},
    latest::{Follower, Latest},
    model::{ActivityEvent, scope::AccountScope},
    ports::{Events, Tables},
};

/// `source` of all events.
const SOURCE: &str = "listbackup";
/// What EventBridge counts for the time of an entry.
const TIME_BYTES: usize = 14;
/// What the bus says of an event that it will never take.
const NEVER: &[&str] = &["MalformedDetail", "InvalidArgument", "EventTooLarge"];

/// The event bus; clones share their connections and followers.
#[derive(Clone)]
pub struct EventBridgeEvents {
    client: Client,
    bus: String,
    following: Arc<Following>,
    nudges: Latest<()>,
}

impl EventBridgeEvents {
    /// The bus of the settings, and followers of what is in the tables. Nothing is sent yet.
    pub fn new(clients: &AwsClients, settings: &AwsSettings, tables: Arc<dyn Tables>) -> Self {
        Self {
            client: clients.eventbridge.clone(),
            bus: settings.event_bus(),
            following: Arc::new(Following::new(tables)),
            nudges: Latest::new(()),
        }
    }

    /// At most [`batches::MAX_ENTRIES`] events, those that the bus did not take again.
    async fn put(&self, mut entries: Vec<Entry>) -> Result<()> {
        for attempt in 1..=batches::MAX_ATTEMPTS {
            let put = self.client.put_events().set_entries(Some(entries.clone()));
            let answer =
                put.send().await.map_err(|error| error::failed("EventBridge", error).with("bus", &self.bus))?;
            let mut outcomes = answer.entries.unwrap_or_default().into_iter();
            let mut failure = None;
            // An entry that the answer does not speak of is sent again, too.
            entries.retain(|entry| {
                let outcome = outcomes.next();
                let is_done =
                    outcome.as_ref().is_some_and(|outcome| outcome.event_id.is_some() || is_hopeless(entry, outcome));
                if !is_done {
                    failure = outcome;
                }
                !is_done
            });
            if entries.is_empty() {
                return Ok(());
            }
            let (code, said) = failure.map_or_else(Default::default, |failure| {
                (failure.error_code.unwrap_or_default(), failure.error_message.unwrap_or_default())
            });
            if attempt == batches::MAX_ATTEMPTS {
                let message = format!("EventBridge did not take all events: {code}, {said}");
                return Err(Error::new(ErrorKind::Retry, message).with("bus", &self.bus));
            }
            tokio::time::sleep(batches::pause_after(attempt)).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Events for EventBridgeEvents {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        // They are in the table: followers here need not wait for the bus.
        events.iter().for_each(|event| self.following.hear(event));
        let kept = events.iter().filter(|event| event.sequence.is_some());
        let entries = kept.map(|event| entry(event, &self.bus)).collect::<Result<Vec<_>>>()?;
        for batch in batches::cut(entries, size_bytes) {
            self.put(batch).await?;
        }
        Ok(())
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        Following::follow(&self.following, scope)
    }

    fn nudge(&self) {
        self.nudges.set_if(Some);
    }

    fn nudges(&self) -> Follower<()> {
        self.nudges.follow()
    }
}

fn entry(event: &ActivityEvent, bus: &str) -> Result<Entry> {
    let whole = entry_with(event, detail(event)?, bus);
    if size_bytes(&whole) <= batches::MAX_BYTES {
        return Ok(whole);
    }
    let small = ActivityEvent { details: serde_json::Map::new(), ..event.clone() };
    Ok(entry_with(event, detail(&small)?, bus))
}

fn entry_with(event: &ActivityEvent, detail: String, bus: &str) -> Entry {
    let entry = Entry::builder().event_bus_name(bus).source(SOURCE).detail_type(event.kind.code());
    entry.time(DateTime::from_millis(event.timestamp)).detail(detail).build()
}

fn detail(event: &ActivityEvent) -> Result<String> {
    serde_json::to_string(event).map_err(|error| Error::new(ErrorKind::Bug, "an event must serialise").caused_by(error))
}

/// As EventBridge counts.
fn size_bytes(entry: &Entry) -> usize {
    let texts = [&entry.source, &entry.detail_type, &entry.detail];
    TIME_BYTES + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

fn is_hopeless(entry: &Entry, outcome: &Outcome) -> bool {
    let code = outcome.error_code.as_deref().unwrap_or_default();
    let is_hopeless = NEVER.contains(&code);
    if is_hopeless {
        tracing::error!(
            code,
            said = outcome.error_message,
            event = entry.detail,
            "the event bus refuses an event for good"
        );
    }
    is_hopeless
}
