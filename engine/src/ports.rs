//! The engine's view of the world. Each port has two production implementations (`adapters/embedded`, `adapters/aws`)
//! and one behaviour suite (`tests/adapters.rs`) that runs on both.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    error::Result,
    model::{
        AccountId, ActivityEvent, UserId,
        scope::{AccountScope, Scope},
    },
    tables::TableSchema,
};

/// Everything the engine needs from outside, injected.
#[derive(Clone)]
pub struct Ports {
    /// Rows.
    pub tables: Arc<dyn Tables>,
    /// Work to do.
    pub queue: Arc<dyn Queue>,
    /// Objects.
    pub blobs: Arc<dyn Blobs>,
    /// The event bus and its live followers.
    pub events: Arc<dyn Events>,
    /// Wraps data keys.
    pub keys: Arc<dyn Keys>,
    /// Sends mail.
    pub mail: Arc<dyn Mail>,
    /// Signs people in.
    pub identity: Arc<dyn Identity>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and secrets.
    pub random: Arc<dyn Random>,
}

// ---- tables

/// A row as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The row, its key attributes included.
    pub body: Map<String, Value>,
    /// Grows with each write of the row; the first is 1.
    pub version: u64,
}

/// The key of a row. Numbers are written in decimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Value of the partition key.
    pub partition: String,
    /// Value of the sort key; empty for tables without one.
    pub sort: String,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// There is no such row.
    Absent,
    /// The row is there, at this version.
    Version(u64),
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub enum Write {
    /// Makes or replaces a row.
    Put {
        /// Its table.
        table: &'static TableSchema,
        /// The whole row.
        body: Map<String, Value>,
        /// When.
        condition: Condition,
    },
    /// Removes a row.
    Delete {
        /// Its table.
        table: &'static TableSchema,
        /// Its key.
        key: Key,
        /// When; `Any` also succeeds when the row is absent.
        condition: Condition,
    },
    /// Writes nothing, but the transaction fails unless the condition holds.
    Check {
        /// Its table.
        table: &'static TableSchema,
        /// Its key.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
}

/// A read of rows with one partition value, in sort order.
#[derive(Clone, Debug)]
pub struct Query {
    /// The table.
    pub table: &'static TableSchema,
    /// The index, or `None` for the table's own key.
    pub index: Option<&'static str>,
    /// Value of the partition attribute.
    pub partition: String,
    /// Bounds on the sort attribute.
    pub sort: SortRange,
    /// Newest (greatest) first.
    pub descending: bool,
    /// At most this many rows, 1 to 1,000.
    pub limit: usize,
    /// Goes on after the page that gave this cursor.
    pub after: Option<String>,
}

/// Bounds on a sort attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortRange {
    /// No bounds.
    All,
    /// Text that starts so.
    Prefix(String),
    /// From the first value, included, to the second, excluded; either may be open.
    Between(Option<String>, Option<String>),
    /// Numbers, from the first, included, to the second, excluded.
    Numbers(Option<i64>, Option<i64>),
}

/// A page of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemPage {
    /// The rows.
    pub items: Vec<Item>,
    /// Opaque; `None` when there are no more.
    pub next: Option<String>,
}

/// Durable rows with conditional, all-or-nothing writes. Strongly consistent.
///
/// With an account's scope only that account's rows can be seen or written: a foreign row reads as absent, writing one
/// is `Denied`, and a query returns none of them. Tables owned by the system need the system's scope.
#[async_trait]
pub trait Tables: Send + Sync {
    /// One row.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>>;

    /// All writes or none; durable on return. At most 25, each on another row.
    ///
    /// # Errors
    /// `Conflict` when a condition does not hold (context `table` and `key` name the first), `Denied` for a row outside
    /// the scope, `Retry` when the store cannot be reached (the effect is then unknown).
    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()>;

    /// Rows of one partition.
    ///
    /// # Errors
    /// `Invalid` for a cursor that is not from this query.
    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage>;
}

// ---- queue

/// The queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// Runs to execute.
    Jobs,
    /// Objects to index.
    Data,
}

impl QueueName {
    /// The name without the stage: `jobs`, `data`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Data => "data",
        }
    }
}

/// A message as received.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Stays the same over deliveries.
    pub id: String,
    /// What was sent: at most 256 KiB of JSON.
    pub body: Value,
    /// Stands for this delivery; a later delivery makes it stale.
    pub receipt: String,
    /// How often it was delivered, this one included.
    pub receive_count: u32,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The message's id.
    pub id: String,
    /// What was sent.
    pub body: Value,
    /// How often it was delivered before it was given up.
    pub receive_count: u32,
    /// When it was first sent.
    pub sent_at: Timestamp,
}

/// Durable at-least-once delivery with visibility time-outs, as in SQS.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds messages, each visible after its delay; durable on return. Returns their ids.
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>>;

    /// Up to `max` visible messages, hidden from others for `visibility`; waits up to `wait` for the first.
    /// A message delivered more than the queue's limit (5) goes to its dead letters instead.
    async fn receive(&self, queue: QueueName, max: usize, visibility: Duration, wait: Duration)
    -> Result<Vec<Message>>;

    /// Hides a message for `visibility` from now; zero makes it visible at once.
    ///
    /// # Errors
    /// `Fenced` when the receipt is stale.
    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()>;

    /// The work is done: removes the message. A stale receipt removes nothing and is no error.
    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()>;

    /// Dead letters, oldest first, after the one with id `after`.
    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>>;

    /// Moves a dead letter back, with its count at zero; false when it is not there.
    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool>;
}

