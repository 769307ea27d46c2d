//! The buffer in which a segment's records gather before they are sorted.

use super::{SegmentRef, before::Before, block::RawEntry};
use crate::snapshot::{
    digest::{Fingerprint, Tag},
    lookup::TagIndex,
};

/// In place of a position: the value of the key does not stand in the body.
pub(crate) const NOT_IN_BODY: u32 = u32::MAX;
/// What an entry costs beside its key and body, in bytes of memory.
const ENTRY_BYTES: usize = size_of::<Entry>() + 12;

/// A record or tombstone to be written.
#[derive(Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    /// Encoded key.
    pub(crate) key: &'a [u8],
    /// The body, or `None` for a tombstone.
    pub(crate) body: Option<&'a [u8]>,
    /// Where the key's values stand in the body.
    pub(crate) places: &'a [u32],
    /// What change detection will know of it.
    pub(crate) fingerprint: Fingerprint,
    /// What its key was before.
    pub(crate) before: Before,
}

/// Records in the order in which they came; the last one with a key is the valid one.
pub(crate) struct SortBuffer {
    arity: usize,
    /// Keys and bodies.
    arena: Vec<u8>,
    entries: Vec<Entry>,
    places: Vec<u32>,
    index: TagIndex,
    valid: usize,
}

struct Entry {
    key_start: u32,
    key_len: u32,
    body_start: u32,
    /// `u32::MAX` for a tombstone.
    body_len: u32,
    fingerprint: Fingerprint,
    before: Before,
    is_valid: bool,
}

impl SortBuffer {
    /// An empty buffer for keys of `arity` values.
    pub(crate) fn new(arity: u8) -> Self {
        Self {
            arity: arity.into(),
            arena: Vec::new(),
            entries: Vec::new(),
            places: Vec::new(),
            index: TagIndex::default(),
            valid: 0,
        }
    }

    /// Forgets all records and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.places.clear();
        self.index.clear();
        self.valid = 0;
    }

    /// Number of values in a key.
    pub(crate) fn arity(&self) -> u8 {
        self.arity as u8
    }

    /// True when nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.valid == 0
    }

    /// Memory in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * ENTRY_BYTES
    }

    /// Memory that a stored segment's records took here, without their keys, in bytes.
    pub(crate) fn memory_bytes_of(segment: &SegmentRef) -> u64 {
        segment.body_bytes + segment.entries() * ENTRY_BYTES as u64
    }

    /// The valid entry with this key.
    pub(crate) fn find(&self, key: &[u8], tag: Tag) -> Option<usize> {
        self.index.candidates(tag).map(|entry| entry as usize).find(|i| {
            let entry = &self.entries[*i];
            entry.is_valid && entry.fingerprint.tag == tag && self.key(*i) == key
        })
    }

    /// Adds a record; an earlier one with its key is no longer valid.
    pub(crate) fn insert(&mut self, record: NewRecord<'_>) {
        if let Some(earlier) = self.find(record.key, record.fingerprint.tag) {
            self.entries[earlier].is_valid = false;
            self.valid -= 1;
        }
        self.index.insert(record.fingerprint.tag, self.entries.len() as u32);
        let key_start = self.append(record.key);
        let (body_start, body_len) = match record.body {
            Some(body) => (self.append(body), body.len() as u32),
            None => (0, u32::MAX),
        };
        self.entries.push(Entry {
            key_start,
            key_len: record.key.len() as u32,
            body_start,
            body_len,
            fingerprint: record.fingerprint,
            before: record.before,
            is_valid: true,
        });
        self.places.extend((0..self.arity).map(|i| record.places.get(i).copied().unwrap_or(NOT_IN_BODY)));
        self.valid += 1;
    }

    fn append(&mut self, bytes: &[u8]) -> u32 {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        start
    }

    /// The body of an entry, or `None` for a tombstone.
    pub(crate) fn body(&self, i: usize) -> Option<&[u8]> {
        let entry = &self.entries[i];
        (entry.body_len != u32::MAX).then(|| &self.arena[entry.body_start as usize..][..entry.body_len as usize])
    }

    /// The fingerprint of an entry.
    pub(crate) fn fingerprint(&self, i: usize) -> Fingerprint {
        self.entries[i].fingerprint
    }

    /// The key of an entry.
    pub(super) fn key(&self, i: usize) -> &[u8] {
        let entry = &self.entries[i];
        &self.arena[entry.key_start as usize..][..entry.key_len as usize]
    }

    /// An entry as it goes into a block.
    pub(super) fn raw(&self, i: usize) -> RawEntry<'_> {
        let places = &self.places[i * self.arity..][..self.arity];
        RawEntry { key: self.key(i), body: self.body(i), places, before: self.entries[i].before }
    }

    /// The valid entries, by key.
    pub(super) fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> =
            (0..self.entries.len() as u32).filter(|i| self.entries[*i as usize].is_valid).collect();
        // Records often come in key order already; then this costs one comparison each.
        order.sort_by(|a, b| self.key(*a as usize).cmp(self.key(*b as usize)));
        order
    }
}
