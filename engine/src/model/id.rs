//! Ids: one distinct type a noun, all time-ordered, written with a prefix (`src_01k9…`).

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{
    error::{Error, ErrorKind},
    ports::{Clock, Random},
};

/// What an id is an id of. Only the prefix differs.
pub trait IdKind: 'static + Send + Sync {
    /// Three or four letters before the underscore.
    const PREFIX: &'static str;
}

/// A time-ordered id (UUID version 7 inside): text order, byte order and order of creation agree to the millisecond.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in groups of five.
const TEXT_LEN: usize = 26;

impl<K: IdKind> Id<K> {
    /// A new id of this instant.
    pub fn new(clock: &dyn Clock, random: &dyn Random) -> Self {
        let mut bytes = [0; 10];
        random.fill(&mut bytes);
        Self::from_parts(clock.now().as_millisecond(), bytes)
    }

    /// An id that is the same for the same inputs: `instant_ms` orders it, `digest` makes it one of a kind.
    pub fn derived(instant_ms: i64, digest: [u8; 10]) -> Self {
        Self::from_parts(instant_ms, digest)
    }

    /// The same id bits for another noun: a run and its snapshot share them.
    pub fn of<J: IdKind>(self) -> Id<J> {
        Id(self.0, PhantomData)
    }

    /// The instant in it, milliseconds since 1970.
    pub fn instant_ms(&self) -> i64 {
        i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX)
    }

    /// The id of these bytes, which [`Id::as_bytes`] gave.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes), PhantomData)
    }

    /// The 16 bytes, big-endian.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    fn from_parts(instant_ms: i64, random: [u8; 10]) -> Self {
        let millis = u64::try_from(instant_ms).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid(), PhantomData)
    }
}

impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TEXT_LEN];
        let mut bits = self.0.as_u128();
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        write!(f, "{}_{}", K::PREFIX, std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::new(ErrorKind::Invalid, format!("not an id of the form {}_…", K::PREFIX)).with("value", text);
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .filter(|digits| digits.len() == TEXT_LEN && digits.as_bytes()[0] <= b'7')
            .ok_or_else(wrong)?;
        let mut bits: u128 = 0;
        for byte in digits.bytes() {
            let value = ALPHABET.iter().position(|letter| *letter == byte).ok_or_else(wrong)?;
            bits = bits << 5 | value as u128;
        }
        Ok(Self(Uuid::from_u128(bits), PhantomData))
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K: IdKind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: IdKind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The kinds of ids, one uninhabited type a noun.
pub mod kind {
    use super::IdKind;

    /// Kind of [`super::AccountId`].
    pub enum Account {}
    /// Kind of [`super::UserId`].
    pub enum User {}
    /// Kind of [`super::InvitationId`].
    pub enum Invitation {}
    /// Kind of [`super::SourceId`].
    pub enum Source {}
    /// Kind of [`super::JobId`].
    pub enum Job {}
    /// Kind of [`super::RunId`].
    pub enum Run {}
    /// Kind of [`super::SnapshotId`].
    pub enum Snapshot {}
    /// Kind of [`super::EventId`].
    pub enum Event {}
    /// Kind of [`super::KeyId`].
    pub enum Key {}
    /// Kind of [`super::FileId`].
    pub enum File {}
    /// Kind of [`super::ExportId`].
    pub enum Export {}
    /// Kind of [`super::RestoreId`].
    pub enum Restore {}
    /// Kind of [`super::WebhookId`].
    pub enum Webhook {}
    /// Kind of [`super::DeliveryId`].
    pub enum Delivery {}
    /// Kind of [`super::RequestId`].
    pub enum Request {}
    /// Kind of [`super::WorkerId`].
    pub enum Worker {}

    impl IdKind for Account {
        const PREFIX: &'static str = "acc";
    }
    impl IdKind for User {
        const PREFIX: &'static str = "usr";
    }
    impl IdKind for Invitation {
        const PREFIX: &'static str = "inv";
    }
    impl IdKind for Source {
        const PREFIX: &'static str = "src";
    }
    impl IdKind for Job {
        const PREFIX: &'static str = "job";
    }
    impl IdKind for Run {
        const PREFIX: &'static str = "run";
    }
    impl IdKind for Snapshot {
        const PREFIX: &'static str = "snap";
    }
    impl IdKind for Event {
        const PREFIX: &'static str = "evt";
    }
    impl IdKind for Key {
        const PREFIX: &'static str = "key";
    }
    impl IdKind for File {
        const PREFIX: &'static str = "file";
    }
    impl IdKind for Export {
        const PREFIX: &'static str = "exp";
    }
    impl IdKind for Restore {
        const PREFIX: &'static str = "rst";
    }
    impl IdKind for Webhook {
        const PREFIX: &'static str = "hook";
    }
    impl IdKind for Delivery {
        const PREFIX: &'static str = "dlv";
    }
    impl IdKind for Request {
        const PREFIX: &'static str = "req";
    }
    impl IdKind for Worker {
        const PREFIX: &'static str = "wrk";
    }
}

/// An account: the tenant.
pub type AccountId = Id<kind::Account>;
/// A person.
pub type UserId = Id<kind::User>;
/// Names an invitation into an account.
pub type InvitationId = Id<kind::Invitation>;
/// A connected product.
pub type SourceId = Id<kind::Source>;
/// What is to be done with a source, and when.
pub type JobId = Id<kind::Job>;
/// One execution of a job.
pub type RunId = Id<kind::Run>;
/// A point-in-time state of a source.
pub type SnapshotId = Id<kind::Snapshot>;
/// One activity event.
pub type EventId = Id<kind::Event>;
/// A credential or an access key.
pub type KeyId = Id<kind::Key>;
/// A row of the files table.
pub type FileId = Id<kind::File>;
/// An export that somebody ordered.
pub type ExportId = Id<kind::Export>;
/// A restore that somebody ordered.
pub type RestoreId = Id<kind::Restore>;
/// Where events are sent to.
pub type WebhookId = Id<kind::Webhook>;
/// One event on its way to one webhook.
pub type DeliveryId = Id<kind::Delivery>;
/// One HTTP request to the API.
pub type RequestId = Id<kind::Request>;
/// One worker process.
pub type WorkerId = Id<kind::Worker>;
