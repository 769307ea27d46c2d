//! The relay: takes kept events, in order, to their places in the account's chain ([`crate::model::chain`]), to the bus and to
//! live followers.
//!
//! Several processes may relay at once. Whoever moves the account's head, by a conditional write in the transaction that gives the
//! events their places, has linked them; the others read again. The order of the chain is the order of linking. What has a
//! place never changes again.
//!
//! The bus comes after: the head says up to where it has everything (`publishedSequence`), with the next link or at the next
//! look, and stands in the outbox index until it has all. Whoever publishes begins right after that place, so whatever comes
//! to the bus for the first time comes in the chain's order; a crash, or two relays, may repeat some of it, never leave any out.
//!
//! Last come the followers of the chain ([`super::followers`]): the head keeps its mark until they have all, too.
//!
//! Where indexes are behind, events wait for those before them (`unsettled.rs`), and places that are not found yet for a while.

mod unsettled;

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::{select, time::Instant};

use self::unsettled::Unsettled;
use super::{bell::Bell, followers, linked};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        AccountId, ActivityEvent, ChainHead, EventId,
        activity::{OUTBOX_SHARD, only_events},
        chain::{self, only_heads},
        scope::{AccountScope, SystemScope},
    },
    ports::{Condition, Item, Ports, Query, Write},
    store::{self, Store, Versioned},
    tables::ACTIVITY,
};

/// How often the outbox is looked through without a nudge, for what a crash or another process left.
const EVERY: Duration = Duration::from_secs(5);
/// How often it is looked for events where indexes are behind: they wait, and no nudge comes when they need to wait no more.
const EVERY_BEHIND: Duration = Duration::from_secs(1);
/// Events read from the outbox at a time.
pub(super) const PAGE: usize = 500;
/// Pages with events that have to wait which one look goes past.
const PAGES_MAX: usize = 20;
/// Events of one transaction; the head makes it the hundred that a transaction may have.
const LINKED_MAX: usize = 99;
/// Accounts whose events are linked at the same time.
const ACCOUNTS_MAX: usize = 16;
/// Heads that are remembered between looks.
const HEADS_MAX: usize = 4096;
/// Whoever loses the head so often in a row leaves the work to those who win it, until the next look.
const LOST_MAX: usize = 16;

/// One relay, with what it knows of the heads.
#[derive(Default)]
pub struct Relay {
    heads: BTreeMap<AccountId, Known>,
    unsettled: Unsettled,
    /// Rung when a follower wrote what is to be sent.
    bell: Bell,
}

/// A head as this relay read or wrote it.
struct Known {
    head: Versioned<ChainHead>,
    /// All up to this place is on the bus; the row may not say so yet.
    published: u64,
    followers: followers::Known,
}

impl Relay {
    /// One that rings when something is to be sent.
    pub fn ringing(bell: Bell) -> Self {
        Self { bell, ..Self::default() }
    }

    /// Relays for ever: at once when this process keeps an event, and every five seconds what others left; where indexes are behind, events
    /// each second.
    pub async fn run(mut self, ports: &Ports, system: &SystemScope) {
        let mut nudges = ports.events.nudges();
        let between = if ports.tables.index_delay().is_zero() { EVERY } else { EVERY_BEHIND };
        let mut next_look = Instant::now();
        loop {
            if Instant::now() >= next_look {
                tell(self.look(ports, system).await);
                next_look = Instant::now() + EVERY;
            } else {
                tell(self.link(ports, system).await);
            }
            select! {
                biased;
                () = nudges.changed() => {}
                () = tokio::time::sleep_until(next_look.min(Instant::now() + between)) => {}
            }
        }
    }

    /// Links and publishes all that is kept, and brings the heads up to date. Returns how many events were linked.
    ///
    /// # Errors
    /// `Retry` when bus or store cannot be reached; the next one goes on.
    pub async fn look(&mut self, ports: &Ports, system: &SystemScope) -> Result<usize> {
        let linked = self.link(ports, system).await?;
        self.settle(ports, system).await?;
        Ok(linked)
    }

    /// Links and publishes all that is kept. Returns how many events were linked.
    ///
    /// # Errors
    /// `Retry` when bus or store cannot be reached; the next one goes on.
    pub async fn link(&mut self, ports: &Ports, system: &SystemScope) -> Result<usize> {
        let delay = ports.tables.index_delay();
        let (mut linked, mut lost, mut passed) = (0, 0, 0);
        let mut after = None;
        self.unsettled.begin();
        while lost < LOST_MAX && passed < PAGES_MAX {
            let asked_at = Instant::now();
            let kept = ports.tables.query(system.into(), Query { after: after.take(), ..outbox() }).await?;
            let found = kept.items.len();
            let settled = self.unsettled.settled(kept.items, asked_at, delay);
            let has_waiting = settled.len() < found;
            let (page_linked, was_lost) = self.link_page(ports, system, settled).await?;
            linked += page_linked;
            if was_lost {
                lost += 1;
                self.unsettled.begin();
                continue;
            }
            lost = 0;
            if kept.next.is_none() || (page_linked == 0 && !has_waiting) {
                break;
            }
            // What was linked is in no page any more; what waits is in each.
            if has_waiting {
                passed += 1;
                after = kept.next;
            }
        }
        if linked > 0 {
            metrics::counter!("listbackup_activity_events_linked_total").increment(linked as u64);
        }
        Ok(linked)
    }

