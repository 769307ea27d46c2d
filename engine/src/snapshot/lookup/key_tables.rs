//! The fingerprints of an ordered list of segments, oldest first, searched together. Indexes and fingerprints are read
//! when a key first needs them, and their memory is bounded whatever the length of the stream.
//!
//! Segments whose keys rise from one to the next form a run, in which a key is looked for in one place. Where there are
//! few runs (after compaction, or when records come in key order) that is all. When searching run by run has cost as
//! much as building one index over all fingerprints would, the index is built: so the price is never more than twice
//! that of the better way, whatever the order of the keys.

use std::{path::PathBuf, sync::Arc};

use futures::future::try_join_all;

use super::{entry_index::EntryIndex, rows::Rows, scratch::Scratch};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{
        digest::{Fingerprint, Tag},
        segment::{FingerprintTable, Footer, SealedSegment, SegmentFile, SegmentRef},
        segments::Segments,
    },
};

/// Segments opened at a time.
const PARALLEL_OPENS: usize = 8;
/// Cost of passing by a run, of searching in a segment, of asking the index, of adding an entry to it (in memory; through
/// the scratch file), and of one read of a scratch file: nanoseconds, roughly.
const PASS_COST: u64 = 20;
const SEARCH_COST: u64 = 150;
const ASK_COST: u64 = 350;
const INDEX_COST: u64 = 60;
const SPILLED_INDEX_COST: u64 = 250;
const READ_COST: u64 = 2000;

/// Memory of lookups.
#[derive(Clone, Debug)]
pub(crate) struct LookupSettings {
    /// Fingerprints of one stream in memory, in bytes; others are in a scratch file.
    pub(crate) rows_bytes: usize,
    /// Where scratch files are; the system's directory when `None`.
    pub(crate) scratch_dir: Option<PathBuf>,
}

/// Segments and their fingerprints.
pub(crate) struct KeyTables {
    stream: String,
    settings: LookupSettings,
    tables: Vec<SegmentTable>,
    /// Numbers of segments: within a run, keys rise from one to the next.
    runs: Vec<Vec<usize>>,
    rows: Rows,
    index: Option<EntryIndex>,
    candidates: Vec<u32>,
    /// What searching cost beyond what an index would.
    excess: u64,
}

/// One segment's share. Its entries are numbered from `first_entry` on.
struct SegmentTable {
    reference: SegmentRef,
    first_entry: u32,
    file: Option<Arc<SegmentFile>>,
    footer: Option<Arc<Footer>>,
}

/// A segment with all of its fingerprints.
pub(crate) struct OpenTable {
    /// The segment.
    pub(crate) file: Arc<SegmentFile>,
    /// The number of its first entry.
    pub(crate) first_entry: u32,
    chunks: Vec<FingerprintTable>,
}

/// An entry of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) entry: u32,
    /// Its fingerprint.
    pub(crate) fingerprint: Fingerprint,
}

/// A part that must be read before a search can go on.
#[derive(Clone, Copy)]
enum Missing {
    Footer(usize),
    Chunk(usize, usize),
}

impl KeyTables {
    /// Over segments of `stream`; nothing is read yet.
    ///
    /// # Errors
    /// `Exhausted` when there are more entries than numbers for them.
    pub(crate) fn new(stream: &str, references: &[SegmentRef], settings: &LookupSettings) -> Result<Self> {
        let mut tables = Self {
            stream: stream.to_owned(),
            rows: Rows::new(settings.rows_bytes, Scratch::new(settings.scratch_dir.clone())),
            settings: settings.clone(),
            tables: Vec::new(),
            runs: Vec::new(),
            index: None,
            candidates: Vec::new(),
            excess: 0,
        };
        for reference in references {
            tables.add(reference.clone())?;
        }
        Ok(tables)
    }

    fn add(&mut self, reference: SegmentRef) -> Result<usize> {
        let first_entry = self.entries();
        let end = u64::from(first_entry) + reference.entries();
        if end >= u64::from(u32::MAX) {
            return Err(Error::new(ErrorKind::Exhausted, "a stream holds more than four billion records")
                .with("stream", &self.stream));
        }
        let number = self.tables.len();
        let follows = |run: &Vec<usize>| {
            run.last().is_some_and(|last| self.tables[*last].reference.last_key < reference.first_key)
        };
        match self.runs.iter().position(follows) {
            Some(run) => self.runs[run].push(number),
            None => self.runs.push(vec![number]),
        }
        self.tables.push(SegmentTable { reference, first_entry, file: None, footer: None });
        self.rows.add_table();
        Ok(number)
    }

    /// Adds a segment that was just made, with its fingerprints in memory.
    ///
    /// # Errors
    /// Those of [`KeyTables::new`]; `Exhausted` when the scratch file is full.
    pub(crate) fn push(&mut self, segment: SealedSegment) -> Result<()> {
        let number = self.add(segment.reference)?;
        self.tables[number].footer = Some(Arc::new(segment.footer));
        if let Some(index) = &mut self.index {
            let mut entry = self.tables[number].first_entry;
            for rows in &segment.chunks {
                fill(index, entry, rows)?;
                entry += rows.len() as u32;
            }
        }
        self.set_rows(number, segment.chunks)
    }

