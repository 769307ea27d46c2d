//! Blocks: consecutive records of a segment as one piece of text that is compressed and sealed as a whole.
//!
//! A key whose values stand in the body is not stored again: the block says where they stand. Bodies end with a line
//! feed, as in JSONL, unless one of them holds a line feed; then their lengths are stored. Both spare bytes that would
//! not compress: about 7 of 230 a record on contacts of 1 KB.

use bytes::Bytes;

use super::{
    before::{self, Before},
    buffer::NOT_IN_BODY,
};
use crate::{
    error::Error,
    snapshot::{
        codec::{Input, Malformed, put_string, put_varint},
        json,
        key::{self, MAX_KEY_BYTES},
    },
};

/// Flag: bodies have lengths instead of line ends.
const WITH_LENGTHS: u8 = 1;
/// Flag: it is said of each entry what its key was before. Without it none of them was there.
const WITH_BEFORE: u8 = 2;
/// In place of a body's length.
const TOMBSTONE: u32 = u32::MAX;

/// One entry to be written.
#[derive(Clone, Copy)]
pub(crate) struct RawEntry<'a> {
    /// Encoded key.
    pub(super) key: &'a [u8],
    /// The body, or `None` for a tombstone.
    pub(super) body: Option<&'a [u8]>,
    /// Where the key's values stand in the body; one of them [`NOT_IN_BODY`] when they do not.
    pub(super) places: &'a [u32],
    /// What its key was before.
    pub(super) before: Before,
}

impl RawEntry<'_> {
    fn has_key_in_body(&self) -> bool {
        self.body.is_some() && !self.places.is_empty() && !self.places.contains(&NOT_IN_BODY)
    }
}

/// Appends a block's text. `arity` is the length of every entry's `places`.
pub(super) fn encode<'a>(entries: impl Iterator<Item = RawEntry<'a>> + Clone, arity: u8, out: &mut Vec<u8>) {
    let with_lengths = entries.clone().filter_map(|entry| entry.body).any(|body| memchr::memchr(b'\n', body).is_some());
    let with_before = entries.clone().any(|entry| entry.before.was_live());
    put_varint(out, entries.clone().count() as u64);
    out.push((u8::from(with_lengths) * WITH_LENGTHS) | (u8::from(with_before) * WITH_BEFORE));
    out.push(arity);
    if with_before {
        let mut bytes = Vec::new();
        before::encode(entries.clone().map(|entry| entry.before), &mut bytes);
        out.extend_from_slice(&bytes);
    }
    for entry in entries.clone() {
        match entry.body {
            None => put_varint(out, 0),
            Some(_) if entry.has_key_in_body() => {
                put_varint(out, u64::from(entry.places[0]) + 2);
                entry.places[1..].iter().for_each(|place| put_varint(out, u64::from(*place)));
            }
            Some(_) => put_varint(out, 1),
        }
    }
    let mut previous: &[u8] = &[];
    for entry in entries.clone().filter(|entry| !entry.has_key_in_body()) {
        let shared = entry.key.iter().zip(previous).take_while(|(a, b)| a == b).count();
        put_varint(out, shared as u64);
        put_string(out, &entry.key[shared..]);
        previous = entry.key;
    }
    if with_lengths {
        entries.clone().filter_map(|entry| entry.body).for_each(|body| put_varint(out, body.len() as u64));
    }
    for body in entries.filter_map(|entry| entry.body) {
        out.extend_from_slice(body);
        if !with_lengths {
            out.push(b'\n');
        }
    }
}

/// A block in memory. Its bodies are slices of one buffer.
pub(crate) struct Block {
    raw: Bytes,
    keys: Vec<u8>,
    entries: Vec<Entry>,
    places: Vec<u32>,
    /// Empty when every key was absent before.
    befores: Vec<Before>,
    arity: usize,
}

struct Entry {
    /// End of its key in `keys`; the key starts where the one before ends.
    key_end: u32,
    body_start: u32,
    /// Or [`TOMBSTONE`].
    body_len: u32,
}