    /// How many were linked, and whether another relay was first somewhere.
    async fn link_page(&mut self, ports: &Ports, system: &SystemScope, kept: Vec<Item>) -> Result<(usize, bool)> {
        let mut accounts: BTreeMap<AccountId, Vec<Item>> = BTreeMap::new();
        for item in kept {
            let Ok(id) = account_of(&item).inspect_err(|error| tell_left(error, &item)) else { continue };
            accounts.entry(id).or_default().push(item);
        }
        if self.heads.len() > HEADS_MAX {
            self.heads.clear();
        }
        let work: Vec<_> = accounts.into_iter().map(|(id, events)| (id, self.heads.remove(&id), events)).collect();
        let mut working = stream::iter(work)
            .map(|(id, known, events)| async move {
                let scope = system.account(id);
                (id, advance(ports, &scope, known, events).await)
            })
            .buffer_unordered(ACCOUNTS_MAX);
        let (mut linked, mut was_lost, mut failure) = (0, false, None);
        while let Some((id, done)) = working.next().await {
            match done {
                Ok((known, count)) => {
                    linked += count;
                    self.heads.insert(id, known);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => was_lost = true,
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok((linked, was_lost)), Err)
    }

    /// Publishes what a crash kept from the bus, has the followers of chains catch up, and writes into the heads what the bus has by now.
    async fn settle(&mut self, ports: &Ports, system: &SystemScope) -> Result<()> {
        let query = Query { sort: only_heads(), ..outbox() };
        let store = Store::new(ports.tables.clone());
        let mut held_up = None;
        let owing: Vec<Item> = store.items(system.into(), query).try_collect().await?;
        for item in owing {
            let left = item.clone();
            let Ok(head) = decode_head(item).inspect_err(|error| tell_left(error, &left)) else { continue };
            let scope = system.account(head.row.account_id);
            let known = self.heads.remove(&head.row.account_id).map(|known| (known.published, known.followers));
            let (published, followers) = known.unwrap_or_default();
            let published = published.max(head.row.published_sequence);
            let mut known = Known { head, published, followers };
            let end = known.head.row.head_sequence;
            known.publish_up_to(ports, &scope, end).await?;
            let followed = known.followers.catch_up(&store, &scope, end, &self.bell).await;
            if !matches!(followed, Ok(true)) {
                // The head keeps its mark, and the other ones have their turn.
                held_up = held_up.or(followed.err());
                self.heads.insert(known.head.row.account_id, known);
                continue;
            }
            let row = ChainHead { published_sequence: end, outbox_shard: None, ..known.head.row.clone() };
            match store.transact(&scope, vec![store::put(&row, Condition::Version(known.head.version))?]).await {
                Ok(()) => {
                    let (account, sequence, digest) = (row.account_id, row.head_sequence, &row.head_digest);
                    tracing::info!(%account, sequence, digest, "the chain of events ends here");
                    known.head = Versioned { row, version: known.head.version + 1 };
                    self.heads.insert(account, known);
                }
                // It moved on; the next look sees where to.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        held_up.map_or(Ok(()), Err)
    }
}

/// Links and publishes all that is kept, for a command that ends now.
///
/// # Errors
/// `Retry` when bus or store cannot be reached; another process's relay goes on.
pub async fn flush(ports: &Ports, system: &SystemScope) -> Result<()> {
    Relay::default().look(ports, system).await.map(drop)
}

/// The head of an account's chain; `None` before its first event is linked.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn head(store: &Store, scope: &AccountScope) -> Result<Option<ChainHead>> {
    Ok(store.find::<ChainHead>(scope, ChainHead::place(scope.account_id())).await?.map(|found| found.row))
}

fn tell(done: Result<usize>) {
    if let Err(error) = done {
        tracing::warn!(%error, "kept events could not be handed on; trying again");
    }
}

fn outbox() -> Query {
    Query {
        table: &ACTIVITY,
        index: Some("outbox"),
        partition: OUTBOX_SHARD.to_owned(),
        sort: only_events(),
        descending: false,
        limit: PAGE,
        after: None,
    }
}

fn account_of(item: &Item) -> Result<AccountId> {
    let id = item.body.get("accountId").and_then(Value::as_str).unwrap_or_default();
    id.parse().map_err(|error: Error| Error::new(ErrorKind::Corrupt, "a kept event is nobody's").caused_by(error))
}

/// Of one row that cannot be read: the others go their way.
fn tell_left(error: &Error, item: &Item) {
    let (table, id, account) = (ACTIVITY.name, item.body.get("eventId"), item.body.get("accountId"));
    tracing::error!(%error, table, ?id, ?account, "a row of the log of events cannot be read and stays where it is");
}

fn decode_head(item: Item) -> Result<Versioned<ChainHead>> {
    let version = item.version;
    store::row(item).map(|row| Versioned { row, version })
}

/// Gives the events the next places of their account's chain and publishes them.
///
/// # Errors
/// `Conflict` when another relay was first.
async fn advance(
    ports: &Ports,
    scope: &AccountScope,
    known: Option<Known>,
    events: Vec<Item>,
) -> Result<(Known, usize)> {
    let mut known = match known {
        Some(known) => known,
        None => Known::read(ports, scope).await?,
    };
    let mut linked = 0;
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let batch: Vec<Item> = events.by_ref().take(LINKED_MAX).collect();
        linked += batch.len();
        let told = known.link(ports, scope, batch).await?;
        known.followers.linked(&told);
        known.publish(ports, scope, &told).await?;
    }
    Ok((known, linked))
}

impl Known {
    async fn read(ports: &Ports, scope: &AccountScope) -> Result<Self> {
        let store = Store::new(ports.tables.clone());
        let account_id = scope.account_id();
        let head = match store.find::<ChainHead>(scope, ChainHead::place(account_id)).await? {
            Some(head) => head,
            None => {
                let row = ChainHead::new(account_id, newest_without_chain(&store, scope).await?);
                Versioned { row, version: 0 }
            }
        };
        Ok(Self { published: head.row.published_sequence, head, followers: Default::default() })
    }

    /// One transaction: the head, and every event with its place and digest and without its mark.
    async fn link(&mut self, ports: &Ports, scope: &AccountScope, batch: Vec<Item>) -> Result<Vec<ActivityEvent>> {
        let mut head = self.head.row.clone();
        let mut digest = chain::parse(&head.head_digest)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the head of the chain of events has no digest"))?;
        let mut writes = Vec::with_capacity(batch.len() + 1);
        let mut told = Vec::with_capacity(batch.len());
        for Item { mut body, version } in batch {
            body.remove("outboxShard");
            if chain::place_of(&body).is_some() {
                // Somebody marked it anew: it has its place, and keeps it.
                tracing::warn!(event = ?body.get("eventId"), "an event that has its place was marked as having none");
            } else {
                head.head_sequence += 1;
                digest = chain::link(&mut body, head.head_sequence, &digest);
                told.extend(linked::decode(&body));
            }
            writes.push(Write::Put { table: &ACTIVITY, body, condition: Condition::Version(version) });
        }
        head.head_digest = digest.to_hex().to_string();
        head.published_sequence = self.published;
        head.outbox_shard = Some(OUTBOX_SHARD.to_owned());
        let condition = match self.head.version {
            0 => Condition::Absent,
            version => Condition::Version(version),
        };
        writes.push(store::put(&head, condition)?);
        ports.tables.transact(scope.into(), writes).await?;
        self.head = Versioned { row: head, version: self.head.version + 1 };
        Ok(told)
    }

    /// Publishes events that were just linked, after all that the bus may not have yet.
    async fn publish(&mut self, ports: &Ports, scope: &AccountScope, events: &[ActivityEvent]) -> Result<()> {
        let Some(first) = events.first().and_then(|event| event.sequence) else { return Ok(()) };
        self.publish_up_to(ports, scope, first - 1).await?;
        ports.events.publish(events).await?;
        self.published = self.head.row.head_sequence;
        Ok(())
    }

    /// Publishes from the table what another relay linked and may not have published.
    async fn publish_up_to(&mut self, ports: &Ports, scope: &AccountScope, last: u64) -> Result<()> {
        let store = Store::new(ports.tables.clone());
        while self.published < last {
            let first = self.published + 1;
            let stretch = linked::stretch(&store, scope, first, last.min(self.published + LINKED_MAX as u64)).await?;
            ports.events.publish(&stretch.events).await?;
            self.published = stretch.end;
        }
        Ok(())
    }
}

/// The newest event that a version without chain left behind.
async fn newest_without_chain(store: &Store, scope: &AccountScope) -> Result<Option<EventId>> {
    let query = Query {
        table: &ACTIVITY,
        index: Some("by-account"),
        partition: scope.account_id().to_string(),
        sort: only_events(),
        descending: true,
        limit: PAGE,
        after: None,
    };
    let settled = store.rows::<ActivityEvent>(scope, query).try_filter(|event| {
        let is_settled = event.outbox_shard.is_none() && event.sequence.is_none();
        std::future::ready(is_settled)
    });
    let mut settled = std::pin::pin!(settled);
    Ok(settled.try_next().await?.map(|event| event.event_id))
}
