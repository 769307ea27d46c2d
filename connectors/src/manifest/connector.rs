//! A manifest's connector: checks, discovers, and reads streams slice by slice.

use std::{collections::BTreeSet, sync::Arc};

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
    stream::{Stream, primary_key},
    template::Template,
    write::Writing,
};
use crate::{
    AttachmentBody, AttachmentRequest, Catalog, Connector, Deletions, Error, ErrorKind, Page, Problem, ReadEnd,
    ReadRequest, RecordWriter, Result, StreamSpec, WriteRequest, WrittenRecord,
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
    pub(crate) stream: Entry,
    /// Asked of the settings.
    pub(crate) condition: Option<Template>,
}

/// A stream, or what is wrong with it.
#[derive(Debug)]
pub(crate) enum Entry {
    Sound(Arc<Stream>),
    /// It is in the catalog, and reading it fails: the other streams are read without it.
    Broken(Arc<Broken>),
}

/// A stream that the manifest has and that cannot be read.
#[derive(Debug)]
pub(crate) struct Broken {
    name: String,
    primary_key: Vec<Vec<String>>,
    problems: Vec<Problem>,
}

impl Entry {
    /// Reads a stream. A problem of one that has a name is its own.
    fn load(view: &View<'_>) -> Take<Self> {
        let (loader, before) = (view.loader(), view.loader().count());
        let skip = match Stream::load(view) {
            Ok(stream) => return Ok(Self::Sound(stream)),
            Err(skip) => skip,
        };
        let Some(name) = view.field("name").and_then(|name| name.as_text().cloned()).filter(|name| !name.is_empty())
        else {
            return Err(skip);
        };
        if loader.count() == before {
            // What it shares with another stream was told there.
            view.problem("a stream that this one is read for, or is read with, cannot be read");
        }
        let primary_key = primary_key(view).unwrap_or_default();
        let problems = loader.set_aside(before);
        Ok(Self::Broken(Arc::new(Broken { name: name.to_string(), primary_key, problems })))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Sound(stream) => &stream.name,
            Self::Broken(broken) => &broken.name,
        }
    }

    /// The stream, if it can be read.
    pub(crate) fn sound(&self) -> Option<&Arc<Stream>> {
        match self {
            Self::Sound(stream) => Some(stream),
            Self::Broken(_) => None,
        }
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Sound(_) => &[],
            Self::Broken(broken) => &broken.problems,
        }
    }
}

impl Broken {
    /// As the catalog has it, so that nobody takes it for a stream that there is not.
    fn describe(&self) -> StreamSpec {
        StreamSpec {
            name: self.name.clone(),
            primary_key: self.primary_key.clone(),
            cursor_field: Vec::new(),
            json_schema: serde_json::json!({}),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: None,
        }
    }

    fn error(&self) -> Error {
        Error::invalid(format!("the manifest's stream `{}` cannot be read", self.name), self.problems.clone())
    }
}

impl Listed {
    /// Reads a stream, or the streams under a condition.
    pub(crate) fn load(view: &View<'_>) -> Take<Vec<Self>> {
        if view.kind() != "ConditionalStreams" {
            return Ok(vec![Self { stream: Entry::load(view)?, condition: None }]);
        }
        let condition = view.required_template("condition")?;
        let streams: Vec<_> = view.children("streams").iter().map(Entry::load).collect();
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
    /// Those of them that cannot be read.
    broken: Vec<Arc<Broken>>,
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
        let (mut streams, mut broken, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for Listed { stream, condition } in &manifest.streams {
            if !condition.as_ref().map_or(Ok(true), |it| it.is_met(&session.engine, session.scope()))? {
                continue;
            }
            if !names.insert(stream.name().to_owned()) {
                let message = format!("these settings give several streams the name `{}`", stream.name());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            match stream {
                Entry::Sound(stream) => streams.push(Arc::clone(stream)),
                Entry::Broken(stream) => broken.push(Arc::clone(stream)),
            }
        }
        Ok(Self { turns: manifest.groups.turns(), manifest, session, streams, broken, resolved: OnceCell::new() })
    }

    async fn resolved(&self) -> Result<&Resolved> {
        let find = || async {
            let broken = self.broken.iter().map(|broken| broken.name.clone());
            let known = self.streams.iter().map(|stream| stream.name.clone()).chain(broken).collect();
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
        if let Some(broken) = self.broken.iter().find(|broken| broken.name == name) {
            return Err(broken.error());
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
            run.try_first_page().await.map_err(|error| self.session.clean(error.with("stream", name)))?;
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
        let checked = if overrides.is_empty() {
            self.try_streams().await
        } else {
            let session = Arc::new(self.session.with_settings(overrides));
            match Self::new(Arc::clone(&self.manifest), session) {
                Ok(connector) => connector.try_streams().await,
                Err(error) => Err(error),
            }
        };
        checked.map_err(|error| self.session.clean(error))
    }

    async fn discover(&self) -> Result<Catalog> {
        let mut streams = Vec::new();
        for (stream, session) in self.streams().await.map_err(|error| self.session.clean(error))? {
            let described = stream.describe(&session).await;
            streams.push(described.map_err(|error| session.clean(error.with("stream", stream.name.clone())))?);
        }
        // Where the manifest is wrong, its streams are there all the same: a backup without them is not whole.
        streams.extend(self.broken.iter().map(|broken| broken.describe()));
        Ok(Catalog { streams })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let found = self.stream(&request.stream.name).await;
        let (stream, session) = found.map_err(|error| self.session.clean(error))?;
        let name = stream.name.clone();
        let in_stream = |error: Error| self.session.clean(error.with("stream", name.clone()));
        let concurrency = self.concurrency().map_err(in_stream)?;
        let _turns = self.turns.wait(&name, &pages).await.map_err(in_stream)?;
        let (stream, state) = stream.for_state(&session, request.state).map_err(in_stream)?;
        let state = stream.migrated(&session, state).map_err(in_stream)?;
        let run = Run::new(stream, session, state, request.position, concurrency).map_err(in_stream)?;
        let mut end = run.read(pages).await.map_err(in_stream)?;
        end.failed_items = end.failed_items.iter().map(|failed| self.session.clean_item(failed)).collect();
        Ok(end)
    }

    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let found = self.stream(&request.stream.name).await;
        let (stream, session) = found.map_err(|error| self.session.clean(error))?;
        let in_stream = |error: Error| self.session.clean(error.with("stream", stream.name.clone()));
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
        found.map_err(|error| self.session.clean(error.with("stream", stream.name.clone())))
    }

    async fn write(&self, stream: &StreamSpec, request: &WriteRequest) -> Result<WrittenRecord> {
        let (stream, writing) = self.writing(&stream.name)?;
        let written = writing.write(&self.session, stream, request).await;
        written.map_err(|error| self.session.clean(error.with("stream", stream.name.clone())))
    }
}
