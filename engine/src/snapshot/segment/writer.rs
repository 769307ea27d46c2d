//! Making a segment of a full buffer: sort, cut into blocks, compress, derive the id, seal. Pure computation.

use std::sync::Arc;

use bytes::Bytes;
use zstd::zstd_safe::CParameter;

use super::{
    FingerprintTable, SegmentId, SegmentRef, SortBuffer,
    block::{self, RawEntry},
    footer::{BlockInfo, ChunkInfo, Footer, Trailer},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, RunId, SourceId},
    snapshot::{
        digest::FINGERPRINT_BYTES,
        key::RecordKey,
        keys::EpochKeys,
        paths,
        seal::{Section, TAG_BYTES},
    },
};

/// More entries are never put into one block: it keeps blocks of tiny records quick to search, and their 40-bit tags
/// far from meeting.
const MAX_BLOCK_ENTRIES: usize = 4096;
/// Slots of the compressor's hash table, as a power of two: 512 KiB.
const HASH_LOG: u32 = 17;
/// A chunk of fingerprints is closed when it is larger.
const CHUNK_BYTES: usize = 256 << 10;

/// What a segment belongs to and how it is made.
pub(crate) struct SegmentContext {
    /// Whose.
    pub(crate) account_id: AccountId,
    /// Of which source.
    pub(crate) source_id: SourceId,
    /// Of which stream.
    pub(crate) stream: String,
    /// Made by which run. No two runs make one segment, so that a run may remove those that it gave up.
    pub(crate) run_id: RunId,
    /// Seal it.
    pub(crate) keys: Arc<EpochKeys>,
    /// How hard blocks are compressed.
    pub(crate) zstd_level: i32,
    /// A block is closed when its bodies and keys take so many bytes.
    pub(crate) block_bytes: usize,
}

/// A segment ready to be put.
pub(crate) struct SealedSegment {
    /// How manifests name it.
    pub(crate) reference: SegmentRef,
    /// Where it goes.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) object: Bytes,
    /// Its index.
    pub(crate) footer: Footer,
    /// Its fingerprints.
    pub(crate) chunks: Vec<FingerprintTable>,
}

/// What everything in a segment is bound to: its path (account, source and id) and its stream.
pub(super) fn place(path: &str, stream: &str) -> Vec<u8> {
    [b"listbackup segment 1\0", path.as_bytes(), b"\0", stream.as_bytes()].concat()
}

/// A hasher of a segment's content, fed with what the segment belongs to.
pub(super) fn id_hasher(
    keys: &EpochKeys,
    account_id: AccountId,
    source_id: SourceId,
    stream: &str,
) -> Result<blake3::Hasher> {
    let mut hasher = keys.segment_id_hasher()?;
    hasher.update(account_id.as_bytes()).update(source_id.as_bytes());
    hasher.update(&(stream.len() as u64).to_le_bytes()).update(stream.as_bytes());
    Ok(hasher)
}

/// Memory for making segments, used again for the next one.
pub(crate) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    text: Vec<u8>,
    compressed: Vec<u8>,
}

