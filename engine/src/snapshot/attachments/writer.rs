//! Writing the attachments of one stream of a new snapshot: contents into packs, records that name them into a stream.

use std::{collections::BTreeSet, ops::Range};

use bytes::Bytes;
use listbackup_connectors::{KeySlices, Page, PageProgress, RecordSlice, StreamSpec};
use serde::{Deserialize, Serialize};

use super::{StoredAttachment, key_of, spec_of};
use crate::{
    error::{Error, ErrorKind, Result},
    model::RunId,
    snapshot::{
        FinishedStream, PackId, SegmentId, SourceStore, StreamCheckpoint, StreamEnd, StreamFigures, StreamState,
        StreamWriter, WriterSpec,
        chunks::{ContentWriter, Draft, Packer},
        point::newest_entry,
    },
};

/// What is told of an attachment beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttachment {
    /// Text of the key of its record.
    pub record: String,
    /// Names it among that record's.
    pub attachment: String,
    /// Its name for people.
    pub name: String,
    /// Its media type.
    pub media_type: Option<String>,
    /// What changes with its content.
    pub version: Option<String>,
}

/// A content that was taken in, to be given to [`AttachmentsWriter::add`].
#[derive(Debug)]
pub struct TakenContent(Draft);

impl TakenContent {
    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }
}

/// Takes in one content; several may be at it side by side.
pub struct ContentSink<'a>(ContentWriter<'a>);

impl ContentSink<'_> {
    /// Bytes taken in so far.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    /// Takes bytes. Waits while the store is slower than they come.
    ///
    /// # Errors
    /// Those of storing chunks; the whole writer is of no use then.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.push(bytes).await
    }

    /// Ends the content.
    ///
    /// # Errors
    /// As for [`ContentSink::push`].
    pub async fn finish(self) -> Result<TakenContent> {
        self.0.finish().await.map(TakenContent)
    }
}

/// Where the writing of a stream's attachments stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentsCheckpoint {
    stream: StreamCheckpoint,
    packs_bytes: u64,
    /// Packs that the run's records name.
    #[serde(default)]
    packs: BTreeSet<PackId>,
}

impl AttachmentsCheckpoint {
    /// The segments that it relies on.
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.stream.segments()
    }

    /// The packs that it relies on, beside those of the parent's attachments.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.packs.iter().copied()
    }
}

/// Writes the attachments of one stream. After an error it is of no use; a new one resumes from the last checkpoint.
pub struct AttachmentsWriter {
    pub(super) store: SourceStore,
    pub(super) stream: String,
    pub(super) parent: Option<StreamState>,
    writer: StreamWriter,
    packer: Packer,
    /// Attachments whose chunks are in a pack that is still open.
    waiting: Vec<(NewAttachment, Draft)>,
    packs_bytes: u64,
    /// Packs that the run's records may name: no collection takes them away.
    packs: BTreeSet<PackId>,
}

impl AttachmentsWriter {
    /// For the attachments of `owner`, written by a run; `parent` is their stream in the snapshot before.
    ///
    /// # Errors
    /// `Conflict` when the checkpoint to resume from was made over another parent; those of the ports.
    pub async fn open(
        store: &SourceStore,
        owner: &StreamSpec,
        run_id: RunId,
        parent: Option<StreamState>,
        resume: Option<AttachmentsCheckpoint>,
    ) -> Result<Self> {
        let spec = spec_of(owner);
        let packs_bytes = resume.as_ref().map_or(0, |resume| resume.packs_bytes);
        let packs = resume.as_ref().map(|resume| resume.packs.clone()).unwrap_or_default();
        let packer = Packer::begin(store.chunks.clone(), packs_bytes).await?;
        let resume = resume.map(|resume| resume.stream);
        let writer_spec = WriterSpec { stream: spec.clone(), run_id, parent: parent.clone(), resume };
        let writer = store.stream_writer(writer_spec).await?;
        let stream = spec.name.clone();
        Ok(Self { store: store.clone(), stream, parent, writer, packer, waiting: Vec::new(), packs_bytes, packs })
    }

    /// What the snapshot before holds of an attachment.
    ///
    /// # Errors
    /// `Corrupt` when what should hold it is damaged; `Invalid` for a key that is too long.
    pub async fn before(&self, record: &str, attachment: &str) -> Result<Option<StoredAttachment>> {
        let Some(parent) = &self.parent else { return Ok(None) };
        let key = key_of(record, attachment)?;
        let entry = newest_entry(&self.store.segments, &self.stream, &parent.segments, key.as_bytes()).await?;
        entry.and_then(|entry| entry.body).map(|body| StoredAttachment::from_body(&body)).transpose()
    }

