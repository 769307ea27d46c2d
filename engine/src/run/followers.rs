//! Followers of the chain: what is derived from the events of an account, each event taken exactly once and in the chain's order.
//!
//! A follower has a row in its table that says up to which place it has taken the chain (its *cursor*). What it makes of some
//! events is written in one transaction with the cursor, on the condition that nobody moved that meanwhile: so whoever loses the
//! condition begins again from where the other one got to, and nothing counts twice. The relay has all followers catch up before it
//! takes the mark from an account's head ([`super::relay`]); whatever dies in between leaves the mark, and the next look goes on.
//!
//! A further follower is a variant of [`Follower`], with its table and with a function from events to writes. When its table is lost,
//! it takes the chain again from the beginning.

mod alerts;
mod counters;
mod deliveries;

use serde_json::{Map, Value, json};

use super::{
    bell::Bell,
    linked::{self, Stretch},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityEvent, scope::AccountScope},
    ports::{Condition, WRITES_MAX, Write},
    store::{Store, key},
    tables::{COUNTERS, TableSchema, WEBHOOKS},
};

/// Events read at a time.
const EVENTS_MAX: u64 = 200;
/// Transactions of one account and follower in one look: those of other accounts have their turn.
const BATCHES_MAX: usize = 50;
/// Events that a relay remembers of an account.
const RECENT_MAX: usize = 500;
/// Events that come to nothing, of which a cursor does not say that they were taken.
const UNWRITTEN_MAX: u64 = 500;
/// Its attribute with the place.
const SEQUENCE: &str = "sequence";
/// Writes that a follower may make of a batch: the cursor is one more.
pub(super) const DERIVED_MAX: usize = WRITES_MAX - 1;

/// Who follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follower {
    /// Sums of what runs came to, by day.
    Counters,
    /// One delivery of each event to each webhook that wants it.
    Deliveries,
    /// Letters about what is not as it should be.
    Alerts,
}

/// What a follower makes of a batch of events.
pub(super) struct Derived {
    /// It has taken so many of them, at least one: the others would not fit into the transaction.
    taken: usize,
    /// At most [`DERIVED_MAX`], none of the cursor.
    writes: Vec<Write>,
    /// Something of it is to be sent.
    is_due: bool,
}

impl Follower {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Counters, Self::Deliveries, Self::Alerts];

    /// Where it keeps what it derives. Partition is the account's id, and its sort key is text.
    fn table(self) -> &'static TableSchema {
        match self {
            Self::Counters => &COUNTERS,
            Self::Deliveries | Self::Alerts => &WEBHOOKS,
        }
    }

    /// The sort key of its cursor there. The first one of a table has the shorter word: it was there alone.
    fn cursor(self) -> &'static str {
        match self {
            Self::Counters | Self::Deliveries => "cursor",
            Self::Alerts => "cursor#alerts",
        }
    }

    /// What it makes of events, as rows are now. Nothing is written here, and nothing is told that no transaction has written yet.
    async fn derive(self, store: &Store, scope: &AccountScope, events: &[ActivityEvent]) -> Result<Derived> {
        match self {
            Self::Counters => counters::derive(store, scope, events).await,
            Self::Deliveries => deliveries::derive(store, scope, events).await,
            Self::Alerts => alerts::derive(store, scope, events).await,
        }
    }
}

/// What a relay knows of the followers of an account, and need not read again.
#[derive(Default)]
pub(super) struct Known {
    /// In the order of [`Follower::ALL`].
    cursors: [Option<Cursor>; Follower::ALL.len()],
    /// The events that were linked last, without gaps.
    recent: Vec<ActivityEvent>,
}

impl Known {
    /// Remembers events that were just linked, until all followers have them.
    pub(super) fn linked(&mut self, events: &[ActivityEvent]) {
        let follows = |(before, next): (&ActivityEvent, &ActivityEvent)| {
            before.sequence.map(|sequence| sequence + 1) == next.sequence
        };
        let is_next = self.recent.last().zip(events.first()).is_none_or(follows);
        if !is_next || self.recent.len() + events.len() > RECENT_MAX {
            self.recent.clear();
        }
        if events.iter().zip(events.iter().skip(1)).all(follows) {
            self.recent.extend_from_slice(events);
        } else {
            self.recent.clear();
        }
    }

