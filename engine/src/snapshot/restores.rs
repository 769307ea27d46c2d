//! The restores of an account in its store: their orders, and their logs, which only grow.

use serde::{Serialize, de::DeserializeOwned};

use super::{account_store::AccountStore, document, paths};
use crate::{
    error::{ErrorKind, Result},
    model::RestoreId,
    ports::PutOutcome,
};

impl AccountStore {
    /// Stores the order of a restore. When there is one of that id already, it stays.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn put_restore(&self, restore_id: RestoreId, body: &(impl Serialize + Sync)) -> Result<PutOutcome> {
        self.put_document(&paths::restore(self.scope.account_id(), restore_id), body).await
    }

    /// The order of a restore.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it was altered or has another shape.
    pub async fn load_restore<T: DeserializeOwned>(&self, restore_id: RestoreId) -> Result<T> {
        self.load_document(&paths::restore(self.scope.account_id(), restore_id)).await
    }

    /// Ids of the account's restores, newest first, after `after`; at most `max`.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn list_restores(&self, after: Option<RestoreId>, max: usize) -> Result<Vec<RestoreId>> {
        let account_id = self.scope.account_id();
        let after = after.map(|id| paths::restore(account_id, id));
        let entries = self.blobs.list(&self.scope, &paths::restores(account_id), after.as_deref(), max).await?;
        Ok(entries.iter().filter_map(|entry| paths::parse_restore(&entry.path)).collect())
    }

    /// Stores the `number`-th part of a restore's log. When there is one already, it stays.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn put_restore_log(
        &self,
        restore_id: RestoreId,
        number: u32,
        body: &(impl Serialize + Sync),
    ) -> Result<PutOutcome> {
        self.put_document(&paths::restore_log(self.scope.account_id(), restore_id, number), body).await
    }

    /// The `number`-th part of a restore's log; `None` when the log is shorter.
    ///
    /// # Errors
    /// `Corrupt` when it was altered or has another shape.
    pub async fn find_restore_log<T: DeserializeOwned>(&self, restore_id: RestoreId, number: u32) -> Result<Option<T>> {
        match self.load_document(&paths::restore_log(self.scope.account_id(), restore_id, number)).await {
            Ok(part) => Ok(Some(part)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put_document(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<PutOutcome> {
        let object = document::seal(&self.ring, path, body)?;
        self.blobs.put_if_absent(&self.scope, path, object).await
    }

    async fn load_document<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.documents().read_document(path).await
    }
}
