//! A stored segment: its index, and its parts by ranged reads.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    Block, FingerprintTable, Footer, SegmentId, SegmentRef, TRAILER_BYTES,
    footer::Trailer,
    unpack::unpack,
    writer::{id_hasher, place},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{SourceId, scope::AccountScope},
    offload::offload,
    ports::Blobs,
    snapshot::{
        digest::FINGERPRINT_BYTES,
        key::RecordKey,
        keys::{EpochKeys, KeyRing},
        paths,
        seal::{SealKey, Section, TAG_BYTES},
    },
};

/// The first read takes so many bytes from the end; most footers are smaller.
const TAIL_BYTES: u64 = 16 << 10;
/// Fingerprints are read together with the footer when both take so many bytes at most.
const WIDE_TAIL_BYTES_MAX: u64 = 512 << 10;
/// Smaller parts are opened on the spot, larger ones on a thread for blocking work (about half a millisecond).
const INLINE_BYTES: usize = 64 << 10;

/// An opened segment.
pub(crate) struct SegmentFile {
    reference: SegmentRef,
    path: String,
    /// What its parts are bound to.
    place: Vec<u8>,
    key: SealKey,
    keys: Arc<EpochKeys>,
    source_id: SourceId,
    /// The footer in plain text with room for its seal, and the trailer: the end of what the id is a digest of.
    end: Vec<u8>,
    footer: Arc<Footer>,
    blobs: Arc<dyn Blobs>,
    scope: AccountScope,
}

impl SegmentFile {
    /// Reads the index of the segment that a manifest names for `stream`.
    ///
    /// # Errors
    /// `Corrupt` when the segment is missing, damaged, or belongs elsewhere.
    pub(crate) async fn open(
        blobs: Arc<dyn Blobs>,
        scope: AccountScope,
        ring: &KeyRing,
        source_id: SourceId,
        stream: &str,
        reference: &SegmentRef,
    ) -> Result<Self> {
        let expected = Expected::Named(reference);
        let (file, _) = Self::open_tail(blobs, scope, ring, source_id, stream, expected, TAIL_BYTES).await?;
        Ok(file)
    }

    /// Reads the index of a stored segment that no manifest is at hand for.
    ///
    /// # Errors
    /// `NotFound` when there is none; those of [`SegmentFile::open`].
    pub(crate) async fn open_alone(
        blobs: Arc<dyn Blobs>,
        scope: AccountScope,
        ring: &KeyRing,
        source_id: SourceId,
        stream: &str,
        id: SegmentId,
    ) -> Result<Self> {
        let path = paths::segment(scope.account_id(), source_id, id);
        let size_bytes = blobs.size(&scope, &path).await?;
        let size_bytes = size_bytes.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such segment"))?;
        let start = size_bytes.saturating_sub(TRAILER_BYTES as u64);
        let trailer = blobs.get_range(&scope, &path, start..size_bytes).await?;
        let epoch = Trailer::epoch_in(&trailer).ok_or_else(|| corrupt("this is not a segment").with("path", &path))?;
        let nothing = RecordKey::trusted(&[]);
        let draft = SegmentRef {
            id,
            epoch,
            size_bytes,
            records: 0,
            tombstones: 0,
            body_bytes: 0,
            first_key: nothing.clone(),
            last_key: nothing,
        };
        let expected = Expected::Alone(&draft);
        let (mut file, _) = Self::open_tail(blobs, scope, ring, source_id, stream, expected, TAIL_BYTES).await?;
        let footer = file.footer.clone();
        let first_key = footer.blocks.first().map_or(draft.first_key, |block| block.first_key.clone());
        file.reference = SegmentRef {
            records: footer.records(),
            tombstones: footer.tombstones(),
            body_bytes: footer.body_bytes(),
            first_key,
            last_key: footer.last_key.clone(),
            ..file.reference
        };
        Ok(file)
    }

    /// Reads the index, and in the same read all fingerprints, unless they are large: then none.
    ///
    /// # Errors
    /// Those of [`SegmentFile::open`].
    pub(crate) async fn open_with_rows(
        blobs: Arc<dyn Blobs>,
        scope: AccountScope,
        ring: &KeyRing,
        source_id: SourceId,
        stream: &str,
        reference: &SegmentRef,
    ) -> Result<(Self, Vec<FingerprintTable>)> {
        let rows_bytes = reference.entries().saturating_mul(FINGERPRINT_BYTES as u64);
        let wide = rows_bytes.saturating_add(TAIL_BYTES);
        let tail_bytes = if wide <= WIDE_TAIL_BYTES_MAX { wide } else { TAIL_BYTES };
        let expected = Expected::Named(reference);
        let (file, tail) = Self::open_tail(blobs, scope, ring, source_id, stream, expected, tail_bytes).await?;
        let rows = file.fingerprints_in(&tail)?;
        Ok((file, rows))
    }

