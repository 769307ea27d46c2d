//! Restoring into another data directory, or a bucket: the snapshot is read like a product, so that the copy is a snapshot as any other,
//! sealed under the other store's keys; a second copy stores only what differs.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::BytesMut;
use futures::{StreamExt, TryStreamExt};
use listbackup_engine::{
    self as engine,
    connectors::{
        Attachment, AttachmentBody, AttachmentRequest, Catalog, Connector, Deletions, Error, ErrorKind, Integration,
        KeySlices, Link, Page, PageProgress, ReadEnd, ReadRequest, RecordSlice, Result, SignIn, Spec, StreamSpec,
    },
    snapshot::{
        KeyPart, KeyRange, Record, SnapshotReader, StoredAttachment, attachment_key, attachments_stream, owner_of,
    },
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Args, chosen};
use crate::{
    bucket::{self, Bucket},
    cli::{
        backup::{self, Options},
        data_dir::DataDir,
        exit::Outcome,
        product::Chosen,
    },
    lookup,
    worker::{Worker, WorkerSettings},
};

/// A page takes about so many bytes.
const PAGE_BYTES: usize = 1 << 20;
/// Attachments looked up at a time.
const ATTACHMENTS_PAGE: usize = 100;

/// Runs the command.
pub async fn run(args: &Args, place: &Path) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let found = lookup::snapshot(&worker.ctx, args.snapshot.as_deref().unwrap_or_default()).await?;
    let manifest = &found.loaded.manifest;
    let streams = chosen(args, manifest)?;
    let stored: Arc<dyn Integration> = Arc::new(Stored::new(found.reader(), &manifest.integration));
    let chosen =
        Chosen { name: manifest.integration.clone(), manifest: None, integration: stored.clone(), settings: json!({}) };
    let options = Options {
        source: Some(manifest.source_name.clone()),
        streams: (!args.stream.is_empty()).then_some(streams),
        rate_share_percent: None,
        wants_json: args.json,
    };
    let settings = WorkerSettings { further: Some(stored), ..WorkerSettings::of_a_person() };
    let other = destination(args, place, settings).await?;
    backup::back_up(&other, chosen, options).await
}

/// The store that is copied into.
async fn destination(args: &Args, place: &Path, settings: WorkerSettings) -> Result<Worker, engine::Error> {
    let key_file = args.to_key_file.as_deref();
    if let Some(address) = bucket::address_of(place) {
        let bucket = Bucket { address, key_file, key_option: "--to-key-file", defaults: &args.data_dir.aws };
        return bucket.open_to_write(settings).await;
    }
    if key_file.is_some() {
        let message = "a data directory has its own master key; --to-key-file is for buckets";
        let error = engine::Error::new(engine::ErrorKind::Invalid, message);
        return Err(error.with("data directory", place.display()));
    }
    DataDir::at(place.to_owned()).open_to_write(settings)
}

/// A stored snapshot in the place of its product.
struct Stored {
    spec: Spec,
    reader: SnapshotReader,
}

impl Stored {
    fn new(reader: SnapshotReader, integration: &str) -> Self {
        let spec = Spec {
            name: integration.to_owned(),
            title: integration.to_owned(),
            description: "A snapshot of another store.".to_owned(),
            settings_schema: json!({ "type": "object" }),
            sign_in: SignIn::None,
        };
        Self { spec, reader }
    }
}

impl Integration for Stored {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn connect(&self, _: Link) -> Result<Arc<dyn Connector>> {
        Ok(Arc::new(StoredStreams(self.reader.clone())))
    }
}

struct StoredStreams(SnapshotReader);

#[async_trait]
impl Connector for StoredStreams {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn discover(&self) -> Result<Catalog> {
        let own = self.0.streams().filter(|(name, _)| owner_of(name).is_none());
        let streams = own.map(|(name, state)| StreamSpec {
            name: name.to_owned(),
            primary_key: state.primary_key.clone(),
            cursor_field: Vec::new(),
            json_schema: state.json_schema.clone(),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: None,
        });
        Ok(Catalog { streams: streams.collect() })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let stream = &request.stream;
        let scan = self.0.scan(&stream.name).map_err(|error| unreadable(&error))?;
        let mut scan = std::pin::pin!(scan);
        let mut page = Building::default();
        while let Some(record) = scan.try_next().await.map_err(|error| unreadable(&error))? {
            page.push(&record, stream.primary_key.len())?;
            self.attach(&stream.name, &record, &mut page).await.map_err(|error| unreadable(&error))?;
            if page.body.len() >= PAGE_BYTES {
                send(&pages, std::mem::take(&mut page)).await?;
            }
        }
        send(&pages, page).await?;
        Ok(ReadEnd { is_full: true, ..ReadEnd::default() })
    }

    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let opened = self.open(&request).await.map_err(|error| unreadable(&error))?;
        opened.ok_or_else(|| Error::new(ErrorKind::NotFound, "the snapshot has no such attachment"))
    }
}

