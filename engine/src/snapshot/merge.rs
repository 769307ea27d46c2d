//! Merging the segments of a stream in key order. The newest entry of a key holds. One block a segment is in memory, and
//! a segment is opened only when its keys are reached.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use bytes::Bytes;

use super::{
    checker::Checker,
    reader::KeyRange,
    segment::{Before, Block, SegmentFile, SegmentRef},
    segments::Segments,
};
use crate::error::Result;

/// How blocks are read.
pub(crate) enum Reading {
    /// Through the cache.
    Cached,
    /// Each once, past the cache.
    Once,
    /// Each once and checked against everything that is known of it; damaged ones are noted and left out.
    Checked(Box<Checker>),
}

/// Segments being merged.
pub(crate) struct Merge {
    segments: Segments,
    stream: String,
    reading: Reading,
    /// Only keys above it, or from it on; empty for all.
    after: Vec<u8>,
    with_after: bool,
    cursors: Vec<Cursor>,
    /// The next key of every cursor that is not at its end: least key first, newest segment first.
    heads: BinaryHeap<Reverse<Head>>,
    bytes_read: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Vec<u8>,
    /// Newer segments have smaller ranks.
    rank: usize,
}

struct Cursor {
    reference: SegmentRef,
    /// `None` before its first key is reached.
    open: Option<OpenCursor>,
}

struct OpenCursor {
    file: Arc<SegmentFile>,
    number: usize,
    block: Arc<Block>,
    entry: usize,
}

impl Cursor {
    fn is_at(&self, key: &[u8]) -> bool {
        self.open.as_ref().is_some_and(|open| open.entry < open.block.len() && open.block.key(open.entry) == key)
    }
}

/// The newest entry of a key, and what its older entries say.
pub(crate) struct Merged {
    block: Arc<Block>,
    entry: usize,
    /// Of the oldest entry.
    oldest_before: Before,
    is_only: bool,
}

impl Merged {
    /// The encoded key.
    pub(crate) fn key(&self) -> &[u8] {
        self.block.key(self.entry)
    }

    /// The body, or `None` for a tombstone.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.block.body(self.entry)
    }

    /// The body as a share of its block's memory, or `None` for a tombstone.
    pub(crate) fn body_bytes(&self) -> Option<Bytes> {
        self.block.body_bytes(self.entry)
    }

    /// Where the key's values stand in the body.
    pub(crate) fn places(&self) -> &[u32] {
        self.block.places(self.entry)
    }

    /// What the key was before the snapshot of this entry.
    pub(crate) fn before(&self) -> Before {
        self.block.before(self.entry)
    }

    /// What the key was before the snapshot of its oldest entry.
    pub(crate) fn before_all(&self) -> Before {
        if self.is_only { self.before() } else { Before::over(self.oldest_before) }
    }
}

impl Merge {
    /// Over segments of `stream`, oldest first, within a range of keys.
    pub(crate) fn new(
        segments: Segments,
        stream: &str,
        references: &[SegmentRef],
        range: &KeyRange,
        reading: Reading,
    ) -> Self {
        let (after, with_after) = range.start();
        let after = after.to_vec();
        let mut merge = Self {
            segments,
            stream: stream.to_owned(),
            reading,
            cursors: Vec::new(),
            heads: BinaryHeap::new(),
            after,
            with_after,
            bytes_read: 0,
        };
        for reference in references.iter().rev().filter(|reference| range.may_overlap(reference)) {
            // Until the segment is opened, a lower bound stands for its next key.
            let bound = reference.first_key.as_bytes().max(&merge.after[..]).to_vec();
            merge.heads.push(Reverse(Head { key: bound, rank: merge.cursors.len() }));
            merge.cursors.push(Cursor { reference: reference.clone(), open: None });
        }
        merge
    }

