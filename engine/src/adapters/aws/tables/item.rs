//! Items: rows as DynamoDB keeps them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    adapters::rows::Scalar,
    error::{Error, ErrorKind, Result},
    ports::Item,
    tables::{Attribute, AttributeType, TableSchema},
};

/// Whose row it is, in tables that accounts own.
pub(super) const ACCOUNT: &str = "accountId";
/// The row as JSON.
pub(super) const BODY: &str = "body";
/// Grows with each write.
pub(super) const VERSION: &str = "version";
/// Which write made it so.
pub(super) const WRITE_ID: &str = "writeId";

/// The most that the value of a partition attribute may have, of a table or an index.
pub(super) const MAX_PARTITION_BYTES: usize = 2048;
/// The most that the value of a sort attribute may have.
pub(super) const MAX_SORT_BYTES: usize = 1024;

/// The attributes of an item.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// A value as DynamoDB takes it.
pub(super) fn value(scalar: &Scalar) -> AttributeValue {
    match scalar {
        Scalar::Text(text) => AttributeValue::S(text.clone()),
        Scalar::Number(number) => AttributeValue::N(number.to_string()),
    }
}

/// The value of a partition attribute, which the port has as text.
pub(super) fn partition_value(attribute: Attribute, partition: &str) -> AttributeValue {
    match attribute.kind {
        AttributeType::Text => AttributeValue::S(partition.to_owned()),
        AttributeType::Number => AttributeValue::N(partition.to_owned()),
    }
}

/// The key of an item.
pub(super) fn key(table: &TableSchema, partition: &str, sort: &Scalar) -> Attributes {
    let mut key = Attributes::from([(table.partition.name.to_owned(), partition_value(table.partition, partition))]);
    if let Some(attribute) = table.sort {
        key.insert(attribute.name.to_owned(), value(sort));
    }
    key
}

/// Whether DynamoDB can have an item with this key at all; it takes no request for one that it cannot.
pub(super) fn may_exist(table: &TableSchema, partition: &str, sort: &Scalar) -> bool {
    let sort_fits = table.sort.is_none() || fits(sort, MAX_SORT_BYTES);
    fits(&Scalar::Text(partition.to_owned()), MAX_PARTITION_BYTES) && sort_fits
}

/// Whether a key or index attribute may have this value.
pub(super) fn fits(value: &Scalar, max_bytes: usize) -> bool {
    match value {
        Scalar::Text(text) => (1..=max_bytes).contains(&text.len()),
        Scalar::Number(_) => true,
    }
}

/// An attribute as a key or index has it.
pub(super) fn scalar(item: &Attributes, name: &str) -> Option<Scalar> {
    match item.get(name)? {
        AttributeValue::S(text) => Some(Scalar::Text(text.clone())),
        AttributeValue::N(number) => number.parse().ok().map(Scalar::Number),
        _ => None,
    }
}

/// A text attribute.
pub(super) fn text<'a>(item: &'a Attributes, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The version of an item.
pub(super) fn version(item: &Attributes) -> Option<u64> {
    item.get(VERSION)?.as_n().ok()?.parse().ok()
}

/// Whether the row has not expired. DynamoDB removes it some time within the next days.
pub(super) fn is_live(table: &TableSchema, item: &Attributes, now_s: i64) -> bool {
    match table.expires.and_then(|name| scalar(item, name)) {
        Some(Scalar::Number(expires_at)) => expires_at > now_s,
        _ => true,
    }
}

/// The row in an item.
///
/// # Errors
/// `Corrupt` when it was not written by this adapter.
pub(super) fn row(table: &TableSchema, item: &Attributes) -> Result<Item> {
    let corrupt = |message| Error::new(ErrorKind::Corrupt, message).with("table", table.name);
    let (Some(body), Some(version)) = (text(item, BODY), version(item)) else {
        return Err(corrupt("a stored item has no body or no version"));
    };
    let body =
        serde_json::from_str(body).map_err(|error| corrupt("a stored row is not a JSON object").caused_by(error))?;
    Ok(Item { body, version })
}
