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

/// Told of every call; the text is what the call found.
pub type Tap = Box<dyn Fn(When, String) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The objects behind the tap.
pub struct Tapped {
    pub inner: Arc<MemoryBlobs>,
    pub tap: Tap,
}

impl Tapped {
    async fn call<T: std::fmt::Debug>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        (self.tap)(When::Before, String::new()).await?;
        let result = work.await;
        (self.tap)(When::After, format!("{result:?}")).await?;
        result
    }
}

#[async_trait]
impl Blobs for Tapped {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.call(self.inner.put_if_absent(scope, path, bytes)).await
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        self.call(self.inner.get(scope, path)).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.call(self.inner.get_range(scope, path, range)).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        self.call(self.inner.size(scope, path)).await
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        self.call(self.inner.list(scope, prefix, after, max)).await
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.call(self.inner.retain_until(scope, path, until)).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        self.call(self.inner.retained_until(scope, path)).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        self.call(self.inner.delete(scope, path)).await
    }
}
