//! Typed rows over the tables port: every noun is read and written through here.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::Scope,
    ports::{Condition, Item, Key, Query, Tables, Write},
    tables::{Row, TableSchema},
};

/// A row with the version it was read at.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<R> {
    /// The row.
    pub row: R,
    /// Its version, for conditional writes.
    pub version: u64,
}

/// A page of rows.
#[derive(Clone, Debug)]
pub struct RowPage<R> {
    /// The rows.
    pub rows: Vec<Versioned<R>>,
    /// Opaque; `None` when there are no more.
    pub next: Option<String>,
}

/// Typed access to the tables.
#[derive(Clone)]
pub struct Store(Arc<dyn Tables>);

impl Store {
    /// Over a tables port.
    pub fn new(tables: Arc<dyn Tables>) -> Self {
        Self(tables)
    }

    /// One row, or `None`.
    ///
    /// # Errors
    /// Those of [`Tables::get`]; `Corrupt` when the row does not have its noun's shape.
    pub async fn find<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, key: Key) -> Result<Option<Versioned<R>>> {
        self.0.get(scope.into(), R::TABLE, &key).await?.map(decode).transpose()
    }

    /// One row that must be there.
    ///
    /// # Errors
    /// `NotFound`, and those of [`Store::find`].
    pub async fn get<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, key: Key) -> Result<Versioned<R>> {
        let id = if key.sort.is_empty() { key.partition.clone() } else { key.sort.clone() };
        self.find(scope, key)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such thing here").with("id", id))
    }

    /// All writes or none.
    ///
    /// # Errors
    /// Those of [`Tables::transact`].
    pub async fn transact(&self, scope: impl Into<Scope<'_>> + Send, writes: Vec<Write>) -> Result<()> {
        self.0.transact(scope.into(), writes).await
    }

    /// A page of rows.
    ///
    /// # Errors
    /// Those of [`Tables::query`]; `Corrupt` when a row does not have its noun's shape.
    pub async fn query<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, query: Query) -> Result<RowPage<R>> {
        let page = self.0.query(scope.into(), query).await?;
        Ok(RowPage { rows: page.items.into_iter().map(decode).collect::<Result<_>>()?, next: page.next })
    }
}

/// A write that puts a row.
///
/// # Errors
/// `Bug` when the noun does not serialise to an object.
pub fn put<R: Row>(row: &R, condition: Condition) -> Result<Write> {
    Ok(Write::Put { table: R::TABLE, body: body_of(row)?, condition })
}

/// The key of a row.
#[expect(clippy::needless_pass_by_value, reason = "callers hand ids and texts alike, most of them by copy")]
pub fn key(partition: impl ToString, sort: impl ToString) -> Key {
    Key { partition: partition.to_string(), sort: sort.to_string() }
}

/// The key of a row in a table without sort key.
pub fn key1(partition: impl ToString) -> Key {
    key(partition, "")
}

/// The key attributes of a row's body, by its table's schema.
///
/// # Errors
/// `Bug` when one is missing or of another type.
pub fn key_of(table: &TableSchema, body: &Map<String, Value>) -> Result<Key> {
    let text = |name: &'static str| match body.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(Error::new(ErrorKind::Bug, "a row lacks a key attribute")
            .with("table", table.name)
            .with("attribute", name)),
    };
    Ok(Key {
        partition: text(table.partition.name)?,
        sort: table.sort.map_or(Ok(String::new()), |attribute| text(attribute.name))?,
    })
}

fn body_of<R: Row>(row: &R) -> Result<Map<String, Value>> {
    match serde_json::to_value(row) {
        Ok(Value::Object(body)) => Ok(body),
        _ => Err(Error::new(ErrorKind::Bug, "a row must serialise to an object").with("table", R::TABLE.name)),
    }
}

/// The row that an item holds, where a table has nouns of several kinds.
///
/// # Errors
/// `Corrupt` when it does not have its noun's shape.
pub fn row<R: Row>(item: Item) -> Result<R> {
    decode(item).map(|versioned| versioned.row)
}

fn decode<R: Row>(item: Item) -> Result<Versioned<R>> {
    let row = serde_json::from_value(Value::Object(item.body)).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("a stored row has another shape: {error}")).with("table", R::TABLE.name)
    })?;
    Ok(Versioned { row, version: item.version })
}
