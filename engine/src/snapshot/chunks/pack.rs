//! A pack: sealed chunks one after another, a sealed footer that lists them, a trailer in clear. Making one and taking one
//! apart; pure computation.

use bytes::Bytes;

use super::{ChunkId, ID_BYTES, PackId, PackRef, Spot, corrupt, cutter::MAX_BYTES};
use crate::{
    error::Result,
    model::AccountId,
    snapshot::{
        codec::{Input, Malformed, put_varint},
        keys::EpochKeys,
        paths,
        seal::{self, SealKey, Section, TAG_BYTES},
    },
};

/// Size of the trailer in bytes.
pub(super) const TRAILER_BYTES: usize = 28;
const MAGIC: &[u8; 8] = b"LBKPPCK1";
/// The first byte of a chunk's plaintext: its bytes follow, as they are or as a zstd frame.
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// What a stored chunk takes beside its bytes at most.
const CHUNK_EXTRA_BYTES: usize = 1 + TAG_BYTES;

/// The plaintext of a chunk: compressed where that helps.
pub(super) fn encode_chunk(plain: &[u8], zstd_level: i32) -> Vec<u8> {
    let compressed = zstd::bulk::compress(plain, zstd_level).ok();
    match compressed.filter(|frame| frame.len() < plain.len()) {
        Some(frame) => [&[ZSTD], &frame[..]].concat(),
        None => [&[RAW], plain].concat(),
    }
}

fn decode_chunk(text: &[u8], plain_bytes: u32) -> Option<Bytes> {
    let (form, rest) = text.split_first()?;
    let plain = match *form {
        RAW => Bytes::copy_from_slice(rest),
        ZSTD => Bytes::from(seal::decompress(rest, MAX_BYTES)?),
        _ => return None,
    };
    (plain.len() == plain_bytes as usize).then_some(plain)
}

/// A pack being filled: chunks with room for their seals.
#[derive(Default)]
pub(super) struct PackDraft {
    object: Vec<u8>,
    chunks: Vec<(ChunkId, Spot)>,
}

impl PackDraft {
    /// Appends an encoded chunk.
    pub(super) fn push(&mut self, id: ChunkId, encoded: &[u8], plain_bytes: usize) -> Spot {
        let offset = self.object.len() as u32;
        self.object.extend_from_slice(encoded);
        self.object.extend_from_slice(&[0; TAG_BYTES]);
        let number = self.chunks.len() as u32;
        let sealed_bytes = (encoded.len() + TAG_BYTES) as u32;
        let spot = Spot { number, offset, sealed_bytes, plain_bytes: plain_bytes as u32 };
        self.chunks.push((id, spot));
        spot
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.object.len()
    }

    /// True when nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Derives the id from everything in plain text with all room for seals zero, then seals.
    ///
    /// # Errors
    /// `Bug` when the cipher refuses.
    pub(super) fn seal(mut self, account_id: AccountId, keys: &EpochKeys) -> Result<SealedPack> {
        let footer_offset = self.object.len();
        encode_footer(&self.chunks, &mut self.object);
        self.object.extend_from_slice(&[0; TAG_BYTES]);
        let trailer = Trailer {
            footer_offset: footer_offset as u64,
            footer_bytes: (self.object.len() - footer_offset) as u32,
            epoch: keys.epoch(),
        };
        self.object.extend_from_slice(&trailer.to_bytes());
        let mut hasher = keys.pack_id_hasher()?;
        hasher.update(account_id.as_bytes()).update(&self.object);
        let id = PackId::from_hash(&hasher.finalize());
        let key = keys.pack_key(id)?;
        let path = paths::pack(account_id, id);
        let place = place(&path);
        for (_, spot) in &self.chunks {
            let part = &mut self.object[spot.offset as usize..][..spot.sealed_bytes as usize];
            key.seal(Section::Chunk, spot.number, &place, part)?;
        }
        let part = &mut self.object[footer_offset..][..trailer.footer_bytes as usize];
        key.seal(Section::ChunkFooter, 0, &footer_place(&place, &trailer), part)?;
        let reference = PackRef(id, keys.epoch());
        Ok(SealedPack { reference, path, object: Bytes::from(self.object), chunks: self.chunks })
    }
}

/// A pack ready to be put.
pub(super) struct SealedPack {
    pub(super) reference: PackRef,
    pub(super) path: String,
    pub(super) object: Bytes,
    pub(super) chunks: Vec<(ChunkId, Spot)>,
}

/// What everything in a pack is bound to: its path, and so its account and id.
fn place(path: &str) -> Vec<u8> {
    [b"listbackup pack 1\0", path.as_bytes()].concat()
}

fn footer_place(place: &[u8], trailer: &Trailer) -> Vec<u8> {
    [place, &trailer.to_bytes()].concat()
}

