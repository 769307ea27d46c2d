//! What is left of an account whose keys were destroyed: objects that nobody can read any more, which are removed.

use super::{SnapshotStore, paths};
use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
};

impl SnapshotStore {
    /// Removes objects of an account whose keys were destroyed, at most so many; the mark that they were stays. Returns how many went:
    /// fewer than `max` when nothing else is left.
    ///
    /// # Errors
    /// `Denied` while the account has keys; those of the port.
    pub async fn erase(&self, scope: &AccountScope, max: usize) -> Result<usize> {
        let stored = self.stored_keys(scope).await?;
        if stored.destruction.is_none() || !stored.epochs.is_empty() {
            return Err(Error::new(ErrorKind::Denied, "only an account whose keys were destroyed is erased")
                .with("account", scope.account_id()));
        }
        let mark = paths::keys_destroyed(scope.account_id());
        let found = self.blobs().list(scope, &paths::account(scope.account_id()), None, max.saturating_add(1)).await?;
        let mut erased = 0;
        for entry in found.iter().filter(|entry| entry.path != mark).take(max) {
            self.blobs().delete(scope, &entry.path).await?;
            erased += 1;
        }
        Ok(erased)
    }
}
