//! What of a row's body is copied into columns of its own.

use std::mem;

use rusqlite::{Row, types::Value as Sql};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    ports::Key,
    store,
    tables::{Attribute, AttributeType, IndexSchema, Ownership, TableSchema},
};

/// The most that a row may be, in bytes of JSON; DynamoDB's limit, so that what fits here fits there.
const MAX_ROW_BYTES: usize = 400 * 1024;

/// The columns of one row.
pub(super) struct Columns {
    pub(super) key: Key,
    pub(super) account_id: Option<String>,
    sort: Sql,
    expires_at: Option<i64>,
    body: String,
    indexed: Vec<(Sql, Sql)>,
}

impl Columns {
    /// # Errors
    /// `Bug` when a key attribute is missing, empty or of another type than the schema says, `Invalid` when the row is
    /// too large.
    pub(super) fn of(table: &'static TableSchema, body: &Map<String, Value>) -> Result<Self> {
        let key = store::key_of(table, body)?;
        if key.partition.is_empty() || (table.sort.is_some() && key.sort.is_empty()) {
            return Err(Error::new(ErrorKind::Bug, "a row's key is empty").with("table", table.name));
        }
        let text = serde_json::to_string(body).map_err(|error| {
            Error::new(ErrorKind::Bug, "a row is not JSON").with("table", table.name).caused_by(error)
        })?;
        if text.len() > MAX_ROW_BYTES {
            return Err(Error::new(ErrorKind::Invalid, format!("a row is at most {MAX_ROW_BYTES} bytes of JSON"))
                .with("table", table.name)
                .with("size in bytes", text.len()));
        }
        Ok(Self {
            sort: sort_key(table, &key.sort)?,
            account_id: account_of(table, body)?,
            expires_at: table.expires.and_then(|name| body.get(name)).and_then(Value::as_i64),
            indexed: table.indexes.iter().map(|index| indexed(table, index, body)).collect::<Result<_>>()?,
            body: text,
            key,
        })
    }

    /// All values, in the order of the table's columns.
    pub(super) fn into_values(mut self, version: i64) -> impl Iterator<Item = Sql> {
        let key = [Sql::Text(mem::take(&mut self.key.partition)), mem::replace(&mut self.sort, Sql::Null)];
        key.into_iter().chain(self.without_key(version, usize::MAX))
    }

    /// The values of the update that moves a row in the indexes whose bits are set.
    pub(super) fn into_update(self, version: i64, changed: usize, row_id: i64) -> impl Iterator<Item = Sql> {
        self.without_key(version, changed).chain([Sql::Integer(row_id)])
    }

    fn without_key(self, version: i64, changed: usize) -> impl Iterator<Item = Sql> {
        let common = [
            self.account_id.map_or(Sql::Null, Sql::Text),
            Sql::Integer(version),
            self.expires_at.map_or(Sql::Null, Sql::Integer),
            Sql::Text(self.body),
        ];
        let moved = self.indexed.into_iter().enumerate().filter(move |(index, _)| changed & (1 << index) != 0);
        common.into_iter().chain(moved.flat_map(|(_, (partition, sort))| [partition, sort]))
    }

    /// A bit for each index in which it has another place than `row`, whose index columns begin with column `first`.
    pub(super) fn moves(&self, row: &Row<'_>, first: usize) -> rusqlite::Result<usize> {
        let mut moves = 0;
        for (index, (partition, sort)) in self.indexed.iter().enumerate() {
            let column = first + 2 * index;
            let stays = row.get_ref(column)? == partition.into() && row.get_ref(column + 1)? == sort.into();
            moves |= usize::from(!stays) << index;
        }
        Ok(moves)
    }
}

/// The sort key of `table` as SQLite compares it.
///
/// # Errors
/// `Bug` when it should be a number and is not, or is given for a table without one.
pub(super) fn sort_key(table: &TableSchema, sort: &str) -> Result<Sql> {
    match table.sort {
        Some(Attribute { kind: AttributeType::Number, .. }) => sort.parse().map(Sql::Integer).map_err(|error| {
            Error::new(ErrorKind::Bug, "the sort key must be a whole number").with("table", table.name).caused_by(error)
        }),
        None if !sort.is_empty() => {
            Err(Error::new(ErrorKind::Bug, "the table has no sort key").with("table", table.name))
        }
        _ => Ok(Sql::Text(sort.to_owned())),
    }
}

fn account_of(table: &TableSchema, body: &Map<String, Value>) -> Result<Option<String>> {
    match (body.get("accountId"), table.ownership) {
        (_, Ownership::System) => Ok(None),
        (Some(Value::String(account_id)), Ownership::Account) => Ok(Some(account_id.clone())),
        (_, Ownership::Account) => {
            Err(Error::new(ErrorKind::Bug, "the row says no accountId").with("table", table.name))
        }
    }
}

/// The partition and sort value of a row in an index; both NULL when it is not in it.
fn indexed(table: &TableSchema, index: &IndexSchema, body: &Map<String, Value>) -> Result<(Sql, Sql)> {
    let value = |attribute: Attribute| {
        attribute_value(attribute, body).map_err(|error| error.with("index", index.name).with("table", table.name))
    };
    let partition = match value(index.partition)? {
        Some(Sql::Integer(number)) => Some(Sql::Text(number.to_string())),
        other => other,
    };
    let sort = match index.sort {
        Some(attribute) => value(attribute)?,
        None => Some(Sql::Text(String::new())),
    };
    Ok(match (partition, sort) {
        (Some(partition), Some(sort)) => (partition, sort),
        _ => (Sql::Null, Sql::Null),
    })
}

fn attribute_value(attribute: Attribute, body: &Map<String, Value>) -> Result<Option<Sql>> {
    match (body.get(attribute.name), attribute.kind) {
        (None, _) => Ok(None),
        (Some(Value::String(text)), AttributeType::Text) if !text.is_empty() => Ok(Some(Sql::Text(text.clone()))),
        (Some(Value::Number(number)), AttributeType::Number) if number.is_i64() => {
            Ok(number.as_i64().map(Sql::Integer))
        }
        (Some(_), AttributeType::Text) => {
            Err(wrong(attribute, "an index attribute must be text, not empty, or absent"))
        }
        (Some(_), AttributeType::Number) => {
            Err(wrong(attribute, "an index attribute must be a whole number or absent"))
        }
    }
}

fn wrong(attribute: Attribute, message: &'static str) -> Error {
    Error::new(ErrorKind::Bug, message).with("attribute", attribute.name)
}
