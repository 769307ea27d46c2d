//! The conformance run: does a connector keep the contract, as far as that shows from outside?
//!
//! Every stream is read plainly, and then again and again with answers spoilt on the way: pauses asked for, failures, bodies
//! cut short, the same page for ever, errors in good answers, refused credentials, fields and records that come late or
//! twice, a body without end. Some attachments are opened, and where it is wanted records are written. What is seen is held against the MUST lines of `connectors/README.md`, by their numbers.

mod attached;
mod lines;
mod plain;
mod reading;
mod spoilt;
mod written;

use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::{Value, json};

pub use self::lines::{Grade, Line, Report};
use self::{
    lines::Ledger,
    reading::{Outcome, Reading},
};
use crate::{
    CredentialStore, Error, ErrorKind, Integration, Link, Result, Settings, StreamSpec,
    http::{
        AddressGuard, HttpClientBuilder, RateBudget, Wire,
        injector::{Fault, Injector},
        tape::Secrets,
    },
};

/// Streams that are tried at a time: most of their time is waiting.
const STREAMS_AT_A_TIME: usize = 8;

/// A plain reading with more pages than this is taken for one without end.
const PAGES_MAX: usize = 100_000;

/// Makes the wire of one reading: the network, or a recording from its start.
pub type MakeWire = dyn Fn() -> Result<Wire> + Send + Sync;

/// A connector with the settings to try it with.
pub struct Subject {
    /// What it is.
    pub integration: Arc<dyn Integration>,
    /// The person's settings; valid.
    pub settings: Value,
    /// Where answers come from; asked once for each reading.
    pub wire: Box<MakeWire>,
    /// Which addresses may be reached.
    pub guard: AddressGuard,
    /// Where rotated tokens are kept, for all readings.
    pub credentials: Arc<dyn CredentialStore>,
    /// The streams to try; empty for all.
    pub streams: Vec<String>,
    /// Whether records may be made and changed in the product.
    pub may_write: bool,
}

/// Tries a connector.
///
/// # Errors
/// When it cannot be tried at all: settings that are not valid, streams that cannot be listed or are not there, a recording that cannot be
/// read.
pub async fn run(subject: &Subject) -> Result<Report> {
    let trial = Trial::new(subject);
    trial.unset_settings();
    let connector = trial.connect(&trial.watcher(None))?;
    let catalog = connector.discover().await?;
    trial.names(&catalog.streams);
    trial.references(&catalog.streams);
    let known: Vec<&str> = catalog.streams.iter().map(|stream| stream.name.as_str()).collect();
    if let Some(unknown) = subject.streams.iter().find(|name| !known.contains(&name.as_str())) {
        let message = format!("there is no stream `{unknown}`; there are: {}", known.join(", "));
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let chosen = |stream: &StreamSpec| subject.streams.is_empty() || subject.streams.contains(&stream.name);
    let streams: Vec<Arc<StreamSpec>> = catalog.streams.into_iter().filter(chosen).map(Arc::new).collect();
    let names = streams.iter().map(|stream| stream.name.clone()).collect();
    let tried = futures::stream::iter(streams.into_iter().map(|stream| trial.stream(stream)));
    tried.buffer_unordered(STREAMS_AT_A_TIME).collect::<Vec<()>>().await;
    Ok(trial.ledger.report(&subject.integration.spec().name, names))
}

/// One connector on trial.
struct Trial<'s> {
    subject: &'s Subject,
    ledger: Ledger,
    /// The secret settings' values.
    secrets: Vec<String>,
    budget: RateBudget,
}

impl<'s> Trial<'s> {
    fn new(subject: &'s Subject) -> Self {
        let secrets = Secrets::of_settings(&subject.integration.spec().settings_schema, &subject.settings);
        let secrets = secrets.values().into_iter().map(|(_, value)| value).collect();
        Self { subject, ledger: Ledger::default(), secrets, budget: RateBudget::without_pauses() }
    }

    /// Watches one reading, and spoils it.
    fn watcher(&self, fault: Option<(String, Fault)>) -> Arc<Injector> {
        Injector::new(fault, self.secrets.clone())
    }

    fn connect(&self, watcher: &Arc<Injector>) -> Result<Arc<dyn crate::Connector>> {
        self.connect_with(self.subject.settings.clone(), watcher)
    }

    fn connect_with(&self, settings: Value, watcher: &Arc<Injector>) -> Result<Arc<dyn crate::Connector>> {
        let wire = (self.subject.wire)()?.injecting(Arc::clone(watcher));
        let http = HttpClientBuilder { wire, ..HttpClientBuilder::new(self.subject.guard.clone()) }.build()?;
        // All readings of a product together keep to its rates.
        let http = if http.budget().is_none() { http.with_budget(self.budget.clone()) } else { http };
        let credentials = Arc::clone(&self.subject.credentials);
        self.subject.integration.connect(Link { settings: Settings::new(settings), http, credentials })
    }

