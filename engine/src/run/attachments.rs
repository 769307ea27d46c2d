//! The attachments of one stream while it is read: those that changed are downloaded, a bounded number at a time, straight
//! into the store.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use listbackup_connectors::{Attachment, AttachmentRequest, FailedItem, Page, RecordSlice, ResumeAt};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::{
    session::{Session, StreamPlan},
    tries::Tries,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::run::StreamState as ReadState,
    snapshot::{
        AttachmentsCheckpoint, AttachmentsWriter, ContentSink, FinishedStream, NewAttachment, PackId, RecordKey,
        SegmentId, StoredAttachment, StreamEnd, StreamFigures, StreamState, TakenContent, attachments_stream,
    },
};

/// Longest id of an attachment, in bytes.
const ID_BYTES_MAX: usize = 1024;
/// Failed attachments that are told one by one.
const TOLD_MAX: usize = 100;

/// Attachments that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failures {
    told: Vec<FailedItem>,
    untold: u64,
    /// True when a later read may bring one of them, which it does only from where this one began.
    may_come: bool,
}

impl Failures {
    fn add(&mut self, wanted: &Wanted, error: &Error) {
        self.may_come |= error.kind() != ErrorKind::Invalid;
        if self.told.len() == TOLD_MAX {
            self.untold += 1;
            return;
        }
        let item = format!("attachment {} of record {}", wanted.attachment.id, wanted.record);
        self.told.push(FailedItem { item, reason: error.to_string() });
    }

    fn items(&self) -> Vec<FailedItem> {
        let rest = (self.untold > 0).then(|| FailedItem {
            item: format!("{} more attachments", self.untold),
            reason: "the first failures are told above".to_owned(),
        });
        self.told.iter().cloned().chain(rest).collect()
    }
}

/// What a checkpoint keeps of a stream's attachments.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentsState {
    writer: AttachmentsCheckpoint,
    failures: Failures,
}

impl AttachmentsState {
    /// The segments that it relies on.
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.writer.segments()
    }

    /// The packs that it relies on, beside those of the parent's attachments.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.writer.packs()
    }
}

/// The attachments of a stream being read.
pub(super) struct Attachments<'a> {
    session: &'a Session,
    plan: &'a StreamPlan,
    stream: String,
    parent: Option<StreamState>,
    /// Made when the first attachment comes, or when the snapshot before has any.
    writer: Option<Box<AttachmentsWriter>>,
    failures: Failures,
}

/// An attachment of a page.
struct Wanted {
    record: String,
    attachment: Attachment,
    before: Option<StoredAttachment>,
}

/// Why a download did not end.
enum Fault {
    /// The product's, or the way there.
    Product(Error),
    /// The store's.
    Store(Error),
}

impl<'a> Attachments<'a> {
    /// For a stream, from where an earlier attempt stopped.
    pub(super) async fn open(
        session: &'a Session,
        plan: &'a StreamPlan,
        resume: Option<AttachmentsState>,
    ) -> Result<Self> {
        let stream = attachments_stream(&plan.spec.name);
        let parent = session.parent_state(&stream).cloned();
        let mut attachments = Self { session, plan, stream, parent, writer: None, failures: Failures::default() };
        if let Some(AttachmentsState { writer, failures }) = resume {
            attachments.failures = failures;
            attachments.begin(Some(writer)).await?;
        }
        Ok(attachments)
    }

    async fn begin(&mut self, resume: Option<AttachmentsCheckpoint>) -> Result<()> {
        if self.writer.is_none() {
            let (store, owner, run_id) = (&self.session.source_store, &self.plan.spec, self.session.claim.run.run_id);
            let writer = AttachmentsWriter::open(store, owner, run_id, self.parent.clone(), resume).await?;
            self.writer = Some(Box::new(writer));
            let expected = self.parent.as_ref().map(|parent| parent.records);
            self.session.progress.stream(&self.stream, |stream| {
                (stream.state, stream.expected) = (ReadState::Reading, expected);
            });
        }
        Ok(())
    }

    /// True when this page says anything about attachments: its records' keys are needed then.
    pub(super) fn concerns(&self, page: &Page) -> bool {
        let may_lose = |record: &RecordSlice| record.is_deletion || self.plan.state.is_some();
        !page.attachments.is_empty() || (self.parent.is_some() && page.records.iter().any(may_lose))
    }