    /// Has every follower take the account's chain up to the place `end`. True when all are there, false when other accounts have to
    /// have their turn first.
    ///
    /// # Errors
    /// What keeps one of them, which the log tells; the others went on.
    pub(super) async fn catch_up(
        &mut self,
        store: &Store,
        scope: &AccountScope,
        end: u64,
        bell: &Bell,
    ) -> Result<bool> {
        let mut done = Ok(true);
        for (follower, cursor) in Follower::ALL.into_iter().zip(&mut self.cursors) {
            let following = Following { follower, store, scope, bell, recent: &self.recent };
            match following.catch_up(cursor, end).await {
                Ok(is_there) => done = done.map(|others| others && is_there),
                Err(error) => {
                    *cursor = None;
                    let account = scope.account_id();
                    tracing::error!(%error, ?follower, %account, "a follower of the chain of events is held up");
                    done = Err(error);
                }
            }
        }
        if matches!(done, Ok(true)) {
            self.recent.clear();
        }
        done
    }
}

/// One follower and the chain.
struct Following<'a> {
    follower: Follower,
    store: &'a Store,
    scope: &'a AccountScope,
    bell: &'a Bell,
    recent: &'a [ActivityEvent],
}

impl Following<'_> {
    async fn catch_up(&self, known: &mut Option<Cursor>, end: u64) -> Result<bool> {
        for _ in 0..BATCHES_MAX {
            let cursor = match known.take() {
                Some(cursor) => cursor,
                None => self.cursor().await?,
            };
            if cursor.sequence >= end {
                *known = Some(cursor);
                return Ok(true);
            }
            match self.advance(cursor, end).await {
                Ok(moved) => *known = Some(moved),
                // Another process was first: its cursor says how far it got.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// One transaction. Of events that come to nothing there is none: whoever does not know of them reads them again.
    async fn advance(&self, cursor: Cursor, end: u64) -> Result<Cursor> {
        let Stretch { events, end } = self.stretch(cursor.sequence + 1, end).await?;
        let Derived { taken, mut writes, is_due } = self.follower.derive(self.store, self.scope, &events).await?;
        let untaken = events.get(taken).and_then(|event| event.sequence);
        let sequence = untaken.map_or(end, |sequence| sequence - 1);
        if writes.is_empty() && sequence - cursor.written < UNWRITTEN_MAX {
            return Ok(Cursor { sequence, ..cursor });
        }
        writes.push(self.put(sequence, cursor.version)?);
        self.store.transact(self.scope, writes).await?;
        if is_due {
            self.bell.ring();
        }
        Ok(Cursor { sequence, written: sequence, version: cursor.version + 1 })
    }

    /// The next events, from memory where they are there.
    async fn stretch(&self, first: u64, end: u64) -> Result<Stretch> {
        let known_from = self.recent.first().and_then(|event| event.sequence);
        let known_to = self.recent.last().and_then(|event| event.sequence);
        if known_from.is_some_and(|from| from <= first) && known_to.is_some_and(|to| to >= end) {
            let is_wanted = |event: &&ActivityEvent| event.sequence.is_some_and(|at| at >= first && at <= end);
            let events = self.recent.iter().filter(is_wanted).cloned().collect();
            return Ok(Stretch { events, end });
        }
        linked::stretch(self.store, self.scope, first, end.min(first + EVENTS_MAX - 1)).await
    }

    async fn cursor(&self) -> Result<Cursor> {
        let place = key(self.scope.account_id(), self.follower.cursor());
        let Some(found) = self.store.item(self.scope, self.follower.table(), &place).await? else {
            return Ok(Cursor::default());
        };
        let sequence = found.body.get(SEQUENCE).and_then(Value::as_u64);
        let sequence =
            sequence.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a cursor of the chain names no place"))?;
        Ok(Cursor { sequence, written: sequence, version: found.version })
    }

    fn put(&self, sequence: u64, version: u64) -> Result<Write> {
        let table = self.follower.table();
        let sort = table.sort.ok_or_else(|| Error::new(ErrorKind::Bug, "a follower's table has no sort key"))?;
        let body = Map::from_iter([
            (table.partition.name.to_owned(), json!(self.scope.account_id())),
            (sort.name.to_owned(), json!(self.follower.cursor())),
            (SEQUENCE.to_owned(), json!(sequence)),
        ]);
        let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
        Ok(Write::Put { table, body, condition })
    }
}

/// Up to which place a follower has taken the chain.
#[derive(Default)]
struct Cursor {
    /// All up to here was taken.
    sequence: u64,
    /// What its row says; what came after that came to nothing.
    written: u64,
    /// Of its row; 0 where there is none.
    version: u64,
}
