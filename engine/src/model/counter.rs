//! Counters: what an account's runs came to, by day in UTC, and now. One row each of the account, of an integration and of a source.
//!
//! ```text
//! account#2026-11-28                 a day of the account
//! integration#keap#2026-11-28        of one of its integrations
//! source#src_…#2026-11-28            of one of its sources
//! now#account                        the same from the beginning until now; so of integrations and sources
//! ```

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{AccountId, RunStatus, SourceId};
use crate::{
    ports::SortRange,
    tables::{COUNTERS, Row, TableSchema},
};

/// A row of sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// Whose.
    pub account_id: AccountId,
    /// Of what, and of which day.
    pub counter_key: String,
    /// The sums.
    #[serde(flatten)]
    pub figures: Figures,
    /// In the row of a source as it is now: the integration that reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    /// In the row of a source as it is now: it was removed, and what its snapshots hold counts no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_removed: bool,
    /// In the row of an account as it is now, of its integrations and sources: sources that are there.
    #[serde(default)]
    pub sources: u64,
    /// Those of them that are stale.
    #[serde(default)]
    pub stale_sources: u64,
}

/// What runs came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// Backups, by how they ended.
    pub runs: Ends,
    /// Restores, by how they ended.
    pub restores: Ends,
    /// Records that backups found live: one that does not change counts in each.
    pub records: u64,
    /// Records that were new.
    pub added: u64,
    /// Records that were another than before.
    pub changed: u64,
    /// Records that were gone.
    pub removed: u64,
    /// Records in which reading only changes had missed something, as a full read found.
    pub drift: u64,
    /// Bytes that products sent, restores included.
    pub bytes_read: u64,
    /// Bytes that backups added to the store.
    pub bytes_stored: u64,
    /// Requests to products, restores included.
    pub requests: u64,
    /// Milliseconds in which requests waited for the products' limits, restores included.
    pub waited_ms: u64,
    /// Milliseconds from begin to end of runs, restores included.
    pub ran_ms: u64,
    /// Live records of the newest snapshot, at the end of the day; of several sources together.
    pub live_records: u64,
    /// Bytes of the segments that hold them.
    pub live_bytes: u64,
}

/// Runs by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ends {
    /// All streams were read.
    pub succeeded: u64,
    /// Some parts failed.
    pub partial: u64,
    /// There is no new snapshot.
    pub failed: u64,
    /// Somebody stopped it.
    pub cancelled: u64,
    /// It was not begun.
    pub skipped: u64,
}

/// What a row sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// The account, without those below it.
    Account,
    /// One of its integrations.
    Integration(&'a str),
    /// One of its sources.
    Source(SourceId),
}

impl Row for Counter {
    const TABLE: &'static TableSchema = &COUNTERS;
}

impl Counter {
    /// A row of nothing yet.
    pub fn new(account_id: AccountId, counter_key: String) -> Self {
        let (figures, integration, is_removed) = (Figures::default(), None, false);
        Self { account_id, counter_key, figures, integration, is_removed, sources: 0, stale_sources: 0 }
    }

    /// The day that the row is of; `None` where it is of all days.
    pub fn day(&self) -> Option<Date> {
        self.counter_key.rsplit_once('#')?.1.parse().ok()
    }
}

impl Of<'_> {
    fn name(self) -> String {
        match self {
            Self::Account => "account".to_owned(),
            Self::Integration(name) => format!("integration#{name}"),
            Self::Source(source_id) => format!("source#{source_id}"),
        }
    }

    /// The key of a day.
    pub fn on(self, day: Date) -> String {
        format!("{}#{day}", self.name())
    }

    /// The key of all days until now.
    pub fn now(self) -> String {
        format!("now#{}", self.name())
    }

    /// The keys of these days, both included.
    pub fn days(self, first: Date, last: Date) -> SortRange {
        let end = last.checked_add(1.day()).map_or_else(|_| format!("{}$", self.name()), |end| self.on(end));
        SortRange::Between(Some(self.on(first)), Some(end))
    }

    /// The keys of the days before this one.
    pub fn before(self, day: Date) -> SortRange {
        SortRange::Between(Some(format!("{}#", self.name())), Some(self.on(day)))
    }
}

/// The day, in UTC, of an instant.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

impl Ends {
    /// Counts a run that ended so.
    pub fn count(&mut self, status: RunStatus) {
        match status {
            RunStatus::Succeeded => self.succeeded += 1,
            RunStatus::Partial => self.partial += 1,
            RunStatus::Failed => self.failed += 1,
            RunStatus::Cancelled => self.cancelled += 1,
            RunStatus::Skipped => self.skipped += 1,
            RunStatus::Queued | RunStatus::Running => {}
        }
    }

    /// With the words for them.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        let Self { succeeded, partial, failed, cancelled, skipped } = *self;
        let names = ["succeeded", "partial", "failed", "cancelled", "skipped"];
        let counts = [succeeded, partial, failed, cancelled, skipped];
        std::array::from_fn(|at| (names[at], counts[at]))
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    /// Of a hundred backups that tried so many made a whole snapshot, rounded down: 100 only when all did. `None` when none
    /// tried: who is stopped or skipped has not.
    pub fn percent(&self) -> Option<u64> {
        let tried = self.succeeded + self.partial + self.failed;
        (self.succeeded * 100).checked_div(tried)
    }

    fn add(&mut self, more: &Self) {
        self.succeeded += more.succeeded;
        self.partial += more.partial;
        self.failed += more.failed;
        self.cancelled += more.cancelled;
        self.skipped += more.skipped;
    }
}

impl Figures {
    /// Adds what was done; what is live stays as it is.
    pub fn add(&mut self, more: &Self) {
        self.runs.add(&more.runs);
        self.restores.add(&more.restores);
        self.records += more.records;
        self.added += more.added;
        self.changed += more.changed;
        self.removed += more.removed;
        self.drift += more.drift;
        self.bytes_read += more.bytes_read;
        self.bytes_stored += more.bytes_stored;
        self.requests += more.requests;
        self.waited_ms += more.waited_ms;
        self.ran_ms += more.ran_ms;
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_range_of_days_has_these_days_of_this_row_and_no_others() {
        let source = SourceId::derived(1, [1; 10]);
        let all = [Of::Account, Of::Integration("keap"), Of::Integration("keap-max"), Of::Source(source)];
        let (first, last) = (date(2026, 11, 28), date(2027, 2, 1));
        for of in all {
            let SortRange::Between(Some(from), Some(to)) = of.days(first, last) else { panic!("it has bounds") };
            let SortRange::Between(Some(begin), Some(before)) = of.before(first) else { panic!("it has bounds") };
            for other in all {
                for day in first.yesterday().unwrap().series(1.day()).take(80) {
                    let key = other.on(day);
                    assert_eq!(from <= key && key < to, other == of && day >= first && day <= last, "{key}");
                    assert_eq!(begin <= key && key < before, other == of && day < first, "{key}");
                }
            }
        }
    }

    #[test]
    fn only_when_all_that_tried_succeeded_it_is_a_hundred_percent() {
        let ends = |succeeded, failed, skipped| Ends { succeeded, failed, skipped, ..Ends::default() };
        assert_eq!(ends(999, 1, 0).percent(), Some(99));
        assert_eq!(ends(1, 0, 7).percent(), Some(100));
        assert_eq!(ends(0, 0, 7).percent(), None);
    }
}
