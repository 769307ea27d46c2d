//! Cursors: where a page ended, bound to the query that it belongs to.
//!
//! The text is base64url of a digest of the query (8 bytes) and the last row's position (JSON). A cursor grants
//! nothing: every page checks its own scope.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Reach, Scalar};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::Query,
};

const DIGEST_BYTES: usize = 8;

/// Where a page ended: the row's sort value in the query's order, and its key.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::adapters) struct Position {
    pub(in crate::adapters) order: Scalar,
    pub(in crate::adapters) partition: String,
    pub(in crate::adapters) sort: Scalar,
}

/// The cursor that goes on after `position`.
pub(in crate::adapters) fn encode(query: &Query, reach: &Reach, position: &Position) -> String {
    let place = json!([to_json(&position.order), position.partition, to_json(&position.sort)]).to_string();
    URL_SAFE_NO_PAD.encode([&digest(query, reach)[..], place.as_bytes()].concat())
}

/// # Errors
/// `Invalid` when the cursor is damaged or comes from another query.
pub(in crate::adapters) fn decode(query: &Query, reach: &Reach, cursor: &str) -> Result<Position> {
    position(query, reach, cursor).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "the cursor is not from this query; start again without it")
            .with("table", query.table.name)
    })
}

fn position(query: &Query, reach: &Reach, cursor: &str) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (bound_to, place) = bytes.split_at_checked(DIGEST_BYTES)?;
    if bound_to != digest(query, reach) {
        return None;
    }
    let (order, partition, sort): (Value, String, Value) = serde_json::from_slice(place).ok()?;
    Some(Position { order: from_json(&order)?, partition, sort: from_json(&sort)? })
}

fn digest(query: &Query, reach: &Reach) -> [u8; DIGEST_BYTES] {
    let text = format!("{:?}", (query.table.name, query.index, &query.partition, &query.sort, query.descending, reach));
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..DIGEST_BYTES]);
    digest
}

fn to_json(value: &Scalar) -> Value {
    match value {
        Scalar::Number(number) => json!(number),
        Scalar::Text(text) => json!(text),
    }
}

fn from_json(value: &Value) -> Option<Scalar> {
    match value {
        Value::Number(number) => number.as_i64().map(Scalar::Number),
        Value::String(text) => Some(Scalar::Text(text.clone())),
        _ => None,
    }
}
