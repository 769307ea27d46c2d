//! Objects in memory behind a tap: before and after every call a test may hold it back, or let it fail.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    model::scope::AccountScope,
    ports::{BlobEntry, Blobs, PutOutcome},
};

use crate::store::MemoryBlobs;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing has happened yet.
    Before,
    /// It has had its effect.
    After,
}

/// Told of every call, its path and what it found.
pub type Tap = Box<dyn Fn(When, &Call) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A call.
pub struct Call {
    /// The name of the operation.
    pub name: &'static str,
    /// Its path or prefix.
    pub path: String,
    /// The object that it puts; empty for other operations.
    pub object: Bytes,
    /// What it found; empty before.
    pub found: String,
}

/// The objects behind the tap.
pub struct Tapped {
    pub inner: Arc<MemoryBlobs>,
    pub tap: Tap,
}

impl Tapped {
    async fn call<T: std::fmt::Debug>(
        &self,
        name: &'static str,
        path: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.call_with(name, path, Bytes::new(), work).await
    }

    async fn call_with<T: std::fmt::Debug>(
        &self,
        name: &'static str,
        path: &str,
        object: Bytes,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut call = Call { name, path: path.to_owned(), object, found: String::new() };
        (self.tap)(When::Before, &call).await?;
        let result = work.await;
        call.found = format!("{result:?}");
        (self.tap)(When::After, &call).await?;
        result
    }
}

#[async_trait]
impl Blobs for Tapped {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.call_with("put_if_absent", path, bytes.clone(), self.inner.put_if_absent(scope, path, bytes)).await
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        self.call("get", path, self.inner.get(scope, path)).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.call("get_range", path, self.inner.get_range(scope, path, range)).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        self.call("size", path, self.inner.size(scope, path)).await
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        self.call("list", prefix, self.inner.list(scope, prefix, after, max)).await
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.call("retain_until", path, self.inner.retain_until(scope, path, until)).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        self.call("retained_until", path, self.inner.retained_until(scope, path)).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        self.call("delete", path, self.inner.delete(scope, path)).await
    }
}