    /// Line 5: every missing setting is named at once, and nothing is sent.
    fn unset_settings(&self) {
        let schema = &self.subject.integration.spec().settings_schema;
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if required.is_empty() {
            return;
        }
        let watcher = self.watcher(None);
        let Err(error) = self.connect_with(json!({}), &watcher) else {
            return self.ledger.broken(5, "it connects without the settings that it requires");
        };
        let named = |name: &&str| error.problems().iter().any(|problem| problem.place == format!("/{name}"));
        let unnamed: Vec<&str> = required.iter().copied().filter(|name| !named(name)).collect();
        let is_silent = watcher.seen().is_empty();
        let is_kept = error.kind() == ErrorKind::Invalid && unnamed.is_empty() && is_silent;
        self.ledger.note(
            5,
            is_kept,
            &format!(
                "without settings: {}, {} of {} required named, {} requests",
                error.kind().code(),
                required.len() - unnamed.len(),
                required.len(),
                watcher.seen().len(),
            ),
        );
    }

    /// Line 8.
    fn names(&self, streams: &[StreamSpec]) {
        let mut names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
        names.sort_unstable();
        let twice: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        let seen =
            if twice.is_empty() { format!("{} names", names.len()) } else { format!("twice: {}", twice.join(", ")) };
        self.ledger.note(8, twice.is_empty(), &seen);
    }

    async fn stream(&self, stream: Arc<StreamSpec>) {
        let watcher = self.watcher(None);
        let plain = self.read(&watcher, &stream, None, None).await;
        if let Some(place) = watcher.unrecorded() {
            return self.ledger.unrecorded(format!("{}: the recording has no answer to {place}", stream.name));
        }
        let Outcome::Ended(end) = &plain.outcome else {
            let message = format!("{}: it cannot be read at all: {}", stream.name, plain.outcome.told());
            return self.ledger.broken(18, &message);
        };
        self.look_at(&stream, &plain, &watcher);
        self.read_again(&stream, &plain, end).await;
        self.go_away(&stream, &plain).await;
        self.spoil(&stream, &plain, &watcher).await;
        self.attachments(&stream, &plain).await;
        self.writing(&stream, &plain).await;
    }

    /// One reading, whatever comes of it.
    async fn read(
        &self,
        watcher: &Arc<Injector>,
        stream: &Arc<StreamSpec>,
        state: Option<Value>,
        position: Option<Value>,
    ) -> Reading {
        self.read_at_most(watcher, stream, (state, position), PAGES_MAX).await
    }

    /// One reading that is broken off after `pages_max` pages; an error's words are looked through for secrets.
    async fn read_at_most(
        &self,
        watcher: &Arc<Injector>,
        stream: &Arc<StreamSpec>,
        (state, position): (Option<Value>, Option<Value>),
        pages_max: usize,
    ) -> Reading {
        let connector = match self.connect(watcher) {
            Ok(connector) => connector,
            Err(error) => return Reading::failed(error),
        };
        let reading = reading::read(connector, Arc::clone(stream), state, position, pages_max).await;
        self.secrets_in(&stream.name, &reading, watcher);
        reading
    }

    /// Lines 2 and 3.
    fn secrets_in(&self, stream: &str, reading: &Reading, watcher: &Injector) {
        if let Outcome::Panicked = &reading.outcome {
            self.ledger.broken(3, &format!("{stream}: a read panicked"));
        } else {
            self.ledger.kept(3, "no read panicked");
        }
        let words = match &reading.outcome {
            Outcome::Failed(error) => format!("{error} {error:?}"),
            Outcome::Ended(end) => {
                end.failed_items.iter().map(|item| format!("{} {}", item.item, item.reason)).collect()
            }
            Outcome::Panicked | Outcome::Endless(_) => return,
        };
        if !words.is_empty() {
            self.secrets_among(stream, &words, watcher);
        }
    }

    /// Line 2, of the words of an error.
    fn secrets_among(&self, stream: &str, words: &str, watcher: &Injector) {
        let guarded = watcher.guarded();
        let credentials = guarded.iter().filter_map(|value| value.split_whitespace().last());
        let mut live = self.secrets.iter().map(String::as_str).chain(credentials).filter(|secret| secret.len() >= 4);
        if live.any(|secret| words.contains(secret)) {
            self.ledger.broken(2, &format!("{stream}: an error shows a secret"));
        } else {
            self.ledger.kept(2, "errors were looked through, also where the product repeats the secrets");
        }
    }
}