    /// Takes the attachments of a page whose records have these keys; true beside those that it deletes.
    ///
    /// # Errors
    /// Those of the store. Attachments that cannot be read are noted.
    pub(super) async fn take(&mut self, page: Vec<Attachment>, keys: &[(RecordKey, bool)]) -> Result<()> {
        self.begin(None).await?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let records: Vec<String> = keys.iter().map(|(key, _)| key.to_string()).collect();
        let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut wanted = Vec::new();
        for attachment in page {
            let Some(record) = records.get(attachment.record as usize) else { continue };
            named.entry(record).or_default().push(attachment.id.clone());
            let mut one = Wanted { record: record.clone(), attachment, before: None };
            if one.attachment.id.len() > ID_BYTES_MAX {
                let message = format!("an attachment's id has more than {ID_BYTES_MAX} bytes");
                self.failures.add(&one, &Error::new(ErrorKind::Invalid, message));
                continue;
            }
            match writer.before(record, &one.attachment.id).await {
                Ok(before) => one.before = before,
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    self.failures.add(&one, &error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            wanted.push(one);
        }
        let mut gone = Vec::new();
        for (record, (_, is_deletion)) in records.iter().zip(keys) {
            // A full read finds out at its end what else is gone.
            if !is_deletion && self.plan.state.is_none() {
                continue;
            }
            let had = writer.ids_before(record).await?;
            let has = named.get(record.as_str());
            let lost = had.into_iter().filter(|id| !has.is_some_and(|has| has.contains(id)));
            gone.extend(lost.map(|id| (record.clone(), id)));
        }
        let (kept, changed): (Vec<_>, Vec<_>) = wanted.into_iter().partition(Wanted::is_unchanged);
        let kept: Vec<StoredAttachment> = kept.into_iter().filter_map(Wanted::into_before).collect();
        writer.keep(&kept).await?;
        writer.remove(&gone).await?;
        self.download(changed).await
    }

    async fn download(&mut self, changed: Vec<Wanted>) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let side_by_side = self.session.ctx.settings.downloads_max.max(1);
        let ended: Vec<Ended> = {
            let writer = &**writer;
            let (session, plan) = (self.session, self.plan);
            // Boxed each by itself: else the compiler does not see that the whole may go to another thread.
            let running: Vec<BoxFuture<'_, Ended>> = changed
                .into_iter()
                .map(|wanted| Download { session, plan, wanted }.run_to_end(writer).boxed())
                .collect();
            stream::iter(running).buffer_unordered(side_by_side).collect().await
        };
        for (wanted, outcome) in ended {
            match outcome {
                Ok((content, media_type)) => {
                    let Wanted { record, attachment, .. } = wanted;
                    let new = NewAttachment {
                        record,
                        attachment: attachment.id,
                        name: attachment.name,
                        media_type: attachment.media_type.or(media_type),
                        version: attachment.version,
                    };
                    writer.add(new, content).await?;
                }
                Err(Fault::Store(error)) => return Err(error),
                // The product lists it and says that it is gone: it was deleted in this moment.
                Err(Fault::Product(error)) if error.kind() == ErrorKind::NotFound => {
                    if wanted.before.is_some() && self.plan.state.is_some() {
                        writer.remove(&[(wanted.record, wanted.attachment.id)]).await?;
                    }
                }
                Err(Fault::Product(error)) => {
                    self.failures.add(&wanted, &error);
                    writer.keep(wanted.before.as_slice()).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes everything taken so far durable.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn checkpoint(&mut self) -> Result<Option<Box<AttachmentsState>>> {
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let writer = writer.checkpoint().await?;
        Ok(Some(Box::new(AttachmentsState { writer, failures: self.failures.clone() })))
    }

    /// What was read and written so far.
    pub(super) fn figures(&self) -> Option<StreamFigures> {
        self.writer.as_ref().map(|writer| writer.figures())
    }

    /// The name of the stream that they are in.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// True when an attachment is missing that a later read may bring: the stream's state must not pass it.
    pub(super) fn holds_state(&self) -> bool {
        self.failures.may_come
    }

    /// Ends them, as their stream ended.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn finish(mut self, end: StreamEnd) -> Result<Option<FinishedStream>> {
        if self.parent.is_some() {
            self.begin(None).await?;
        }
        let Some(writer) = self.writer else { return Ok(None) };
        let failed_items = self.failures.items();
        self.session.progress.stream(&self.stream, |stream| stream.failed_items.clone_from(&failed_items));
        writer.finish(StreamEnd { cursor: None, ..end }).await.map(Some)
    }
}

impl Wanted {
    /// True when the product says that the content is the one that is stored.
    fn is_unchanged(&self) -> bool {
        let before = self.before.as_ref().and_then(|before| before.version.as_ref());
        before.is_some() && before == self.attachment.version.as_ref()
    }

    /// The stored content, under the name that it has now.
    fn into_before(self) -> Option<StoredAttachment> {
        let Attachment { name, media_type, .. } = self.attachment;
        self.before.map(|before| StoredAttachment { name, media_type: media_type.or(before.media_type), ..before })
    }
}

/// A download that ended: with its content and the media type that the answer told, or not.
type Ended = (Wanted, Result<(TakenContent, Option<String>), Fault>);

/// One download.
struct Download<'a> {
    session: &'a Session,
    plan: &'a StreamPlan,
    wanted: Wanted,
}

impl Download<'_> {
    async fn run_to_end(self, writer: &AttachmentsWriter) -> Ended {
        let outcome = self.run(writer).await;
        (self.wanted, outcome)
    }

    /// Downloads; a passing fault is tried again, from where it broke off where the product can do that.
    async fn run(&self, writer: &AttachmentsWriter) -> Result<(TakenContent, Option<String>), Fault> {
        let ctx = &self.session.ctx;
        let _turn = self.session.downloads.acquire().await;
        let mut begun = Begun { sink: writer.sink(), validator: None, media_type: None };
        let mut tries = Tries::default();
        loop {
            let error = match self.attempt(writer, &mut begun).await {
                Ok(()) => {
                    let content = begun.sink.finish().await.map_err(Fault::Store)?;
                    return Ok((content, begun.media_type));
                }
                Err(Fault::Product(error)) => error,
                Err(fault) => return Err(fault),
            };
            let Some(wait) = tries.next(&error, &ctx.settings, &*ctx.ports.random) else {
                return Err(Fault::Product(error));
            };
            tracing::info!(%error, id = self.wanted.attachment.id, ?wait, "a download is tried again");
            self.session.claim.pulse.wait(wait);
            sleep(wait).await;
        }
    }

    async fn attempt<'w>(&self, writer: &'w AttachmentsWriter, begun: &mut Begun<'w>) -> Result<(), Fault> {
        let product = |error: listbackup_connectors::Error| Fault::Product(Error::from(error));
        let wrong = |message: String| Fault::Product(Error::new(ErrorKind::Retry, message));
        let resume = begun.validator.take().filter(|_| begun.sink.size_bytes() > 0);
        let resume = resume.map(|validator| ResumeAt { offset_bytes: begun.sink.size_bytes(), validator });
        let request = AttachmentRequest {
            stream: self.plan.spec.clone(),
            locator: self.wanted.attachment.locator.clone(),
            resume,
        };
        let mut body = self.session.connector.open_attachment(request).await.map_err(product)?;
        self.session.progress.add(0, 1, 0);
        if body.offset_bytes != begun.sink.size_bytes() {
            if body.offset_bytes != 0 {
                return Err(wrong("the product sent another part than it was asked for".to_owned()));
            }
            begun.sink = writer.sink();
        }
        begun.media_type = body.media_type.take();
        let deadline = self.session.ctx.settings.page_deadline;
        loop {
            let piece = timeout(deadline, body.bytes.next()).await;
            match piece.map_err(|_| wrong("nothing came within the page deadline".to_owned()))? {
                None => break,
                Some(piece) => {
                    let piece = match piece {
                        Ok(piece) => piece,
                        Err(error) => {
                            begun.validator = body.validator;
                            return Err(product(error));
                        }
                    };
                    self.session.progress.add(piece.len() as u64, 0, 0);
                    begun.sink.push(&piece).await.map_err(Fault::Store)?;
                }
            }
        }
        match self.wanted.attachment.size_bytes {
            Some(size) if size != begun.sink.size_bytes() => {
                let message = format!("{} bytes came instead of {size}", begun.sink.size_bytes());
                begun.sink = writer.sink();
                Err(wrong(message))
            }
            _ => Ok(()),
        }
    }
}

/// A download under way.
struct Begun<'w> {
    sink: ContentSink<'w>,
    validator: Option<String>,
    media_type: Option<String>,
}
