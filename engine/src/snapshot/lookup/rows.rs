//! The fingerprints of many segments in bounded memory: what was not used for longest gives way to what is read now, and goes to a scratch file, from where the rows of one block are read when they are needed again.
//!
//! What is in use stays, and what is read often comes back: when records come in key order, most segments are of use for a
//! moment only, but one that was merged from parts of a long stretch of keys is asked again and again while others come and
//! go.
//!
//! Not a memory map: mapped pages count as the process's memory as long as the kernel keeps them, a failing disk would
//! end the process, and a map needs unsafe code. A read of one block's rows from the page cache takes about 2
//! microseconds.

use std::ops::Range;

use bytes::Bytes;

use super::scratch::Scratch;
use crate::{
    error::Result,
    snapshot::{digest::FINGERPRINT_BYTES, segment::FingerprintTable},
};

/// What a read of the scratch file costs beside its bytes, as so many bytes more.
const READ_BYTES: usize = 4096;

/// A row as stored.
type Row = [u8; FINGERPRINT_BYTES];

/// Rows of fingerprints, by segment and chunk.
pub(crate) struct Rows {
    tables: Vec<Vec<Slot>>,
    /// Chunks in memory; some hundreds at most.
    resident: Vec<(usize, usize)>,
    questions: u64,
    resident_bytes: usize,
    resident_max_bytes: usize,
    scratch: Scratch,
    buffer: Vec<u8>,
    scratch_reads: u64,
}

#[derive(Clone)]
enum Slot {
    Unread,
    Resident(Resident),
    Spilled(Spilled),
}

/// A chunk in memory.
#[derive(Clone)]
struct Resident {
    rows: FingerprintTable,
    /// How many questions there had been when it was asked last.
    used_at: u64,
    /// Where it lies in the scratch file, if it ever gave way.
    offset: Option<u64>,
}

/// A chunk in the scratch file.
#[derive(Clone, Copy)]
struct Spilled {
    offset: u64,
    rows: usize,
    /// What was read of it since, in bytes; when that is as much as the whole, the whole is taken back.
    read_bytes: usize,
}

impl Rows {
    /// Keeps so many bytes in memory.
    pub(crate) fn new(resident_max_bytes: usize, scratch: Scratch) -> Self {
        Self {
            tables: Vec::new(),
            resident: Vec::new(),
            questions: 0,
            resident_bytes: 0,
            resident_max_bytes,
            scratch,
            buffer: Vec::new(),
            scratch_reads: 0,
        }
    }

    /// True when so many rows do not fit into memory.
    pub(crate) fn would_spill(&self, rows: u32) -> bool {
        rows as usize * FINGERPRINT_BYTES > self.resident_max_bytes
    }

    /// How often [`Rows::get`] has had to read the scratch file.
    pub(crate) fn scratch_reads(&self) -> u64 {
        self.scratch_reads
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
        self.hold(table, chunk, rows, None)
    }

    /// Puts a chunk into memory; others give way.
    fn hold(&mut self, table: usize, chunk: usize, rows: FingerprintTable, offset: Option<u64>) -> Result<()> {
        self.resident_bytes += rows.as_bytes().len();
        self.tables[table][chunk] = Slot::Resident(Resident { rows, used_at: self.questions, offset });
        self.resident.push((table, chunk));
        while self.resident_bytes > self.resident_max_bytes && self.resident.len() > 1 {
            self.spill_oldest()?;
        }
        Ok(())
    }

    /// Spills the chunk that was not used for longest.
    fn spill_oldest(&mut self) -> Result<()> {
        let used_at = |(table, chunk): &(usize, usize)| match &self.tables[*table][*chunk] {
            Slot::Resident(resident) => resident.used_at,
            Slot::Unread | Slot::Spilled(_) => 0,
        };
        let Some(oldest) = (0..self.resident.len()).min_by_key(|at| used_at(&self.resident[*at])) else {
            return Ok(());
        };
        let (table, chunk) = self.resident.remove(oldest);
        let slot = &mut self.tables[table][chunk];
        let Slot::Resident(resident) = slot else { return Ok(()) };
        let bytes = resident.rows.as_bytes();
        let offset = match resident.offset {
            Some(offset) => offset,
            None => self.scratch.append(bytes)?,
        };
        self.resident_bytes -= bytes.len();
        *slot = Slot::Spilled(Spilled { offset, rows: resident.rows.len(), read_bytes: 0 });
        Ok(())
    }

    /// Rows of a chunk, by their number in it; `None` when the chunk was not given yet or is shorter.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(crate) fn get(&mut self, table: usize, chunk: usize, range: Range<usize>) -> Result<Option<&[Row]>> {
        if let Some(Slot::Spilled(spilled)) = self.tables[table].get_mut(chunk)
            && range.end <= spilled.rows
        {
            self.scratch_reads += 1;
            let wanted_bytes = range.len() * FINGERPRINT_BYTES;
            spilled.read_bytes += READ_BYTES + wanted_bytes;
            let spilled = *spilled;
            if spilled.read_bytes < spilled.rows * FINGERPRINT_BYTES {
                self.buffer.resize(wanted_bytes, 0);
                self.scratch.read(spilled.offset + (range.start * FINGERPRINT_BYTES) as u64, &mut self.buffer)?;
                return Ok(Some(self.buffer.as_chunks().0));
            }
            let rows = self.read_back(&spilled)?;
            self.hold(table, chunk, rows, Some(spilled.offset))?;
        }
        match self.tables[table].get_mut(chunk) {
            Some(Slot::Resident(resident)) => {
                self.questions += 1;
                resident.used_at = self.questions;
                Ok(resident.rows.rows().get(range))
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
            Some(Slot::Resident(resident)) => Ok(Some(resident.rows.clone())),
            Some(Slot::Spilled(spilled)) => self.read_back(spilled).map(Some),
            Some(Slot::Unread) | None => Ok(None),
        }
    }

    fn read_back(&self, spilled: &Spilled) -> Result<FingerprintTable> {
        let mut bytes = vec![0; spilled.rows * FINGERPRINT_BYTES];
        self.scratch.read(spilled.offset, &mut bytes)?;
        Ok(FingerprintTable::new(Bytes::from(bytes))?)
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

    #[test]
    fn a_chunk_that_is_asked_all_the_time_stays_in_memory_while_others_come_and_go() {
        let mut rows = Rows::new(FINGERPRINT_BYTES * 45, Scratch::new(None));
        for number in 0..20u8 {
            rows.add_table();
            rows.set_chunks(number.into(), 1);
            rows.insert(number.into(), 0, table(number * 10, 10)).unwrap();
            assert!(rows.get(0, 0, 3..5).unwrap().is_some());
        }
        assert_eq!(rows.scratch_reads(), 0);
    }

    #[test]
    fn a_chunk_that_is_read_often_comes_back_into_memory() {
        let mut rows = Rows::new(FINGERPRINT_BYTES * 15, Scratch::new(None));
        for number in 0..2 {
            rows.add_table();
            rows.set_chunks(number, 1);
            rows.insert(number, 0, table(number as u8 * 10, 10)).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(rows.get(0, 0, 3..4).unwrap().unwrap(), [[3; FINGERPRINT_BYTES]]);
        }
        assert_eq!(rows.scratch_reads(), 1);
        assert_eq!(rows.get(1, 0, 3..4).unwrap().unwrap(), [[13; FINGERPRINT_BYTES]]);
    }
}
