//! What runs came to, in rows of sums: of the account, of its integrations and of its sources, by the day in UTC on which they ended and
//! until now ([`crate::model::counter`]).
//!
//! What is live is known of each source by its newest snapshot. The rows of account and integration have the sums over sources that
//! are there: a new snapshot counts by what it differs from the one before, a source that is removed counts no more.

use std::collections::{BTreeMap, btree_map::Entry};

use jiff::{Timestamp, civil::Date};

use super::{DERIVED_MAX, Derived};
use crate::{
    error::Result,
    model::{
        ActivityEvent, ActivityKind, Counter, Figures, Source, SourceId,
        counter::{Of, day_of},
        scope::AccountScope,
    },
    ports::{Condition, Write},
    run::ended,
    store::{self, Store, key},
};

/// Rows that one event changes: the day and now, of account, integration and source.
const ROWS_EACH: usize = 6;

pub(super) async fn derive(store: &Store, scope: &AccountScope, events: &[ActivityEvent]) -> Result<Derived> {
    let mut sums = Sums { store, scope, rows: BTreeMap::new() };
    let mut taken = 0;
    for event in events {
        if sums.rows.len() + ROWS_EACH > DERIVED_MAX {
            break;
        }
        if concerns(event) {
            sums.take(event).await?;
        }
        taken += 1;
    }
    Ok(Derived { taken, writes: sums.writes()?, is_due: false })
}

/// Whether an event changes any row.
fn concerns(event: &ActivityEvent) -> bool {
    use ActivityKind::{SourceCreated, SourceDeleted, SourceFresh, SourceRebuilt, SourceStale};
    let is_of_source = matches!(event.kind, SourceCreated | SourceDeleted | SourceFresh | SourceRebuilt | SourceStale);
    is_of_source || ended::status(event.kind).is_some()
}

/// Rows that change, by their keys, as they are after the events so far.
struct Sums<'a> {
    store: &'a Store,
    scope: &'a AccountScope,
    rows: BTreeMap<String, (Counter, Condition)>,
}

/// How a source is from now on; what is `None` stays as it was.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// Records of its newest snapshot, and bytes of the segments that hold them.
    live: Option<(u64, u64)>,
    is_there: Option<bool>,
    is_stale: Option<bool>,
}

impl Sums<'_> {
    async fn take(&mut self, event: &ActivityEvent) -> Result<()> {
        let Some(source_id) = event.source_id else { return Ok(()) };
        let known = self.row(Of::Source(source_id).now()).await?;
        let there = Standing { is_there: Some(true), ..Standing::default() };
        let standing = match event.kind {
            ActivityKind::SourceDeleted => {
                known.is_removed = true;
                Standing { live: Some((0, 0)), is_there: Some(false), is_stale: Some(false) }
            }
            // What is told of it later than that, it came to before.
            _ if known.is_removed && event.kind != ActivityKind::SourceRebuilt => Standing::default(),
            ActivityKind::SourceCreated | ActivityKind::SourceRebuilt => {
                known.is_removed = false;
                Standing { live: ended::live(event), ..there }
            }
            ActivityKind::SourceStale => Standing { is_stale: Some(true), ..there },
            ActivityKind::SourceFresh => Standing { is_stale: Some(false), ..there },
            _ => Standing { live: ended::live(event), ..there },
        };
        let done = ended::figures(event).unwrap_or_default();
        let integration = self.integration(event, source_id).await?;
        self.row(Of::Source(source_id).now()).await?.integration.clone_from(&integration);
        let day = day_of(Timestamp::from_millisecond(event.timestamp).unwrap_or_default());
        self.add((source_id, integration.as_deref()), day, &done, standing).await
    }

    /// The integration that an event names; else the one that the source is known to have.
    async fn integration(&mut self, event: &ActivityEvent, source_id: SourceId) -> Result<Option<String>> {
        if let Some(named) = ended::integration(event) {
            return Ok(Some(named.to_owned()));
        }
        if let Some(known) = self.row(Of::Source(source_id).now()).await?.integration.clone() {
            return Ok(Some(known));
        }
        let source = self.store.find::<Source>(self.scope, key(self.scope.account_id(), source_id)).await?;
        Ok(source.map(|source| source.row.integration))
    }

    /// Adds what was done to all rows that it concerns, and has the source stand as it does now.
    async fn add(
        &mut self,
        (source_id, integration): (SourceId, Option<&str>),
        day: Date,
        done: &Figures,
        standing: Standing,
    ) -> Result<()> {
        let before = self.row(Of::Source(source_id).now()).await?;
        let (records, bytes) = (before.figures.live_records, before.figures.live_bytes);
        let more_live = standing.live.map_or((0, 0), |live| (difference(live.0, records), difference(live.1, bytes)));
        let more = |now: Option<bool>, before: u64| now.map_or(0, |now| difference(u64::from(now), before));
        let more_sources = more(standing.is_there, before.sources);
        let more_stale = more(standing.is_stale, before.stale_sources);
        let all = [Some(Of::Source(source_id)), integration.map(Of::Integration), Some(Of::Account)];
        for of in all.into_iter().flatten() {
            let now = self.row(of.now()).await?;
            now.sources = now.sources.saturating_add_signed(more_sources);
            now.stale_sources = now.stale_sources.saturating_add_signed(more_stale);
            now.figures.add(done);
            now.figures.live_records = now.figures.live_records.saturating_add_signed(more_live.0);
            now.figures.live_bytes = now.figures.live_bytes.saturating_add_signed(more_live.1);
            let (live_records, live_bytes) = (now.figures.live_records, now.figures.live_bytes);
            if *done == Figures::default() && more_live == (0, 0) {
                continue;
            }
            let today = self.row(of.on(day)).await?;
            today.figures.add(done);
            (today.figures.live_records, today.figures.live_bytes) = (live_records, live_bytes);
        }
        Ok(())
    }

    async fn row(&mut self, counter_key: String) -> Result<&mut Counter> {
        match self.rows.entry(counter_key) {
            Entry::Occupied(known) => Ok(&mut known.into_mut().0),
            Entry::Vacant(unknown) => {
                let account_id = self.scope.account_id();
                let found = self.store.find::<Counter>(self.scope, key(account_id, unknown.key())).await?;
                let new = || (Counter::new(account_id, unknown.key().clone()), Condition::Absent);
                let row = found.map_or_else(new, |found| (found.row, Condition::Version(found.version)));
                Ok(&mut unknown.insert(row).0)
            }
        }
    }

    fn writes(self) -> Result<Vec<Write>> {
        self.rows.into_values().map(|(row, condition)| store::put(&row, condition)).collect()
    }
}

fn difference(now: u64, before: u64) -> i64 {
    i64::try_from(i128::from(now) - i128::from(before)).unwrap_or_default()
}
