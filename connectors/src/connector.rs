//! The contract between an integration and the engine. `connectors/README.md` says it in words, with every MUST.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc};

use crate::{
    attachment::{AttachmentBody, AttachmentRequest},
    catalog::{Catalog, Spec, StreamSpec},
    error::{Error, ErrorKind, Result},
    http::{HeaderMap, HttpClient, Response},
    page::Page,
};

/// A connected product: settings and credentials are inside, bound when it was built by its [`Integration`].
///
/// A connector never touches storage, actors or the cloud. It is dropped when its run ends.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Tries the connection with as few requests as possible.
    ///
    /// # Errors
    /// Says what to do: re-authorise, fix this setting, try later.
    async fn check(&self) -> Result<()>;

    /// The streams that can be read.
    ///
    /// # Errors
    /// As for [`Connector::check`], for connectors that must ask the product.
    async fn discover(&self) -> Result<Catalog>;

    /// Reads one stream to its end, sending pages as they arrive; waits while the channel is full.
    ///
    /// Pages of one read go out in an order in which every prefix is a valid place to stop: when all pages up to one
    /// that carries a `position` are durable, a later read may start from that position.
    ///
    /// # Errors
    /// Pages sent before the error stay valid. A closed channel means stop: the error's kind is `Cancelled`.
    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd>;

    /// Opens an attachment that a page of this connector named. Its bytes are never held whole.
    ///
    /// # Errors
    /// `NotFound` when the product says that it is gone; else what to do, as for [`Connector::read`].
    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let message = format!("the stream {} names attachments that its connector cannot open", request.stream.name);
        Err(Error::new(ErrorKind::Bug, message))
    }

    /// Writes records back, for products that let us; [`StreamSpec::write`] says which streams.
    fn writer(&self) -> Option<&dyn RecordWriter> {
        None
    }
}

/// The writing part of a connector: for restoring records, one at a time.
#[async_trait]
pub trait RecordWriter: Send + Sync {
    /// A record as the product holds it now, in the form in which [`Connector::read`] sends it; `None` when there is none,
    /// or when it is deleted. `key` are the values of the primary key as JSON texts.
    ///
    /// # Errors
    /// As for reading; `Invalid` for streams that cannot be written.
    async fn read_one(&self, stream: &StreamSpec, key: &[String]) -> Result<Option<Bytes>>;

    /// Makes or changes a record. To make one again with the same idempotency key returns the record of the first time.
    ///
    /// # Errors
    /// `Retry`, `RateLimited` and `BadAnswer` leave open whether the record was written: the same request may be sent
    /// again. After all others it was not.
    async fn write(&self, stream: &StreamSpec, request: &WriteRequest) -> Result<WrittenRecord>;
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRequest {
    /// Make or change.
    pub action: WriteAction,
    /// A JSON object: all fields of a new record, or those to be changed. It holds no read-only field.
    pub body: Bytes,
    /// The same for each try of one write, and of no other write ever.
    pub idempotency_key: String,
}

/// What to do with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAction {
    /// Make a new one.
    Create,
    /// Change the one with this key: the values of the primary key as JSON texts.
    Update {
        /// The key.
        key: Vec<String>,
    },
}

/// A record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRecord {
    /// The values of its primary key as JSON texts.
    pub key: Vec<String>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The stream, as [`Connector::discover`] described it.
    pub stream: Arc<StreamSpec>,
    /// The state at the end of the last complete read, for an incremental read; `None` reads everything.
    pub state: Option<Value>,
    /// Where an interrupted read of the same run stopped: the `position` of the last page that became durable.
    pub position: Option<Value>,
}

/// What a finished read leaves behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadEnd {
    /// The state from which the next incremental read may start; `None` for streams that have none.
    pub state: Option<Value>,
    /// True when every record that exists now was sent, so that absence means deletion.
    pub is_full: bool,
    /// Parts that could not be read although the stream as a whole could; they are read again next time.
    pub failed_items: Vec<FailedItem>,
    /// Requests sent, retries and sign-in included.
    pub requests: u64,
}

