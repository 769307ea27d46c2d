//! Checks an account's chain of events ([`crate::model::chain`]) from the rows alone.
//!
//! What a clean check proves: no event up to the head was changed, deleted, inserted or moved since it was linked, by anybody who
//! did not also rewrite every event after it and the head. Against somebody who did, hold a head that was noted elsewhere
//! before ([`Witness`]): at its place the chain must have its digest. What it does not prove: that events were true when they
//! were written, and anything about events without a place, which were kept by versions without chain.
//!
//! Two walks, each in pages: the chain by places, then all rows of the account for those that should have a place and have none.

use blake3::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{linked, relay};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ChainHead, EventId, activity::only_events, chain, scope::AccountScope},
    ports::{Item, Query},
    store::Store,
    tables::ACTIVITY,
};

/// Rows of one read.
const PAGE: usize = 500;
/// Breaks that one check tells; it counts the rest.
const TOLD_MAX: usize = 100;

/// Where a check goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Position {
    /// Along the chain, after an event.
    Chain {
        /// Its place; 0 at the beginning.
        sequence: u64,
        /// What the next event may follow, in hex: the digest that it says and the one that it should say. None after a gap.
        before: Vec<String>,
        /// The store's cursor.
        after: Option<String>,
    },
    /// Over all rows.
    Rows {
        /// The store's cursor.
        after: Option<String>,
    },
}

impl Default for Position {
    fn default() -> Self {
        Self::Chain { sequence: 0, before: vec![chain::beginning().to_hex().to_string()], after: None }
    }
}

/// A head that was noted elsewhere: the chain must still have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The place.
    pub sequence: u64,
    /// The digest there.
    pub digest: Hash,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChainReport {
    /// Linked events that were looked at.
    pub checked: u64,
    /// Events that wait for their place: they happened in these seconds.
    pub pending: u64,
    /// Breaks found, also those that are not told.
    pub break_count: u64,
    /// The first hundred of them.
    pub breaks: Vec<Break>,
    /// Where to go on; `None` at the end.
    #[serde(skip)]
    pub next: Option<Position>,
}

impl ChainReport {
    /// True when nothing is wrong with what was looked at.
    pub fn is_sound(&self) -> bool {
        self.break_count == 0
    }

    /// Adds what a later part of the check found.
    pub fn go_on(&mut self, later: Self) {
        self.checked += later.checked;
        self.pending += later.pending;
        self.break_count += later.break_count;
        self.breaks.extend(later.breaks);
        self.breaks.truncate(TOLD_MAX);
        self.next = later.next;
    }

    fn add(&mut self, found: Break) {
        self.break_count += 1;
        if self.breaks.len() < TOLD_MAX {
            self.breaks.push(found);
        }
    }
}

/// One place where the chain is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// What is wrong.
    pub what: BreakKind,
    /// The first place that it is about; `None` for an event without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The last place, where it is about several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// The event, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// There are no events at these places.
    Missing,
    /// The event does not have the digest that it says, or does not follow the one before it: one of both was changed.
    Changed,
    /// There are two events at this place.
    Twice,
    /// The event has a place that no event was given yet.
    BeyondHead,
    /// The last event is not the one that the head names, or the head is gone.
    HeadDiffers,
    /// The event at this place is not the one that was noted elsewhere.
    WitnessDiffers,
    /// The event has no place, although it is younger than the chain.
    Unlinked,
}

impl BreakKind {
    /// The same for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed, or put after a changed one",
            Self::Twice => "there twice",
            Self::BeyondHead => "beyond the head of the chain",
            Self::HeadDiffers => "not what the head of the chain says",
            Self::WitnessDiffers => "not what was noted elsewhere",
            Self::Unlinked => "put in without a place in the chain",
        }
    }
}

/// Checks at most about `rows_max` rows from a position on. The head and the witness are looked at where the walk meets them.
///
/// # Errors
/// `Retry` when the store cannot be read; `Invalid` for a position that is none.
pub async fn check(
    store: &Store,
    scope: &AccountScope,
    from: Position,
    rows_max: u64,
    witness: Option<Witness>,
) -> Result<ChainReport> {
    let mut report = ChainReport { next: Some(from), ..ChainReport::default() };
    let mut rows = 0;
    while let Some(position) = report.next.take() {
        if rows >= rows_max {
            report.next = Some(position);
            break;
        }
        rows += PAGE as u64;
        report.next = match position {
            Position::Chain { sequence, before, after } => {
                let before = before.iter().map(|digest| chain::parse(digest).ok_or_else(unknown));
                let walk = Walk { sequence, before: before.collect::<Result<_>>()?, witness };
                Some(walk.page(store, scope, after, &mut report).await?)
            }
            Position::Rows { after } => unlinked(store, scope, after, &mut report).await?,
        };
    }
    Ok(report)
}

fn unknown() -> Error {
    Error::new(ErrorKind::Invalid, "not a place in a check of the chain of events; begin anew")
}

/// A walk along the chain.
struct Walk {
    sequence: u64,
    /// What the next event may follow; empty when nobody knows.
    before: Vec<Hash>,
    witness: Option<Witness>,
}

