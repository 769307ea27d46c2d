//! The keyed digests: key tags and body digests (a record's fingerprint), the content digest of a stream's state, and
//! the keys of records in streams without a primary key.

use std::fmt;

use highway::{HighwayHash, HighwayHasher, Key};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::{
    chunks::{ChunkId, short},
    codec::{hex, unhex},
};
use crate::error::Result;

/// Size of a stored fingerprint in bytes.
pub(crate) const FINGERPRINT_BYTES: usize = 14;
/// Size of the digest that stands for the key of a record without one, in bytes.
pub const KEY_DIGEST_BYTES: usize = 16;

/// The first 40 bits of the keyed BLAKE3 of a record's key: names the record within a block.
pub(crate) type Tag = u64;

/// What change detection knows of a stored record without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Names the record within its block.
    pub(crate) tag: Tag,
    /// Keyed HighwayHash of the body as received; 0 stands for a tombstone.
    pub(crate) digest: u64,
    /// Checksum that neither key order nor white space changes.
    pub(crate) shape: u8,
}

impl Fingerprint {
    /// The fingerprint of a tombstone.
    pub(crate) fn tombstone(tag: Tag) -> Self {
        Self { tag, digest: 0, shape: 0 }
    }

    /// True for a tombstone.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.digest == 0
    }

    /// As stored: the tag big-endian, so that rows sort by it, then digest and shape.
    pub(crate) fn to_row(self) -> [u8; FINGERPRINT_BYTES] {
        let mut row = [0; FINGERPRINT_BYTES];
        row[..5].copy_from_slice(&self.tag.to_be_bytes()[3..]);
        row[5..13].copy_from_slice(&self.digest.to_le_bytes());
        row[13] = self.shape;
        row
    }

    /// Reads a stored row.
    pub(crate) fn from_row(row: &[u8; FINGERPRINT_BYTES]) -> Self {
        let [a, b, c, d, e, digest @ .., shape] = *row;
        Self { tag: u64::from_be_bytes([0, 0, 0, a, b, c, d, e]), digest: u64::from_le_bytes(digest), shape }
    }
}

/// A checksum over the bytes above 0x20 that does not depend on their order: two bodies that differ only in key order
/// or white space have the same.
pub(crate) fn shape(body: &[u8]) -> u8 {
    let (mut sum, mut squares) = (0u32, 0u32);
    for byte in body {
        let value = if *byte > 0x20 { u32::from(*byte) } else { 0 };
        sum = sum.wrapping_add(value);
        squares = squares.wrapping_add(value * value);
    }
    ((sum.wrapping_mul(0x9e37_79b1) ^ squares.wrapping_mul(0x85eb_ca6b)) >> 24) as u8
}

/// The account's keyed hash functions. They stay the same over key epochs, so that fingerprints stay comparable.
pub(crate) struct Hashers {
    tag: Zeroizing<[u8; 32]>,
    body: Zeroizing<[u64; 4]>,
    content: Zeroizing<[u8; 32]>,
    identity: Zeroizing<[u8; 32]>,
    chunk: Zeroizing<[u8; 32]>,
    cuts: Zeroizing<[u8; 32]>,
}

impl Hashers {
    /// From a derivation of one key a label.
    ///
    /// # Errors
    /// Those of the derivation.
    pub(crate) fn new(derive: impl Fn(&str) -> Result<Zeroizing<[u8; 32]>>) -> Result<Self> {
        Ok(Self {
            tag: derive("fingerprint tag")?,
            body: Zeroizing::new(lanes_of(&*derive("fingerprint body")?)),
            content: derive("content digest")?,
            identity: derive("record identity")?,
            chunk: derive("chunk identity")?,
            cuts: derive("chunk cuts")?,
        })
    }

    /// The tag of a key.
    pub(crate) fn tag(&self, key: &[u8]) -> Tag {
        first_u64(&blake3::keyed_hash(&self.tag, key)) & 0xff_ffff_ffff
    }

    /// The digest of a body as received; never 0.
    pub(crate) fn body(&self, body: &[u8]) -> u64 {
        HighwayHasher::new(Key(*self.body)).hash64(body).max(1)
    }

    /// The whole fingerprint of a live record.
    pub(crate) fn fingerprint(&self, key: &[u8], body: &[u8]) -> Fingerprint {
        Fingerprint { tag: self.tag(key), digest: self.body(body), shape: shape(body) }
    }

