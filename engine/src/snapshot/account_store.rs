//! What an account keeps beside its sources: its exports; and the way to its sources.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    chunks::Chunks,
    document,
    documents::Documents,
    keys::KeyRing,
    paths,
    segments::{Caches, Segments},
    source_store::SourceStore,
    store::{Sealers, StoreSettings},
};
use crate::{
    error::Result,
    model::{ExportId, SourceId, scope::AccountScope},
    ports::{Blobs, PutOutcome},
};

/// One account's part of the store.
#[derive(Clone)]
pub struct AccountStore {
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) ring: Arc<KeyRing>,
    pub(super) scope: AccountScope,
    pub(super) chunks: Chunks,
    pub(super) caches: Caches,
    pub(super) settings: Arc<StoreSettings>,
    pub(super) sealers: Arc<Sealers>,
}

impl AccountStore {
    /// The part of one source.
    pub fn source(&self, source_id: SourceId) -> SourceStore {
        let (blobs, scope, ring) = (self.blobs.clone(), self.scope, self.ring.clone());
        let segments = Segments { blobs, scope, source_id, ring, caches: self.caches.clone() };
        SourceStore::new(segments, self.chunks.clone(), self.settings.clone(), self.sealers.clone())
    }

    pub(super) fn documents(&self) -> Documents {
        Documents { blobs: self.blobs.clone(), scope: self.scope, ring: self.ring.clone() }
    }

    /// Stores an export. When there is one of that id already, it stays.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn put_export(&self, export_id: ExportId, body: &(impl Serialize + Sync)) -> Result<PutOutcome> {
        let path = paths::export(self.scope.account_id(), export_id);
        let object = document::seal(&self.ring, &path, body)?;
        self.blobs.put_if_absent(&self.scope, &path, object).await
    }

    /// Deletes an export. It is no error when there is none.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn delete_export(&self, export_id: ExportId) -> Result<()> {
        self.blobs.delete(&self.scope, &paths::export(self.scope.account_id(), export_id)).await
    }

    /// The sources that have objects, oldest first: one listing each.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn sources(&self) -> Result<Vec<SourceId>> {
        let account_id = self.scope.account_id();
        let (mut sources, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.blobs.list(&self.scope, &paths::sources(account_id), after.as_deref(), 1).await?;
            let Some(entry) = page.into_iter().next() else { return Ok(sources) };
            let found = paths::parse_source(&entry.path);
            sources.extend(found);
            // Past all objects of the source.
            after = Some(found.map_or(entry.path, |source_id| format!("{}~", paths::source(account_id, source_id))));
        }
    }

    /// The text of any document of the account, JSON.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it was altered or belongs elsewhere.
    pub async fn document(&self, path: &str) -> Result<Vec<u8>> {
        let object = self.blobs.get(&self.scope, path).await?;
        document::open(&self.ring, path, &object).await
    }

    /// An export.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it was altered or has another shape.
    pub async fn load_export<T: DeserializeOwned>(&self, export_id: ExportId) -> Result<T> {
        let path = paths::export(self.scope.account_id(), export_id);
        self.documents().read_document(&path).await
    }

    /// Ids of the account's exports, newest first, after `after`; at most `max`.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn list_exports(&self, after: Option<ExportId>, max: usize) -> Result<Vec<ExportId>> {
        let account_id = self.scope.account_id();
        let after = after.map(|id| paths::export(account_id, id));
        let entries = self.blobs.list(&self.scope, &paths::exports(account_id), after.as_deref(), max).await?;
        Ok(entries.iter().filter_map(|entry| paths::parse_export(&entry.path)).collect())
    }
}
