//! What is collected together: the segments of a source, or the packs of an account.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    error::{Error, ErrorKind},
    model::{AccountId, SourceId},
    snapshot::{
        PackId, SegmentId,
        codec::{hex, unhex},
    },
};

/// Objects that are collected together. Each shelf has its own collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// The segments of a source.
    Segments(AccountId, SourceId),
    /// The packs of an account.
    Packs(AccountId),
}

impl Shelf {
    /// What one of its objects is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Segments(..) => "segment",
            Self::Packs(_) => "pack",
        }
    }
}

/// The id of something on a shelf: of a segment or a pack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId([u8; 20]);

impl From<SegmentId> for ItemId {
    fn from(id: SegmentId) -> Self {
        Self(*id.as_bytes())
    }
}

impl From<PackId> for ItemId {
    fn from(id: PackId) -> Self {
        Self(*id.as_bytes())
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ItemId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let id = unhex(text).and_then(|bytes| bytes.try_into().ok());
        let message = "the id of a segment or pack has 40 hexadecimal digits";
        id.map(Self).ok_or_else(|| Error::new(ErrorKind::Invalid, message).with("value", text))
    }
}

impl Serialize for ItemId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ItemId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