    /// The key of a record in a stream without primary key, from its canonical body.
    pub(crate) fn identity(&self, canonical_body: &[u8]) -> [u8; KEY_DIGEST_BYTES] {
        let hash = blake3::keyed_hash(&self.identity, canonical_body);
        let mut digest = [0; KEY_DIGEST_BYTES];
        digest.copy_from_slice(&hash.as_bytes()[..KEY_DIGEST_BYTES]);
        digest
    }

    /// The id of a chunk of content.
    pub(crate) fn chunk(&self, plain: &[u8]) -> ChunkId {
        short(&blake3::keyed_hash(&self.chunk, plain))
    }

    /// Decides where content is cut.
    pub(crate) fn cut_seed(&self) -> u64 {
        lanes_of(&self.cuts)[0]
    }

    /// What one live record adds to its stream's content digest.
    pub(crate) fn content_term(&self, record: &Fingerprint) -> ContentDigest {
        let row = record.to_row();
        ContentDigest(lanes_of(blake3::keyed_hash(&self.content, &row[..13]).as_bytes()))
    }
}

fn lanes_of(bytes: &[u8; 32]) -> [u64; 4] {
    let mut lanes = [0; 4];
    for (lane, chunk) in lanes.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *lane = u64::from_le_bytes(*chunk);
    }
    lanes
}

fn first_u64(hash: &blake3::Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A digest of a set of live records that does not depend on their order and can be kept up to date record by record:
/// the sum of one keyed hash a record, in four lanes modulo 2^64. Written as 64 hexadecimal digits.
///
/// Within one account, equal digests mean equal keys with equal bodies up to chance (the body digests have 64 bits, the
/// key tags 40). Finding two contents with one digest needs the account's key.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentDigest([u64; 4]);

impl ContentDigest {
    /// Adds a record's term.
    pub(crate) fn add(&mut self, term: ContentDigest) {
        for (lane, value) in self.0.iter_mut().zip(term.0) {
            *lane = lane.wrapping_add(value);
        }
    }

    /// Takes a record's term away.
    pub(crate) fn subtract(&mut self, term: ContentDigest) {
        for (lane, value) in self.0.iter_mut().zip(term.0) {
            *lane = lane.wrapping_sub(value);
        }
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        f.write_str(&hex(&bytes))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ContentDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Option<[u8; 32]> = unhex(&text).and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| de::Error::custom("a content digest has 64 hexadecimal digits"))?;
        Ok(Self(lanes_of(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashers() -> Hashers {
        Hashers::new(|label| Ok(Zeroizing::new(*blake3::hash(label.as_bytes()).as_bytes()))).unwrap()
    }

    proptest! {
        #[test]
        fn a_fingerprint_comes_back_from_its_row(tag in 0u64..1 << 40, digest: u64, shape: u8) {
            let fingerprint = Fingerprint { tag, digest, shape };
            prop_assert_eq!(Fingerprint::from_row(&fingerprint.to_row()), fingerprint);
        }

        #[test]
        fn the_content_digest_does_not_depend_on_order(bodies: Vec<Vec<u8>>, seed: usize) {
            let hashers = hashers();
            let terms: Vec<_> = bodies.iter().map(|b| hashers.content_term(&hashers.fingerprint(b, b))).collect();
            let (mut forth, mut back) = (ContentDigest::default(), ContentDigest::default());
            terms.iter().for_each(|term| forth.add(*term));
            terms.iter().rev().for_each(|term| back.add(*term));
            prop_assert_eq!(forth, back);
            if !terms.is_empty() {
                let extra = terms[seed % terms.len()];
                back.add(extra);
                prop_assert_ne!(forth, back);
                back.subtract(extra);
                prop_assert_eq!(forth, back);
            }
            let text = serde_json::to_string(&forth).unwrap();
            prop_assert_eq!(serde_json::from_str::<ContentDigest>(&text).unwrap(), forth);
        }
    }

    #[test]
    fn key_order_and_white_space_keep_the_shape_and_edits_change_it() {
        assert_eq!(shape(br#"{"a":1,"b":2}"#), shape(b"{ \"b\": 2,\n\"a\": 1 }"));
        assert_ne!(shape(br#"{"a":1,"b":2}"#), shape(br#"{"a":1,"b":3}"#));
    }

    #[test]
    fn a_live_record_is_never_taken_for_a_tombstone() {
        assert!(!hashers().fingerprint(b"k", b"").is_tombstone());
        assert!(Fingerprint::tombstone(3).is_tombstone());
    }
}