impl Walk {
    /// One page; afterwards the next one, or the rows.
    async fn page(
        mut self,
        store: &Store,
        scope: &AccountScope,
        after: Option<String>,
        report: &mut ChainReport,
    ) -> Result<Position> {
        // Read before the rows: they have at least all that it tells.
        let head = relay::head(store, scope).await?;
        let query = Query { limit: PAGE, after, ..linked::linked(scope, 1, None) };
        let known_to = head.as_ref().map_or(0, |head| head.head_sequence);
        let page = linked::page(store, scope, query, self.sequence + 1, known_to).await?;
        for item in &page.items {
            self.step(item, head.as_ref(), report);
        }
        if page.next.is_some() {
            let before = self.before.iter().map(|digest| digest.to_hex().to_string()).collect();
            return Ok(Position::Chain { sequence: self.sequence, before, after: page.next });
        }
        self.end(store, scope, head.as_ref(), report).await?;
        Ok(Position::Rows { after: None })
    }

    fn step(&mut self, item: &Item, head: Option<&ChainHead>, report: &mut ChainReport) {
        let Some(sequence) = chain::place_of(&item.body) else { return };
        let about =
            |what| Break { what, sequence: Some(sequence), last_sequence: None, event_id: event_id(&item.body) };
        report.checked += 1;
        if sequence <= self.sequence {
            report.add(about(BreakKind::Twice));
            return;
        }
        if sequence > self.sequence + 1 {
            self.gap(sequence - 1, report);
        }
        self.sequence = sequence;
        let stated = chain::stated_digest(&item.body);
        let computed: Vec<Hash> = self.before.iter().map(|before| chain::digest(&item.body, before)).collect();
        let is_sound =
            stated.is_some_and(|stated| computed.contains(&stated)) || (self.before.is_empty() && stated.is_some());
        if is_sound {
            self.before = stated.into_iter().collect();
        } else {
            report.add(about(BreakKind::Changed));
            // Whichever of the two was altered, the next event follows the other.
            self.before = computed.into_iter().chain(stated).collect();
        }
        let has = |digest: &Hash| is_sound && self.before.contains(digest);
        if self.witness.is_some_and(|witness| witness.sequence == sequence && !has(&witness.digest)) {
            report.add(about(BreakKind::WitnessDiffers));
        }
        let named = head.filter(|head| head.head_sequence == sequence).map(|head| chain::parse(&head.head_digest));
        if named.is_some_and(|named| is_sound && !named.is_some_and(|named| has(&named))) {
            report.add(about(BreakKind::HeadDiffers));
        }
    }

    fn gap(&mut self, last: u64, report: &mut ChainReport) {
        let first = self.sequence + 1;
        let last_sequence = Some(last).filter(|last| *last > first);
        report.add(Break { what: BreakKind::Missing, sequence: Some(first), last_sequence, event_id: None });
        if self.witness.is_some_and(|witness| (first..=last).contains(&witness.sequence)) {
            let sequence = self.witness.map(|witness| witness.sequence);
            report.add(Break { what: BreakKind::WitnessDiffers, sequence, last_sequence: None, event_id: None });
        }
        self.before.clear();
    }

    /// After the last row.
    async fn end(
        &mut self,
        store: &Store,
        scope: &AccountScope,
        head: Option<&ChainHead>,
        report: &mut ChainReport,
    ) -> Result<()> {
        let known = head.map_or(0, |head| head.head_sequence);
        if known > self.sequence {
            self.gap(known, report);
            self.sequence = known;
        }
        // What was linked while the rows were read is in the head by now.
        let newest = relay::head(store, scope).await?;
        let about = |what, sequence| Break { what, sequence: Some(sequence), last_sequence: None, event_id: None };
        match newest {
            None if self.sequence > 0 => report.add(about(BreakKind::HeadDiffers, self.sequence)),
            Some(newest) if newest.head_sequence < self.sequence => {
                let last_sequence = Some(self.sequence).filter(|last| *last > newest.head_sequence + 1);
                report.add(Break { last_sequence, ..about(BreakKind::BeyondHead, newest.head_sequence + 1) });
            }
            _ => {}
        }
        if let Some(witness) = self.witness.filter(|witness| witness.sequence > self.sequence) {
            report.add(about(BreakKind::WitnessDiffers, witness.sequence));
        }
        Ok(())
    }
}

/// One page of all rows: none that is younger than the chain may be without a place, unless it waits for one.
async fn unlinked(
    store: &Store,
    scope: &AccountScope,
    after: Option<String>,
    report: &mut ChainReport,
) -> Result<Option<Position>> {
    let begins_after = relay::head(store, scope).await?.map(|head| head.begins_after);
    let query = Query {
        table: &ACTIVITY,
        index: Some("by-account"),
        partition: scope.account_id().to_string(),
        sort: only_events(),
        descending: false,
        limit: PAGE,
        after,
    };
    let page = store.page(scope, query).await?;
    for Item { body, .. } in &page.items {
        if chain::place_of(body).is_some_and(|place| place > 0) {
            continue;
        }
        if body.contains_key("outboxShard") {
            report.pending += 1;
            continue;
        }
        let event_id = event_id(body);
        let is_older = |begins_after: &EventId| event_id.as_deref() <= Some(&begins_after.to_string());
        match &begins_after {
            // Nothing was ever linked, so all of them are of a version without chain.
            None => {}
            Some(Some(begins_after)) if is_older(begins_after) => {}
            Some(_) => report.add(Break { what: BreakKind::Unlinked, sequence: None, last_sequence: None, event_id }),
        }
    }
    Ok(page.next.map(|after| Position::Rows { after: Some(after) }))
}

fn event_id(body: &Map<String, Value>) -> Option<String> {
    body.get("eventId").and_then(Value::as_str).map(str::to_owned)
}
