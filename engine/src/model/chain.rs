//! The chain of an account's events. Each settled event carries its place (`sequence`, from 1, without gaps) and a digest of
//! itself and of the event before it (`chainDigest`); one row an account, the head, names the last of both. So whoever changes,
//! deletes, inserts or swaps settled events is found out by whoever walks the chain; whoever rewrites all of it, head
//! included, is found out by a head that was noted elsewhere before.
//!
//! The digest, byte for byte, so that anybody can compute it:
//!
//! ```text
//! digest(n)  = BLAKE3 derive_key("listbackup activity chain 1"), 32 bytes, over
//!              digest(n - 1)                 32 bytes; all zero for n = 1
//!              value(row)                    the row of event n, all of its attributes but `chainDigest`
//! value(v)   = 00                            null
//!            | 01 | 02                       false, true
//!            | 03 i64                        a whole number that fits 64 bits signed, big-endian; 1.0 is the whole number 1
//!            | 04 f64                        any other number: IEEE 754 binary64, big-endian
//!            | 05 text                       a string
//!            | 06 u32 value…                 an array: how many, then each
//!            | 07 u32 (text value)…          an object: how many, then each by the order of its names' UTF-8 bytes
//! text       = u32 bytes                     length in bytes, big-endian, then UTF-8
//! ```
//!
//! In rows digests are 64 hexadecimal digits in lower case.

use blake3::{Hash, Hasher};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::{AccountId, EventId};
use crate::{
    ports::{Key, SortRange},
    tables::{ACTIVITY, Row, TableSchema},
};

/// Keeps these digests apart from all others.
const CONTEXT: &str = "listbackup activity chain 1";
/// The attribute that no digest covers: it is the digest.
const DIGEST: &str = "chainDigest";
/// The attribute with an event's place.
const SEQUENCE: &str = "sequence";
/// Ids of heads begin so; they sort before all event ids.
const HEAD_PREFIX: &str = "chain_";

/// The end of an account's chain: a row of the activity table under an id that no event has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainHead {
    /// `chain_` and the account's id.
    pub event_id: String,
    /// Always 0.
    pub timestamp: i64,
    /// Whose.
    pub account_id: AccountId,
    /// Place of the last linked event; 0 before the first.
    pub head_sequence: u64,
    /// Digest of the last linked event, in hex; of 32 zero bytes before the first.
    pub head_digest: String,
    /// Every event up to this place was handed to the bus.
    pub published_sequence: u64,
    /// The newest event of a version without chain: up to it events have no place, and nothing proves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_after: Option<EventId>,
    /// Index shard of heads whose last events the bus may not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox_shard: Option<String>,
}

impl Row for ChainHead {
    const TABLE: &'static TableSchema = &ACTIVITY;
}

impl ChainHead {
    /// The head of a chain without events.
    pub fn new(account_id: AccountId, begins_after: Option<EventId>) -> Self {
        Self {
            event_id: format!("{HEAD_PREFIX}{account_id}"),
            timestamp: 0,
            account_id,
            head_sequence: 0,
            head_digest: beginning().to_hex().to_string(),
            published_sequence: 0,
            begins_after,
            outbox_shard: None,
        }
    }

    /// Where an account's head lies.
    pub fn place(account_id: AccountId) -> Key {
        Key { partition: format!("{HEAD_PREFIX}{account_id}"), sort: "0".to_owned() }
    }
}

/// Bounds that leave only heads, in an index by event id.
pub fn only_heads() -> SortRange {
    SortRange::Prefix(HEAD_PREFIX.to_owned())
}

/// What the first event follows.
pub fn beginning() -> Hash {
    Hash::from_bytes([0; 32])
}

/// The digest in a row or a head; `None` when it is none.
pub fn parse(digest: &str) -> Option<Hash> {
    Hash::from_hex(digest).ok().filter(|hash| hash.to_hex().as_str() == digest)
}

/// The place in a row; `None` when it has none.
pub fn place_of(row: &Map<String, Value>) -> Option<u64> {
    row.get(SEQUENCE).and_then(Value::as_u64)
}

/// The digest that a row says.
pub fn stated_digest(row: &Map<String, Value>) -> Option<Hash> {
    row.get(DIGEST).and_then(Value::as_str).and_then(parse)
}

