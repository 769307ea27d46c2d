//! A manifest's connector: checks, discovers, and reads streams slice by slice.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{call_rate::CallRates, run::Run, session::Session, stream::Stream, template::Template, write::Writing};
use crate::{
    AttachmentBody, AttachmentRequest, Catalog, Connector, Error, ErrorKind, Page, ReadEnd, ReadRequest, RecordWriter,
    Result, StreamSpec, WriteRequest, WrittenRecord,
};

/// Slices read at once when the manifest does not say.
const DEFAULT_CONCURRENCY: usize = 8;
/// Never more slices than this at once.
const MAX_CONCURRENCY: usize = 40;

/// What a manifest says beside its streams.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) streams: Vec<Arc<Stream>>,
    /// Streams that `check` tries.
    pub(crate) checked: Vec<String>,
    /// How many slices may be read at once, and the most that ever may.
    pub(crate) concurrency: (Option<Template>, Option<Template>),
    /// How many requests are allowed.
    pub(crate) call_rates: Option<CallRates>,
    /// How many reports the product may be making at once; one when the manifest does not say.
    pub(crate) jobs_max: Option<Template>,
}

/// A manifest bound to one person's settings.
pub(crate) struct ManifestConnector {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) session: Arc<Session>,
}

impl ManifestConnector {
    fn stream(&self, name: &str) -> Result<&Arc<Stream>> {
        let found = self.manifest.streams.iter().find(|stream| stream.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.manifest.streams.iter().map(|stream| stream.name.as_str()).collect();
            Error::new(ErrorKind::Invalid, format!("there is no stream `{name}`; there are {}", names.join(", ")))
        })
    }

    /// How many slices may be read at once.
    fn concurrency(&self) -> Result<usize> {
        let number = |template: &Option<Template>| -> Result<Option<usize>> {
            let Some(template) = template else { return Ok(None) };
            let text = template.text(&self.session.engine, self.session.scope())?;
            let wrong =
                |_| Error::new(ErrorKind::Invalid, format!("the concurrency level gives `{text}`, which is no number"));
            text.parse().map(Some).map_err(wrong)
        };
        let (wanted, most) = &self.manifest.concurrency;
        let wanted = number(wanted)?.unwrap_or(DEFAULT_CONCURRENCY);
        Ok(wanted.min(number(most)?.unwrap_or(MAX_CONCURRENCY)).clamp(1, MAX_CONCURRENCY))
    }
}

#[async_trait]
impl Connector for ManifestConnector {
    async fn check(&self) -> Result<()> {
        for name in &self.manifest.checked {
            let stream = self.stream(name)?;
            let run = Run::new(Arc::clone(stream), Arc::clone(&self.session), None, None, 1)?;
            run.try_first_page().await.map_err(|error| error.with("stream", name.clone()))?;
        }
        Ok(())
    }

    async fn discover(&self) -> Result<Catalog> {
        let streams = self.manifest.streams.iter().map(|stream| stream.describe(&self.session));
        Ok(Catalog { streams: streams.collect::<Result<_>>()? })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let stream = Arc::clone(self.stream(&request.stream.name)?);
        let name = stream.name.clone();
        let in_stream = |error: Error| error.with("stream", name.clone());
        let concurrency = self.concurrency()?;
        let run = Run::new(stream, Arc::clone(&self.session), request.state, request.position, concurrency)
            .map_err(in_stream)?;
        run.read(pages).await.map_err(in_stream)
    }

    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let stream = self.stream(&request.stream.name)?;
        let in_stream = |error: Error| error.with("stream", stream.name.clone());
        match &stream.attachments {
            Some(attachments) => attachments.open(&self.session, stream, &request).await.map_err(in_stream),
            None => Err(in_stream(Error::new(ErrorKind::Invalid, "the manifest no longer names attachments"))),
        }
    }

    fn writer(&self) -> Option<&dyn RecordWriter> {
        self.manifest.streams.iter().any(|stream| stream.writing.is_some()).then_some(self)
    }
}

impl ManifestConnector {
    fn writing(&self, name: &str) -> Result<(&Stream, &Writing)> {
        let stream = self.stream(name)?;
        let writing = stream.writing.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this stream can only be read: its manifest has no `x-listbackup.write`")
        })?;
        Ok((stream, writing))
    }
}

#[async_trait]
impl RecordWriter for ManifestConnector {
    async fn read_one(&self, stream: &StreamSpec, key: &[String]) -> Result<Option<Bytes>> {
        let (stream, writing) = self.writing(&stream.name)?;
        let found = writing.read_one(&self.session, stream, key).await;
        found.map_err(|error| error.with("stream", stream.name.clone()))
    }

    async fn write(&self, stream: &StreamSpec, request: &WriteRequest) -> Result<WrittenRecord> {
        let (stream, writing) = self.writing(&stream.name)?;
        let written = writing.write(&self.session, stream, request).await;
        written.map_err(|error| error.with("stream", stream.name.clone()))
    }
}
