//! An index from key tags to entry numbers that grows beyond memory: the newest million entries in a hash table, older
//! ones in sorted runs of a scratch file. A run is searched with one read of 4 KiB: the tags at which its pages begin
//! stay in memory, 8 KB a million entries. Runs of equal size are merged, so that there are few.

use super::{TagIndex, scratch::Scratch};
use crate::{error::Result, snapshot::digest::Tag};

/// Entries in memory before they become a run.
const RECENT_MAX: usize = 1 << 20;
/// Slots of a page: 4 KiB.
const PAGE_SLOTS: usize = 512;

/// From tags to the numbers of entries.
pub(crate) struct EntryIndex {
    recent: TagIndex,
    recent_max: usize,
    /// Older ones are larger.
    runs: Vec<SortedRun>,
    scratch: Scratch,
}

/// Slots in rising order in the scratch file.
struct SortedRun {
    offset: u64,
    slots: usize,
    /// The first slot of every page.
    fences: Vec<u64>,
}

impl EntryIndex {
    /// An empty one.
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self::with_recent_max(RECENT_MAX, scratch)
    }

    /// How many reads of the scratch file one question costs once so many entries were added; 0 when all are in memory.
    pub(crate) fn reads_of_question(entries: u32) -> u32 {
        // Runs of equal size are merged, so there is one for every bit of the number of runs that were ever made.
        (entries / RECENT_MAX as u32).count_ones()
    }

    fn with_recent_max(recent_max: usize, scratch: Scratch) -> Self {
        Self { recent: TagIndex::default(), recent_max, runs: Vec::new(), scratch }
    }

    /// Adds an entry. Its number is below `u32::MAX`.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file is full.
    pub(crate) fn insert(&mut self, tag: Tag, entry: u32) -> Result<()> {
        self.recent.insert(tag, entry);
        if self.recent.len() < self.recent_max { Ok(()) } else { self.spill() }
    }

    /// Moves what is in memory into the scratch file.
    pub(super) fn spill(&mut self) -> Result<()> {
        let mut newest = RunWriter::new(&self.scratch);
        for slot in self.recent.take_sorted() {
            newest.push(slot, &mut self.scratch)?;
        }
        let mut newest = newest.finish(&mut self.scratch)?;
        while let Some(older) = self.runs.pop_if(|older| older.slots <= newest.slots) {
            newest = self.merge(&older, &newest)?;
        }
        self.runs.push(newest);
        Ok(())
    }

    /// Adds the entries that may have this tag to `found`.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(crate) fn candidates(&self, tag: Tag, found: &mut Vec<u32>) -> Result<()> {
        found.extend(self.recent.candidates(tag));
        self.runs.iter().try_for_each(|run| run.candidates(&self.scratch, tag, found))
    }

    /// The file.
    #[cfg(test)]
    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn merge(&mut self, a: &SortedRun, b: &SortedRun) -> Result<SortedRun> {
        // Both inputs lie before the end of the file, where the output is appended page by page.
        let mut merged = RunWriter::new(&self.scratch);
        let (mut a, mut b) = (a.cursor(), b.cursor());
        loop {
            let slot = match (a.peek(&self.scratch)?, b.peek(&self.scratch)?) {
                (Some(x), Some(y)) if x <= y => a.take(x),
                (Some(x), None) => a.take(x),
                (_, Some(y)) => b.take(y),
                (None, None) => return merged.finish(&mut self.scratch),
            };
            merged.push(slot, &mut self.scratch)?;
        }
    }
}

/// Appends a run whose slots come in rising order.
struct RunWriter {
    run: SortedRun,
    page: Vec<u8>,
}

impl RunWriter {
    fn new(scratch: &Scratch) -> Self {
        let run = SortedRun { offset: scratch.len(), slots: 0, fences: Vec::new() };
        Self { run, page: Vec::with_capacity(PAGE_SLOTS * 8) }
    }

    fn push(&mut self, slot: u64, scratch: &mut Scratch) -> Result<()> {
        if self.run.slots.is_multiple_of(PAGE_SLOTS) {
            self.run.fences.push(slot);
            scratch.append(&self.page)?;
            self.page.clear();
        }
        self.page.extend_from_slice(&slot.to_le_bytes());
        self.run.slots += 1;
        Ok(())
    }

    fn finish(self, scratch: &mut Scratch) -> Result<SortedRun> {
        scratch.append(&self.page)?;
        Ok(self.run)
    }
}

impl SortedRun {
    fn page(&self, scratch: &Scratch, number: usize, page: &mut [u8; PAGE_SLOTS * 8]) -> Result<usize> {
        let slots = (self.slots - number * PAGE_SLOTS).min(PAGE_SLOTS);
        scratch.read(self.offset + (number * PAGE_SLOTS * 8) as u64, &mut page[..slots * 8])?;
        Ok(slots)
    }

    fn candidates(&self, scratch: &Scratch, tag: Tag, found: &mut Vec<u32>) -> Result<()> {
        let (least, greatest) = TagIndex::slots_of(tag);
        let mut page = [0; PAGE_SLOTS * 8];
        let first = self.fences.partition_point(|fence| *fence < least).saturating_sub(1);
        for number in first..self.fences.len() {
            if self.fences[number] > greatest {
                break;
            }
            let slots = self.page(scratch, number, &mut page)?;
            let slots = page.as_chunks::<8>().0[..slots].iter().map(|slot| u64::from_le_bytes(*slot));
            found.extend(slots.filter(|slot| (least..=greatest).contains(slot)).map(TagIndex::entry_of));
        }
        Ok(())
    }

    fn cursor(&self) -> Cursor<'_> {
        Cursor { run: self, at: 0, page: Box::new([0; PAGE_SLOTS * 8]) }
    }
}

/// Reads a run from its begin.
struct Cursor<'a> {
    run: &'a SortedRun,
    at: usize,
    page: Box<[u8; PAGE_SLOTS * 8]>,
}

impl Cursor<'_> {
    fn peek(&mut self, scratch: &Scratch) -> Result<Option<u64>> {
        if self.at == self.run.slots {
            return Ok(None);
        }
        if self.at.is_multiple_of(PAGE_SLOTS) {
            self.run.page(scratch, self.at / PAGE_SLOTS, &mut self.page)?;
        }
        Ok(self.page.as_chunks::<8>().0.get(self.at % PAGE_SLOTS).map(|slot| u64::from_le_bytes(*slot)))
    }

    fn take(&mut self, slot: u64) -> u64 {
        self.at += 1;
        slot
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_entry_is_found_in_memory_and_in_the_file(
            tags in prop::collection::vec(prop_oneof![0u64..1 << 40, 0u64..3000], 0..4000),
        ) {
            let mut index = EntryIndex::with_recent_max(100, Scratch::new(None));
            for (entry, tag) in tags.iter().enumerate() {
                index.insert(*tag, entry as u32).unwrap();
            }
            prop_assert!(index.runs.len() < 8);
            for (entry, tag) in tags.iter().enumerate() {
                let mut found = Vec::new();
                index.candidates(*tag, &mut found).unwrap();
                prop_assert!(found.contains(&(entry as u32)));
                // A tag's lowest byte is not in the index.
                prop_assert!(found.iter().all(|found| tags[*found as usize] >> 8 == tag >> 8));
            }
        }
    }
}
