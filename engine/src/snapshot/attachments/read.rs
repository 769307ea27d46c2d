//! Reading attachments of a snapshot: which there are, and the bytes of one.

use std::{collections::BTreeSet, ops::Range};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};

use super::{StoredAttachment, owner_of};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{SnapshotReader, key::RecordKey},
};

impl SnapshotReader {
    /// Streams of the snapshot that hold attachments, by name.
    pub fn attachment_streams(&self) -> impl Iterator<Item = &str> {
        self.manifest.streams.keys().map(String::as_str).filter(|name| owner_of(name).is_some())
    }

    /// All attachments of an attachments stream in key order, in constant memory.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream. The stream ends with its first error.
    pub fn attachments(&self, stream: &str) -> Result<impl Stream<Item = Result<StoredAttachment>> + Send + use<>> {
        let records = self.scan(stream)?;
        Ok(records.map(|record| StoredAttachment::from_body(&record?.body)))
    }

    /// One attachment, by the key in its stream.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream; `Corrupt` when what should hold it is damaged.
    pub async fn attachment(&self, stream: &str, key: &RecordKey) -> Result<Option<StoredAttachment>> {
        let record = self.get(stream, key).await?;
        record.map(|record| StoredAttachment::from_body(&record.body)).transpose()
    }

    /// Paths of the packs that hold the attachments of the snapshot.
    ///
    /// # Errors
    /// `Corrupt` when what names them is damaged.
    pub(crate) async fn packs(&self) -> Result<BTreeSet<String>> {
        let mut packs = BTreeSet::new();
        for stream in self.attachment_streams() {
            let needed = self.store.needed_packs(stream, self.stream(stream)?, false).await?;
            packs.extend(needed.keys().map(|pack| self.store.chunks.path(*pack)));
        }
        Ok(packs)
    }

    /// The bytes of an attachment within a range of it, every chunk authenticated, at most a few chunks in memory.
    ///
    /// # Errors
    /// `Invalid` for a range past its end; `Corrupt`, with the pack's path, when a chunk is missing or damaged: the stream
    /// ends with it and never returns damaged bytes.
    pub async fn open_attachment(
        &self,
        attachment: &StoredAttachment,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        if range.start > range.end || range.end > attachment.size_bytes {
            let message = format!("the range ends past the {} bytes of the attachment", attachment.size_bytes);
            return Err(Error::new(ErrorKind::Invalid, message).with("range", format!("{range:?}")));
        }
        self.store.chunks.bytes(&attachment.content, attachment.size_bytes, range).await
    }
}
