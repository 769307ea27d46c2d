//! The documents of an account and of its sources: put, read, listed.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{document, keys::KeyRing};
use crate::{
    error::{ErrorKind, Result},
    model::scope::AccountScope,
    ports::{BlobEntry, Blobs, PutOutcome},
};

/// Objects of one listing.
const PAGE: usize = 1000;

/// The documents of an account.
#[derive(Clone)]
pub(crate) struct Documents {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) scope: AccountScope,
    pub(crate) ring: Arc<KeyRing>,
}

impl Documents {
    /// Seals a document and puts it unless there is one. True when this call made it.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn put_document(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<bool> {
        let object = document::seal(&self.ring, path, body)?;
        Ok(self.blobs.put_if_absent(&self.scope, path, object).await? == PutOutcome::Created)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it was altered or has another shape.
    pub(crate) async fn read_document<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let object = self.blobs.get(&self.scope, path).await?;
        let text = document::open(&self.ring, path, &object).await?;
        document::parse(&text).map_err(|error| error.with("path", path))
    }

    /// Reads a document that may not be there.
    ///
    /// # Errors
    /// `Corrupt` when it was altered or has another shape.
    pub(crate) async fn find_document<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        match self.read_document(path).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True when there is an object at `path`.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.blobs.size(&self.scope, path).await?.is_some())
    }

    /// All objects below a prefix, in path order.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn list_all(&self, prefix: &str) -> Result<Vec<BlobEntry>> {
        let mut all: Vec<BlobEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.path.clone());
            let page = self.blobs.list(&self.scope, prefix, after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}
