//! What holds for rows in every store of them: who reaches which, what of a row is copied out of its body, what a write and a
//! query must look like.

pub(in crate::adapters) mod cursor;
mod facts;

use std::fmt;

use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::Scope,
    ports::{Key, Query, SortRange, WRITES_MAX},
    tables::{Attribute, AttributeType, Ownership, TableSchema},
};

pub(super) use self::facts::{Facts, index_value, sort_value};

/// The most rows that a caller may ask for at once.
const MAX_PAGE_ROWS: usize = 1000;
/// A page ends early once its bodies are this long, in bytes, so that memory is bounded by it and not by the rows.
pub(super) const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// DynamoDB's limit for all items of a transaction; like the one for an item, it holds for every store.
const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// The value of a key or index attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    /// Ordered by bytes.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// The rows that a call may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All.
    Everything,
    /// Those of the account with this id.
    Account(String),
}

impl Reach {
    /// # Errors
    /// `Denied` for a table that no account owns, unless the scope is the system's.
    pub(super) fn of(scope: Scope<'_>, table: &TableSchema) -> Result<Self> {
        match scope {
            Scope::System(_) => Ok(Self::Everything),
            Scope::Account(scope) if table.ownership == Ownership::Account => {
                Ok(Self::Account(scope.account_id().to_string()))
            }
            Scope::Account(_) => {
                Err(Error::new(ErrorKind::Denied, "no account owns this table's rows").with("table", table.name))
            }
        }
    }

    /// Whether a row of that account is among them.
    pub(super) fn covers(&self, account_id: Option<&str>) -> bool {
        match self {
            Self::Everything => true,
            Self::Account(own) => account_id == Some(own),
        }
    }
}

/// # Errors
/// `Bug` for more writes than a transaction may have.
pub(super) fn check_count(writes: usize) -> Result<()> {
    if writes <= WRITES_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Bug, format!("a transaction has at most {WRITES_MAX} writes")).with("writes", writes))
}

/// # Errors
/// `Invalid` for rows that are together larger than a transaction may be.
pub(super) fn check_size(size_bytes: usize) -> Result<()> {
    if size_bytes <= MAX_TRANSACTION_BYTES {
        return Ok(());
    }
    let message = format!(
        "a transaction is too large: all its rows together are at most {MAX_TRANSACTION_BYTES} bytes; write fewer at a time"
    );
    Err(Error::new(ErrorKind::Invalid, message).with("size in bytes", size_bytes))
}

/// A second write on a row in one transaction.
pub(super) fn twice(table: &TableSchema, key: &Key) -> Error {
    named(Error::new(ErrorKind::Bug, "a transaction writes a row twice"), table, key)
}

/// A condition that does not hold.
pub(super) fn conflict(table: &TableSchema, key: &Key) -> Error {
    named(Error::new(ErrorKind::Conflict, "the row is not as the write expects it; read it again"), table, key)
}

/// A write on another account's row.
pub(super) fn foreign(table: &TableSchema, key: &Key) -> Error {
    named(Error::new(ErrorKind::Denied, "the row is not this account's"), table, key)
}

/// The error with the row that it is about.
pub(super) fn named(error: Error, table: &TableSchema, key: &Key) -> Error {
    let shown = if key.sort.is_empty() { key.partition.clone() } else { format!("{}/{}", key.partition, key.sort) };
    error.with("table", table.name).with("key", shown)
}

/// What a query goes by: the partition attribute and the sort attribute of the table's key or of an index.
///
/// # Errors
/// `Bug` for a limit out of bounds, an index that the table does not have, or bounds that its sort attribute does not take.
pub(super) fn order_of(query: &Query) -> Result<(Attribute, Option<Attribute>)> {
    let wrong = |message: String| {
        Err(Error::new(ErrorKind::Bug, message)
            .with("table", query.table.name)
            .with("index", query.index.unwrap_or("none")))
    };
    if query.limit == 0 || query.limit > MAX_PAGE_ROWS {
        return wrong(format!("a query asks for 1 to {MAX_PAGE_ROWS} rows, not {}", query.limit));
    }
    let (partition, sort) = match query.index {
        None => (query.table.partition, query.table.sort),
        Some(name) => match query.table.index(name) {
            Some(index) => (index.partition, index.sort),
            None => return wrong("the table has no such index".to_owned()),
        },
    };
    let kind = sort.map(|attribute| attribute.kind);
    let fits = match &query.sort {
        SortRange::All => true,
        SortRange::Prefix(_) | SortRange::Between(..) => kind == Some(AttributeType::Text),
        SortRange::Numbers(..) => kind == Some(AttributeType::Number),
    };
    if fits {
        Ok((partition, sort))
    } else {
        wrong("the bounds are of another type than the sort attribute".to_owned())
    }
}
