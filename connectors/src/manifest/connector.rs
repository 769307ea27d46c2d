//! A manifest's connector: checks, discovers, and reads streams slice by slice.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OnceCell, mpsc};

use super::{
    call_rate::CallRates,
    check::{Check, Checked},
    dynamic::{self, DynamicStreams, Resolved},
    groups::{Groups, Turns},
    load::{Take, View},
    run::Run,
    session::Session,
    stream::Stream,
    template::Template,
    write::Writing,
};
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
    pub(crate) streams: Vec<Listed>,
    /// Templates of streams that are found out later.
    pub(crate) dynamic: Vec<DynamicStreams>,
    /// Streams that `check` tries.
    pub(crate) checked: Checked,
    /// How many slices may be read at once, and the most that ever may.
    pub(crate) concurrency: (Option<Template>, Option<Template>),
    /// Streams that are read one after the other.
    pub(crate) groups: Groups,
    /// How many requests are allowed.
    pub(crate) call_rates: Option<CallRates>,
    /// How many reports the product may be making at once; one when the manifest does not say.
    pub(crate) jobs_max: Option<Template>,
}

/// A stream of the manifest, and whether it is there.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) stream: Arc<Stream>,
    /// Asked of the settings.
    pub(crate) condition: Option<Template>,
}

impl Listed {
    /// Reads a stream, or the streams under a condition.
    pub(crate) fn load(view: &View<'_>) -> Take<Vec<Self>> {
        if view.kind() != "ConditionalStreams" {
            return Ok(vec![Self { stream: Stream::load(view)?, condition: None }]);
        }
        let condition = view.required_template("condition")?;
        let streams: Vec<_> = view.children("streams").iter().map(Stream::load).collect();
        let streams = streams.into_iter().collect::<Take<Vec<_>>>()?.into_iter();
        Ok(streams.map(|stream| Self { stream, condition: Some(condition.clone()) }).collect())
    }
}

/// A manifest bound to one person's settings.
pub(crate) struct ManifestConnector {
    manifest: Arc<Manifest>,
    session: Arc<Session>,
    /// The streams that the manifest names and these settings want.
    streams: Vec<Arc<Stream>>,
    turns: Turns,
    /// The streams that are there only with settings or after a request, found at the first need.
    resolved: OnceCell<Resolved>,
}

/// A stream with the session that its templates run in.
type Bound = (Arc<Stream>, Arc<Session>);