impl Block {
    /// Reads a block's text.
    ///
    /// # Errors
    /// `Corrupt` when it has not the documented shape.
    pub(crate) fn decode(raw: Bytes) -> Result<Self, Error> {
        let mut input = Input::new(&raw);
        let count = input.count(1)?;
        let [flags, arity] = input.array()?;
        if flags > (WITH_LENGTHS | WITH_BEFORE) {
            return Err(Malformed("unknown kind of block").into());
        }
        let mut block = Self {
            raw: Bytes::new(),
            keys: Vec::new(),
            entries: Vec::new(),
            places: Vec::new(),
            befores: Vec::new(),
            arity: arity.into(),
        };
        if flags & WITH_BEFORE != 0 {
            block.befores = before::decode(input.take(before::bytes_of(count))?, count)?;
        }
        let kinds = block.read_places(&mut input, count)?;
        let explicit = read_explicit_keys(&mut input, &kinds)?;
        let lengths = read_lengths(&mut input, &kinds, flags)?;
        block.read_bodies(&raw, input, &kinds, lengths.as_deref(), &explicit)?;
        block.raw = raw;
        Ok(block)
    }

    fn read_places(&mut self, input: &mut Input<'_>, count: usize) -> Result<Vec<Kind>, Malformed> {
        let mut kinds = Vec::with_capacity(count);
        self.places.reserve(count.saturating_mul(self.arity).min(input.rest().len()));
        for _ in 0..count {
            let kind = input.varint_up_to(u32::MAX as usize)?;
            if kind >= 2 && self.arity == 0 {
                return Err(Malformed("a key in the body of a stream without key"));
            }
            kinds.push(match kind {
                0 => Kind::Tombstone,
                1 => Kind::Explicit,
                _ => Kind::InBody,
            });
            for i in 0..self.arity {
                self.places.push(match (kind, i) {
                    (0 | 1, _) => NOT_IN_BODY,
                    (_, 0) => kind as u32 - 2,
                    _ => input.varint_up_to(NOT_IN_BODY as usize - 1)? as u32,
                });
            }
        }
        Ok(kinds)
    }

    fn read_bodies(
        &mut self,
        raw: &[u8],
        input: Input<'_>,
        kinds: &[Kind],
        lengths: Option<&[u32]>,
        explicit: &ExplicitKeys,
    ) -> Result<(), Error> {
        let mut at = raw.len() - input.rest().len();
        let (mut next_explicit, mut next_length) = (0, 0);
        self.entries.reserve(kinds.len());
        for (i, kind) in kinds.iter().enumerate() {
            let mut entry = Entry { key_end: 0, body_start: 0, body_len: TOMBSTONE };
            if *kind != Kind::Tombstone {
                let (len, step) = match lengths {
                    Some(lengths) => (lengths[next_length] as usize, lengths[next_length] as usize),
                    None => {
                        let len = memchr::memchr(b'\n', &raw[at..]).ok_or(Malformed("a record has no end"))?;
                        (len, len + 1)
                    }
                };
                next_length += 1;
                if len > raw.len() - at || len >= TOMBSTONE as usize {
                    return Err(Malformed("a record is cut short").into());
                }
                (entry.body_start, entry.body_len) = (at as u32, len as u32);
                at += step;
            }
            if *kind == Kind::InBody {
                let body = &raw[entry.body_start as usize..][..entry.body_len as usize];
                for place in &self.places[i * self.arity..][..self.arity] {
                    let place = *place as usize;
                    let end =
                        json::value_end(body, place).ok_or(Malformed("a key's value is not where it should be"))?;
                    key::encode(&body[place..end], &mut self.keys)
                        .map_err(|_| Malformed("a key's value is not JSON"))?;
                }
            } else {
                self.keys.extend_from_slice(explicit.get(next_explicit));
                next_explicit += 1;
            }
            entry.key_end =
                u32::try_from(self.keys.len()).map_err(|_| Malformed("the keys of a block are too long"))?;
            self.entries.push(entry);
        }
        if at != raw.len() {
            return Err(Malformed("bytes after the last record").into());
        }
        Ok(())
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Size in memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let per_entry = self.entries.len() * size_of::<Entry>() + self.befores.len();
        self.raw.len() + self.keys.len() + per_entry + self.places.len() * 4
    }

