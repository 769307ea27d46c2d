//! The port for objects.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::{error::Result, model::scope::AccountScope};

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
/// A new object whose path ends in `.snap` also puts a message `{"path", "sizeBytes"}` into [`super::QueueName::Data`], after
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