/// A part of a stream that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FailedItem {
    /// Which: a partition or an id, for people.
    pub item: String,
    /// Why, without secrets.
    pub reason: String,
}

/// A kind of product that can be connected: knows its settings, builds connectors.
pub trait Integration: Send + Sync {
    /// Settings, sign-in and texts.
    fn spec(&self) -> &Spec;

    /// Names of its streams, as far as they are known without settings; what [`Connector::discover`] says counts.
    fn streams(&self) -> Vec<String> {
        Vec::new()
    }

    /// Binds settings and credentials.
    ///
    /// # Errors
    /// `Invalid` with every missing or wrong setting at once, each by JSON pointer; no request is sent.
    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>>;
}

/// What a connector gets from outside.
#[derive(Clone)]
pub struct Link {
    /// The person's settings, secrets included; valid against [`Spec::settings_schema`].
    pub settings: Settings,
    /// The client for every request; carries the address guard and the rate budget of the credential.
    pub http: crate::http::HttpClient,
    /// Where rotated tokens are kept.
    pub credentials: Arc<dyn CredentialStore>,
}

/// Settings with secrets inside: no `Debug`, no `Serialize`.
#[derive(Clone)]
pub struct Settings(Arc<Value>);

impl Settings {
    /// Wraps settings; a JSON object.
    pub fn new(value: Value) -> Self {
        Self(Arc::new(value))
    }

    /// Settings that several hold.
    pub(crate) fn shared(value: Arc<Value>) -> Self {
        Self(value)
    }

    /// The settings in clear. Only for building requests.
    pub fn expose(&self) -> &Value {
        &self.0
    }
}

/// Tokens of one OAuth grant.
#[derive(Clone)]
pub struct Tokens {
    /// Sent with requests.
    pub access_token: SecretString,
    /// Exchanged for new tokens; many products allow each one only once.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends, if the product said so.
    pub expires_at: Option<jiff::Timestamp>,
    /// Grows with each rotation; 0 for tokens as they came from the sign-in.
    pub version: u64,
}

/// Keeps the tokens of one credential, shared by everybody who uses it.
///
/// Two implementations: the engine's (sealed in the `api-keys` table, conditional on the version) and
/// [`crate::oauth::MemoryCredentials`] for one-shot commands that bring their tokens along.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// The present tokens, or `None` when the credential was never signed in by OAuth.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    async fn load(&self) -> Result<Option<Tokens>>;

    /// Replaces tokens of version `tokens.version - 1` by `tokens`, durably, before the new access token is used.
    ///
    /// # Errors
    /// `Retry` when another owner rotated first (load again) or the store cannot be reached.
    async fn rotate(&self, tokens: &Tokens) -> Result<()>;

    /// Keeps that the product refused the refresh token of this version, so that no process sends it again.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    async fn refuse(&self, version: u64) -> Result<()>;

    /// True when that was kept of this version, and no person has signed in or changed the settings since.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    async fn is_refused(&self, version: u64) -> Result<bool>;

    /// Waited for by whoever refreshes these tokens, until the new ones are stored: of all owners in this process, a run and a person
    /// who tries the connection, one at a time. The others then find what it stored.
    fn turn(&self) -> Arc<Mutex<()>>;

    /// A place beside this one in the same credential, for products that are signed in to more than once.
    fn place(self: Arc<Self>, place: TokenPlace) -> Arc<dyn CredentialStore>;
}

/// Where in a credential the tokens of one sign-in are, when it is not the one that a person makes in the browser.
#[derive(Clone, Debug)]
pub struct TokenPlace {
    /// Tells the sign-ins of a credential apart; the same from run to run.
    pub name: String,
    /// True for the one sign-in of a credential that goes on with the tokens without a place, which is where they were
    /// kept before there were places. Its first rotation moves them.
    pub inherits: bool,
}

/// Finds the records of an answer: a `CustomRecordExtractor` of a manifest.
pub trait RecordExtractor: Send + Sync {
    /// The records in `body`, which a decoder has made JSON; each is the text of a JSON object.
    ///
    /// # Errors
    /// `BadAnswer` for a body that is not as expected: never no records for what cannot be read.
    fn extract(&self, body: &[u8], settings: &Settings) -> Result<Vec<String>>;
}

