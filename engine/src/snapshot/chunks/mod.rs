//! Content in chunks: cut where the content itself says, so that an insertion moves only the cuts around it; each chunk
//! stored once an account, many of them in one object, a pack. FORMAT.md describes their bytes.

mod content;
mod cutter;
mod known;
mod pack;
mod packer;
mod read;
mod store;

pub(super) use self::pack::{is_chunk, is_index, is_trailer};
pub(crate) use self::{
    content::{Content, ContentWriter, Draft},
    packer::Packer,
    read::NeededPacks,
    store::{ChunkTables, Chunks},
};

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::codec::{hex, unhex};
use crate::error::{Error, ErrorKind};

/// Size of the ids of chunks and packs in bytes.
const ID_BYTES: usize = 20;

/// The id of a chunk: a keyed digest of its bytes.
pub(crate) type ChunkId = [u8; ID_BYTES];

/// The id of a pack: a keyed digest of all that is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId([u8; ID_BYTES]);

impl PackId {
    /// From a keyed digest of all that the pack holds.
    pub(crate) fn from_hash(hash: &blake3::Hash) -> Self {
        Self(short(hash))
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

/// The first bytes of a hash, as an id.
pub(crate) fn short(hash: &blake3::Hash) -> [u8; ID_BYTES] {
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&hash.as_bytes()[..ID_BYTES]);
    id
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PackId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let id = unhex(text).and_then(|bytes| bytes.try_into().ok());
        id.map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a pack id has 40 hexadecimal digits").with("value", text))
    }
}

impl Serialize for PackId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PackId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A pack as records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PackRef(pub(crate) PackId, pub(crate) u32);

impl PackRef {
    /// Its id.
    pub(crate) fn id(&self) -> PackId {
        self.0
    }

    /// Epoch of its data key.
    pub(crate) fn epoch(&self) -> u32 {
        self.1
    }
}

/// Where a chunk is in its pack: all that reading it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    /// Its number in the pack.
    pub(crate) number: u32,
    /// Where it starts.
    pub(crate) offset: u32,
    /// Size as stored.
    pub(crate) sealed_bytes: u32,
    /// Size of its plain bytes.
    pub(crate) plain_bytes: u32,
}

impl Spot {
    /// Where it ends.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.sealed_bytes)
    }
}

fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
