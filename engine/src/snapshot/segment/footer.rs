//! The footer: a segment's index; and the trailer, which says where the footer is.

use super::SegmentRef;
use crate::{
    error::{Error, ErrorKind, Result},
    model::RunId,
    snapshot::{
        codec::{Input, Malformed, put_string, put_varint},
        digest::FINGERPRINT_BYTES,
        key::RecordKey,
        seal::TAG_BYTES,
    },
};

/// Size of the trailer in bytes.
pub(crate) const TRAILER_BYTES: usize = 28;
const MAGIC: &[u8; 8] = b"LBKPSEG1";
/// No block is larger than this when opened: the largest record and its surroundings.
const MAX_BLOCK_BYTES: usize = super::MAX_RECORD_BYTES + (64 << 20);

/// The last bytes of a segment, in clear; the sealed footer is bound to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Where the sealed footer starts.
    pub(crate) footer_offset: u64,
    /// Size of the sealed footer.
    pub(crate) footer_bytes: u32,
    /// Epoch of the data key.
    pub(crate) epoch: u32,
}

impl Trailer {
    /// As stored.
    pub(crate) fn to_bytes(self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.footer_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[20..].copy_from_slice(MAGIC);
        bytes
    }

    /// The epoch that the last bytes of an object name; `None` when it is not a segment of this version.
    pub(crate) fn epoch_in(bytes: &[u8]) -> Option<u32> {
        let (_, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>()?;
        let epoch = u32::from_le_bytes(*trailer[12..].first_chunk()?);
        trailer.ends_with(MAGIC).then_some(epoch)
    }

    /// Reads the trailer of the segment that `reference` names.
    ///
    /// # Errors
    /// `Corrupt` when it is none, or is that of another segment.
    pub(crate) fn read(bytes: &[u8], reference: &SegmentRef) -> Result<Self> {
        let mut input = Input::new(bytes);
        let trailer = Self {
            footer_offset: u64::from_le_bytes(input.array()?),
            footer_bytes: u32::from_le_bytes(input.array()?),
            epoch: u32::from_le_bytes(input.array()?),
        };
        let end = trailer.footer_offset.checked_add(u64::from(trailer.footer_bytes) + TRAILER_BYTES as u64);
        if trailer.to_bytes() != *bytes || trailer.epoch != reference.epoch || end != Some(reference.size_bytes) {
            return Err(Error::new(ErrorKind::Corrupt, "the end of the segment is damaged or of an unknown version"));
        }
        Ok(trailer)
    }
}

/// A segment's index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Footer {
    /// The stream.
    pub(crate) stream: String,
    /// The run that made it.
    pub(crate) run_id: RunId,
    /// How hard its blocks were compressed.
    pub(crate) zstd_level: i32,
    /// Greatest key.
    pub(crate) last_key: RecordKey,
    /// Its blocks, by key.
    pub(crate) blocks: Vec<BlockInfo>,
    /// Its chunks of fingerprints, in the order of the blocks.
    pub(crate) chunks: Vec<ChunkInfo>,
}

/// Where a block is and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockInfo {
    /// Its least key.
    pub(crate) first_key: RecordKey,
    /// Where it starts in the segment. Not stored: the sum of the sizes before.
    pub(crate) offset: u64,
    /// Size as stored.
    pub(crate) sealed_bytes: u32,
    /// Size when opened and decompressed.
    pub(crate) raw_bytes: u32,
    /// Records and tombstones.
    pub(crate) entries: u32,
    /// Tombstones.
    pub(crate) tombstones: u32,
    /// Bytes of its bodies.
    pub(crate) body_bytes: u64,
    /// Number of its first entry in the segment. Not stored: the sum of the entries before.
    pub(crate) first_entry: u32,
}

/// Where a chunk of fingerprints is and which blocks it covers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChunkInfo {
    /// Where it starts in the segment. Not stored.
    pub(crate) offset: u64,
    /// How many consecutive blocks it covers.
    pub(crate) blocks: u32,
    /// Number of its first entry in the segment. Not stored.
    pub(crate) first_entry: u32,
    /// Rows. Not stored.
    pub(crate) entries: u32,
}

impl ChunkInfo {
    /// Size as stored.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        u64::from(self.entries) * FINGERPRINT_BYTES as u64 + TAG_BYTES as u64
    }
}