/// Reads bodies that are not JSON: a `CustomDecoder` of a manifest.
pub trait BodyDecoder: Send + Sync {
    /// The values in `body`, each a JSON text.
    ///
    /// # Errors
    /// As for [`RecordExtractor::extract`].
    fn decode(&self, body: &[u8]) -> Result<Vec<String>>;
}

/// Changes records: a `CustomTransformation` of a manifest.
pub trait RecordTransformation: Send + Sync {
    /// Changes `record`, which came with `slice`.
    ///
    /// # Errors
    /// `Invalid` for a record that it cannot change; the stream ends.
    fn transform(&self, record: &mut Map<String, Value>, slice: &Value, settings: &Settings) -> Result<()>;
}

/// Leaves records out: a `CustomRecordFilter` of a manifest.
pub trait RecordFilter: Send + Sync {
    /// Whether `record`, which came with `slice`, counts.
    ///
    /// # Errors
    /// As for [`RecordTransformation::transform`].
    fn keeps(&self, record: &Value, slice: &Value, settings: &Settings) -> Result<bool>;
}

/// Signs requests: a `CustomAuthenticator` of a manifest.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Headers to add; they are never printed. `http` is for a login, and what it gives should be kept while it works.
    ///
    /// # Errors
    /// `Reauthorise` when a person must do something.
    async fn sign(&self, settings: &Settings, http: &HttpClient) -> Result<Vec<(String, SecretString)>>;
}

/// A page that was read, for finding the next one.
#[derive(Clone, Debug)]
pub struct PageEnd {
    /// The answer's body, as JSON.
    pub body: Bytes,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// Records found in it.
    pub records: usize,
    /// The last record that counts.
    pub last_record: Option<Value>,
    /// The token of this page; `None` for the first one.
    pub token: Option<Value>,
}

/// Leads from page to page: a `CustomPaginationStrategy` of a manifest.
pub trait PaginationStrategy: Send + Sync {
    /// The token of the first page, where it has one.
    fn first(&self) -> Option<Value> {
        None
    }

    /// The token of the page after `page`; `None` at the end. The same token twice in a slice is an error.
    ///
    /// # Errors
    /// `BadAnswer` for an answer from which it cannot be told.
    fn next(&self, page: &PageEnd, settings: &Settings) -> Result<Option<Value>>;
}

/// Divides a stream: a `CustomPartitionRouter` of a manifest.
pub trait PartitionRouter: Send + Sync {
    /// The partitions. `parents` are those that the component's own `parent_stream_configs` give, if it has any.
    ///
    /// # Errors
    /// `Invalid` when the settings name no partition that there can be.
    fn partitions(&self, parents: Vec<Map<String, Value>>, settings: &Settings) -> Result<Vec<Map<String, Value>>>;
}

/// Turns states of another form into those of today: a `CustomStateMigration` of a manifest.
pub trait StateMigration: Send + Sync {
    /// The state as streams read it; one that is in that form already stays as it is.
    ///
    /// # Errors
    /// `Invalid` for a state that it does not understand.
    fn migrate(&self, state: Value, settings: &Settings) -> Result<Value>;
}

/// Says how long to wait before another try: a `CustomBackoffStrategy` of a manifest.
pub trait BackoffStrategy: Send + Sync {
    /// The wait before try number `attempt` + 1; `None` leaves it to the others. There is no answer after a network fault.
    ///
    /// # Errors
    /// `RateLimited` to give up for now.
    fn wait(&self, answer: Option<&Response>, attempt: u32, settings: &Settings) -> Result<Option<Duration>>;
}

/// Knows the schema of a stream's records: a `CustomSchemaLoader` of a manifest.
#[async_trait]
pub trait SchemaSource: Send + Sync {
    /// The JSON schema; asked for once a connector.
    ///
    /// # Errors
    /// As for requests.
    async fn schema(&self, settings: &Settings, http: &HttpClient) -> Result<Value>;
}