    fn set_rows(&mut self, number: usize, chunks: Vec<FingerprintTable>) -> Result<()> {
        self.rows.set_chunks(number, chunks.len());
        chunks.into_iter().enumerate().try_for_each(|(chunk, rows)| self.rows.insert(number, chunk, rows))
    }

    /// How many entries all segments hold.
    pub(crate) fn entries(&self) -> u32 {
        self.tables.last().map_or(0, |table| table.first_entry + table.reference.entries() as u32)
    }

    /// The segments.
    pub(crate) fn references(&self) -> impl ExactSizeIterator<Item = &SegmentRef> {
        self.tables.iter().map(|table| &table.reference)
    }

    /// Finds all entries with `key`, newest first, into `found`. An unlikely meeting of two keys' tags within one block
    /// (1 in 10^9 for a key that is not there) finds the other key's entry.
    ///
    /// # Errors
    /// Those of reading the parts that are needed.
    pub(crate) async fn find(
        &mut self,
        key: &[u8],
        tag: Tag,
        segments: &Segments,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        if self.tables.is_empty() {
            found.clear();
            return Ok(());
        }
        if self.index.is_none() && self.excess > self.building_cost() {
            self.build_index(segments).await?;
        }
        loop {
            found.clear();
            let missing = match self.index.is_some() {
                true => self.ask_index(key, tag, found)?,
                false => self.search(key, tag, found)?,
            };
            match missing {
                None => break,
                Some(missing) => self.load(missing, segments).await?,
            }
        }
        found.sort_unstable_by_key(|found| std::cmp::Reverse(found.entry));
        Ok(())
    }

    /// What building the index would cost.
    fn building_cost(&self) -> u64 {
        let entries = self.entries();
        let is_in_memory = EntryIndex::reads_of_question(entries) == 0;
        u64::from(entries) * if is_in_memory { INDEX_COST } else { SPILLED_INDEX_COST }
    }

    /// What asking the index would cost. Its answers come in no order, so that the rows they point at are seldom in memory
    /// unless all are.
    fn asking_cost(&self) -> u64 {
        let entries = self.entries();
        let reads = EntryIndex::reads_of_question(entries) + u32::from(self.rows.would_spill(entries));
        ASK_COST + u64::from(reads) * READ_COST
    }