    async fn open_tail(
        blobs: Arc<dyn Blobs>,
        scope: AccountScope,
        ring: &KeyRing,
        source_id: SourceId,
        stream: &str,
        expected: Expected<'_>,
        tail_bytes: u64,
    ) -> Result<(Self, Tail)> {
        let (Expected::Named(reference) | Expected::Alone(reference)) = expected;
        let path = paths::segment(scope.account_id(), source_id, reference.id);
        let opened = async {
            let keys = ring.epoch(reference.epoch).await?;
            let key = keys.segment_key(reference.id)?;
            let place = place(&path, stream);
            let tail = Tail::read(&*blobs, &scope, &path, reference, tail_bytes).await?;
            let (trailer, sealed) = tail.footer(&*blobs, &scope, &path, reference).await?;
            let footer_place = [&place[..], &trailer.to_bytes()].concat();
            let plain = key
                .open(Section::Footer, 0, &footer_place, sealed)
                .ok_or_else(|| corrupt("the segment's index was altered or belongs elsewhere"))?;
            let footer = Footer::decode(&plain, trailer.footer_offset)?;
            if matches!(expected, Expected::Named(_)) {
                check_reference(&footer, stream, reference)?;
            }
            let end = [&plain[..], &[0; TAG_BYTES], &trailer.to_bytes()].concat();
            Ok((place, key, keys, end, Arc::new(footer), tail))
        };
        let named = |error: Error| error.with("path", &path).with("stream", stream);
        let (place, key, keys, end, footer, tail) = opened.await.map_err(missing_is_corrupt).map_err(named)?;
        let reference = reference.clone();
        Ok((Self { reference, path, place, key, keys, source_id, end, footer, blobs, scope }, tail))
    }

    /// How manifests name it.
    pub(crate) fn reference(&self) -> &SegmentRef {
        &self.reference
    }

    /// Where it is stored.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Its index.
    pub(crate) fn footer(&self) -> &Arc<Footer> {
        &self.footer
    }

    /// A block.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub(crate) async fn block(self: &Arc<Self>, number: usize) -> Result<Block> {
        Ok(self.block_and_text(number).await?.0)
    }

    /// A block, and its compressed text as the id's digest needs it.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub(crate) async fn block_and_text(self: &Arc<Self>, number: usize) -> Result<(Block, Vec<u8>)> {
        let info = &self.footer.blocks[number];
        let range = info.offset..info.offset + u64::from(info.sealed_bytes);
        let opened = async {
            let sealed = self.read(range).await?;
            if sealed.len() < INLINE_BYTES && info.raw_bytes < INLINE_BYTES as u32 {
                return self.open_block(number, sealed);
            }
            let file = self.clone();
            offload("reading a block", move || file.open_block(number, sealed)).await?
        };
        opened.await.map_err(|error| self.name_block(error, number))
    }

    /// A chunk of fingerprints.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub(crate) async fn fingerprints(&self, number: usize) -> Result<FingerprintTable> {
        let chunk = &self.footer.chunks[number];
        let sealed = self.read(chunk.offset..chunk.offset + chunk.sealed_bytes()).await;
        sealed.and_then(|sealed| self.open_fingerprints(number, sealed)).map_err(|error: Error| {
            error.with("path", &self.path).with("stream", &self.footer.stream).with("fingerprints", number)
        })
    }

    fn open_fingerprints(&self, number: usize, sealed: Bytes) -> Result<FingerprintTable> {
        let rows = self
            .key
            .open(Section::Fingerprints, number as u32, &self.place, sealed.into())
            .ok_or_else(|| corrupt("fingerprints were altered or belong elsewhere"))?;
        Ok(FingerprintTable::new(Bytes::from(rows))?)
    }

    /// All chunks of fingerprints when they lie in the tail, else none.
    fn fingerprints_in(&self, tail: &Tail) -> Result<Vec<FingerprintTable>> {
        let chunks = self.footer.chunks.iter().enumerate();
        let sealed: Option<Vec<_>> =
            chunks.map(|(number, chunk)| Some((number, tail.part(chunk.offset, chunk.sealed_bytes())?))).collect();
        sealed.unwrap_or_default().into_iter().map(|(number, sealed)| self.open_fingerprints(number, sealed)).collect()
    }

    /// A hasher for the segment's id. Feed it with every block's text and every chunk's rows, each through
    /// [`SegmentFile::hash_part`], then ask [`SegmentFile::has_id`].
    pub(crate) fn hasher(&self) -> Result<blake3::Hasher> {
        id_hasher(&self.keys, self.scope.account_id(), self.source_id, &self.footer.stream)
    }

    /// Feeds one part.
    pub(crate) fn hash_part(hasher: &mut blake3::Hasher, part: &[u8]) {
        hasher.update(part).update(&[0; TAG_BYTES]);
    }

    /// True when the parts fed give the segment's id.
    pub(crate) fn has_id(&self, hasher: &mut blake3::Hasher) -> bool {
        SegmentId::from_hash(&hasher.update(&self.end).finalize()) == self.reference.id
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.blobs.get_range(&self.scope, &self.path, range.clone()).await.map_err(missing_is_corrupt)?;
        exact(bytes, range.end - range.start)
    }

    fn open_block(&self, number: usize, sealed: Bytes) -> Result<(Block, Vec<u8>)> {
        let info = &self.footer.blocks[number];
        let text = self
            .key
            .open(Section::Block, number as u32, &self.place, sealed.into())
            .ok_or_else(|| corrupt("a block was altered or belongs elsewhere"))?;
        let raw = unpack(&text, info.raw_bytes as usize)
            .map_err(|error| corrupt("a block does not decompress").caused_by(error))?;
        if raw.len() != info.raw_bytes as usize {
            return Err(corrupt("a block has another size than the index says"));
        }
        let block = Block::decode(raw)?;
        if block.len() != info.entries as usize {
            return Err(corrupt("a block holds another number of records than the index says"));
        }
        Ok((block, text))
    }

    /// Says which block an error is about.
    pub(super) fn name_block(&self, error: Error, number: usize) -> Error {
        let info = &self.footer.blocks[number];
        let named = error.with("path", &self.path).with("stream", &self.footer.stream).with("block", number);
        match self.footer.blocks.get(number + 1) {
            Some(next) => named.with("from key", &info.first_key).with("before key", &next.first_key),
            None => named.with("from key", &info.first_key).with("to key", &self.footer.last_key),
        }
    }
}

