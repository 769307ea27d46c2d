//! Which chunks an account has stored, and where: about 30 bytes of memory a chunk, that is 30 MB for a terabyte, and 40
//! more in a scratch file.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
};

use super::{ChunkId, PackId, PackRef, Spot};
use crate::{error::Result, snapshot::lookup::Scratch};

const ROW_BYTES: usize = 40;

/// The chunks of an account's packs.
pub(super) struct Known {
    scratch_dir: Option<PathBuf>,
    packs: Vec<PackRef>,
    listed: BTreeSet<PackId>,
    /// Number of the row by the first bytes of the id. Should two chunks share them, the second is not known: storing it
    /// again costs its space.
    index: HashMap<u64, u32>,
    rows: Scratch,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(scratch_dir: Option<PathBuf>) -> Self {
        Self {
            rows: Scratch::new(scratch_dir.clone()),
            scratch_dir,
            packs: Vec::new(),
            listed: BTreeSet::new(),
            index: HashMap::new(),
        }
    }

    /// True when the chunks of this pack are in here.
    pub(super) fn has(&self, pack: PackId) -> bool {
        self.listed.contains(&pack)
    }

    /// Forgets everything unless all known packs are among `stored`.
    pub(super) fn keep_if_within(&mut self, stored: &BTreeSet<PackId>) {
        if !self.listed.is_subset(stored) {
            *self = Self::new(self.scratch_dir.take());
        }
    }

    /// Adds a pack's chunks.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot grow.
    pub(super) fn add(&mut self, pack: PackRef, chunks: &[(ChunkId, Spot)]) -> Result<()> {
        if !self.listed.insert(pack.id()) {
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
        self.rows.append(&rows).map(drop)
    }

    /// Where a chunk is stored.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn find(&self, id: &ChunkId) -> Result<Option<(PackRef, Spot)>> {
        let Some(row) = self.index.get(&prefix(id)) else { return Ok(None) };
        let mut bytes = [0; ROW_BYTES];
        self.rows.read(u64::from(*row) * ROW_BYTES as u64, &mut bytes)?;
        let (found, fields) = bytes.split_at(id.len());
        let mut numbers = fields.as_chunks::<4>().0.iter().map(|field| u32::from_le_bytes(*field));
        let mut next = || numbers.next().unwrap_or_default();
        let pack = next();
        let spot = Spot { number: next(), offset: next(), sealed_bytes: next(), plain_bytes: next() };
        let pack = self.packs.get(pack as usize).filter(|_| found == id);
        Ok(pack.map(|pack| (*pack, spot)))
    }
}

fn prefix(id: &ChunkId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