    /// The encoded key of an entry.
    pub(crate) fn key(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.entries[i - 1].key_end };
        &self.keys[start as usize..self.entries[i].key_end as usize]
    }

    /// The body of an entry, or `None` for a tombstone.
    pub(crate) fn body(&self, i: usize) -> Option<&[u8]> {
        self.body_range(i).map(|range| &self.raw[range])
    }

    /// The body of an entry as a share of the block's buffer, or `None` for a tombstone.
    pub(crate) fn body_bytes(&self, i: usize) -> Option<Bytes> {
        self.body_range(i).map(|range| self.raw.slice(range))
    }

    fn body_range(&self, i: usize) -> Option<std::ops::Range<usize>> {
        let entry = &self.entries[i];
        let start = entry.body_start as usize;
        (entry.body_len != TOMBSTONE).then(|| start..start + entry.body_len as usize)
    }

    /// Where the values of an entry's key stand in its body.
    pub(crate) fn places(&self, i: usize) -> &[u32] {
        &self.places[i * self.arity..][..self.arity]
    }

    /// What the key of an entry was before.
    pub(crate) fn before(&self, i: usize) -> Before {
        self.befores.get(i).copied().unwrap_or(Before::Absent)
    }

    /// The first entry whose key is `key` or greater.
    pub(crate) fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The entry with `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        let i = self.lower_bound(key);
        (i < self.len() && self.key(i) == key).then_some(i)
    }

    /// True when keys rise strictly.
    pub(crate) fn is_sorted(&self) -> bool {
        (1..self.len()).all(|i| self.key(i - 1) < self.key(i))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tombstone,
    Explicit,
    InBody,
}

#[derive(Default)]
struct ExplicitKeys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ExplicitKeys {
    fn get(&self, i: usize) -> &[u8] {
        &self.bytes[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]]
    }
}

fn read_explicit_keys(input: &mut Input<'_>, kinds: &[Kind]) -> Result<ExplicitKeys, Malformed> {
    let mut keys = ExplicitKeys::default();
    let mut previous = 0..0;
    for _ in kinds.iter().filter(|kind| **kind != Kind::InBody) {
        let shared = input.varint_up_to(previous.len())?;
        let suffix = input.string()?;
        if shared + suffix.len() > MAX_KEY_BYTES {
            return Err(Malformed("a key is too long"));
        }
        let start = keys.bytes.len();
        keys.bytes.extend_from_within(previous.start..previous.start + shared);
        keys.bytes.extend_from_slice(suffix);
        keys.ends.push(keys.bytes.len());
        previous = start..keys.bytes.len();
    }
    Ok(keys)
}

fn read_lengths(input: &mut Input<'_>, kinds: &[Kind], flags: u8) -> Result<Option<Vec<u32>>, Malformed> {
    if flags & WITH_LENGTHS == 0 {
        return Ok(None);
    }
    let live = kinds.iter().filter(|kind| **kind != Kind::Tombstone);
    live.map(|_| Ok(input.varint_up_to(u32::MAX as usize)? as u32)).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::key::RecordKey;

    /// What a block was made of.
    #[derive(Debug)]
    struct Row {
        key: Vec<u8>,
        body: Option<Vec<u8>>,
        places: Vec<u32>,
        before: Before,
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let before = prop::sample::select(vec![Before::Absent, Before::Other, Before::Same, Before::Live]);
        let row = (any::<u32>(), prop::option::weighted(0.8, "[a-z \n]{0,20}"), any::<bool>(), before);
        prop::collection::vec(row, 1..40).prop_map(|rows| {
            rows.into_iter()
                .map(|(id, text, is_in_body, before)| {
                    let id = id.to_string();
                    let key = RecordKey::from_json([id.as_bytes()]).unwrap().as_bytes().to_vec();
                    let body = text.map(|text| format!("{{\"id\":{id},\"t\":\"{text}\"}}").into_bytes());
                    let place = if is_in_body && body.is_some() { 6 } else { NOT_IN_BODY };
                    Row { key, body, places: vec![place], before }
                })
                .collect()
        })
    }

    fn encoded(rows: &[Row]) -> Vec<u8> {
        let mut out = Vec::new();
        let raws = rows.iter().map(|row| RawEntry {
            key: &row.key,
            body: row.body.as_deref(),
            places: &row.places,
            before: row.before,
        });
        encode(raws, 1, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_block_gives_back_its_records(rows in rows()) {
            let block = Block::decode(Bytes::from(encoded(&rows))).unwrap();
            prop_assert_eq!(block.len(), rows.len());
            for (i, row) in rows.iter().enumerate() {
                prop_assert_eq!((block.key(i), block.body(i)), (&row.key[..], row.body.as_deref()));
                prop_assert_eq!(block.places(i), &row.places[..]);
                prop_assert_eq!(block.before(i), row.before);
            }
        }

        #[test]
        fn damaged_and_arbitrary_texts_never_panic(rows in rows(), at: usize, byte: u8, noise: Vec<u8>) {
            let mut text = encoded(&rows);
            let at = at % text.len();
            let _ = Block::decode(Bytes::copy_from_slice(&text[..at]));
            text[at] = byte;
            let _ = Block::decode(Bytes::from(text));
            let _ = Block::decode(Bytes::from(noise));
        }
    }
}