    fn ask_index(&mut self, key: &[u8], tag: Tag, found: &mut Vec<Found>) -> Result<Option<Missing>> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        if let Some(index) = &self.index {
            index.candidates(tag, &mut candidates)?;
        }
        let mut missing = None;
        for entry in &candidates {
            let (number, within) = self.table_of(*entry);
            let Some(footer) = self.tables[number].footer.clone() else {
                missing = Some(Missing::Footer(number));
                break;
            };
            if footer.is_in_block(footer.block_of_entry(within), key) {
                let chunk = footer.chunk_of_entry(within);
                let row = (within - footer.chunks[chunk].first_entry) as usize;
                let Some(rows) = self.rows.get(number, chunk, row..row + 1)? else {
                    missing = Some(Missing::Chunk(number, chunk));
                    break;
                };
                let fingerprint = Fingerprint::from_row(&rows[0]);
                found.extend((fingerprint.tag == tag).then_some(Found { entry: *entry, fingerprint }));
            }
        }
        self.candidates = candidates;
        Ok(missing)
    }

    fn search(&mut self, key: &[u8], tag: Tag, found: &mut Vec<Found>) -> Result<Option<Missing>> {
        let mut cost = self.runs.len() as u64 * PASS_COST;
        let reads_before = self.rows.scratch_reads();
        for run in &self.runs {
            let Some(number) = holder_in(&self.tables, run, key) else { continue };
            let table = &self.tables[number];
            cost += SEARCH_COST;
            let Some(footer) = &table.footer else { return Ok(Some(Missing::Footer(number))) };
            let Some(block) = footer.block_of(key).map(|block| &footer.blocks[block]) else { continue };
            let chunk = footer.chunk_of_entry(block.first_entry);
            let start = (block.first_entry - footer.chunks[chunk].first_entry) as usize;
            let Some(rows) = self.rows.get(number, chunk, start..start + block.entries as usize)? else {
                return Ok(Some(Missing::Chunk(number, chunk)));
            };
            if let Some(row) = FingerprintTable::find_in(rows, tag) {
                let entry = table.first_entry + block.first_entry + row as u32;
                found.push(Found { entry, fingerprint: Fingerprint::from_row(&rows[row]) });
            }
        }
        cost += (self.rows.scratch_reads() - reads_before) * READ_COST;
        self.excess += cost.saturating_sub(self.asking_cost());
        Ok(None)
    }

    fn table_of(&self, entry: u32) -> (usize, u32) {
        let number = self.tables.partition_point(|table| table.first_entry <= entry) - 1;
        (number, entry - self.tables[number].first_entry)
    }

    /// Mean size of the bodies in an entry's block, in bytes.
    pub(crate) fn mean_body_bytes(&self, entry: u32) -> u64 {
        let (number, within) = self.table_of(entry);
        self.tables[number].footer.as_ref().map_or(0, |footer| {
            let block = &footer.blocks[footer.block_of_entry(within)];
            block.body_bytes / u64::from((block.entries - block.tombstones).max(1))
        })
    }

    /// The segment and block of an entry.
    ///
    /// # Errors
    /// Those of opening the segment.
    pub(crate) async fn place(&mut self, entry: u32, segments: &Segments) -> Result<(Arc<SegmentFile>, usize)> {
        let (number, within) = self.table_of(entry);
        let file = self.file(number, segments).await?;
        let block = file.footer().block_of_entry(within);
        Ok((file, block))
    }

    /// The `number`-th segment, opened, with the number of its first entry and all of its fingerprints.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) async fn segment(&mut self, number: usize, segments: &Segments) -> Result<OpenTable> {
        let file = self.file(number, segments).await?;
        let mut chunks = Vec::with_capacity(file.footer().chunks.len());
        for chunk in 0..file.footer().chunks.len() {
            chunks.push(match self.rows.chunk(number, chunk)? {
                Some(rows) => rows,
                None => file.fingerprints(chunk).await?,
            });
        }
        Ok(OpenTable { file, first_entry: self.tables[number].first_entry, chunks })
    }

    async fn file(&mut self, number: usize, segments: &Segments) -> Result<Arc<SegmentFile>> {
        if let Some(file) = &self.tables[number].file {
            return Ok(file.clone());
        }
        let file = segments.open(&self.stream, &self.tables[number].reference).await?;
        self.set_file(number, &file);
        Ok(file)
    }

    fn set_file(&mut self, number: usize, file: &Arc<SegmentFile>) {
        let table = &mut self.tables[number];
        if table.footer.is_none() {
            self.rows.set_chunks(number, file.footer().chunks.len());
        }
        table.footer.get_or_insert_with(|| file.footer().clone());
        table.file = Some(file.clone());
    }

    async fn load(&mut self, missing: Missing, segments: &Segments) -> Result<()> {
        match missing {
            Missing::Footer(number) => {
                let (file, rows) = segments.open_with_rows(&self.stream, &self.tables[number].reference).await?;
                self.set_file(number, &file);
                rows.into_iter().enumerate().try_for_each(|(chunk, rows)| self.rows.insert(number, chunk, rows))
            }
            Missing::Chunk(number, chunk) => {
                let rows = self.file(number, segments).await?.fingerprints(chunk).await?;
                self.rows.insert(number, chunk, rows)
            }
        }
    }

    /// Reads all fingerprints and indexes them.
    async fn build_index(&mut self, segments: &Segments) -> Result<()> {
        let mut index = EntryIndex::new(Scratch::new(self.settings.scratch_dir.clone()));
        let numbers: Vec<usize> = (0..self.tables.len()).collect();
        for window in numbers.chunks(PARALLEL_OPENS) {
            self.load_all(window, segments).await?;
            for number in window {
                let mut entry = self.tables[*number].first_entry;
                for chunk in 0..self.rows.chunks(*number) {
                    if let Some(rows) = self.rows.chunk(*number, chunk)? {
                        fill(&mut index, entry, &rows)?;
                        entry += rows.len() as u32;
                    }
                }
            }
        }
        self.index = Some(index);
        Ok(())
    }

    /// Reads what is missing of some segments, side by side.
    async fn load_all(&mut self, numbers: &[usize], segments: &Segments) -> Result<()> {
        let stream = &self.stream;
        let missing = numbers.iter().filter(|number| !self.rows.has_all(**number));
        let loads = missing.map(|number| {
            let reference = &self.tables[*number].reference;
            async move {
                let (file, mut rows) = segments.open_with_rows(stream, reference).await?;
                for chunk in rows.len()..file.footer().chunks.len() {
                    rows.push(file.fingerprints(chunk).await?);
                }
                Ok::<_, Error>((*number, file, rows))
            }
        });
        for (number, file, rows) in try_join_all(loads).await? {
            self.set_file(number, &file);
            self.set_rows(number, rows)?;
        }
        Ok(())
    }
}

impl OpenTable {
    /// The fingerprint of an entry, by its number within the segment.
    pub(crate) fn fingerprint(&self, within: u32) -> Fingerprint {
        let chunk = self.file.footer().chunk_of_entry(within);
        self.chunks[chunk].get((within - self.file.footer().chunks[chunk].first_entry) as usize)
    }
}

fn fill(index: &mut EntryIndex, first_entry: u32, rows: &FingerprintTable) -> Result<()> {
    rows.rows()
        .iter()
        .enumerate()
        .try_for_each(|(row, bytes)| index.insert(Fingerprint::from_row(bytes).tag, first_entry + row as u32))
}

/// The segment of a run that may hold a key.
fn holder_in(tables: &[SegmentTable], run: &[usize], key: &[u8]) -> Option<usize> {
    let at = run.partition_point(|number| tables[*number].reference.first_key.as_bytes() <= key).checked_sub(1)?;
    tables[run[at]].reference.may_hold(key).then_some(run[at])
}
