//! Merging the segments of a stream in key order. The newest entry of a key holds. One block a segment is in memory, and
//! a segment is opened only when its keys are reached.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use bytes::Bytes;

use super::{
    checker::Checker,
    segment::{Block, SegmentFile, SegmentRef},
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
    /// Only keys above it; empty for all.
    after: Vec<u8>,
    cursors: Vec<Cursor>,
    /// The next key of every cursor that is not at its end: least key first, newest segment first.
    heads: BinaryHeap<Reverse<Head>>,
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

/// The newest entry of a key.
pub(crate) struct Merged {
    block: Arc<Block>,
    entry: usize,
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
}

impl Merge {
    /// Over segments of `stream`, oldest first, from the first key above `after`.
    pub(crate) fn new(
        segments: Segments,
        stream: &str,
        references: &[SegmentRef],
        after: Option<&[u8]>,
        reading: Reading,
    ) -> Self {
        let after = after.unwrap_or_default().to_vec();
        let mut merge =
            Self { segments, stream: stream.to_owned(), reading, cursors: Vec::new(), heads: BinaryHeap::new(), after };
        for reference in references.iter().rev().filter(|reference| reference.last_key.as_bytes() > &merge.after[..]) {
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
                self.push(head);
                continue;
            }
            let merged = self.current(head.rank);
            let rank = head.rank;
            std::mem::swap(&mut head.key, &mut self.after);
            self.advance(rank).await?;
            self.push(head);
            self.skip_older().await?;
            return Ok(merged);
        }
        Ok(None)
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
        Some(Merged { block: open.block.clone(), entry: open.entry })
    }

    /// Passes by older entries of the key that was just taken.
    async fn skip_older(&mut self) -> Result<()> {
        while let Some(Reverse(head)) = self.heads.peek()
            && head.key == self.after
        {
            let Some(Reverse(head)) = self.heads.pop() else { break };
            if self.cursors[head.rank].open.is_none() {
                self.open(head.rank).await?;
            } else {
                self.advance(head.rank).await?;
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
            let is_taken = open.entry < open.block.len() && open.block.key(open.entry) == &self.after[..];
            open.entry += usize::from(is_taken);
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
                self.cursors[rank].open = Some(OpenCursor { file, number, block, entry: 0 });
                return Ok(());
            }
            number += 1;
        }
        self.cursors[rank].open = None;
        Ok(())
    }
}
