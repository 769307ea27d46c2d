//! The fingerprints of many segments in bounded memory: what was read first gives way to what is read now, and goes to
//! a scratch file, from where the rows of one block are read when they are needed again.
//!
//! Not a memory map: mapped pages count as the process's memory as long as the kernel keeps them, a failing disk would
//! end the process, and a map needs unsafe code. A read of one block's rows from the page cache takes about 2
//! microseconds.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::scratch::Scratch;
use crate::{
    error::Result,
    snapshot::{digest::FINGERPRINT_BYTES, segment::FingerprintTable},
};

/// A row as stored.
type Row = [u8; FINGERPRINT_BYTES];

/// Rows of fingerprints, by segment and chunk.
pub(crate) struct Rows {
    tables: Vec<Vec<Slot>>,
    /// Chunks in memory, in the order in which they came.
    resident: VecDeque<(usize, usize)>,
    resident_bytes: usize,
    resident_max_bytes: usize,
    scratch: Scratch,
    buffer: Vec<u8>,
}

#[derive(Clone)]
enum Slot {
    Unread,
    Resident(FingerprintTable),
    Spilled { offset: u64, rows: usize },
}

impl Rows {
    /// Keeps so many bytes in memory.
    pub(crate) fn new(resident_max_bytes: usize, scratch: Scratch) -> Self {
        Self {
            tables: Vec::new(),
            resident: VecDeque::new(),
            resident_bytes: 0,
            resident_max_bytes,
            scratch,
            buffer: Vec::new(),
        }
    }

    /// Makes room for the next segment.
    pub(crate) fn add_table(&mut self) {
        self.tables.push(Vec::new());
    }

    /// Says how many chunks a segment has.
    pub(crate) fn set_chunks(&mut self, table: usize, chunks: usize) {
        self.tables[table].resize(chunks, Slot::Unread);
    }

    /// How many chunks a segment has; 0 when that is not known yet.
    pub(crate) fn chunks(&self, table: usize) -> usize {
        self.tables[table].len()
    }

    /// True when all chunks of a segment were given.
    pub(crate) fn has_all(&self, table: usize) -> bool {
        let slots = &self.tables[table];
        !slots.is_empty() && slots.iter().all(|slot| !matches!(slot, Slot::Unread))
    }

    fn has(&self, table: usize, chunk: usize) -> bool {
        self.tables[table].get(chunk).is_some_and(|slot| !matches!(slot, Slot::Unread))
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// `Exhausted` when others must give way and the scratch file is full.
    pub(crate) fn insert(&mut self, table: usize, chunk: usize, rows: FingerprintTable) -> Result<()> {
        if self.has(table, chunk) {
            return Ok(());
        }
        self.resident_bytes += rows.as_bytes().len();
        self.tables[table][chunk] = Slot::Resident(rows);
        self.resident.push_back((table, chunk));
        while self.resident_bytes > self.resident_max_bytes && self.resident.len() > 1 {
            self.spill_oldest()?;
        }
        Ok(())
    }

    fn spill_oldest(&mut self) -> Result<()> {
        let Some((table, chunk)) = self.resident.pop_front() else { return Ok(()) };
        if let Slot::Resident(rows) = &self.tables[table][chunk] {
            self.resident_bytes -= rows.as_bytes().len();
            let offset = self.scratch.append(rows.as_bytes())?;
            self.tables[table][chunk] = Slot::Spilled { offset, rows: rows.len() };
        }
        Ok(())
    }

    /// Rows of a chunk, by their number in it; `None` when the chunk was not given yet or is shorter.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(crate) fn get(&mut self, table: usize, chunk: usize, range: Range<usize>) -> Result<Option<&[Row]>> {
        match self.tables[table].get(chunk) {
            Some(Slot::Resident(rows)) => Ok(rows.rows().get(range)),
            Some(Slot::Spilled { offset, rows }) if range.end <= *rows => {
                self.buffer.resize(range.len() * FINGERPRINT_BYTES, 0);
                self.scratch.read(offset + (range.start * FINGERPRINT_BYTES) as u64, &mut self.buffer)?;
                Ok(Some(self.buffer.as_chunks().0))
            }
            _ => Ok(None),
        }
    }

    /// A whole chunk, or `None` when it was not given yet.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(crate) fn chunk(&self, table: usize, chunk: usize) -> Result<Option<FingerprintTable>> {
        match self.tables[table].get(chunk) {
            Some(Slot::Resident(rows)) => Ok(Some(rows.clone())),
            Some(Slot::Spilled { offset, rows }) => {
                let mut bytes = vec![0; rows * FINGERPRINT_BYTES];
                self.scratch.read(*offset, &mut bytes)?;
                Ok(Some(FingerprintTable::new(Bytes::from(bytes))?))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(first: u8, rows: u8) -> FingerprintTable {
        let bytes: Vec<u8> = (first..first + rows).flat_map(|row| [row; FINGERPRINT_BYTES]).collect();
        FingerprintTable::new(Bytes::from(bytes)).unwrap()
    }

    #[test]
    fn rows_that_gave_way_are_read_back_and_memory_stays_within_its_bound() {
        let mut rows = Rows::new(FINGERPRINT_BYTES * 25, Scratch::new(None));
        for number in 0..10u8 {
            rows.add_table();
            rows.set_chunks(number.into(), 1);
            assert!(rows.get(number.into(), 0, 0..1).unwrap().is_none());
            rows.insert(number.into(), 0, table(number * 10, 10)).unwrap();
            assert!(rows.resident_bytes <= FINGERPRINT_BYTES * 25);
        }
        for number in 0..10u8 {
            let found = rows.get(number.into(), 0, 3..5).unwrap().unwrap();
            assert_eq!(found, [[number * 10 + 3; FINGERPRINT_BYTES], [number * 10 + 4; FINGERPRINT_BYTES]]);
            let whole = rows.chunk(number.into(), 0).unwrap().unwrap();
            assert_eq!(whole.as_bytes(), table(number * 10, 10).as_bytes());
            assert!(rows.get(number.into(), 0, 5..11).unwrap().is_none());
        }
    }
}