/// Gives a row its place and digest, after the event with digest `before`.
pub fn link(row: &mut Map<String, Value>, sequence: u64, before: &Hash) -> Hash {
    row.insert(SEQUENCE.to_owned(), Value::from(sequence));
    row.remove(DIGEST);
    let digest = digest(row, before);
    row.insert(DIGEST.to_owned(), Value::from(digest.to_hex().as_str()));
    digest
}

/// The digest of a row after the event with digest `before`.
pub fn digest(row: &Map<String, Value>, before: &Hash) -> Hash {
    let mut hasher = Hasher::new_derive_key(CONTEXT);
    hasher.update(before.as_bytes());
    object(&mut hasher, row.iter().filter(|(name, _)| *name != DIGEST));
    hasher.finalize()
}

fn object<'a>(hasher: &mut Hasher, members: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(name, _)| name.as_bytes());
    hasher.update(&[7]).update(&length(members.len()));
    for (name, member) in members {
        text(hasher, name);
        value(hasher, member);
    }
}

fn value(hasher: &mut Hasher, it: &Value) {
    match it {
        Value::Null => drop(hasher.update(&[0])),
        Value::Bool(is_true) => drop(hasher.update(&[1 + u8::from(*is_true)])),
        Value::Number(it) => number(hasher, it),
        Value::String(it) => {
            hasher.update(&[5]);
            text(hasher, it);
        }
        Value::Array(members) => {
            hasher.update(&[6]).update(&length(members.len()));
            members.iter().for_each(|member| value(hasher, member));
        }
        Value::Object(members) => object(hasher, members.iter()),
    }
}

fn number(hasher: &mut Hasher, it: &Number) {
    /// Up to here every whole number is a binary64 of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = it.as_f64().unwrap_or(f64::NAN);
    let whole = it.as_i64().or_else(|| (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64));
    match whole {
        Some(whole) => hasher.update(&[3]).update(&whole.to_be_bytes()),
        None => hasher.update(&[4]).update(&float.to_be_bytes()),
    };
}

fn text(hasher: &mut Hasher, it: &str) {
    hasher.update(&length(it.len())).update(it.as_bytes());
}

/// A row is far shorter than 4 GiB.
fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_digest_is_the_documented_bytes() {
        let row = row(json!({ "b": [null, true, -2, 0.5, 3.0], "a": "é", "chainDigest": "of no weight" }));
        let mut bytes = vec![9; 32];
        bytes.extend([7, 0, 0, 0, 2]);
        bytes.extend([0, 0, 0, 1, b'a', 5, 0, 0, 0, 2, 0xc3, 0xa9]);
        bytes.extend([0, 0, 0, 1, b'b', 6, 0, 0, 0, 5, 0, 2]);
        bytes.extend([3, 255, 255, 255, 255, 255, 255, 255, 254]);
        bytes.extend([4, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([3, 0, 0, 0, 0, 0, 0, 0, 3]);
        let by_hand = blake3::derive_key("listbackup activity chain 1", &bytes);
        assert_eq!(digest(&row, &Hash::from_bytes([9; 32])).as_bytes(), &by_hand);
    }

    #[test]
    fn rows_that_differ_in_anything_have_different_digests() {
        let rows = [
            json!({}),
            json!({ "a": null }),
            json!({ "a": 1 }),
            json!({ "a": "1" }),
            json!({ "a": [1] }),
            json!({ "a": { "": 1 } }),
            json!({ "a": [[], 1] }),
            json!({ "a": [[1]] }),
            json!({ "ab": "c" }),
            json!({ "a": "bc" }),
            json!({ "a": 1.5 }),
            json!({ "a": u64::MAX }),
            json!({ "a": i64::MIN }),
            json!({ "a": false }),
            json!({ "a": 1, "b": 1 }),
        ];
        let digests: std::collections::HashSet<_> =
            rows.iter().map(|it| digest(&row(it.clone()), &beginning())).collect();
        assert_eq!(digests.len(), rows.len());
        assert_ne!(digest(&row(json!({})), &beginning()), digest(&row(json!({})), &Hash::from_bytes([1; 32])));
    }

    #[test]
    fn a_digest_is_read_only_as_it_is_written() {
        let hex = Hash::from_bytes([0xab; 32]).to_hex();
        assert!(parse(&hex).is_some());
        assert!(parse(&hex.to_uppercase()).is_none());
        assert!(parse("").is_none());
    }
}
