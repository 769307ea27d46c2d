//! Reading what was counted ([`super::followers`]): a row a day, and one for now, however many runs there were.

use std::collections::BTreeMap;

use jiff::{ToSpan, civil::Date};

use crate::{
    error::Result,
    model::{Counter, Figures, counter::Of, scope::AccountScope},
    ports::{Query, SortRange},
    store::{Store, key},
    tables::COUNTERS,
};

/// Days of one read.
const PAGE: usize = 500;

/// What was counted over some days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Each of the days, also those on which nothing happened.
    pub days: BTreeMap<Date, Figures>,
    /// What was live before the first of them: records, and bytes that hold them.
    pub live_before: (u64, u64),
}

impl Counted {
    /// Reads the days from the first to the last, both included.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn read(store: &Store, scope: &AccountScope, of: Of<'_>, first: Date, last: Date) -> Result<Self> {
        Ok(Self::read_each(store, scope, &[of], first, last).await?.pop().unwrap_or_default())
    }

    /// The same of several, in the order of these.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn read_each(
        store: &Store,
        scope: &AccountScope,
        each: &[Of<'_>],
        first: Date,
        last: Date,
    ) -> Result<Vec<Self>> {
        let query = |sort: SortRange, descending: bool, limit: usize| {
            let partition = scope.account_id().to_string();
            Query { table: &COUNTERS, index: None, partition, sort, descending, limit, after: None }
        };
        let before: Vec<_> = each.iter().map(|of| query(of.before(first), true, 1)).collect();
        let before = store.page_of_each::<Counter>(scope, before).await?;
        let days = each.iter().map(|of| query(of.days(first, last), false, PAGE)).collect();
        let days = store.all_of_each::<Counter>(scope, days).await?;
        Ok(before.iter().zip(days).map(|(before, days)| Self::of(before.first(), days, first, last)).collect())
    }

    fn of(before: Option<&Counter>, rows: Vec<Counter>, first: Date, last: Date) -> Self {
        let mut live = before.map(|row| (row.figures.live_records, row.figures.live_bytes)).unwrap_or_default();
        let mut known: BTreeMap<Date, Figures> =
            rows.into_iter().filter_map(|row| Some((row.day()?, row.figures))).collect();
        let live_before = live;
        let days = first.series(1.day()).take_while(|day| *day <= last);
        let days = days.map(|day| {
            let figures = known.remove(&day).unwrap_or_else(|| Figures {
                live_records: live.0,
                live_bytes: live.1,
                ..Figures::default()
            });
            live = (figures.live_records, figures.live_bytes);
            (day, figures)
        });
        Self { days: days.collect(), live_before }
    }

    /// Adds what was counted elsewhere over the same days.
    pub fn add(&mut self, other: &Self) {
        self.live_before.0 += other.live_before.0;
        self.live_before.1 += other.live_before.1;
        for (day, more) in &other.days {
            let figures = self.days.entry(*day).or_default();
            figures.add(more);
            figures.live_records += more.live_records;
            figures.live_bytes += more.live_bytes;
        }
    }

    /// All days together; what is live as it was at the end.
    pub fn total(&self) -> Figures {
        let mut total = Figures::default();
        for figures in self.days.values() {
            total.add(figures);
            (total.live_records, total.live_bytes) = (figures.live_records, figures.live_bytes);
        }
        total
    }
}

/// What was counted until now; of sources, how many are there and stale.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn now(store: &Store, scope: &AccountScope, of: Of<'_>) -> Result<Counter> {
    let found = store.find::<Counter>(scope, key(scope.account_id(), of.now())).await?;
    Ok(found.map_or_else(|| Counter::new(scope.account_id(), of.now()), |found| found.row))
}