// ---- blobs

/// Outcome of a put-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// This call made the object.
    Created,
    /// An object was there already; it is untouched.
    Exists,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Full path.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// Durable objects that are never overwritten. Paths come from [`crate::snapshot::paths`] only.
///
/// A new object whose path ends in `.snap` also puts a message `{"path", "sizeBytes"}` into [`QueueName::Data`], after
/// the object is durable and at least once.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores `bytes` unless there is an object at `path`. Durable on return; of racing writers exactly one creates.
    ///
    /// # Errors
    /// `Exhausted` when there is no space left: nothing is at `path` then.
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome>;

    /// The whole object.
    ///
    /// # Errors
    /// `NotFound`.
    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes>;

    /// Bytes of an object; a range past its end is `Corrupt`.
    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes>;

    /// Size of an object in bytes, or `None`.
    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>>;

    /// Objects whose path starts with `prefix`, in path order, after `after`; at most `max`.
    async fn list(&self, scope: &AccountScope, prefix: &str, after: Option<&str>, max: usize)
    -> Result<Vec<BlobEntry>>;

    /// Locks an object, as it is, until that instant: until then nobody can remove it. A lock that lasts longer stays.
    /// Durable on return.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the store was not set up for locks.
    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()>;

    /// Until when an object is locked; `None` when it is not, or not there. The instant may have passed.
    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>>;

    /// Removes an object; an absent one is no error. Only retention, erasure and the run's own staging call this.
    ///
    /// # Errors
    /// `Denied` while the object is locked.
    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()>;
}

// ---- events, keys, mail

/// Hands events on to whoever listens. The durable copy is the row in the activity table, written before.
#[async_trait]
pub trait Events: Send + Sync {
    /// Publishes, in order.
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()>;

    /// Events of an account from now on. A follower that falls behind loses the oldest and catches up from the table.
    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent>;
}

/// A key of 32 bytes that seals data, in clear and wrapped.
pub struct DataKey {
    /// In clear; wiped on drop.
    pub plain: Zeroizing<[u8; 32]>,
    /// Wrapped by the master key, bound to its context.
    pub wrapped: Vec<u8>,
}

/// Wraps data keys (KMS, or the master key file).
#[async_trait]
pub trait Keys: Send + Sync {
    /// A new key, bound to `context` (such as `account=acc_…;epoch=1`).
    async fn generate(&self, context: &str) -> Result<DataKey>;

    /// Wraps a key that exists already, bound to `context`: so that another master key opens it too.
    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>>;

    /// Opens a wrapped key.
    ///
    /// # Errors
    /// `Corrupt` when the bytes were altered or the context is another one.
    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>>;
}

/// A mail to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Sends mail.
#[async_trait]
pub trait Mail: Send + Sync {
    /// Hands a letter over for delivery.
    async fn send(&self, letter: &Letter) -> Result<()>;
}

// ---- identity

/// Tokens of a signed-in person.
pub struct SignedIn {
    /// A JWT for `Authorization: Bearer`, at most 15 minutes.
    pub access_token: SecretString,
    /// Exchanged once for a new pair.
    pub refresh_token: SecretString,
    /// How long the access token lives.
    pub expires_in: Duration,
    /// Who.
    pub user_id: UserId,
}

/// Signs people in (own, or Cognito). Access tokens are verified apart, through [`Identity::jwks`].
#[async_trait]
pub trait Identity: Send + Sync {
    /// Makes a user and mails a verification code. Equal answer whether or not the address is known already.
    ///
    /// # Errors
    /// `Invalid` for a malformed address or weak password.
    async fn register(&self, email: &str, password: &SecretString, name: &str) -> Result<()>;

    /// Proves the address by the code from the mail; the user can sign in from now on. Returns the user.
    ///
    /// # Errors
    /// `Denied` for a wrong, used or expired code.
    async fn verify(&self, email: &str, code: &SecretString) -> Result<UserId>;

    /// Mails a new verification code, if the address waits for one. Equal answer either way.
    async fn resend(&self, email: &str) -> Result<()>;

    /// Signs in for work in `account` (or the person's first account).
    ///
    /// # Errors
    /// `Denied`, with equal words and work for an unknown address and a wrong password; `RateLimited` after too many.
    async fn sign_in(&self, email: &str, password: &SecretString, account: Option<AccountId>) -> Result<SignedIn>;

    /// Exchanges a refresh token, once. Using one twice ends the whole family.
    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn>;

    /// Ends the family of a refresh token.
    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()>;

    /// The public keys of access tokens, as a JWKS document (RFC 7517).
    async fn jwks(&self) -> Result<Value>;

    /// `iss` of access tokens.
    fn issuer(&self) -> &str;
}

// ---- clock and randomness

/// Tells the time. Waiting is tokio's, so that a paused clock drives both in tests.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Randomness for ids, keys, tokens and jitter. Cryptographic in production, seeded in tests.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