impl Footer {
    /// Live records.
    pub(crate) fn records(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.entries - block.tombstones)).sum()
    }

    /// Tombstones.
    pub(crate) fn tombstones(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.tombstones)).sum()
    }

    /// Bytes of the bodies.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.body_bytes).sum()
    }

    /// The block that holds `key` if any does; `None` for a key below the first.
    pub(crate) fn block_of(&self, key: &[u8]) -> Option<usize> {
        self.blocks.partition_point(|block| block.first_key.as_bytes() <= key).checked_sub(1)
    }

    /// True when `key` can be in `block`.
    pub(crate) fn is_in_block(&self, block: usize, key: &[u8]) -> bool {
        self.blocks[block].first_key.as_bytes() <= key
            && match self.blocks.get(block + 1) {
                Some(next) => key < next.first_key.as_bytes(),
                None => key <= self.last_key.as_bytes(),
            }
    }

    /// The block that holds an entry.
    pub(crate) fn block_of_entry(&self, entry: u32) -> usize {
        self.blocks.partition_point(|block| block.first_entry <= entry).saturating_sub(1)
    }

    /// The chunk that holds the fingerprint of an entry.
    pub(crate) fn chunk_of_entry(&self, entry: u32) -> usize {
        self.chunks.partition_point(|chunk| chunk.first_entry <= entry).saturating_sub(1)
    }

    /// As stored, before sealing.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, self.stream.as_bytes());
        out.extend_from_slice(self.run_id.as_bytes());
        out.extend_from_slice(&self.zstd_level.to_le_bytes());
        put_string(out, self.last_key.as_bytes());
        put_varint(out, self.blocks.len() as u64);
        for block in &self.blocks {
            put_string(out, block.first_key.as_bytes());
            for number in [block.sealed_bytes, block.raw_bytes, block.entries, block.tombstones] {
                put_varint(out, u64::from(number));
            }
            put_varint(out, block.body_bytes);
        }
        put_varint(out, self.chunks.len() as u64);
        self.chunks.iter().for_each(|chunk| put_varint(out, u64::from(chunk.blocks)));
    }

    /// Reads what [`Footer::encode`] wrote, for a footer that starts at `footer_offset`.
    ///
    /// # Errors
    /// `Malformed` when it has not the documented shape or does not fit the segment.
    pub(crate) fn decode(bytes: &[u8], footer_offset: u64) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let stream = String::from_utf8(input.string()?.to_vec()).map_err(|_| Malformed("a stream's name"))?;
        let run_id = RunId::from_bytes(input.array()?);
        let zstd_level = i32::from_le_bytes(input.array()?);
        let last_key = read_key(&mut input)?;
        let mut offset = 0u64;
        let blocks = read_blocks(&mut input, &mut offset)?;
        let chunks = read_chunks(&mut input, &blocks, &mut offset)?;
        input.end()?;
        if offset != footer_offset || blocks.is_empty() {
            return Err(Malformed("the parts of the segment do not add up to its size"));
        }
        Ok(Self { stream, run_id, zstd_level, last_key, blocks, chunks })
    }
}

fn read_key(input: &mut Input<'_>) -> Result<RecordKey, Malformed> {
    RecordKey::from_encoded(input.string()?.to_vec()).map_err(|_| Malformed("a key in the index"))
}

fn read_blocks(input: &mut Input<'_>, offset: &mut u64) -> Result<Vec<BlockInfo>, Malformed> {
    let count = input.count(6)?;
    let mut blocks = Vec::with_capacity(count);
    let mut first_entry = 0u32;
    for _ in 0..count {
        let first_key = read_key(input)?;
        let sealed_bytes = input.varint_up_to(MAX_BLOCK_BYTES * 2)? as u32;
        let raw_bytes = input.varint_up_to(MAX_BLOCK_BYTES)? as u32;
        let entries = input.varint_up_to(raw_bytes as usize)? as u32;
        let tombstones = input.varint_up_to(entries as usize)? as u32;
        let body_bytes = input.varint_up_to(raw_bytes as usize)? as u64;
        if entries == 0 || (sealed_bytes as usize) < TAG_BYTES {
            return Err(Malformed("an empty block"));
        }
        blocks.push(BlockInfo {
            first_key,
            offset: *offset,
            sealed_bytes,
            raw_bytes,
            entries,
            tombstones,
            body_bytes,
            first_entry,
        });
        *offset += u64::from(sealed_bytes);
        first_entry = first_entry.checked_add(entries).ok_or(Malformed("too many records in one segment"))?;
    }
    Ok(blocks)
}

fn read_chunks(input: &mut Input<'_>, blocks: &[BlockInfo], offset: &mut u64) -> Result<Vec<ChunkInfo>, Malformed> {
    let count = input.count(1)?;
    let mut chunks = Vec::with_capacity(count);
    let (mut next_block, mut first_entry) = (0usize, 0u32);
    for _ in 0..count {
        let covered = input.varint_up_to(blocks.len() - next_block)?;
        let entries: u32 = blocks[next_block..][..covered].iter().map(|block| block.entries).sum();
        let chunk = ChunkInfo { offset: *offset, blocks: covered as u32, first_entry, entries };
        *offset += chunk.sealed_bytes();
        first_entry += entries;
        next_block += covered;
        chunks.push(chunk);
    }
    if next_block != blocks.len() {
        return Err(Malformed("fingerprints do not cover all blocks"));
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, offset: u64) {
            let _ = Footer::decode(&bytes, offset);
        }
    }
}
