//! The rows of one stream: which exist, their versions and when they moved. Bodies are made when asked for.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

/// When the sandbox's time begins: 2024-01-01T00:00:00Z, in seconds since 1970. Its time moves only when data does.
pub const FIRST_SECOND: i64 = 1_704_067_200;

/// One row as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key; 1 and up.
    pub id: u64,
    /// 1 for a new row, one more with each change.
    pub version: u32,
    /// Seconds since 1970.
    pub updated_at_s: i64,
    /// Seconds since 1970, when it was deleted.
    pub deleted_at_s: Option<i64>,
}

/// Rows `1..=initial` exist from the start, one a second; only those that were touched since take memory.
pub struct Table {
    initial: u64,
    last_id: u64,
    touched: HashMap<u64, Row>,
    /// Touched rows in the order in which they last moved: `(updated_at_s, id)`.
    moved: BTreeSet<(i64, u64)>,
    deleted: BTreeSet<u64>,
}

impl Table {
    /// A table of `initial` rows.
    pub fn new(initial: u64) -> Self {
        Self { initial, last_id: initial, touched: HashMap::new(), moved: BTreeSet::new(), deleted: BTreeSet::new() }
    }

    /// The last second in which an initial row was made.
    pub fn initial_end_s(&self) -> i64 {
        FIRST_SECOND + self.initial as i64
    }

    /// The highest id that was ever given.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// How many rows are not deleted.
    pub fn live_count(&self) -> u64 {
        self.last_id - self.deleted.len() as u64
    }

    /// The row with this id, deleted or not.
    pub fn row(&self, id: u64) -> Option<Row> {
        let initial = || Row { id, version: 1, updated_at_s: FIRST_SECOND + id as i64, deleted_at_s: None };
        let exists = (1..=self.last_id).contains(&id);
        exists.then(|| self.touched.get(&id).copied().unwrap_or_else(initial))
    }

    /// True when the row exists and is not deleted.
    pub fn is_live(&self, id: u64) -> bool {
        self.row(id).is_some_and(|row| row.deleted_at_s.is_none())
    }

    /// Up to `limit` live rows by id, from `first_id` on.
    pub fn live_from(&self, first_id: u64, limit: usize) -> Vec<Row> {
        (first_id.max(1)..=self.last_id)
            .filter(|id| !self.deleted.contains(id))
            .filter_map(|id| self.row(id))
            .take(limit)
            .collect()
    }

    /// The id of the live row that `skip` live rows stand before, in the order of ids.
    pub fn nth_live(&self, skip: u64) -> u64 {
        let mut id = skip + 1;
        for deleted in &self.deleted {
            if *deleted > id {
                break;
            }
            id += 1;
        }
        id
    }

    /// Up to `limit` rows in the order in which they last moved, after the place `after`, none older than `since_s`.
    ///
    /// A row that changes while somebody reads moves to the end: it may be seen twice, and is never missed.
    pub fn moved_since(&self, since_s: i64, after: (i64, u64), with_deleted: bool, limit: usize) -> Vec<Row> {
        let first_initial = since_s.max(after.0).saturating_sub(FIRST_SECOND).max(1) as u64;
        let initial = (first_initial..=self.initial).filter(|id| !self.touched.contains_key(id));
        let moved = self.moved.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, id)| *id);
        initial
            .chain(moved)
            .filter_map(|id| self.row(id))
            .filter(|row| row.updated_at_s >= since_s && (row.updated_at_s, row.id) > after)
            .filter(|row| with_deleted || row.deleted_at_s.is_none())
            .take(limit)
            .collect()
    }

    /// Up to `limit` rows of a table that only grows, none older than `since_s`, after the first `skip` of these.
    pub fn ledger_since(&self, since_s: i64, skip: u64, limit: usize) -> Vec<Row> {
        // Ids and times grow together, so that the first of them can be found by halving.
        let (mut low, mut high) = (1, self.last_id + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle).is_some_and(|row| row.updated_at_s < since_s) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        self.live_from(low.saturating_add(skip), limit)
    }

    /// Adds a row.
    pub fn insert(&mut self, now_s: i64) -> u64 {
        self.last_id += 1;
        self.put(Row { id: self.last_id, version: 1, updated_at_s: now_s, deleted_at_s: None });
        self.last_id
    }

    /// Gives a live row its next version.
    pub fn change(&mut self, id: u64, now_s: i64) {
        if let Some(row) = self.row(id) {
            self.put(Row { version: row.version + 1, updated_at_s: now_s, ..row });
        }
    }

    /// Deletes a live row.
    pub fn delete(&mut self, id: u64, now_s: i64) {
        if let Some(row) = self.row(id) {
            self.put(Row { version: row.version + 1, updated_at_s: now_s, deleted_at_s: Some(now_s), ..row });
            self.deleted.insert(id);
        }
    }

    fn put(&mut self, row: Row) {
        if let Some(old) = self.touched.insert(row.id, row) {
            self.moved.remove(&(old.updated_at_s, old.id));
        }
        self.moved.insert((row.updated_at_s, row.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: (i64, u64) = (i64::MIN, 0);

    fn ids(rows: &[Row]) -> Vec<u64> {
        rows.iter().map(|row| row.id).collect()
    }

    #[test]
    fn rows_are_listed_in_the_order_in_which_they_moved() {
        let mut table = Table::new(5);
        let now = table.initial_end_s() + 100;
        table.change(2, now);
        table.delete(3, now + 1);
        assert_eq!(table.insert(now + 2), 6);
        assert_eq!(ids(&table.moved_since(0, START, true, 9)), [1, 4, 5, 2, 3, 6]);
        assert_eq!(ids(&table.moved_since(0, START, false, 9)), [1, 4, 5, 2, 6]);
        assert_eq!(ids(&table.moved_since(now, START, true, 9)), [2, 3, 6]);
        assert_eq!(table.moved_since(i64::MIN, START, true, 9).len(), 6);
        let second = table.moved_since(0, (FIRST_SECOND + 4, 4), false, 2);
        assert_eq!(ids(&second), [5, 2]);
        assert_eq!(table.live_count(), 5);
    }

    #[test]
    fn live_rows_are_counted_past_the_deleted_ones() {
        let mut table = Table::new(6);
        for id in [1, 3, 4] {
            table.delete(id, table.initial_end_s() + 1);
        }
        assert_eq!((0..3).map(|skip| table.nth_live(skip)).collect::<Vec<_>>(), [2, 5, 6]);
        assert_eq!(ids(&table.live_from(0, 9)), [2, 5, 6]);
        assert_eq!(ids(&table.live_from(table.nth_live(1), 1)), [5]);
    }
}
