//! The fingerprints of an ordered list of segments, oldest first, searched together. Indexes and fingerprints are read
//! when a key first needs them.
//!
//! A key is looked for segment by segment. When that has cost as much as building one index over all fingerprints
//! would (many segments overlap, or many keys are asked for), the index is built: so the price is never more than
//! twice that of the better way, whatever the order of the keys.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::TagIndex;
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
/// Cost of passing by a segment, of searching in it, and of indexing an entry: nanoseconds, roughly.
const PASS_COST: u64 = 4;
const SEARCH_COST: u64 = 150;
const INDEX_COST: u64 = 40;

/// Segments and their fingerprints.
pub(crate) struct KeyTables {
    stream: String,
    tables: Vec<SegmentTable>,
    index: Option<TagIndex>,
    cost: u64,
}

/// One segment's share. Its entries are numbered from `first_entry` on.
struct SegmentTable {
    reference: SegmentRef,
    first_entry: u32,
    file: Option<Arc<SegmentFile>>,
    footer: Option<Arc<Footer>>,
    chunks: Vec<Option<FingerprintTable>>,
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
    pub(crate) fn new(stream: &str, references: &[SegmentRef]) -> Result<Self> {
        let mut tables = Self { stream: stream.to_owned(), tables: Vec::new(), index: None, cost: 0 };
        for reference in references {
            tables.add(reference.clone())?;
        }
        Ok(tables)
    }

    fn add(&mut self, reference: SegmentRef) -> Result<&mut SegmentTable> {
        let first_entry = self.entries();
        let end = u64::from(first_entry) + reference.entries();
        if end >= u64::from(u32::MAX) {
            return Err(Error::new(ErrorKind::Exhausted, "a stream holds more than four billion records")
                .with("stream", &self.stream));
        }
        self.tables.push(SegmentTable { reference, first_entry, file: None, footer: None, chunks: Vec::new() });
        let last = self.tables.len() - 1;
        Ok(&mut self.tables[last])
    }

    /// Adds a segment that was just made, with its fingerprints in memory.
    ///
    /// # Errors
    /// Those of [`KeyTables::new`].
    pub(crate) fn push(&mut self, segment: SealedSegment) -> Result<()> {
        let table = self.add(segment.reference)?;
        table.footer = Some(Arc::new(segment.footer));
        table.chunks = segment.chunks.into_iter().map(Some).collect();
        let last = self.tables.len() - 1;
        if let Some(mut index) = self.index.take() {
            self.fill_index(&mut index, last);
            self.index = Some(index);
        }
        Ok(())
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
    pub(crate) async fn find(&mut self, key: &[u8], tag: Tag, segments: &Segments, found: &mut Vec<u32>) -> Result<()> {
        if self.tables.is_empty() {
            found.clear();
            return Ok(());
        }
        if self.index.is_none() && self.cost > u64::from(self.entries()) * INDEX_COST {
            self.build_index(segments).await?;
        }
        loop {
            found.clear();
            match self.search(key, tag, found) {
                None => return Ok(()),
                Some(missing) => self.load(missing, segments).await?,
            }
        }
    }

    fn search(&mut self, key: &[u8], tag: Tag, found: &mut Vec<u32>) -> Option<Missing> {
        if let Some(index) = &self.index {
            found.extend(index.candidates(tag).filter(|entry| self.is_entry_of(*entry, key, tag)));
            found.sort_unstable_by(|a, b| b.cmp(a));
            return None;
        }
        self.cost += self.tables.len() as u64 * PASS_COST;
        for (number, table) in self.tables.iter().enumerate().rev() {
            if !table.reference.may_hold(key) {
                continue;
            }
            self.cost += SEARCH_COST;
            let Some(footer) = &table.footer else { return Some(Missing::Footer(number)) };
            let Some(block) = footer.block_of(key).map(|block| &footer.blocks[block]) else { continue };
            let chunk = footer.chunk_of_entry(block.first_entry);
            let Some(rows) = &table.chunks[chunk] else { return Some(Missing::Chunk(number, chunk)) };
            let chunk_start = footer.chunks[chunk].first_entry;
            let start = (block.first_entry - chunk_start) as usize;
            if let Some(row) = rows.find(start..start + block.entries as usize, tag) {
                found.push(table.first_entry + chunk_start + row as u32);
            }
        }
        None
    }

    /// True when the entry has this tag and stands in the block that would hold the key.
    fn is_entry_of(&self, entry: u32, key: &[u8], tag: Tag) -> bool {
        let (table, within) = self.table_of(entry);
        self.fingerprint(entry).is_some_and(|fingerprint| fingerprint.tag == tag)
            && table.footer.as_ref().is_some_and(|footer| footer.is_in_block(footer.block_of_entry(within), key))
    }

    fn table_of(&self, entry: u32) -> (&SegmentTable, u32) {
        let number = self.tables.partition_point(|table| table.first_entry <= entry) - 1;
        (&self.tables[number], entry - self.tables[number].first_entry)
    }

    /// The fingerprint of an entry that [`KeyTables::find`] found, or whose chunk was loaded.
    pub(crate) fn fingerprint(&self, entry: u32) -> Option<Fingerprint> {
        let (table, within) = self.table_of(entry);
        let footer = table.footer.as_ref()?;
        let chunk = footer.chunk_of_entry(within);
        Some(table.chunks[chunk].as_ref()?.get((within - footer.chunks[chunk].first_entry) as usize))
    }

    /// Mean size of the bodies in an entry's block, in bytes.
    pub(crate) fn mean_body_bytes(&self, entry: u32) -> u64 {
        let (table, within) = self.table_of(entry);
        table.footer.as_ref().map_or(0, |footer| {
            let block = &footer.blocks[footer.block_of_entry(within)];
            block.body_bytes / u64::from((block.entries - block.tombstones).max(1))
        })
    }

    /// The segment and block of an entry.
    ///
    /// # Errors
    /// Those of opening the segment.
    pub(crate) async fn place(&mut self, entry: u32, segments: &Segments) -> Result<(Arc<SegmentFile>, usize)> {
        let number = self.tables.partition_point(|table| table.first_entry <= entry) - 1;
        let within = entry - self.tables[number].first_entry;
        let file = self.file(number, segments).await?;
        let block = file.footer().block_of_entry(within);
        Ok((file, block))
    }

    /// The `number`-th segment, opened, with the number of its first entry and all of its fingerprints loaded.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) async fn segment(&mut self, number: usize, segments: &Segments) -> Result<(Arc<SegmentFile>, u32)> {
        let file = self.file(number, segments).await?;
        for chunk in 0..file.footer().chunks.len() {
            if self.tables[number].chunks[chunk].is_none() {
                self.load(Missing::Chunk(number, chunk), segments).await?;
            }
        }
        Ok((file, self.tables[number].first_entry))
    }