/// Opens a chunk that was read from `spot` of the pack at `path`.
///
/// # Errors
/// `Corrupt` when it was altered or belongs elsewhere.
pub(super) fn open_chunk(key: &SealKey, path: &str, spot: &Spot, sealed: Bytes) -> Result<Bytes> {
    if sealed.len() != spot.sealed_bytes as usize {
        return Err(corrupt("the pack is cut short"));
    }
    let text = key.open(Section::Chunk, spot.number, &place(path), sealed.into());
    let text = text.ok_or_else(|| corrupt("a chunk was altered or belongs elsewhere"))?;
    decode_chunk(&text, spot.plain_bytes).ok_or_else(|| corrupt("a chunk has not the documented shape"))
}

/// The last bytes of a pack, in clear; the sealed footer is bound to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) footer_offset: u64,
    pub(super) footer_bytes: u32,
    pub(super) epoch: u32,
}

impl Trailer {
    fn to_bytes(self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.footer_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[20..].copy_from_slice(MAGIC);
        bytes
    }

    /// Reads the trailer of an object of `size_bytes`.
    ///
    /// # Errors
    /// `Corrupt` when it is none.
    pub(super) fn read(bytes: &[u8], size_bytes: u64) -> Result<Self> {
        let mut input = Input::new(bytes);
        let trailer = Self {
            footer_offset: u64::from_le_bytes(input.array()?),
            footer_bytes: u32::from_le_bytes(input.array()?),
            epoch: u32::from_le_bytes(input.array()?),
        };
        let end = trailer.footer_offset.checked_add(u64::from(trailer.footer_bytes) + TRAILER_BYTES as u64);
        if trailer.to_bytes() != *bytes || end != Some(size_bytes) {
            return Err(corrupt("the end of the pack is damaged or of an unknown version"));
        }
        Ok(trailer)
    }

    /// Opens the footer that follows from this trailer.
    ///
    /// # Errors
    /// `Corrupt` when it was altered or belongs elsewhere.
    pub(super) fn open_footer(&self, key: &SealKey, path: &str, sealed: Bytes) -> Result<Vec<(ChunkId, Spot)>> {
        let plain = key
            .open(Section::ChunkFooter, 0, &footer_place(&place(path), self), sealed.into())
            .ok_or_else(|| corrupt("the pack's index was altered or belongs elsewhere"))?;
        Ok(decode_footer(&plain, self.footer_offset)?)
    }
}

fn encode_footer(chunks: &[(ChunkId, Spot)], out: &mut Vec<u8>) {
    put_varint(out, chunks.len() as u64);
    for (id, spot) in chunks {
        out.extend_from_slice(id);
        put_varint(out, u64::from(spot.sealed_bytes));
        put_varint(out, u64::from(spot.plain_bytes));
    }
}

fn decode_footer(bytes: &[u8], footer_offset: u64) -> Result<Vec<(ChunkId, Spot)>, Malformed> {
    let mut input = Input::new(bytes);
    let count = input.count(ID_BYTES + 2)?;
    let mut chunks = Vec::with_capacity(count);
    let mut offset = 0u64;
    for number in 0..count {
        let id = input.array()?;
        let sealed_bytes = input.varint_up_to(MAX_BYTES + CHUNK_EXTRA_BYTES)? as u32;
        let plain_bytes = input.varint_up_to(MAX_BYTES)? as u32;
        let start = u32::try_from(offset).map_err(|_| Malformed("a pack larger than 4 GiB"))?;
        chunks.push((id, Spot { number: number as u32, offset: start, sealed_bytes, plain_bytes }));
        offset += u64::from(sealed_bytes);
    }
    input.end()?;
    if offset != footer_offset {
        return Err(Malformed("the chunks of the pack do not add up to its size"));
    }
    Ok(chunks)
}

/// True when an object of `size_bytes` may end so.
pub(in crate::snapshot) fn is_trailer(bytes: &[u8], size_bytes: u64) -> bool {
    Trailer::read(bytes, size_bytes).is_ok()
}

/// True for the opened index of a pack that begins at `offset`.
pub(in crate::snapshot) fn is_index(bytes: &[u8], offset: u64) -> bool {
    decode_footer(bytes, offset).is_ok()
}

/// True for an opened chunk of so many plain bytes.
pub(in crate::snapshot) fn is_chunk(text: &[u8], plain_bytes: u32) -> bool {
    decode_chunk(text, plain_bytes).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, number: u64) {
            let _ = decode_footer(&bytes, number);
            let _ = Trailer::read(&bytes, number);
            let _ = decode_chunk(&bytes, number as u32);
        }
    }

    #[test]
    fn a_chunk_that_does_not_compress_is_stored_as_it_is() {
        let noise: Vec<u8> =
            (0..5000u32).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..8].to_vec()).collect();
        for plain in [vec![7; 10_000], noise, Vec::new()] {
            let encoded = encode_chunk(&plain, 1);
            assert!(encoded.len() <= plain.len() + 1);
            assert_eq!(decode_chunk(&encoded, plain.len() as u32).unwrap(), plain);
            assert_eq!(decode_chunk(&encoded, plain.len() as u32 + 1), None);
        }
    }
}