    /// A place for one content.
    pub fn sink(&self) -> ContentSink<'_> {
        ContentSink(ContentWriter::new(&self.packer))
    }

    /// Takes an attachment whose content was taken in.
    ///
    /// # Errors
    /// Those of storing chunks and records.
    pub async fn add(&mut self, attachment: NewAttachment, content: TakenContent) -> Result<()> {
        let draft = content.0.shortened(&self.packer).await?;
        self.waiting.push((attachment, draft));
        self.push_resolved().await
    }

    /// Keeps an attachment as it is.
    ///
    /// # Errors
    /// Those of [`StreamWriter::push`].
    pub async fn keep(&mut self, attachments: &[StoredAttachment]) -> Result<()> {
        self.push(attachments).await
    }

    /// Takes attachments away, by record and id.
    ///
    /// # Errors
    /// Those of [`StreamWriter::push`].
    pub async fn remove(&mut self, keys: &[(String, String)]) -> Result<()> {
        let mut draft = PageDraft::default();
        keys.iter().for_each(|(record, attachment)| draft.add(record, attachment, None));
        self.writer.push(draft.page()).await.map(drop)
    }

    /// What was read and written so far, packs included.
    pub fn figures(&self) -> StreamFigures {
        let figures = self.writer.figures();
        StreamFigures { bytes_stored: figures.bytes_stored + self.packs_bytes, ..figures }
    }

    /// Makes everything taken so far durable.
    ///
    /// # Errors
    /// Those of storing chunks and records; `Retry` when a pack with some of the chunks is being collected.
    pub async fn checkpoint(&mut self) -> Result<AttachmentsCheckpoint> {
        self.settle().await?;
        let stream = self.writer.checkpoint().await?;
        Ok(AttachmentsCheckpoint { stream, packs_bytes: self.packs_bytes, packs: self.packs.clone() })
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// Those of [`AttachmentsWriter::checkpoint`] and [`StreamWriter::finish`].
    pub async fn finish(mut self, end: StreamEnd) -> Result<FinishedStream> {
        self.settle().await?;
        let mut finished = Box::pin(self.writer.finish(end)).await?;
        finished.figures.bytes_stored += self.packs_bytes;
        finished.packs = self.packs;
        Ok(finished)
    }

    /// Closes the open pack, so that nothing waits, and makes sure that the packs stay which the records name.
    async fn settle(&mut self) -> Result<()> {
        self.packer.flush().await?;
        self.push_resolved().await?;
        if !self.waiting.is_empty() {
            let message = "attachments were left without a place: the writer was stopped in the middle";
            return Err(Error::new(ErrorKind::Bug, message));
        }
        let mut new = self.packer.take_used().await;
        new.retain(|pack| !self.packs.contains(pack));
        self.store.chunks.confirm(&new).await?;
        self.packs.extend(new);
        Ok(())
    }

    /// Writes the records of the attachments whose packs are all stored.
    async fn push_resolved(&mut self) -> Result<()> {
        let mut ready = Vec::new();
        let mut waiting = Vec::new();
        for (attachment, draft) in std::mem::take(&mut self.waiting) {
            match draft.resolved() {
                Some(content) => ready.push(StoredAttachment {
                    record: attachment.record,
                    attachment: attachment.attachment,
                    name: attachment.name,
                    media_type: attachment.media_type,
                    size_bytes: draft.size_bytes,
                    version: attachment.version,
                    digest: draft.digest.to_hex().to_string(),
                    content,
                }),
                None => waiting.push((attachment, draft)),
            }
        }
        self.waiting = waiting;
        self.packs_bytes = self.packer.bytes_stored().await;
        self.push(&ready).await
    }

    async fn push(&mut self, attachments: &[StoredAttachment]) -> Result<()> {
        if attachments.is_empty() {
            return Ok(());
        }
        let mut draft = PageDraft::default();
        for attachment in attachments {
            draft.add(&attachment.record, &attachment.attachment, Some(&attachment.to_body()?));
        }
        self.writer.push(draft.page()).await.map(drop)
    }
}

/// A page of records of an attachments stream, being written.
#[derive(Default)]
struct PageDraft {
    text: Vec<u8>,
    records: Vec<RecordSlice>,
}

impl PageDraft {
    fn add(&mut self, record: &str, attachment: &str, body: Option<&[u8]>) {
        let keys = [record, attachment].map(|text| self.append(serde_json::Value::from(text).to_string().as_bytes()));
        let body_range = self.append(body.unwrap_or(b"{}"));
        self.records.push(RecordSlice {
            body: body_range,
            key: KeySlices::Many(Box::new(keys)),
            is_deletion: body.is_none(),
        });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        start..self.text.len() as u32
    }

    fn page(self) -> Page {
        Page {
            body: Bytes::from(self.text),
            records: self.records,
            attachments: Vec::new(),
            position: None,
            progress: PageProgress::default(),
        }
    }
}
