//! The port for rows.

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};

use crate::{error::Result, model::scope::Scope, tables::TableSchema};

/// Of several queries so many are under way at a time where the store takes one by one.
const QUERIES_AT_ONCE: usize = 16;

/// A row as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The row, its key attributes included.
    pub body: Map<String, Value>,
    /// Grows with each write of the row; the first is 1.
    pub version: u64,
}

/// The key of a row. Numbers are written in decimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Value of the partition key.
    pub partition: String,
    /// Value of the sort key; empty for tables without one.
    pub sort: String,
}

/// The most writes of one transaction, as in DynamoDB.
pub const WRITES_MAX: usize = 100;

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// There is no such row.
    Absent,
    /// The row is there, at this version.
    Version(u64),
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub enum Write {
    /// Makes or replaces a row.
    Put {
        /// Its table.
        table: &'static TableSchema,
        /// The whole row.
        body: Map<String, Value>,
        /// When.
        condition: Condition,
    },
    /// Removes a row.
    Delete {
        /// Its table.
        table: &'static TableSchema,
        /// Its key.
        key: Key,
        /// When; `Any` also succeeds when the row is absent.
        condition: Condition,
    },
    /// Writes nothing, but the transaction fails unless the condition holds.
    Check {
        /// Its table.
        table: &'static TableSchema,
        /// Its key.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
}

/// A read of rows with one partition value, in sort order.
#[derive(Clone, Debug)]
pub struct Query {
    /// The table.
    pub table: &'static TableSchema,
    /// The index, or `None` for the table's own key.
    pub index: Option<&'static str>,
    /// Value of the partition attribute.
    pub partition: String,
    /// Bounds on the sort attribute.
    pub sort: SortRange,
    /// Newest (greatest) first.
    pub descending: bool,
    /// At most this many rows, 1 to 1,000.
    pub limit: usize,
    /// Goes on after the page that gave this cursor.
    pub after: Option<String>,
}

/// Bounds on a sort attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortRange {
    /// No bounds.
    All,
    /// Text that starts so.
    Prefix(String),
    /// From the first value, included, to the second, excluded; either may be open.
    Between(Option<String>, Option<String>),
    /// Numbers, from the first, included, to the second, excluded.
    Numbers(Option<i64>, Option<i64>),
}

/// A page of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemPage {
    /// The rows.
    pub items: Vec<Item>,
    /// Opaque; `None` when there are no more. The page after it may turn out to be empty.
    pub next: Option<String>,
}

/// Durable rows with conditional, all-or-nothing writes.
///
/// # What a read shows
///
/// [`get`](Tables::get), a query by the table's own key, and the conditions of writes know all that was committed before they began.
///
/// A query by an **index** knows it a moment later where the rows are in DynamoDB: typically within milliseconds, without a bound. So
/// it may lack a row that was just written, and also one of which it has a later neighbour: indexes do not keep the order of
/// commits. What it does show is there, and is as it is now: a row that is gone, has left the index or is out of the bounds is never
/// shown, and the version that comes with a row is that of the row.
///
/// # Scope
///
/// With an account's scope only that account's rows can be seen or written: a foreign row reads as absent, writing one
/// is `Denied`, and a query returns none of them. Tables owned by the system need the system's scope.
///
/// # Sizes
///
/// DynamoDB's, in every store, so that what fits into one fits into each: a row with its keys has 400 KiB of JSON at most, all rows that
/// a transaction puts have 4 MiB. In DynamoDB alone an attribute that rows are read together by has at most 2,048 bytes, one that they are
/// ordered by 1,024.
#[async_trait]
pub trait Tables: Send + Sync {
    /// One row.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>>;

    /// All writes or none; durable on return. At most [`WRITES_MAX`], each on another row.
    ///
    /// # Errors
    /// `Conflict` when a condition does not hold (context `table` and `key` name the first), `Denied` for a row outside
    /// the scope, `Invalid` for what is too large, `Retry` when the store cannot be reached, or its answer was lost (the effect is then
    /// unknown).
    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()>;

    /// Rows of one partition, in the order of their sort values; those of one value in an order of the store's own.
    ///
    /// A page of the embedded stores shows rows as they were at one instant: where it has a row, it has all of its range that were
    /// committed before that one. DynamoDB promises that of no page: each row is as it was when it was read. A row whose sort value
    /// changes while pages are read may come in two of them, or out of order; it comes once in each, and is not missed for that.
    ///
    /// # Errors
    /// `Invalid` for a cursor that is not from this query.
    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage>;

    /// The pages of several queries, in the order of these: for whoever needs a few rows of each of many things.
    ///
    /// # Errors
    /// Those of [`Tables::query`].
    async fn queries(&self, scope: Scope<'_>, queries: Vec<Query>) -> Result<Vec<ItemPage>> {
        stream::iter(queries).map(|query| self.query(scope, query)).buffered(QUERIES_AT_ONCE).try_collect().await
    }

    /// How long whoever has to be sure waits for indexes: a row that is not in one so long after it was committed is taken for one that
    /// is not there. Zero where indexes know all that was committed.
    fn index_delay(&self) -> Duration;
}
