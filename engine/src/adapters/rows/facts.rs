//! What of a row's body a store has to know.

use serde_json::{Map, Value};

use super::Scalar;
use crate::{
    error::{Error, ErrorKind, Result},
    ports::Key,
    store,
    tables::{Attribute, AttributeType, Ownership, TableSchema},
};

/// DynamoDB's limit for an item, names and values of all attributes counted. It holds for every store, so that what fits into one
/// fits into each.
const MAX_ITEM_BYTES: usize = 400 * 1024;
/// What DynamoDB keeps beside body, key and index attributes: version, id of the write, account, expiry, and all names.
const OTHER_BYTES: usize = 256;
/// A whole number has at most 20 characters.
const MAX_NUMBER_BYTES: usize = 20;

/// A row, checked, and what a store keeps beside its body.
pub(in crate::adapters) struct Facts {
    pub(in crate::adapters) key: Key,
    /// The sort key; empty text for tables without one.
    pub(in crate::adapters) sort: Scalar,
    /// Whose row it is; `None` in tables that no account owns.
    pub(in crate::adapters) account_id: Option<String>,
    /// When it expires, in seconds since 1970.
    pub(in crate::adapters) expires_at: Option<i64>,
    /// The row as JSON.
    pub(in crate::adapters) body: String,
    /// The least that covers what DynamoDB counts for it, in bytes.
    pub(in crate::adapters) item_bytes: usize,
}

impl Facts {
    /// # Errors
    /// `Bug` when a key attribute is missing, empty or of another type than the schema says, `Invalid` when the row is
    /// too large.
    pub(in crate::adapters) fn of(table: &'static TableSchema, body: &Map<String, Value>) -> Result<Self> {
        let key = store::key_of(table, body)?;
        if key.partition.is_empty() || (table.sort.is_some() && key.sort.is_empty()) {
            return Err(Error::new(ErrorKind::Bug, "a row's key is empty").with("table", table.name));
        }
        let text = serde_json::to_string(body).map_err(|error| {
            Error::new(ErrorKind::Bug, "a row is not JSON").with("table", table.name).caused_by(error)
        })?;
        let item_bytes = text.len() + OTHER_BYTES + copied_bytes(table, body);
        if item_bytes > MAX_ITEM_BYTES {
            let message = format!("a row is too large: with its keys it is at most {MAX_ITEM_BYTES} bytes of JSON");
            let error = Error::new(ErrorKind::Invalid, message).with("size in bytes", item_bytes);
            return Err(super::named(error, table, &key));
        }
        Ok(Self {
            sort: sort_value(table, &key.sort)?,
            account_id: account_of(table, body)?,
            expires_at: table.expires.and_then(|name| body.get(name)).and_then(Value::as_i64),
            body: text,
            item_bytes,
            key,
        })
    }
}

/// The bytes of key and index attributes; one that serves twice counts twice.
fn copied_bytes(table: &TableSchema, body: &Map<String, Value>) -> usize {
    let of_key = [Some(table.partition), table.sort];
    let of_indexes = table.indexes.iter().flat_map(|index| [Some(index.partition), index.sort]);
    let values = of_key.into_iter().chain(of_indexes).flatten().filter_map(|attribute| body.get(attribute.name));
    values.map(|value| value.as_str().map_or(MAX_NUMBER_BYTES, str::len)).sum()
}

/// The sort key of `table` as it is compared.
///
/// # Errors
/// `Bug` when it should be a number and is not, or is given for a table without one.
pub(in crate::adapters) fn sort_value(table: &TableSchema, sort: &str) -> Result<Scalar> {
    match table.sort {
        Some(Attribute { kind: AttributeType::Number, .. }) => sort.parse().map(Scalar::Number).map_err(|error| {
            Error::new(ErrorKind::Bug, "the sort key must be a whole number").with("table", table.name).caused_by(error)
        }),
        None if !sort.is_empty() => {
            Err(Error::new(ErrorKind::Bug, "the table has no sort key").with("table", table.name))
        }
        _ => Ok(Scalar::Text(sort.to_owned())),
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

/// The value of an index attribute; `None` when the row is not in the index.
///
/// # Errors
/// `Bug` when it is empty or of another type than the schema says.
pub(in crate::adapters) fn index_value(attribute: Attribute, body: &Map<String, Value>) -> Result<Option<Scalar>> {
    match (body.get(attribute.name), attribute.kind) {
        (None, _) => Ok(None),
        (Some(Value::String(text)), AttributeType::Text) if !text.is_empty() => Ok(Some(Scalar::Text(text.clone()))),
        (Some(Value::Number(number)), AttributeType::Number) if number.is_i64() => {
            Ok(number.as_i64().map(Scalar::Number))
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