impl StoredStreams {
    /// Names the attachments of the page's last record.
    async fn attach(&self, stream: &str, record: &Record, page: &mut Building) -> listbackup_engine::Result<()> {
        let attachments = attachments_stream(stream);
        if self.0.streams().all(|(name, _)| name != attachments) {
            return Ok(());
        }
        let owner = record.key.to_string();
        let mut range = KeyRange { from: Some(attachment_key(&owner, "")?), ..KeyRange::default() };
        loop {
            let found = self.0.browse(&attachments, &range, &[], ATTACHMENTS_PAGE).await?;
            for stored in &found.records {
                let stored = StoredAttachment::from_body(&stored.body)?;
                if stored.record != owner {
                    return Ok(());
                }
                page.attach(stored);
            }
            match found.next {
                Some(last) => range.after = Some(last),
                None => return Ok(()),
            }
        }
    }

    async fn open(&self, request: &AttachmentRequest) -> listbackup_engine::Result<Option<AttachmentBody>> {
        let [record, attachment] = [0, 1].map(|i| request.locator[i].as_str().unwrap_or_default());
        let key = attachment_key(record, attachment)?;
        let Some(stored) = self.0.attachment(&attachments_stream(&request.stream.name), &key).await? else {
            return Ok(None);
        };
        let resumed = request.resume.as_ref().filter(|resume| resume.validator == stored.digest);
        let offset_bytes = resumed.map_or(0, |resume| resume.offset_bytes.min(stored.size_bytes));
        let bytes = self.0.open_attachment(&stored, offset_bytes..stored.size_bytes).await?;
        Ok(Some(AttachmentBody {
            offset_bytes,
            validator: Some(stored.digest),
            media_type: stored.media_type,
            bytes: bytes.map_err(|error| unreadable(&error)).boxed(),
        }))
    }
}

/// A page being filled. The key's values stand after each record: they need not be looked for in its body.
#[derive(Default)]
struct Building {
    body: BytesMut,
    records: Vec<RecordSlice>,
    attachments: Vec<Attachment>,
}

impl Building {
    fn push(&mut self, record: &Record, arity: usize) -> Result<()> {
        let body = self.append(&record.body);
        let parts = record.key.parts().map_err(|error| unreadable(&error))?;
        let values = parts.iter().take(arity).map(KeyPart::to_json);
        let mut key: Vec<_> = values.map(|value| self.append(value.as_bytes())).collect();
        let key = match key.len() {
            0 => KeySlices::None,
            1 => KeySlices::One(key.swap_remove(0)),
            _ => KeySlices::Many(key.into()),
        };
        self.records.push(RecordSlice { body, key, is_deletion: false });
        Ok(())
    }

    /// Hangs an attachment on the last record.
    fn attach(&mut self, stored: StoredAttachment) {
        self.attachments.push(Attachment {
            record: (self.records.len() as u32).saturating_sub(1),
            locator: json!([stored.record, stored.attachment]),
            id: stored.attachment,
            name: stored.name,
            media_type: stored.media_type,
            size_bytes: Some(stored.size_bytes),
            version: stored.version.or(Some(stored.digest)),
        });
    }

    fn append(&mut self, text: &[u8]) -> std::ops::Range<u32> {
        let start = self.body.len() as u32;
        self.body.extend_from_slice(text);
        start..self.body.len() as u32
    }
}

async fn send(pages: &mpsc::Sender<Page>, page: Building) -> Result<()> {
    let progress = PageProgress { bytes_received: page.body.len() as u64, ..PageProgress::default() };
    let page = Page {
        body: page.body.freeze(),
        records: page.records,
        attachments: page.attachments,
        position: None,
        progress,
    };
    pages.send(page).await.map_err(|_| Error::new(ErrorKind::Cancelled, "the reader of the pages went away"))
}

/// What is damaged stays damaged: trying again cannot help.
fn unreadable(error: &listbackup_engine::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("the snapshot cannot be read: {error}"))
}
