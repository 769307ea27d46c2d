//! Which chunks an account has stored, and where: about 30 bytes of memory a chunk, that is 30 MB for a terabyte, and 40
//! more in a scratch file.
//!
//! What is in here may be gone from the store: another worker may have collected it since. So whoever names a chunk that was
//! found here makes sure of its pack first ([`super::super::retain`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    path::PathBuf,
};

use super::{ChunkId, PackId, PackRef, Spot};
use crate::{error::Result, snapshot::lookup::Scratch};

const ROW_BYTES: usize = 40;

/// The chunks of an account's packs.
pub(super) struct Known {
    scratch_dir: Option<PathBuf>,
    packs: Vec<PackRef>,
    /// The rows of each pack.
    listed: BTreeMap<PackId, Range<u32>>,
    /// Number of the row by the first bytes of the id. Should two chunks share them, or one be in two packs, the second is not
    /// known: storing it again costs its space.
    index: HashMap<u64, u32>,
    rows: Scratch,
    /// Rows of packs that were forgotten.
    dead_rows: u64,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(scratch_dir: Option<PathBuf>) -> Self {
        Self {
            rows: Scratch::new(scratch_dir.clone()),
            scratch_dir,
            packs: Vec::new(),
            listed: BTreeMap::new(),
            index: HashMap::new(),
            dead_rows: 0,
        }
    }

    /// True when the chunks of this pack are in here.
    pub(super) fn has(&self, pack: PackId) -> bool {
        self.listed.contains_key(&pack)
    }

    /// Forgets the packs that are not among `stored`; everything, once half of it would be what was forgotten.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn keep_within(&mut self, stored: &BTreeSet<PackId>) -> Result<()> {
        let gone: Vec<PackId> = self.listed.keys().filter(|pack| !stored.contains(pack)).copied().collect();
        for pack in gone {
            let Some(rows) = self.listed.remove(&pack) else { continue };
            self.dead_rows += rows.len() as u64;
            for row in rows {
                let prefix = prefix(&self.row(row)?);
                if self.index.get(&prefix) == Some(&row) {
                    self.index.remove(&prefix);
                }
            }
        }
        if self.dead_rows * 2 > self.rows.len() / ROW_BYTES as u64 {
            *self = Self::new(self.scratch_dir.take());
        }
        Ok(())
    }

    /// Adds a pack's chunks.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot grow.
    pub(super) fn add(&mut self, pack: PackRef, chunks: &[(ChunkId, Spot)]) -> Result<()> {
        if self.has(pack.id()) {
            return Ok(());
        }
        let number = self.packs.len() as u32;
        self.packs.push(pack);
        let mut rows = Vec::with_capacity(chunks.len() * ROW_BYTES);
        let first_row = (self.rows.len() / ROW_BYTES as u64) as u32;
        for (row, (id, spot)) in (first_row..).zip(chunks) {
            rows.extend_from_slice(id);
            for field in [number, spot.number, spot.offset, spot.sealed_bytes, spot.plain_bytes] {
                rows.extend_from_slice(&field.to_le_bytes());
            }
            self.index.entry(prefix(id)).or_insert(row);
        }
        self.listed.insert(pack.id(), first_row..first_row + chunks.len() as u32);
        self.rows.append(&rows).map(drop)
    }

    /// Where a chunk is stored.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn find(&self, id: &ChunkId) -> Result<Option<(PackRef, Spot)>> {
        let Some(row) = self.index.get(&prefix(id)) else { return Ok(None) };
        let bytes = self.row(*row)?;
        let (found, fields) = bytes.split_at(id.len());
        let mut numbers = fields.as_chunks::<4>().0.iter().map(|field| u32::from_le_bytes(*field));
        let mut next = || numbers.next().unwrap_or_default();
        let pack = next();
        let spot = Spot { number: next(), offset: next(), sealed_bytes: next(), plain_bytes: next() };
        let pack = self.packs.get(pack as usize).filter(|_| found == id);
        Ok(pack.map(|pack| (*pack, spot)))
    }

    fn row(&self, row: u32) -> Result<[u8; ROW_BYTES]> {
        let mut bytes = [0; ROW_BYTES];
        self.rows.read(u64::from(row) * ROW_BYTES as u64, &mut bytes)?;
        Ok(bytes)
    }
}

fn prefix(id: &[u8]) -> u64 {
    id.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(number: u8) -> PackRef {
        PackRef(PackId::from_hash(&blake3::hash(&[number])), 1)
    }

    fn chunks(numbers: Range<u8>) -> Vec<(ChunkId, Spot)> {
        let spot = Spot { number: 0, offset: 0, sealed_bytes: 1, plain_bytes: 1 };
        numbers.map(|number| (super::super::short(&blake3::hash(&[9, number])), spot)).collect()
    }

    #[test]
    fn the_chunks_of_a_pack_that_is_gone_are_not_found_and_all_others_are() {
        let mut known = Known::new(None);
        let stored = |numbers: &[u8]| numbers.iter().map(|number| pack(*number).id()).collect::<BTreeSet<_>>();
        for number in 0..5 {
            known.add(pack(number), &chunks(number * 10..number * 10 + 10)).unwrap();
        }
        known.keep_within(&stored(&[0, 2, 3, 4])).unwrap();
        for number in 0..50 {
            let (id, _) = chunks(number..number + 1)[0];
            let expected = (number / 10 != 1).then(|| pack(number / 10));
            assert_eq!(known.find(&id).unwrap().map(|(pack, _)| pack), expected, "{number}");
        }
        // Put again, it is known again.
        known.add(pack(1), &chunks(10..20)).unwrap();
        assert!(known.find(&chunks(13..14)[0].0).unwrap().is_some_and(|(found, _)| found == pack(1)));
        known.keep_within(&stored(&[0])).unwrap();
        assert!(!known.has(pack(0).id()), "too much was forgotten: it begins anew");
        assert_eq!(known.find(&chunks(0..1)[0].0).unwrap(), None);
    }
}