impl Packer {
    /// For one level of compression.
    ///
    /// # Errors
    /// `Invalid` when zstd has no such level.
    pub(crate) fn new(zstd_level: i32) -> Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(zstd_level).map_err(|error| {
            Error::new(ErrorKind::Invalid, "zstd refused the compression level")
                .with("zstd_level", zstd_level)
                .caused_by(error)
        })?;
        if (1..=2).contains(&zstd_level) {
            // The level's own table is an eighth of that: 2 % less space at the same speed, and a core's cache holds it.
            compressor.set_parameter(CParameter::HashLog(HASH_LOG)).map_err(|error| {
                Error::new(ErrorKind::Invalid, "zstd refused the size of its hash table").caused_by(error)
            })?;
        }
        Ok(Self { compressor, text: Vec::new(), compressed: Vec::new() })
    }

    /// Appends the compressed text. It is compressed into memory of its own, since that keeps its pages from one block to
    /// the next.
    fn compress(&mut self, object: &mut Vec<u8>) -> Result<()> {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.text.len()));
        self.compressor
            .compress_to_buffer(&self.text, &mut self.compressed)
            .map_err(|error| Error::new(ErrorKind::Exhausted, "a block could not be compressed").caused_by(error))?;
        object.extend_from_slice(&self.compressed);
        Ok(())
    }

    /// Makes a segment of a buffer that is not empty.
    ///
    /// # Errors
    /// `Exhausted` when memory for compression is short.
    pub(crate) fn pack(&mut self, buffer: &SortBuffer, context: &SegmentContext) -> Result<SealedSegment> {
        let order = buffer.sorted();
        let mut draft = Draft { buffer, object: Vec::new(), blocks: Vec::new(), chunks: Vec::new() };
        draft.object.reserve(buffer.memory_bytes() / 3);
        let mut rest = &order[..];
        while !rest.is_empty() {
            let entries;
            (entries, rest) = rest.split_at(draft.block_len(rest, context.block_bytes));
            draft.add_block(entries, self)?;
        }
        draft.seal(context, &order)
    }
}

/// A segment while it is made. Each part is followed by room for its seal.
struct Draft<'a> {
    buffer: &'a SortBuffer,
    object: Vec<u8>,
    blocks: Vec<BlockInfo>,
    /// Rows of fingerprints and how many blocks they cover.
    chunks: Vec<(Vec<u8>, u32)>,
}

impl<'a> Draft<'a> {
    /// How many entries the next block takes: at least one.
    fn block_len(&self, entries: &[u32], block_bytes: usize) -> usize {
        let mut bytes = 0;
        let full = entries.iter().take(MAX_BLOCK_ENTRIES).position(|i| {
            let entry = self.buffer.raw(*i as usize);
            bytes += entry.key.len() + entry.body.map_or(0, <[u8]>::len);
            bytes >= block_bytes
        });
        let mut len = full.map_or(entries.len().min(MAX_BLOCK_ENTRIES), |last| last + 1);
        // A tag names one record of a block. Two equal ones within 4,096 are as likely as 1 in 130,000.
        while let Some(second) = self.repeated_tag(&entries[..len]) {
            len = second;
        }
        len
    }

    /// The first entry whose tag an earlier one has.
    fn repeated_tag(&self, entries: &[u32]) -> Option<usize> {
        let tag = |i: u32| self.buffer.fingerprint(i as usize).tag;
        let mut tags: Vec<(u64, usize)> = entries.iter().enumerate().map(|(at, i)| (tag(*i), at)).collect();
        tags.sort_unstable();
        tags.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min()
    }