impl ManifestConnector {
    /// Binds `manifest` to the settings in `session`.
    ///
    /// # Errors
    /// As for templates; `Invalid` when the settings want two streams of one name.
    pub(crate) fn new(manifest: Arc<Manifest>, session: Arc<Session>) -> Result<Self> {
        let mut streams: Vec<Arc<Stream>> = Vec::with_capacity(manifest.streams.len());
        for Listed { stream, condition } in &manifest.streams {
            let is_there = condition.as_ref().map_or(Ok(true), |it| it.is_met(&session.engine, session.scope()))?;
            if is_there && streams.iter().any(|other| other.name == stream.name) {
                let message = format!("these settings give several streams the name `{}`", stream.name);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            streams.extend(is_there.then(|| Arc::clone(stream)));
        }
        Ok(Self { turns: manifest.groups.turns(), manifest, session, streams, resolved: OnceCell::new() })
    }

    async fn resolved(&self) -> Result<&Resolved> {
        let find = || async {
            let known = self.streams.iter().map(|stream| stream.name.clone()).collect();
            dynamic::resolve(&self.manifest.dynamic, &self.session, &known).await
        };
        self.resolved.get_or_try_init(find).await
    }

    /// Every stream in order.
    async fn streams(&self) -> Result<Vec<Bound>> {
        let written = self.streams.iter().map(|stream| (Arc::clone(stream), Arc::clone(&self.session)));
        let mut all: Vec<Bound> = written.collect();
        if !self.manifest.dynamic.is_empty() {
            let resolved = self.resolved().await?;
            all.extend(resolved.streams.iter().map(|(_, stream)| (Arc::clone(stream), Arc::clone(&resolved.session))));
        }
        Ok(all)
    }

    /// The stream called `name`. No request is sent for one that the manifest names.
    async fn stream(&self, name: &str) -> Result<Bound> {
        if let Some(stream) = self.streams.iter().find(|stream| stream.name == name) {
            return Ok((Arc::clone(stream), Arc::clone(&self.session)));
        }
        let all = self.streams().await?;
        if let Some(found) = all.iter().find(|(stream, _)| stream.name == name) {
            return Ok(found.clone());
        }
        let names: Vec<&str> = all.iter().map(|(stream, _)| stream.name.as_str()).collect();
        Err(Error::new(ErrorKind::Invalid, format!("there is no stream `{name}`; there are {}", names.join(", "))))
    }

    /// Tries the connection with the settings as they are.
    async fn try_streams(&self) -> Result<()> {
        for (stream, session) in self.checked().await? {
            let name = stream.name.clone();
            let run = Run::new(stream, session, None, None, 1)?;
            run.try_first_page().await.map_err(|error| self.session.told(error).with("stream", name))?;
        }
        Ok(())
    }

    /// The streams to try a connection with.
    async fn checked(&self) -> Result<Vec<Bound>> {
        let mut chosen = Vec::new();
        match &self.manifest.checked.check {
            Check::Streams { names, dynamic } => {
                for name in names {
                    chosen.push(self.stream(name).await?);
                }
                for (name, count) in dynamic {
                    if !self.manifest.dynamic.iter().any(|template| template.name == *name) {
                        let message = format!("`check` names the dynamic stream `{name}`, which there is not");
                        return Err(Error::new(ErrorKind::Invalid, message));
                    }
                    let resolved = self.resolved().await?;
                    let of_template = resolved.streams.iter().filter(|(template, _)| template == name);
                    let wanted = of_template.take(count.unwrap_or(usize::MAX));
                    chosen.extend(wanted.map(|(_, stream)| (Arc::clone(stream), Arc::clone(&resolved.session))));
                }
            }
            Check::Any { count, tries } => {
                chosen = self.streams().await?;
                if chosen.is_empty() {
                    let message = "the product and the settings give no stream at all: there is nothing to read";
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
                chosen.truncate(if *tries { *count } else { 0 });
            }
        }
        Ok(chosen)
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
        let overrides = &self.manifest.checked.overrides;
        if overrides.is_empty() {
            return self.try_streams().await;
        }
        let session = Arc::new(self.session.with_settings(overrides));
        Self::new(Arc::clone(&self.manifest), session)?.try_streams().await
    }

    async fn discover(&self) -> Result<Catalog> {
        let mut streams = Vec::new();
        for (stream, session) in self.streams().await.map_err(|error| self.session.told(error))? {
            let described = stream.describe(&session).await;
            streams.push(described.map_err(|error| self.session.told(error).with("stream", stream.name.clone()))?);
        }
        Ok(Catalog { streams })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let (stream, session) = self.stream(&request.stream.name).await?;
        let name = stream.name.clone();
        let in_stream = |error: Error| self.session.told(error).with("stream", name.clone());
        let concurrency = self.concurrency()?;
        let _turns = self.turns.wait(&name, &pages).await.map_err(in_stream)?;
        let (stream, state) = stream.for_state(&session, request.state).map_err(in_stream)?;
        let state = stream.migrated(&session, state).map_err(in_stream)?;
        let run = Run::new(stream, session, state, request.position, concurrency).map_err(in_stream)?;
        run.read(pages).await.map_err(in_stream)
    }

    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let (stream, session) = self.stream(&request.stream.name).await?;
        let in_stream = |error: Error| self.session.told(error).with("stream", stream.name.clone());
        match &stream.attachments {
            Some(attachments) => attachments.open(&session, &stream, &request).await.map_err(in_stream),
            None => Err(in_stream(Error::new(ErrorKind::Invalid, "the manifest no longer names attachments"))),
        }
    }

    fn writer(&self) -> Option<&dyn RecordWriter> {
        self.streams.iter().any(|stream| stream.writing.is_some()).then_some(self)
    }
}

impl ManifestConnector {
    fn writing(&self, name: &str) -> Result<(&Stream, &Writing)> {
        let stream = self.streams.iter().find(|stream| stream.name == name).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("there is no stream `{name}` that can be written"))
        })?;
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
        found.map_err(|error| self.session.told(error).with("stream", stream.name.clone()))
    }

    async fn write(&self, stream: &StreamSpec, request: &WriteRequest) -> Result<WrittenRecord> {
        let (stream, writing) = self.writing(&stream.name)?;
        let written = writing.write(&self.session, stream, request).await;
        written.map_err(|error| self.session.told(error).with("stream", stream.name.clone()))
    }
}
