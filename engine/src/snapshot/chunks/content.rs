//! A content as its chunks: while it is written, and as records keep it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    PackRef, Spot,
    cutter::Cutter,
    packer::{Packer, STORING, Slot},
};
use crate::{
    error::{Error, ErrorKind, Result},
    offload::offload,
};

/// A longer list of chunks becomes a content of its own: a record stays below 64 KiB.
const CHUNKS_MAX: usize = 1000;

/// A content as records keep it: enough to read it, without any index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// 0: the chunks are the content's own. n: they hold the JSON of a `Content` of depth n - 1.
    pub(super) depth: u8,
    /// The packs of the chunks.
    pub(super) packs: Vec<PackRef>,
    /// In order: index of the pack, number, offset, stored size, plain size.
    pub(super) chunks: Vec<[u32; 5]>,
}

impl Content {
    fn of(places: &[(PackRef, Spot)], depth: u8) -> Self {
        let mut content = Self { depth, ..Self::default() };
        for (pack, spot) in places {
            // Chunks of one pack mostly stand together, so that the last one is nearly always it.
            let index = content.packs.iter().rposition(|known| known == pack).unwrap_or_else(|| {
                content.packs.push(*pack);
                content.packs.len() - 1
            });
            content.chunks.push([index as u32, spot.number, spot.offset, spot.sealed_bytes, spot.plain_bytes]);
        }
        content
    }

    /// The chunks in order.
    ///
    /// # Errors
    /// `Corrupt` when a chunk names a pack that is not listed.
    pub(super) fn places(&self) -> Result<Vec<(PackRef, Spot)>> {
        let place = |[pack, number, offset, sealed_bytes, plain_bytes]: &[u32; 5]| {
            let pack = self.packs.get(*pack as usize).copied()?;
            let spot =
                Spot { number: *number, offset: *offset, sealed_bytes: *sealed_bytes, plain_bytes: *plain_bytes };
            Some((pack, spot))
        };
        let places: Option<Vec<_>> = self.chunks.iter().map(place).collect();
        places.ok_or_else(|| super::corrupt("a list of chunks names a pack that it does not have"))
    }
}

/// A content that was taken in; its last chunks may be in a pack that is still open.
#[derive(Debug)]
pub(crate) struct Draft {
    slots: Vec<Arc<Slot>>,
    depth: u8,
    /// Its size in bytes.
    pub(crate) size_bytes: u64,
    /// BLAKE3 of its bytes.
    pub(crate) digest: blake3::Hash,
}

impl Draft {
    /// As records keep it; `None` while a chunk is in an open pack, or while a list of chunks is too long.
    pub(crate) fn resolved(&self) -> Option<Content> {
        let places: Option<Vec<_>> = self.slots.iter().map(|slot| slot.place()).collect();
        places.filter(|places| places.len() <= CHUNKS_MAX).map(|places| Content::of(&places, self.depth))
    }

    /// Stores the list of chunks as a content of its own where it is too long, and that one's list, until it is short. All
    /// packs must be stored.
    ///
    /// # Errors
    /// Those of storing chunks; `Bug` when a pack is still open.
    pub(crate) async fn shortened(mut self, packer: &Packer) -> Result<Self> {
        while self.slots.len() > CHUNKS_MAX {
            packer.flush().await?;
            let places: Option<Vec<_>> = self.slots.iter().map(|slot| slot.place()).collect();
            let open = || Error::new(ErrorKind::Bug, "a list of chunks was written while a pack was open");
            let list = serde_json::to_vec(&Content::of(&places.ok_or_else(open)?, self.depth))
                .map_err(|error| Error::new(ErrorKind::Bug, "a list of chunks does not serialise").caused_by(error))?;
            let mut writer = ContentWriter::new(packer);
            writer.push(&list).await?;
            let inner = writer.finish().await?;
            self = Self { slots: inner.slots, depth: self.depth + 1, ..self };
        }
        Ok(self)
    }
}

/// Takes in one content.
pub(crate) struct ContentWriter<'a> {
    packer: &'a Packer,
    /// `None` only while it is at work elsewhere.
    cutter: Option<Cutter>,
    hasher: blake3::Hasher,
    slots: Vec<Arc<Slot>>,
    size_bytes: u64,
}

impl<'a> ContentWriter<'a> {
    /// An empty content.
    pub(crate) fn new(packer: &'a Packer) -> Self {
        let chunks = packer.chunks();
        let (seed, average_bytes) = (chunks.ring().hashers().cut_seed(), chunks.settings().chunk_bytes);
        Self {
            packer,
            cutter: Some(Cutter::new(seed, average_bytes)),
            hasher: blake3::Hasher::new(),
            slots: Vec::new(),
            size_bytes: 0,
        }
    }

    /// Bytes taken in so far.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Takes bytes. Waits while the store is slower than they come.
    ///
    /// # Errors
    /// Those of storing chunks.
    pub(crate) async fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let Some(cutter) = &mut self.cutter else { return Err(broken()) };
            bytes = cutter.fill(bytes);
            if cutter.is_full() {
                self.cut().await?;
            }
        }
        Ok(())
    }

    /// Ends the content.
    ///
    /// # Errors
    /// Those of storing chunks.
    pub(crate) async fn finish(mut self) -> Result<Draft> {
        while self.cut().await? {}
        Ok(Draft { slots: self.slots, depth: 0, size_bytes: self.size_bytes, digest: self.hasher.finalize() })
    }

    /// Stores the next chunk; false when there is none.
    async fn cut(&mut self) -> Result<bool> {
        let Some(mut cutter) = self.cutter.take() else { return Err(broken()) };
        let ring = self.packer.chunks().ring().clone();
        let (cutter, next) = offload(STORING, move || {
            let next: Option<Bytes> = cutter.next();
            let next = next.map(|chunk| (ring.hashers().chunk(&chunk), chunk));
            (cutter, next)
        })
        .await?;
        self.cutter = Some(cutter);
        let Some((id, chunk)) = next else { return Ok(false) };
        self.slots.push(self.packer.add(id, chunk).await?);
        Ok(true)
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Bug, "a content was written to after an error")
}
