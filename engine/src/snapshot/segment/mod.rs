//! Segments: immutable objects that hold records and tombstones of one stream, sorted by key. FORMAT.md describes their
//! bytes.

mod before;
mod block;
mod buffer;
mod check;
mod file;
mod fingerprints;
mod footer;
mod unpack;
mod writer;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(crate) use self::{
    before::Before,
    block::Block,
    buffer::{NOT_IN_BODY, NewRecord, SortBuffer},
    check::check_block,
    file::SegmentFile,
    fingerprints::FingerprintTable,
    footer::{Footer, TRAILER_BYTES, Trailer},
    writer::{Packer, SealedSegment, SegmentContext},
};
use super::{
    codec::{hex, unhex},
    key::RecordKey,
};
use crate::error::{Error, ErrorKind};

/// A longer record is refused, in bytes.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

/// Size of a segment id in bytes.
const ID_BYTES: usize = 20;

/// The id of a segment: a keyed digest of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId([u8; ID_BYTES]);

impl SegmentId {
    /// From a keyed digest of all that the segment holds.
    pub(crate) fn from_hash(hash: &blake3::Hash) -> Self {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash.as_bytes()[..ID_BYTES]);
        Self(id)
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SegmentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let id = unhex(text).and_then(|bytes| bytes.try_into().ok());
        id.map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a segment id has 40 hexadecimal digits").with("value", text))
    }
}

impl Serialize for SegmentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A segment as a manifest or checkpoint names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentRef {
    /// Its id.
    pub id: SegmentId,
    /// Epoch of the data key under which it is sealed.
    pub epoch: u32,
    /// Size of the object in bytes.
    pub size_bytes: u64,
    /// Live records in it.
    pub records: u64,
    /// Tombstones in it.
    pub tombstones: u64,
    /// Bytes of its bodies, not compressed.
    pub body_bytes: u64,
    /// Its least key.
    pub first_key: RecordKey,
    /// Its greatest key.
    pub last_key: RecordKey,
}

impl SegmentRef {
    /// Records and tombstones.
    pub fn entries(&self) -> u64 {
        self.records.saturating_add(self.tombstones)
    }

    /// True when a key can be in it.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.first_key.as_bytes() <= key && key <= self.last_key.as_bytes()
    }
}