    async fn file(&mut self, number: usize, segments: &Segments) -> Result<Arc<SegmentFile>> {
        if let Some(file) = &self.tables[number].file {
            return Ok(file.clone());
        }
        let file = segments.open(&self.stream, &self.tables[number].reference).await?;
        self.tables[number].set_file(&file);
        Ok(file)
    }

    async fn load(&mut self, missing: Missing, segments: &Segments) -> Result<()> {
        match missing {
            Missing::Footer(number) => {
                self.file(number, segments).await?;
            }
            Missing::Chunk(number, chunk) => {
                let rows = self.file(number, segments).await?.fingerprints(chunk).await?;
                self.tables[number].chunks[chunk] = Some(rows);
            }
        }
        Ok(())
    }

    /// Loads everything and indexes it.
    ///
    /// # Errors
    /// Those of reading the segments.
    pub(crate) async fn build_index(&mut self, segments: &Segments) -> Result<()> {
        self.load_all(segments).await?;
        let mut index = TagIndex::with_capacity(self.entries() as usize);
        for number in 0..self.tables.len() {
            self.fill_index(&mut index, number);
        }
        self.index = Some(index);
        Ok(())
    }

    async fn load_all(&mut self, segments: &Segments) -> Result<()> {
        let stream = &self.stream;
        let wanted: Vec<(usize, SegmentRef)> = self
            .tables
            .iter()
            .enumerate()
            .filter(|(_, table)| table.chunks.is_empty() || table.chunks.iter().any(Option::is_none))
            .map(|(number, table)| (number, table.reference.clone()))
            .collect();
        let loads = stream::iter(wanted).map(|(number, reference)| async move {
            let file = segments.open(stream, &reference).await?;
            let mut rows = Vec::with_capacity(file.footer().chunks.len());
            for chunk in 0..file.footer().chunks.len() {
                rows.push(Some(file.fingerprints(chunk).await?));
            }
            Ok::<_, Error>((number, file, rows))
        });
        let loaded: Vec<_> = loads.buffer_unordered(PARALLEL_OPENS).try_collect().await?;
        for (number, file, rows) in loaded {
            self.tables[number].set_file(&file);
            self.tables[number].chunks = rows;
        }
        Ok(())
    }

    fn fill_index(&self, index: &mut TagIndex, number: usize) {
        let table = &self.tables[number];
        let mut entry = table.first_entry;
        for rows in table.chunks.iter().flatten() {
            for row in 0..rows.len() {
                index.insert(rows.get(row).tag, entry);
                entry += 1;
            }
        }
    }
}

impl SegmentTable {
    fn set_file(&mut self, file: &Arc<SegmentFile>) {
        if self.footer.is_none() {
            self.chunks = vec![None; file.footer().chunks.len()];
        }
        self.footer.get_or_insert_with(|| file.footer().clone());
        self.file = Some(file.clone());
    }
}
