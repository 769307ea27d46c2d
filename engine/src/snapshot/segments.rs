//! Opening the segments of a source, with bounded caches of indexes and blocks shared by the whole store.

use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;

use super::{
    documents::Documents,
    keys::KeyRing,
    paths,
    retain::Shelf,
    segment::{Block, FingerprintTable, SealedSegment, SegmentFile, SegmentId, SegmentRef},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{SourceId, scope::AccountScope},
    ports::{Blobs, PutOutcome},
};

/// Indexes kept open.
const FILES_MAX: u64 = 4096;
/// Blocks kept by the writer of one stream, in bytes.
const WRITER_BLOCK_CACHE_BYTES: u64 = 2 << 20;

/// Indexes and blocks that were read lately.
#[derive(Clone)]
pub(crate) struct Caches {
    files: Cache<SegmentId, Arc<SegmentFile>>,
    blocks: Cache<(SegmentId, usize), Arc<Block>>,
    rows: Cache<(SegmentId, usize), FingerprintTable>,
}

impl Caches {
    /// With room for so many bytes of blocks, and a quarter of that for fingerprints.
    pub(crate) fn new(block_cache_bytes: u64) -> Self {
        let weigh_rows =
            |_: &(SegmentId, usize), rows: &FingerprintTable| u32::try_from(rows.as_bytes().len()).unwrap_or(u32::MAX);
        Self {
            files: Cache::new(FILES_MAX),
            rows: Cache::builder().weigher(weigh_rows).max_capacity(block_cache_bytes / 4).build(),
            blocks: block_cache(block_cache_bytes),
        }
    }

    /// Forgets everything, of all accounts.
    pub(crate) fn clear(&self) {
        self.files.invalidate_all();
        self.blocks.invalidate_all();
        self.rows.invalidate_all();
    }
}

/// The segments of one source.
#[derive(Clone)]
pub(crate) struct Segments {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) scope: AccountScope,
    pub(crate) source_id: SourceId,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) caches: Caches,
}

fn block_cache(bytes: u64) -> Cache<(SegmentId, usize), Arc<Block>> {
    let weigh = |_: &(SegmentId, usize), block: &Arc<Block>| u32::try_from(block.memory_bytes()).unwrap_or(u32::MAX);
    Cache::builder().weigher(weigh).max_capacity(bytes).build()
}

impl Segments {
    /// The same, with a small cache of its own for blocks: a writer looks into one here and there and seldom comes back, and what
    /// it would leave in the shared cache is in the way of those who browse.
    pub(crate) fn for_writing(mut self) -> Self {
        self.caches.blocks = block_cache(WRITER_BLOCK_CACHE_BYTES);
        self
    }

    /// The documents beside them.
    pub(crate) fn documents(&self) -> Documents {
        Documents { blobs: self.blobs.clone(), scope: self.scope, ring: self.ring.clone() }
    }

    /// The shelf that they are on.
    pub(crate) fn shelf(&self) -> Shelf {
        Shelf::Segments(self.scope.account_id(), self.source_id)
    }

    /// Opens a segment of `stream`, or takes it from the cache.
    ///
    /// # Errors
    /// `Corrupt` when it is missing, damaged or belongs elsewhere; `Denied` when the account's keys were destroyed.
    pub(crate) async fn open(&self, stream: &str, reference: &SegmentRef) -> Result<Arc<SegmentFile>> {
        self.ring.check()?;
        if let Some(file) = self.cached(stream, reference).await {
            return Ok(file);
        }
        let file = Arc::new(self.open_fresh(stream, reference).await?);
        self.caches.files.insert(reference.id, file.clone()).await;
        Ok(file)
    }

    /// Opens a segment; when that takes a read, its fingerprints come along unless they are large.
    ///
    /// # Errors
    /// Those of [`Segments::open`].
    pub(crate) async fn open_with_rows(
        &self,
        stream: &str,
        reference: &SegmentRef,
    ) -> Result<(Arc<SegmentFile>, Vec<FingerprintTable>)> {
        self.ring.check()?;
        if let Some(file) = self.cached(stream, reference).await {
            return Ok((file, Vec::new()));
        }
        let (blobs, scope, ring) = (self.blobs.clone(), self.scope, &self.ring);
        let (file, rows) = SegmentFile::open_with_rows(blobs, scope, ring, self.source_id, stream, reference).await?;
        let file = Arc::new(file);
        self.caches.files.insert(reference.id, file.clone()).await;
        Ok((file, rows))
    }

    async fn cached(&self, stream: &str, reference: &SegmentRef) -> Option<Arc<SegmentFile>> {
        let file = self.caches.files.get(&reference.id).await?;
        (file.reference() == reference && file.footer().stream == stream).then_some(file)
    }

    /// A chunk of fingerprints, through the cache.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub(crate) async fn rows(&self, file: &SegmentFile, chunk: usize) -> Result<FingerprintTable> {
        self.ring.check()?;
        let key = (file.reference().id, chunk);
        if let Some(rows) = self.caches.rows.get(&key).await {
            return Ok(rows);
        }
        let rows = file.fingerprints(chunk).await?;
        self.caches.rows.insert(key, rows.clone()).await;
        Ok(rows)
    }

    /// Opens a segment from the store, whatever the cache holds.
    ///
    /// # Errors
    /// Those of [`Segments::open`].
    pub(crate) async fn open_fresh(&self, stream: &str, reference: &SegmentRef) -> Result<SegmentFile> {
        SegmentFile::open(self.blobs.clone(), self.scope, &self.ring, self.source_id, stream, reference).await
    }

    /// A block, through the cache.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub(crate) async fn block(&self, file: &Arc<SegmentFile>, number: usize) -> Result<Arc<Block>> {
        self.ring.check()?;
        let key = (file.reference().id, number);
        if let Some(block) = self.caches.blocks.get(&key).await {
            return Ok(block);
        }
        let block = Arc::new(file.block(number).await?);
        self.caches.blocks.insert(key, block.clone()).await;
        Ok(block)
    }

    /// Stores a new segment. One with this content may be there already; since the same content always gives the same
    /// bytes, it is compared and kept. Before it is named anywhere it must be confirmed ([`super::retain`]).
    ///
    /// # Errors
    /// `Corrupt` when the object in its place is another one; `Retry` when it is being deleted; those of the port.
    pub(crate) async fn put(&self, segment: &SealedSegment) -> Result<PutOutcome> {
        let outcome = self.blobs.put_if_absent(&self.scope, &segment.path, Bytes::clone(&segment.object)).await?;
        if outcome == PutOutcome::Exists {
            match self.blobs.get(&self.scope, &segment.path).await {
                Ok(stored) if stored == segment.object => {}
                Ok(_) => {
                    let message = "a damaged object is in the place of a segment: remove it";
                    return Err(Error::new(ErrorKind::Corrupt, message).with("path", &segment.path));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let message = "a segment of the same content was deleted at this moment";
                    return Err(Error::new(ErrorKind::Retry, message).with("path", &segment.path));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcome)
    }

    /// Where a segment is stored.
    pub(crate) fn path(&self, reference: &SegmentRef) -> String {
        paths::segment(self.scope.account_id(), self.source_id, reference.id)
    }
}
