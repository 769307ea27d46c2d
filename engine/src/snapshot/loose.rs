//! Reading one object by itself: a segment without a manifest, and what an object is.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};

use super::{
    json,
    key::RecordKey,
    keys,
    seal::DocumentHeader,
    segment::{SegmentFile, SegmentId, SegmentRef, Trailer},
    source_store::SourceStore,
};
use crate::error::{Error, ErrorKind, Result};

/// The last bytes of a pack.
const PACK_END: &[u8] = b"LBKPPCK1";
/// The first bytes of the only object that is stored in clear.
const CLEAR_MARK: &[u8] = br#"{"format":"#;

/// What an object is, by its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Records, sealed under a data key of this epoch.
    Segment {
        /// The epoch.
        epoch: u32,
    },
    /// A document, sealed under a data key of this epoch.
    Document {
        /// The epoch.
        epoch: u32,
    },
    /// A wrapped data key.
    DataKey,
    /// Chunks of attachments.
    Pack,
    /// The mark that an account's keys were destroyed, in clear.
    Destruction,
}

impl ObjectKind {
    /// From the first and the last bytes of an object, some fifty of each; `None` when it is none of this version.
    pub fn of(head: &[u8], tail: &[u8]) -> Option<Self> {
        if keys::is_data_key(head) {
            return Some(Self::DataKey);
        }
        if head.starts_with(CLEAR_MARK) {
            return Some(Self::Destruction);
        }
        if tail.ends_with(PACK_END) {
            return Some(Self::Pack);
        }
        let document = DocumentHeader::epoch_in(head).map(|epoch| Self::Document { epoch });
        document.or_else(|| Trailer::epoch_in(tail).map(|epoch| Self::Segment { epoch }))
    }
}

/// A segment opened by itself.
pub struct LooseSegment(Arc<SegmentFile>);

/// A record of a segment, or the mark that it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseEntry {
    /// Its key.
    pub key: RecordKey,
    /// Its body as it was received; `None` for a deletion.
    pub body: Option<Bytes>,
}

impl LooseEntry {
    /// The body on one line, as an export writes it.
    pub fn line(&self) -> Option<std::borrow::Cow<'_, [u8]>> {
        self.body.as_ref().map(|body| json::one_line(body))
    }
}

/// A block as the segment's index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseBlock {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Its size as stored, in bytes.
    pub sealed_bytes: u32,
    /// Its size when decompressed, in bytes.
    pub raw_bytes: u32,
    /// Records and deletions.
    pub entries: u32,
    /// Deletions.
    pub tombstones: u32,
    /// Its least key.
    pub first_key: RecordKey,
}

impl LooseSegment {
    /// What a manifest would say of it.
    pub fn reference(&self) -> &SegmentRef {
        self.0.reference()
    }

    /// The stream of its records.
    pub fn stream(&self) -> &str {
        &self.0.footer().stream
    }

    /// How hard its blocks were compressed.
    pub fn zstd_level(&self) -> i32 {
        self.0.footer().zstd_level
    }

    /// Its blocks, in the order of keys.
    pub fn blocks(&self) -> impl Iterator<Item = LooseBlock> {
        self.0.footer().blocks.iter().map(|block| LooseBlock {
            offset: block.offset,
            sealed_bytes: block.sealed_bytes,
            raw_bytes: block.raw_bytes,
            entries: block.entries,
            tombstones: block.tombstones,
            first_key: block.first_key.clone(),
        })
    }

    /// What it holds, in the order of keys, a block at a time in memory. Ends with the first error: `Corrupt`, with the block
    /// and its keys, for damage.
    pub fn entries(&self) -> impl Stream<Item = Result<LooseEntry>> + Send + use<> {
        stream::try_unfold((self.0.clone(), None, 0, 0), |(file, mut block, mut number, mut entry)| async move {
            loop {
                let current = match block.take() {
                    Some(current) => current,
                    None if number == file.footer().blocks.len() => return Ok(None),
                    None => Arc::new(file.block(number).await?),
                };
                if entry < current.len() {
                    let key = RecordKey::trusted(current.key(entry));
                    let found = LooseEntry { key, body: current.body_bytes(entry) };
                    return Ok(Some((found, (file, Some(current), number, entry + 1))));
                }
                (number, entry) = (number + 1, 0);
            }
        })
    }
}

impl SourceStore {
    /// Opens a segment by itself. What opens it is its stream's name too: where nobody gives it, a stored manifest that names
    /// the segment must.
    ///
    /// # Errors
    /// `NotFound` when there is no such segment, or no manifest names its stream; `Corrupt` when it is damaged or of another
    /// stream.
    pub async fn loose_segment(&self, id: SegmentId, stream: Option<&str>) -> Result<LooseSegment> {
        let found = match stream {
            Some(stream) => stream.to_owned(),
            None => self.stream_of(id).await?,
        };
        let segments = &self.segments;
        let (blobs, scope, source_id) = (segments.blobs.clone(), segments.scope, segments.source_id);
        let file = SegmentFile::open_alone(blobs, scope, &segments.ring, source_id, &found, id).await?;
        Ok(LooseSegment(Arc::new(file)))
    }

    async fn stream_of(&self, id: SegmentId) -> Result<String> {
        for snapshot_id in self.stored_manifests().await?.into_iter().rev() {
            // One that cannot be read keeps nobody from looking into the others.
            let Ok(loaded) = self.load_stored(snapshot_id).await else { continue };
            let mut streams = loaded.manifest.streams.into_iter();
            if let Some((name, _)) = streams.find(|(_, state)| state.segments.iter().any(|known| known.id == id)) {
                return Ok(name);
            }
        }
        Err(Error::new(ErrorKind::NotFound, "no snapshot that is here names the segment; say of which stream it is")
            .with("segment", id))
    }
}
