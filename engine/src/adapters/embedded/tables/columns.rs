//! What of a row's body is copied into columns of its own.

use std::mem;

use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value as Sql, ValueRef},
};
use serde_json::{Map, Value};

use crate::{
    adapters::rows::{Facts, Scalar, index_value},
    error::Result,
    ports::Key,
    tables::{IndexSchema, TableSchema},
};

/// The columns of one row.
pub(super) struct Columns {
    pub(super) key: Key,
    pub(super) account_id: Option<String>,
    /// What counts for the size of a transaction.
    pub(super) item_bytes: usize,
    sort: Sql,
    expires_at: Option<i64>,
    body: String,
    indexed: Vec<(Sql, Sql)>,
}

impl Columns {
    /// # Errors
    /// Those of [`Facts::of`]; `Bug` when an index attribute is empty or of another type than the schema says.
    pub(super) fn of(table: &'static TableSchema, body: &Map<String, Value>) -> Result<Self> {
        let Facts { key, sort, account_id, expires_at, body: text, item_bytes } = Facts::of(table, body)?;
        let indexed = table.indexes.iter().map(|index| indexed(table, index, body)).collect::<Result<_>>()?;
        Ok(Self { key, account_id, item_bytes, sort: sort.into(), expires_at, body: text, indexed })
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

/// The partition and sort value of a row in an index; both NULL when it is not in it.
fn indexed(table: &TableSchema, index: &IndexSchema, body: &Map<String, Value>) -> Result<(Sql, Sql)> {
    let value = |attribute| {
        index_value(attribute, body).map_err(|error| error.with("index", index.name).with("table", table.name))
    };
    let partition = value(index.partition)?.map(|partition| Sql::Text(partition.to_string()));
    let sort = match index.sort {
        Some(attribute) => value(attribute)?.map(Sql::from),
        None => Some(Sql::Text(String::new())),
    };
    Ok(match (partition, sort) {
        (Some(partition), Some(sort)) => (partition, sort),
        _ => (Sql::Null, Sql::Null),
    })
}

impl From<Scalar> for Sql {
    fn from(value: Scalar) -> Self {
        match value {
            Scalar::Text(text) => Self::Text(text),
            Scalar::Number(number) => Self::Integer(number),
        }
    }
}

impl ToSql for Scalar {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Number(number) => number.to_sql(),
        }
    }
}

impl FromSql for Scalar {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self::Number(number)),
            ValueRef::Text(_) => value.as_str().map(|text| Self::Text(text.to_owned())),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Err(FromSqlError::InvalidType),
        }
    }
}