    fn add_block(&mut self, entries: &[u32], packer: &mut Packer) -> Result<()> {
        let buffer = self.buffer;
        let raws = entries.iter().map(|i| buffer.raw(*i as usize));
        packer.text.clear();
        block::encode(raws.clone(), buffer.arity(), &mut packer.text);
        let start = self.object.len();
        packer.compress(&mut self.object)?;
        let len = self.object.len() - start;
        self.object.extend_from_slice(&[0; TAG_BYTES]);
        let body_bytes: usize = raws.clone().filter_map(|raw| raw.body).map(<[u8]>::len).sum();
        self.blocks.push(BlockInfo {
            first_key: raws
                .clone()
                .next()
                .map_or_else(|| RecordKey::trusted(&[]), |raw: RawEntry<'_>| RecordKey::trusted(raw.key)),
            offset: start as u64,
            sealed_bytes: (len + TAG_BYTES) as u32,
            raw_bytes: packer.text.len() as u32,
            entries: entries.len() as u32,
            tombstones: raws.filter(|raw| raw.body.is_none()).count() as u32,
            body_bytes: body_bytes as u64,
            first_entry: self.blocks.last().map_or(0, |block| block.first_entry + block.entries),
        });
        self.add_fingerprints(entries);
        Ok(())
    }

    fn add_fingerprints(&mut self, entries: &[u32]) {
        let mut rows: Vec<_> = entries.iter().map(|i| self.buffer.fingerprint(*i as usize).to_row()).collect();
        rows.sort_unstable();
        match self.chunks.last_mut() {
            Some((chunk, blocks)) if chunk.len() < CHUNK_BYTES => {
                chunk.extend_from_slice(rows.as_flattened());
                *blocks += 1;
            }
            _ => self.chunks.push((rows.into_flattened(), 1)),
        }
    }

    fn seal(mut self, context: &SegmentContext, order: &[u32]) -> Result<SealedSegment> {
        let mut chunks = Vec::with_capacity(self.chunks.len());
        let mut tables = Vec::with_capacity(self.chunks.len());
        let mut first_entry = 0;
        for (rows, blocks) in std::mem::take(&mut self.chunks) {
            let entries = (rows.len() / FINGERPRINT_BYTES) as u32;
            chunks.push(ChunkInfo { offset: self.object.len() as u64, blocks, first_entry, entries });
            first_entry += entries;
            self.object.extend_from_slice(&rows);
            self.object.extend_from_slice(&[0; TAG_BYTES]);
            tables.push(FingerprintTable::new(Bytes::from(rows))?);
        }
        let last_key = order.last().map_or(&[][..], |last| self.buffer.key(*last as usize));
        let footer = Footer {
            stream: context.stream.clone(),
            run_id: context.run_id,
            zstd_level: context.zstd_level,
            last_key: RecordKey::trusted(last_key),
            blocks: std::mem::take(&mut self.blocks),
            chunks,
        };
        let footer_offset = self.object.len();
        footer.encode(&mut self.object);
        self.object.extend_from_slice(&[0; TAG_BYTES]);
        let footer_bytes = (self.object.len() - footer_offset) as u32;
        let trailer = Trailer { footer_offset: footer_offset as u64, footer_bytes, epoch: context.keys.epoch() };
        self.object.extend_from_slice(&trailer.to_bytes());
        let id = self.seal_parts(context, &footer, trailer)?;
        let reference = SegmentRef {
            id,
            epoch: trailer.epoch,
            size_bytes: self.object.len() as u64,
            records: footer.records(),
            tombstones: footer.tombstones(),
            body_bytes: footer.body_bytes(),
            first_key: footer.blocks.first().map_or_else(|| RecordKey::trusted(&[]), |block| block.first_key.clone()),
            last_key: footer.last_key.clone(),
        };
        let path = paths::segment(context.account_id, context.source_id, id);
        Ok(SealedSegment { reference, path, object: Bytes::from(self.object), footer, chunks: tables })
    }

    /// Derives the id from the whole object with every part in plain text and all room for seals zero, then seals.
    fn seal_parts(&mut self, context: &SegmentContext, footer: &Footer, trailer: Trailer) -> Result<SegmentId> {
        let mut hasher = id_hasher(&context.keys, context.account_id, context.source_id, &context.stream)?;
        let id = SegmentId::from_hash(&hasher.update(&self.object).finalize());
        let key = context.keys.segment_key(id)?;
        let mut place = place(&paths::segment(context.account_id, context.source_id, id), &context.stream);
        for (number, block) in footer.blocks.iter().enumerate() {
            let part = &mut self.object[block.offset as usize..][..block.sealed_bytes as usize];
            key.seal(Section::Block, number as u32, &place, part)?;
        }
        for (number, chunk) in footer.chunks.iter().enumerate() {
            let part = &mut self.object[chunk.offset as usize..][..chunk.sealed_bytes() as usize];
            key.seal(Section::Fingerprints, number as u32, &place, part)?;
        }
        place.extend_from_slice(&trailer.to_bytes());
        let part = &mut self.object[trailer.footer_offset as usize..][..trailer.footer_bytes as usize];
        key.seal(Section::Footer, 0, &place, part)?;
        Ok(id)
    }
}