/// What is known of a segment before it is opened.
#[derive(Clone, Copy)]
enum Expected<'a> {
    /// All that a manifest says.
    Named(&'a SegmentRef),
    /// Its id, epoch and size.
    Alone(&'a SegmentRef),
}

/// The last bytes of a segment.
struct Tail {
    start: u64,
    bytes: Bytes,
}

impl Tail {
    async fn read(
        blobs: &dyn Blobs,
        scope: &AccountScope,
        path: &str,
        reference: &SegmentRef,
        tail_bytes: u64,
    ) -> Result<Self> {
        let end = reference.size_bytes;
        let start = end.saturating_sub(tail_bytes);
        Ok(Self { start, bytes: exact(blobs.get_range(scope, path, start..end).await?, end - start)? })
    }

    /// Bytes of the segment, if they are among these.
    fn part(&self, offset: u64, len: u64) -> Option<Bytes> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(len).ok()?)?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }

    /// The trailer and the sealed footer; that is read by itself when it does not lie in the tail.
    async fn footer(
        &self,
        blobs: &dyn Blobs,
        scope: &AccountScope,
        path: &str,
        reference: &SegmentRef,
    ) -> Result<(Trailer, Vec<u8>)> {
        let (_, trailer) =
            self.bytes.split_last_chunk::<TRAILER_BYTES>().ok_or_else(|| corrupt("the segment is cut short"))?;
        let trailer = Trailer::read(trailer, reference)?;
        if let Some(sealed) = self.part(trailer.footer_offset, trailer.footer_bytes.into()) {
            return Ok((trailer, sealed.into()));
        }
        let range = trailer.footer_offset..reference.size_bytes - TRAILER_BYTES as u64;
        let sealed = exact(blobs.get_range(scope, path, range).await?, trailer.footer_bytes.into())?;
        Ok((trailer, sealed.into()))
    }
}

fn check_reference(footer: &Footer, stream: &str, reference: &SegmentRef) -> Result<()> {
    let agrees = footer.stream == stream
        && footer.records() == reference.records
        && footer.tombstones() == reference.tombstones
        && footer.body_bytes() == reference.body_bytes
        && footer.blocks.first().is_some_and(|block| block.first_key == reference.first_key)
        && footer.last_key == reference.last_key;
    if agrees { Ok(()) } else { Err(corrupt("the segment's index and the manifest disagree")) }
}

fn exact(bytes: Bytes, len: u64) -> Result<Bytes> {
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(corrupt("the segment is cut short")) }
}

fn missing_is_corrupt(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => corrupt("a segment is missing").caused_by(error),
        _ => error,
    }
}

fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