    /// The next key's newest entry.
    ///
    /// # Errors
    /// `Corrupt` for damage, unless reading is checked.
    pub(crate) async fn next(&mut self) -> Result<Option<Merged>> {
        while let Some(Reverse(mut head)) = self.heads.pop() {
            if self.cursors[head.rank].open.is_none() {
                self.open(head.rank).await?;
                if !self.with_after && self.cursors[head.rank].is_at(&self.after) {
                    self.advance(head.rank).await?;
                }
                self.push(head);
                continue;
            }
            let Some(mut merged) = self.current(head.rank) else { continue };
            let rank = head.rank;
            std::mem::swap(&mut head.key, &mut self.after);
            self.advance(rank).await?;
            self.push(head);
            self.skip_older(&mut merged).await?;
            return Ok(Some(merged));
        }
        Ok(None)
    }

    /// Sealed bytes of the sound blocks that were read so far, from the store or a cache.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Ends a checked merge.
    pub(crate) fn into_checker(self) -> Option<Box<Checker>> {
        match self.reading {
            Reading::Checked(checker) => Some(checker),
            _ => None,
        }
    }

    fn current(&self, rank: usize) -> Option<Merged> {
        let open = self.cursors[rank].open.as_ref()?;
        let oldest_before = open.block.before(open.entry);
        Some(Merged { block: open.block.clone(), entry: open.entry, oldest_before, is_only: true })
    }

    /// Passes by older entries of the key that was just taken.
    async fn skip_older(&mut self, merged: &mut Merged) -> Result<()> {
        while let Some(Reverse(head)) = self.heads.peek()
            && head.key == self.after
        {
            let Some(Reverse(head)) = self.heads.pop() else { break };
            match &self.cursors[head.rank].open {
                None => self.open(head.rank).await?,
                Some(open) => {
                    merged.oldest_before = open.block.before(open.entry);
                    merged.is_only = false;
                    self.advance(head.rank).await?;
                }
            }
            self.push(head);
        }
        Ok(())
    }

    /// Puts a cursor back with its current key, in the memory of its old one; a cursor at its end is gone.
    fn push(&mut self, mut head: Head) {
        if let Some(open) = &self.cursors[head.rank].open
            && open.entry < open.block.len()
        {
            head.key.clear();
            head.key.extend_from_slice(open.block.key(open.entry));
            self.heads.push(Reverse(head));
        }
    }

    /// Opens a segment at its first key from `after` on.
    async fn open(&mut self, rank: usize) -> Result<()> {
        let reference = self.cursors[rank].reference.clone();
        let file = match &mut self.reading {
            Reading::Checked(checker) => checker.open(&self.segments, &self.stream, &reference).await?,
            _ => Some(self.segments.open(&self.stream, &reference).await?),
        };
        let Some(file) = file else { return Ok(()) };
        let first = file.footer().block_of(&self.after).unwrap_or(0);
        self.enter(rank, file, first).await?;
        if let Some(open) = &mut self.cursors[rank].open {
            open.entry = open.block.lower_bound(&self.after);
            if open.entry >= open.block.len() {
                let (file, next) = (open.file.clone(), open.number + 1);
                self.enter(rank, file, next).await?;
            }
        }
        Ok(())
    }

    async fn advance(&mut self, rank: usize) -> Result<()> {
        let Some(open) = &mut self.cursors[rank].open else { return Ok(()) };
        open.entry += 1;
        if open.entry < open.block.len() {
            return Ok(());
        }
        let (file, next) = (open.file.clone(), open.number + 1);
        self.enter(rank, file, next).await
    }

    /// Puts a cursor at the start of block `number`, or of the next sound one after it. At the end of the segment the
    /// cursor lets go of it.
    async fn enter(&mut self, rank: usize, file: Arc<SegmentFile>, mut number: usize) -> Result<()> {
        while number < file.footer().blocks.len() {
            let block = match &mut self.reading {
                Reading::Cached => Some(self.segments.block(&file, number).await?),
                Reading::Once => Some(Arc::new(file.block(number).await?)),
                Reading::Checked(checker) => checker.block(&self.segments, &file, number).await?,
            };
            if let Some(block) = block {
                self.bytes_read += u64::from(file.footer().blocks[number].sealed_bytes);
                self.cursors[rank].open = Some(OpenCursor { file, number, block, entry: 0 });
                return Ok(());
            }
            number += 1;
        }
        self.cursors[rank].open = None;
        Ok(())
    }
}
